//! What the machine knows of the disk, and when it may try again.

use super::event::{Effect, Persisted, Transition};
use super::machine::Switch;
use super::moment::Moment;
use super::status::Phase;
use std::time::Duration;

/// What the machine knows of the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    /// What it holds; none when a failure left that open.
    pub(super) written: Option<Persisted>,
    /// Failures in a row.
    failures: u32,
    /// Not before then is anything written that no operator asked for.
    pub(super) retry: Option<Retry>,
}

#[derive(Debug, Clone)]
pub(super) struct Retry {
    pub(super) at: Moment,
    pub(super) reason: String,
}

impl Disk {
    pub(super) fn holding(written: Option<Persisted>) -> Self {
        Self {
            written,
            ..Self::default()
        }
    }

    pub(super) fn failed(&mut self, now: Moment, reason: String) {
        // 1 s, doubling up to 4 s: a disk in trouble is asked again, but not in a loop; a move may wait for it.
        let wait = Duration::from_secs(1 << self.failures.min(2));
        self.failures = self.failures.saturating_add(1);
        self.written = None;
        self.retry = Some(Retry {
            at: now.after(wait),
            reason,
        });
    }

    pub(super) fn holds(&mut self, state: Persisted) {
        *self = Self::holding(Some(state));
    }

    /// Why nothing may be written by itself right now.
    pub(super) fn waits(&self, now: Moment) -> Option<&Retry> {
        self.retry.as_ref().filter(|retry| retry.at > now)
    }
}

impl Switch {
    /// Puts on disk what changed without an operation.
    ///
    /// Not while an operation's own record is under way: a write with the old slot in it must not land
    /// after one with the new slot.
    pub(super) fn write_state(&mut self, effects: &mut Vec<Effect>) {
        let recording = self.phase() == Phase::Publishing;
        let written = self.disk.written.as_ref() == Some(&self.state);
        if !recording && !written && self.disk.waits(self.now).is_none() {
            self.send_state(effects);
        }
    }

    pub(super) fn send_state(&mut self, effects: &mut Vec<Effect>) {
        self.disk.written = Some(self.state.clone());
        effects.push(Effect::Record(Box::new(Transition {
            operation: None,
            state: self.state.clone(),
        })));
    }
}
