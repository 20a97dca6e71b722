//! Holds: new requests of one service wait, until somebody lets them go or the hold ends by itself.
//!
//! A hold is never written down: whatever ends the daemon ends it too.

use super::clock::millis;
use super::clock::stamp;
use super::conductor::Conductor;
use super::drain::counts_status;
use super::drain::sum;
use super::events::About;
use super::events::Subscription;
use super::jobs::Jobs;
use super::message::Answer;
use super::message::Denied;
use super::message::Message;
use super::underway::audit;
use crate::api::AuditRecord;
use crate::api::EventKind;
use crate::api::HoldReleased;
use crate::api::HoldStatus;
use crate::api::ReleaseCause;
use crate::api::SCHEMA;
use crate::config::Hold as HoldSettings;
use crate::config::format_duration;
use crate::live::Counts;
use crate::live::Hold;
use crate::live::Lobby;
use crate::live::LobbyCounts;
use crate::live::Slot;
use crate::switch::Actor;
use crate::switch::Moment;
use crate::switch::ServiceName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How often those who may go are let go.
const STEP: Duration = Duration::from_millis(10);
/// How often a hold is told of.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What concerns holds.
#[derive(Debug)]
pub(super) enum HoldMessage {
    Take(HoldOrder, Answer<Result<HoldTaken, Denied>>),
    Release {
        service: String,
        by: Actor,
        answer: Answer<Result<HoldReleased, Denied>>,
    },
    Drained(HoldName),
    /// It has to end.
    Over(HoldName, ReleaseCause),
    /// Everybody was let go.
    Empty(HoldName),
}

/// Which hold is meant: one that is long over is nobody's.
#[derive(Debug, Clone)]
pub(super) struct HoldName {
    service: ServiceName,
    number: u64,
}

/// What somebody asks for.
#[derive(Debug)]
pub struct HoldOrder {
    pub service: String,
    pub by: Actor,
    pub reason: Option<String>,
    pub at_most: Duration,
    pub drain: bool,
    pub lease: bool,
}

/// A hold that has begun.
#[derive(Debug)]
pub struct HoldTaken {
    pub hold: u64,
    /// From before its first event.
    pub events: Subscription,
    /// Dropping it ends a hold that is a lease.
    pub lease: oneshot::Sender<()>,
}

/// Why there is no hold, or none to end.
#[derive(Debug, thiserror::Error)]
pub enum HoldRefusal {
    #[error("{service} is held already: by {by}, until {until}")]
    Held {
        service: String,
        by: String,
        until: String,
    },
    #[error(
        "{} is longer than a hold may be: service.{service}.hold.max_for is {}",
        format_duration(*.asked), format_duration(*.most)
    )]
    TooLong {
        service: String,
        asked: Duration,
        most: Duration,
    },
    #[error("{service} is not held")]
    NotHeld { service: String },
}

/// Where requests of one service wait, and the hold there is.
#[derive(Debug)]
pub(super) struct HoldDesk {
    pub(super) lobby: Arc<Lobby>,
    /// Holds there have been.
    pub(super) count: u64,
    pub(super) current: Option<Holding>,
}

/// One hold, from its first moment until the last request is through.
#[derive(Debug)]
pub(super) struct Holding {
    name: HoldName,
    by: Actor,
    reason: Option<String>,
    since: Moment,
    until: Moment,
    started: Instant,
    lease: bool,
    drained: Option<bool>,
    over: Option<ReleaseCause>,
    /// As it was at the beginning.
    before: LobbyCounts,
    pub(super) hold: Arc<Hold>,
    /// What watches it, or lets go.
    task: Option<AbortHandle>,
}

impl Holding {
    fn audit(&self) -> AuditRecord {
        let mut record = audit(self.since, &self.by, "hold");
        record.service = self.name.service.to_string();
        record.reason.clone_from(&self.reason);
        record
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl HoldDesk {
    pub(super) fn new(settings: &HoldSettings) -> Self {
        Self {
            lobby: Lobby::new(settings.max_requests, settings.max_bytes),
            count: 0,
            current: None,
        }
    }

    pub(super) fn configure(&self, settings: &HoldSettings) {
        self.lobby
            .set_bounds(settings.max_requests, settings.max_bytes);
    }

    pub(super) fn status(&self) -> Option<HoldStatus> {
        let holding = self.current.as_ref()?;
        let now = self.lobby.now();
        Some(HoldStatus {
            hold: holding.name.number,
            by: holding.by.to_string(),
            reason: holding.reason.clone(),
            since: stamp(holding.since),
            until: stamp(holding.until),
            lease: holding.lease,
            releasing: holding.over.is_some(),
            drained: holding.drained,
            waiting: now.waiting as u64,
            oldest_ms: millis(now.oldest),
            bytes: now.bytes,
        })
    }

    fn named(&mut self, number: u64) -> Option<&mut Holding> {
        self.current.as_mut().filter(|it| it.name.number == number)
    }
}

impl Conductor {
    pub(super) fn hold(&mut self, message: HoldMessage) {
        // Whoever asked and left needs no answer: results of `send` are dropped.
        match message {
            HoldMessage::Take(order, answer) => drop(answer.send(self.take_hold(order))),
            HoldMessage::Release {
                service,
                by,
                answer,
            } => drop(answer.send(self.release_hold(&service, &by))),
            HoldMessage::Drained(name) => self.hold_drained(&name),
            HoldMessage::Over(name, why) => self.end_hold(&name, why),
            HoldMessage::Empty(name) => self.hold_is_empty(&name),
        }
    }

    fn take_hold(&mut self, order: HoldOrder) -> Result<HoldTaken, Denied> {
        let at = self.find(&order.service)?;
        let most = self.services[at].settings.hold.max_for;
        if order.at_most > most {
            return Err(Denied::Hold(HoldRefusal::TooLong {
                service: order.service,
                asked: order.at_most,
                most,
            }));
        }
        if let Some(holding) = &self.services[at].holds.current {
            if holding.over.is_none() {
                return Err(Denied::Hold(HoldRefusal::Held {
                    service: order.service,
                    by: holding.by.to_string(),
                    until: stamp(holding.until),
                }));
            }
            // Whoever is not let go yet stays where it stands.
            self.conclude(at);
        }
        let (lease, held) = oneshot::channel();
        let events = self.jobs.events.subscribe();
        let name = self.begin_hold(at, &order);
        let watch = Watch {
            name: name.clone(),
            until: Instant::now() + order.at_most,
            pictures: self.services[at].all_pictures(),
            lobby: Arc::clone(&self.services[at].holds.lobby),
            drain: order.drain,
            lease: order.lease.then_some(held),
        };
        let watching = tokio::spawn(watch.run(self.jobs.clone())).abort_handle();
        if let Some(holding) = self.services[at].holds.named(name.number) {
            holding.task = Some(watching);
        }
        Ok(HoldTaken {
            hold: name.number,
            events,
            lease,
        })
    }

    /// When it returns, no new request of the service is counted on any slot.
    fn begin_hold(&mut self, at: usize, order: &HoldOrder) -> HoldName {
        let since = self.jobs.clock.now();
        let service = &mut self.services[at];
        service.holds.count += 1;
        let name = HoldName {
            service: service.name.clone(),
            number: service.holds.count,
        };
        let lobby = &service.holds.lobby;
        lobby.forget_longest();
        let hold = Hold::begin(lobby);
        service.holds.current = Some(Holding {
            name: name.clone(),
            by: order.by.clone(),
            reason: order.reason.clone(),
            since,
            until: since.after(order.at_most),
            started: Instant::now(),
            lease: order.lease,
            drained: order.drain.then_some(false),
            over: None,
            before: lobby.counts(),
            hold: Arc::clone(&hold),
            task: None,
        });
        self.note_hold(at);
        self.publish();
        hold.places.aim(self.epoch.0);
        tracing::info!(service = %name.service, actor = %order.by, reason = order.reason.as_deref(),
            for_ms = millis(order.at_most), lease = order.lease, "service held");
        let kind = EventKind::Held {
            hold: name.number,
            by: order.by.to_string(),
            reason: order.reason.clone(),
            until: stamp(since.after(order.at_most)),
            lease: order.lease,
        };
        self.tell_hold(&name, kind);
        name
    }

    /// After a crash the history tells of it.
    fn note_hold(&mut self, at: usize) {
        let Some(holding) = &self.services[at].holds.current else {
            return;
        };
        if let Err(error) = self.journal.begin(&holding.audit()) {
            tracing::error!(service = %holding.name.service, error = error.in_words(), "cannot note the start of a hold");
        }
    }

    fn release_hold(&mut self, service: &str, by: &Actor) -> Result<HoldReleased, Denied> {
        let at = self.find(service)?;
        let holds = &self.services[at].holds;
        let Some(holding) = holds.current.as_ref().filter(|it| it.over.is_none()) else {
            let service = service.to_owned();
            return Err(Denied::Hold(HoldRefusal::NotHeld { service }));
        };
        let name = holding.name.clone();
        let now = holds.lobby.now();
        let released = HoldReleased {
            schema: SCHEMA,
            hold: name.number,
            held_ms: millis(holding.started.elapsed()),
            waiting: now.waiting as u64,
            oldest_ms: millis(now.oldest),
        };
        tracing::info!(service, actor = %by, "hold released");
        self.end_hold(&name, ReleaseCause::Asked);
        Ok(released)
    }

    fn hold_drained(&mut self, name: &HoldName) {
        let Some(at) = self.index_of(&name.service) else {
            return;
        };
        let Some(holding) = self.services[at].holds.named(name.number) else {
            return;
        };
        holding.drained = Some(true);
        let took_ms = millis(holding.started.elapsed());
        let kind = EventKind::HoldDrained {
            hold: name.number,
            took_ms,
        };
        self.tell_hold(name, kind);
    }

    /// From now on those who wait are let go.
    fn end_hold(&mut self, name: &HoldName, why: ReleaseCause) {
        let Some(at) = self.index_of(&name.service) else {
            return;
        };
        let holds = &mut self.services[at].holds;
        let waiting = holds.lobby.now().waiting;
        let rate = self.services[at].settings.hold.release_rate;
        let Some(holding) = self.services[at].holds.named(name.number) else {
            return;
        };
        if holding.over.is_some() {
            return;
        }
        holding.over = Some(why);
        let release = Release {
            name: name.clone(),
            hold: Arc::clone(&holding.hold),
            rate,
        };
        let task = tokio::spawn(release.run(self.jobs.clone())).abort_handle();
        if let Some(watching) = holding.task.replace(task) {
            watching.abort();
        }
        if why != ReleaseCause::Asked {
            tracing::warn!(service = %name.service, why = why_words(why), "hold ended by itself");
        }
        let kind = EventKind::Releasing {
            hold: name.number,
            why,
            waiting: waiting as u64,
        };
        self.tell_hold(name, kind);
    }

    fn hold_is_empty(&mut self, name: &HoldName) {
        if let Some(at) = self.index_of(&name.service)
            && self.services[at].holds.named(name.number).is_some()
            && let Some(hold) = self.conclude(at)
        {
            self.publish();
            hold.open();
        }
    }

    /// The last word on the hold of a service, and its line in the history.
    fn conclude(&mut self, at: usize) -> Option<Arc<Hold>> {
        let service = &mut self.services[at];
        let holding = service.holds.current.take()?;
        let counts = service.holds.lobby.counts();
        Some(self.conclude_hold(&holding, counts))
    }

    fn conclude_hold(&mut self, holding: &Holding, counts: LobbyCounts) -> Arc<Hold> {
        let name = &holding.name;
        let why = holding.over.unwrap_or(ReleaseCause::Removed);
        let held_ms = millis(holding.started.elapsed());
        let requests = counts.released - holding.before.released;
        let refused = counts.refused() - holding.before.refused();
        let longest_ms = millis(counts.longest);
        tracing::info!(service = %name.service, why = why_words(why), requests, refused, longest_ms,
            took_ms = held_ms, "hold over");
        let mut record = holding.audit();
        why_words(why).clone_into(&mut record.result);
        let mut details = format!("{requests} requests waited, the longest for {longest_ms} ms");
        if refused > 0 {
            details += &format!("; {refused} were refused");
        }
        record.details.push(details);
        record.took_ms = Some(held_ms);
        self.finish(&record);
        let kind = EventKind::Released {
            hold: name.number,
            why,
            held_ms,
            requests,
            refused,
            longest_ms,
        };
        self.tell_hold(name, kind);
        Arc::clone(&holding.hold)
    }

    /// A service that the newest View holds no more: whoever waits looks for another.
    pub(super) fn hold_is_gone(&mut self, holds: &mut HoldDesk) {
        if let Some(holding) = holds.current.take() {
            self.conclude_hold(&holding, holds.lobby.counts());
        }
        holds.lobby.line().close();
    }

    fn tell_hold(&self, name: &HoldName, kind: EventKind) {
        let about = About::service(name.service.as_str());
        self.jobs.events.tell(about, kind);
    }
}

/// As the history and the log spell it.
fn why_words(why: ReleaseCause) -> &'static str {
    match why {
        ReleaseCause::Asked => "released",
        ReleaseCause::Deadline => "deadline",
        ReleaseCause::LeaseLost => "lease_lost",
        ReleaseCause::Removed => "removed",
    }
}

/// Watches one hold until it has to end.
#[derive(Debug)]
struct Watch {
    name: HoldName,
    until: Instant,
    /// On which requests may still be under way.
    pictures: Vec<Arc<Slot>>,
    lobby: Arc<Lobby>,
    drain: bool,
    lease: Option<oneshot::Receiver<()>>,
}

impl Watch {
    async fn run(mut self, jobs: Jobs) {
        let started = Instant::now();
        let mut told = started;
        loop {
            let left = sum(&self.pictures);
            if self.drain && is_drained(left) {
                self.drain = false;
                let name = self.name.clone();
                jobs.report(Message::Hold(HoldMessage::Drained(name))).await;
            }
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                self.tell(&jobs, left);
            }
            let pause = if self.drain && started.elapsed() < TOLD_EVERY {
                STEP / 2
            } else {
                STEP * 5
            };
            let over = tokio::select! {
                () = tokio::time::sleep_until(self.until) => ReleaseCause::Deadline,
                () = lost(&mut self.lease) => ReleaseCause::LeaseLost,
                () = tokio::time::sleep(pause) => continue,
            };
            let over = HoldMessage::Over(self.name, over);
            return jobs.report(Message::Hold(over)).await;
        }
    }

    fn tell(&self, jobs: &Jobs, left: Counts) {
        let now = self.lobby.now();
        let kind = EventKind::Holding {
            hold: self.name.number,
            waiting: now.waiting as u64,
            oldest_ms: millis(now.oldest),
            left: counts_status(left),
        };
        let about = About::service(self.name.service.as_str());
        jobs.events.tell(about, kind);
    }
}

/// Websockets stay: what they carry is no business of an application's workers.
fn is_drained(left: Counts) -> bool {
    left.requests + left.transfers == 0
}

/// Never for a hold that is no lease.
async fn lost(lease: &mut Option<oneshot::Receiver<()>>) {
    match lease {
        // Nothing is ever sent.
        Some(lease) => drop(lease.await),
        None => std::future::pending().await,
    }
}

/// Lets those go who wait, at a rate.
#[derive(Debug)]
struct Release {
    name: HoldName,
    hold: Arc<Hold>,
    /// Per second; 0 is all at once.
    rate: u64,
}

impl Release {
    async fn run(self, jobs: Jobs) {
        let started = Instant::now();
        let line = self.hold.lobby.line();
        // Those who come meanwhile stand behind; where more come than are let go, it ends all the same.
        let most = line.waiting().saturating_mul(2);
        let mut gone = 0;
        while line.waiting() > 0 && gone < most {
            let due = self.due(started.elapsed()).saturating_sub(gone);
            gone += self.hold.places.let_go(due);
            if line.waiting() > 0 {
                tokio::time::sleep(STEP).await;
            }
        }
        let empty = HoldMessage::Empty(self.name);
        jobs.report(Message::Hold(empty)).await;
    }

    /// How many may have been let go by now.
    fn due(&self, elapsed: Duration) -> usize {
        if self.rate == 0 {
            return usize::MAX;
        }
        // The first goes at once.
        let due = 1 + u128::from(self.rate) * elapsed.as_millis() / 1000;
        usize::try_from(due).unwrap_or(usize::MAX)
    }
}
