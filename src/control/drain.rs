//! Waits until a generation is empty; what outlives the budget of its kind is cut off.

use super::clock::millis;
use super::events::About;
use super::jobs::Jobs;
use super::message::Message;
use crate::api::CountsStatus;
use crate::api::EventKind;
use crate::config::Flip;
use crate::config::OnFlip;
use crate::config::Websocket;
use crate::live::Counts;
use crate::live::Goodbye;
use crate::live::Kind;
use crate::live::Slot;
use crate::switch::FlipId;
use crate::switch::Generation;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::telemetry::Parting;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const KINDS: [Kind; 3] = [Kind::Request, Kind::Transfer, Kind::Websocket];
/// How often the left-overs are told.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How long workers get to carry out the last cut.
const CUT_TAKES: Duration = Duration::from_secs(1);

/// What has to become empty.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) service: ServiceName,
    pub(super) flip: FlipId,
    pub(super) slot: SlotName,
    pub(super) generation: Generation,
    /// A reload may have given one generation several pictures.
    pub(super) pictures: Vec<Arc<Slot>>,
    pub(super) budgets: Flip,
    pub(super) websocket: Websocket,
}

pub(super) fn counts_status(counts: Counts) -> CountsStatus {
    CountsStatus {
        requests: counts.requests,
        transfers: counts.transfers,
        websockets: counts.websockets,
    }
}

/// Of all pictures together.
pub(super) fn sum<'a>(pictures: impl IntoIterator<Item = &'a Arc<Slot>>) -> Counts {
    let mut sum = Counts::default();
    for picture in pictures {
        let counts = picture.in_flight.counts();
        sum.requests += counts.requests;
        sum.transfers += counts.transfers;
        sum.websockets += counts.websockets;
    }
    sum
}

fn budget(budgets: &Flip, kind: Kind) -> Duration {
    match kind {
        Kind::Request => budgets.drain_requests,
        Kind::Transfer => budgets.drain_transfers,
        Kind::Websocket => budgets.drain_websockets,
    }
}

/// When the last kind is cut off, after the start of the drain.
pub(super) fn longest(budgets: &Flip) -> Duration {
    let all = KINDS.map(|kind| budget(budgets, kind));
    all.into_iter().max().unwrap_or_default()
}

/// Drains and reports [`Message::Drained`].
pub(super) async fn run(drain: Drain, jobs: Jobs) {
    let cut = drain.until_empty(&jobs).await;
    jobs.report(Message::Drained {
        service: drain.service,
        slot: drain.slot,
        generation: drain.generation,
        flip: drain.flip,
        cut,
    })
    .await;
}

impl Drain {
    /// How many were cut off; a second after the last cut nobody is waited for any more.
    async fn until_empty(&self, jobs: &Jobs) -> CountsStatus {
        let started = Instant::now();
        let mut told = started;
        let mut cut = CountsStatus::default();
        loop {
            let left = sum(&self.pictures);
            let elapsed = started.elapsed();
            self.part(elapsed);
            if left.total() == 0 || elapsed >= longest(&self.budgets) + CUT_TAKES {
                return cut;
            }
            let now = self.cut_off(left, elapsed, jobs);
            cut.requests += now.requests;
            cut.transfers += now.transfers;
            cut.websockets += now.websockets;
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                self.tell(jobs, self.draining(left));
            }
            tokio::time::sleep(pause(elapsed)).await;
        }
    }

    /// Lets the websockets go, once it is time to.
    fn part(&self, elapsed: Duration) {
        let rules = &self.websocket;
        let (parting, spread) = match rules.on_flip {
            OnFlip::Move => (Parting::Moved, rules.spread),
            OnFlip::Keep => (Parting::Kept, rules.spread),
            OnFlip::Cut => (Parting::Cut, Duration::ZERO),
        };
        let stay = match rules.on_flip {
            OnFlip::Keep => {
                let takes = rules.spread + rules.close_timeout;
                self.budgets.drain_websockets.saturating_sub(takes)
            }
            OnFlip::Move | OnFlip::Cut => Duration::ZERO,
        };
        if elapsed < stay {
            return;
        }
        for slot in &self.pictures {
            if slot.departure.goodbye().is_some() {
                continue;
            }
            let websockets = slot.in_flight.counts().websockets;
            slot.departure
                .begin(Goodbye::new(parting, rules), websockets, spread);
            if websockets > 0 {
                tracing::info!(service = %self.service, slot = %self.slot, generation = self.generation.0,
                    websockets, code = rules.close_code, spread_ms = millis(spread), reason = parting.as_str(),
                    "closing websockets of the old slot");
            }
        }
    }

    /// Cuts off every kind whose budget is over; how many that were.
    fn cut_off(&self, left: Counts, elapsed: Duration, jobs: &Jobs) -> CountsStatus {
        let mut cut = CountsStatus::default();
        for kind in KINDS {
            let over = elapsed >= budget(&self.budgets, kind);
            let is_new = self.pictures.iter().any(|slot| !slot.is_cut_off(kind));
            if !over || !is_new {
                continue;
            }
            for slot in &self.pictures {
                slot.cut_off(kind);
            }
            match kind {
                Kind::Request => cut.requests = left.requests,
                Kind::Transfer => cut.transfers = left.transfers,
                Kind::Websocket => cut.websockets = left.websockets,
            }
        }
        let total = cut.requests + cut.transfers + cut.websockets;
        if total > 0 {
            tracing::warn!(service = %self.service, slot = %self.slot, generation = self.generation.0,
                requests = cut.requests, transfers = cut.transfers, websockets = cut.websockets,
                after_ms = millis(elapsed), "cut off what outlived its budget");
            let slot = self.slot.to_string();
            let generation = self.generation.0;
            let kind = EventKind::CutOff {
                slot,
                generation,
                cut,
            };
            self.tell(jobs, kind);
        }
        cut
    }

    fn draining(&self, left: Counts) -> EventKind {
        EventKind::Draining {
            slot: self.slot.to_string(),
            generation: self.generation.0,
            left: counts_status(left),
        }
    }

    fn tell(&self, jobs: &Jobs, kind: EventKind) {
        jobs.events
            .tell(About::flip(self.service.as_str(), self.flip), kind);
    }
}

/// Whoever waits for a short drain is told at once; a drain of hours is looked at ten times a second.
fn pause(elapsed: Duration) -> Duration {
    match elapsed.as_secs() {
        0 => Duration::from_millis(5),
        1..10 => Duration::from_millis(20),
        _ => Duration::from_millis(100),
    }
}
