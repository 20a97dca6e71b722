//! What others may know of the machine.

use super::event::{Operation, Persisted};
use super::health::SlotHealth;
use super::machine::{Stage, Switch};
use super::moment::Moment;
use super::rules::Rules;
use super::slot::{Generation, SlotName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing moves, drains or is watched.
    Steady,
    /// The target of an operation is being proven.
    Gating,
    /// The move is being written down; it is published right after.
    Publishing,
    /// Older generations drain, or the new one is watched. The next operation starts at once.
    Settling,
}

impl Phase {
    /// As the API and the logs spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Gating => "gating",
            Self::Publishing => "publishing",
            Self::Settling => "settling",
        }
    }
}

/// A generation that was left and is not empty yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    pub generation: Generation,
    pub slot: SlotName,
    pub since: Moment,
    /// The one that left it.
    pub operation: Operation,
}

impl Switch {
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    #[must_use]
    pub fn active(&self) -> &SlotName {
        &self.state.active
    }

    /// Where a rollback goes.
    #[must_use]
    pub fn previous(&self) -> Option<&SlotName> {
        self.state.previous.as_ref()
    }

    #[must_use]
    pub fn generation(&self) -> Generation {
        self.state.generation
    }

    /// When traffic last moved.
    #[must_use]
    pub fn moved(&self) -> Option<Moment> {
        self.state.moved
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.current.as_ref().map(|current| &current.stage) {
            Some(Stage::Gating) => Phase::Gating,
            Some(Stage::Recording { .. }) => Phase::Publishing,
            None if self.drains.is_empty() && !self.watching() => Phase::Steady,
            None => Phase::Settling,
        }
    }

    /// The operation that is gating or publishing, else the one that settles.
    #[must_use]
    pub fn operation(&self) -> Option<&Operation> {
        match &self.current {
            Some(current) => Some(&current.operation),
            None => self.settling.as_ref(),
        }
    }

    /// Oldest first.
    #[must_use]
    pub fn draining(&self) -> &[Draining] {
        &self.drains
    }

    /// What is in force, as it belongs on disk.
    #[must_use]
    pub fn persisted(&self) -> Persisted {
        self.state.clone()
    }

    /// Why traffic stays on a bad slot; none when the active slot is not known to be bad.
    #[must_use]
    pub fn staying(&self) -> Option<&str> {
        self.staying.as_deref()
    }

    /// What all slots fail with at the same time, in words; none while they do not.
    #[must_use]
    pub fn shared_cause(&self) -> Option<&str> {
        self.shared_cause.as_deref()
    }

    /// What an operator must hear about how this service started; none when all went as recorded.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// None for a slot that is not configured.
    #[must_use]
    pub fn health(&self, slot: &SlotName) -> Option<&SlotHealth> {
        self.health.get(slot).map(|seen| &seen.health)
    }

    /// Who listened at each address of a slot when it last served.
    #[must_use]
    pub fn users(&self, slot: &SlotName) -> Option<&BTreeMap<String, BTreeSet<u32>>> {
        self.state.users.get(slot)
    }

    #[must_use]
    pub fn shared(&self) -> &SlotHealth {
        &self.shared
    }

    /// Automatic moves that count against `max_moves`.
    #[must_use]
    pub fn moves_in_window(&self) -> u32 {
        let window = self.rules.failback.window;
        let counted = self
            .state
            .automatic_moves
            .iter()
            .filter(|at| self.now < at.after(window))
            .count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// When the limit of automatic moves allows one more; none while it does, and where it never will.
    #[must_use]
    pub fn limit_ends(&self) -> Option<Moment> {
        let failback = &self.rules.failback;
        let most = usize::try_from(failback.max_moves).ok()?;
        let all = &self.state.automatic_moves;
        // Oldest first: with this one gone there is one less than the limit.
        let next = all.len().checked_sub(most).filter(|_| most > 0)?;
        let ends = all.get(next)?.after(failback.window);
        (ends > self.now).then_some(ends)
    }

    /// Known to be unhealthy, or not to be there.
    pub(super) fn is_bad(&self, slot: &SlotName) -> bool {
        self.health(slot).and_then(SlotHealth::trouble).is_some()
    }

    pub(super) fn is_healthy(&self, slot: &SlotName) -> bool {
        self.health(slot) == Some(&SlotHealth::Healthy)
    }
}

/// `20:30:50 UTC`
pub(super) fn clock(at: Moment) -> String {
    let seconds = at.0 / 1000 % 86_400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

/// `90 s` as an operator would write it: `1m30s`.
pub(super) fn words(duration: Duration) -> String {
    let mut left = duration.as_millis();
    let mut text = String::new();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if left >= length {
            text += &(left / length).to_string();
            text += unit;
            left %= length;
        }
    }
    if text.is_empty() {
        text += "0s";
    }
    text
}
