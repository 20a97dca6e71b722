//! Holds: new requests of one service wait, until somebody lets them go or the hold ends by itself.
//!
//! A hold moves no traffic and is not kept: whatever ends the daemon ends it too.

use super::clock::millis;
use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::hold_desk::HoldDesk;
use super::hold_desk::HoldMessage;
use super::hold_desk::HoldName;
use super::hold_desk::HoldOrder;
use super::hold_desk::HoldRefusal;
use super::hold_desk::HoldTaken;
use super::hold_desk::Holding;
use super::hold_watch::Release;
use super::hold_watch::Watch;
use super::message::Denied;
use crate::api::EventKind;
use crate::api::HoldReleased;
use crate::api::ReleaseCause;
use crate::api::SCHEMA;
use crate::live::DrainPass;
use crate::live::Hold;
use crate::live::LobbyCounts;
use crate::switch::Actor;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

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
            HoldMessage::Alone(name, answer) => {
                self.close_drain_pass(&name);
                let _ = answer.send(());
            }
            HoldMessage::Over(name, why) => self.end_hold(&name, why),
            HoldMessage::Empty(name) => self.hold_is_empty(&name),
            HoldMessage::Stop => self.end_holds(),
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
            drain_pass: self.services[at].holds.drain_pass(),
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
        let lets_some_pass = !service.settings.hold.pass_while_draining.is_empty();
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
            drain_pass: lets_some_pass.then(Arc::<DrainPass>::default),
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

    /// When it returns, nothing passes that hold any more but what always does.
    fn close_drain_pass(&mut self, name: &HoldName) {
        if let Some(at) = self.index_of(&name.service)
            && let Some(holding) = self.services[at].holds.named(name.number)
            && holding.drain_pass.take().is_some()
        {
            self.publish();
        }
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

    fn end_holds(&mut self) {
        let held = self
            .services
            .iter()
            .filter_map(|it| it.holds.current.as_ref());
        let names: Vec<HoldName> = held.map(|it| it.name.clone()).collect();
        for name in names {
            self.end_hold(&name, ReleaseCause::Stopping);
        }
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
        record.details.push(format!(
            "requests that waited: {requests}, the longest for {longest_ms} ms; refused: {refused}"
        ));
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
        holds.outage.close();
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
        ReleaseCause::Stopping => "stopping",
    }
}
