//! The last minute of every slot, whether it is watched or not.

use crate::api::LastMinute;
use crate::control::clock::millis;
use crate::control::steered::Steered;
use crate::switch::Moment;
use crate::switch::Share;
use crate::switch::SlotName;
use crate::switch::Tally;
use crate::switch::Track;
use std::collections::BTreeMap;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

/// What slots had counted at some moments of the last minute.
#[derive(Debug, Default)]
pub(in crate::control) struct LastMinutes(BTreeMap<SlotName, Track>);

impl LastMinutes {
    fn mark(&mut self, slot: &SlotName, now: Moment, tally: &Tally) {
        match self.0.get_mut(slot) {
            Some(track) => track.mark(now, tally),
            None => {
                self.0.insert(slot.clone(), Track::new(MINUTE, now, tally));
            }
        }
    }
}

impl Steered {
    /// Remembers what every slot has counted up to now.
    pub(super) fn mark_last_minutes(&mut self, now: Moment) {
        for slot in &self.slots {
            self.last_minutes
                .mark(&slot.name, now, &slot.metrics.tally());
        }
        let slots = &self.slots;
        let tracks = &mut self.last_minutes.0;
        tracks.retain(|name, _| slots.iter().any(|slot| slot.name == *name));
    }

    pub(in crate::control) fn last_minute(&self, slot: &SlotName, now: Moment) -> LastMinute {
        let index = self.index_of(slot);
        let track = self.last_minutes.0.get(slot);
        let Some((index, track)) = index.zip(track) else {
            return LastMinute::default();
        };
        let begun = track.mark_before(now, MINUTE);
        let tally = self.slots[index].metrics.tally().since(begun.tally);
        let seconds = now.since(begun.at).as_secs_f64();
        figures(&tally, seconds)
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "nobody reads so many digits of a rate"
)]
fn figures(tally: &Tally, seconds: f64) -> LastMinute {
    let Share(hundredths) = tally.error_rate();
    let per_second = tally.requests as f64 / seconds.max(1.0);
    LastMinute {
        seconds: (seconds * 10.0).round() / 10.0,
        requests: tally.requests,
        requests_per_second: (per_second * 100.0).round() / 100.0,
        failed: tally.failed,
        rpc_errors: tally.rpc_errors,
        error_percent: f64::from(hundredths) / 100.0,
        p50_ms: tally.percentile(50).map(millis),
        p95_ms: tally.percentile(95).map(millis),
    }
}
