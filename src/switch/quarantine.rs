//! A slot that traffic left by itself: no automatic move goes there until it has shown itself well.
//!
//! An operator's own move there asks first: it goes, through the gate, once the quarantine is acknowledged, by
//! `ack` before or by the move itself. When traffic has moved the quarantine is over.

use super::event::{Actor, Effect, Notice, PersistedQuarantine};
use super::health::SlotHealth;
use super::machine::Switch;
use super::moment::Moment;
use super::refusal::Refusal;
use super::slot::SlotName;
use super::status::words;
use super::watch::Terms;
use std::time::Duration;

/// A quarantine as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    pub since: Moment,
    /// Why traffic left.
    pub reason: String,
    pub acknowledged: bool,
    /// What still has to happen before it ends, in words.
    pub ends: String,
}

pub(super) fn begin(since: Moment, reason: String) -> PersistedQuarantine {
    PersistedQuarantine {
        since,
        reason,
        acknowledged: false,
    }
}

impl Switch {
    /// None when `slot` is not in quarantine.
    #[must_use]
    pub fn quarantine(&self, slot: &SlotName) -> Option<Quarantine> {
        let quarantine = self.state.quarantines.get(slot)?;
        Some(Quarantine {
            since: quarantine.since,
            reason: quarantine.reason.clone(),
            acknowledged: quarantine.acknowledged,
            ends: self.what_remains(slot, quarantine),
        })
    }

    fn what_remains(&self, slot: &SlotName, quarantine: &PersistedQuarantine) -> String {
        let mut steps = Vec::new();
        if !self.has_been_healthy(slot, quarantine) {
            let wait = words(self.rules.failback.quarantine);
            let today = match self.health(slot) {
                Some(SlotHealth::Healthy) => "it is healthy now",
                Some(SlotHealth::Unhealthy { .. }) => "it is unhealthy now",
                Some(SlotHealth::Absent { .. }) => "it is not there now",
                Some(SlotHealth::Unknown) | None => "its probes have yet to say",
            };
            steps.push(format!(
                "it must be healthy for {wait} without a break ({today})"
            ));
        }
        if self.needs_acknowledgement(quarantine) {
            steps.push(format!(
                "an operator must acknowledge it (`switchctl ack {slot}`)"
            ));
        }
        steps.join(", and ")
    }

    pub(super) fn acknowledge(
        &mut self,
        slot: SlotName,
        by: Actor,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.known(&slot)?;
        let Some(quarantine) = self.state.quarantines.get_mut(&slot) else {
            return Err(Refusal::NotQuarantined { slot });
        };
        quarantine.acknowledged = true;
        effects.push(Effect::Tell(Notice::Acknowledged { slot, by }));
        Ok(())
    }

    /// May an operator move traffic to `slot`, or has he to say first that he knows of its quarantine?
    pub(super) fn is_meant(
        &self,
        slot: &SlotName,
        forced: bool,
        terms: &Terms,
    ) -> Result<(), Refusal> {
        let Some(quarantine) = self.state.quarantines.get(slot) else {
            return Ok(());
        };
        if quarantine.acknowledged || terms.acknowledge || forced {
            return Ok(());
        }
        let whole = Duration::from_secs(self.now.since(quarantine.since).as_secs());
        Err(Refusal::Quarantined {
            slot: slot.clone(),
            lasts: words(whole),
            reason: quarantine.reason.clone(),
        })
    }

    pub(super) fn end_quarantines(&mut self, effects: &mut Vec<Effect>) {
        let over: Vec<SlotName> = self
            .state
            .quarantines
            .iter()
            .filter(|(slot, quarantine)| {
                self.has_been_healthy(slot, quarantine) && !self.needs_acknowledgement(quarantine)
            })
            .map(|(slot, _)| slot.clone())
            .collect();
        for slot in over {
            self.state.quarantines.remove(&slot);
            effects.push(Effect::Tell(Notice::QuarantineEnded { slot }));
        }
    }

    pub(super) fn quarantine_deadlines(&self) -> impl Iterator<Item = Moment> {
        self.state
            .quarantines
            .iter()
            .filter_map(|(slot, quarantine)| self.healthy_long_enough_at(slot, quarantine))
    }

    fn needs_acknowledgement(&self, quarantine: &PersistedQuarantine) -> bool {
        self.rules.failback.acknowledge && !quarantine.acknowledged
    }

    fn has_been_healthy(&self, slot: &SlotName, quarantine: &PersistedQuarantine) -> bool {
        self.healthy_long_enough_at(slot, quarantine)
            .is_some_and(|at| at <= self.now)
    }

    /// None while it is not healthy at all.
    fn healthy_long_enough_at(
        &self,
        slot: &SlotName,
        quarantine: &PersistedQuarantine,
    ) -> Option<Moment> {
        let seen = self.health.get(slot)?;
        let healthy = seen.health == SlotHealth::Healthy;
        let from = seen.since.max(quarantine.since);
        healthy.then(|| from.after(self.rules.failback.quarantine))
    }
}
