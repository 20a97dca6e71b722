//! May traffic move by itself, where to, and if not, why not.
//!
//! After a move the slot that was left is in quarantine, and never a target until that has ended:
//! traffic does not swing back and forth by itself.

use super::event::{Actor, Direction, Effect, Notice, Operation, SlotHealth};
use super::machine::Switch;
use super::moment::Moment;
use super::rules::FailbackMode;
use super::slot::SlotName;
use super::status::words;
use super::watch::Overdue;
use std::time::Duration;

/// A passed gate is fresher than the last that was told of the slot's health: for so long the probes
/// may catch up before an old verdict counts against it.
pub(super) const PROOF_LASTS: Duration = Duration::from_secs(10);

enum Judgement {
    /// The active slot is not known to be bad, or traffic is leaving it by itself already.
    Well,
    Stay(String),
    Move {
        to: SlotName,
        reason: String,
    },
}

impl Switch {
    pub(super) fn consider_failback(&mut self, effects: &mut Vec<Effect>) {
        match self.judge() {
            Judgement::Well => self.staying = None,
            Judgement::Stay(reason) => {
                if self.staying.as_ref() != Some(&reason) {
                    effects.push(Effect::Tell(Notice::Staying {
                        slot: self.state.active.clone(),
                        reason: reason.clone(),
                    }));
                    self.staying = Some(reason);
                }
            }
            Judgement::Move { to, reason } => {
                self.staying = None;
                let request = self.request(Direction::Failback, Actor::itself(), to);
                let reason = Some(reason);
                self.start(Operation { reason, ..request }, effects);
            }
        }
    }

    fn judge(&self) -> Judgement {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.operation.direction == Direction::Failback)
        {
            return Judgement::Well;
        }
        if let Some(overdue) = self.overdue() {
            return self.go_back(overdue);
        }
        let Some(reason) = self.trouble() else {
            return Judgement::Well;
        };
        if let Some(obstacle) = self.obstacle() {
            return Judgement::Stay(obstacle);
        }
        let to = match self.target() {
            Ok(to) => to.clone(),
            Err(why) => return Judgement::Stay(why),
        };
        if let Some(limit) = self.limit() {
            return Judgement::Stay(limit);
        }
        if let Some(unrecorded) = self.unrecorded(&to) {
            return Judgement::Stay(unrecorded);
        }
        let reason = reason.to_owned();
        Judgement::Move { to, reason }
    }

    /// An operator has asked for it, so no rule of failback speaks against it.
    fn go_back(&self, Overdue { to, reason }: Overdue) -> Judgement {
        let obstacle = self
            .under_way()
            .or_else(|| self.unfit(&to))
            .or_else(|| self.unrecorded(&to));
        match obstacle {
            Some(obstacle) => Judgement::Stay(format!("{reason}, but {obstacle}")),
            None => Judgement::Move { to, reason },
        }
    }

    /// Why traffic should leave the active slot.
    fn trouble(&self) -> Option<&str> {
        match self.health(&self.state.active) {
            Some(SlotHealth::Unhealthy { reason }) => Some(reason),
            _ => self.breach(),
        }
    }

    fn under_way(&self) -> Option<String> {
        let operation = &self.current.as_ref()?.operation;
        Some(format!(
            "a move to {} by {} is under way; failback waits for its end",
            operation.to, operation.by
        ))
    }

    fn unrecorded(&self, to: &SlotName) -> Option<String> {
        let retry = self.disk.waits(self.now)?;
        Some(format!(
            "the move to {to} could not be recorded, and is tried again: {}",
            retry.reason
        ))
    }

    /// What speaks against any automatic move, wherever it would go.
    fn obstacle(&self) -> Option<String> {
        let failback = &self.rules.failback;
        match failback.mode {
            FailbackMode::Off => return Some("failback is off".to_owned()),
            FailbackMode::AfterFlip if !self.watching() => {
                return Some(format!(
                    "failback is limited to {} after a flip, once per flip",
                    words(failback.watch)
                ));
            }
            FailbackMode::Always | FailbackMode::AfterFlip => {}
        }
        if let Some(under_way) = self.under_way() {
            return Some(under_way);
        }
        if self.state.unproven {
            return Some(
                "traffic was forced here, and the slot has not been healthy since".to_owned(),
            );
        }
        if let SlotHealth::Unhealthy { reason } = &self.shared {
            return Some(format!("what the slots share fails: {reason}"));
        }
        if let Some(starting) = self.still_starts() {
            return Some(starting);
        }
        if self.proof_ends().is_some_and(|end| end > self.now) {
            return Some("the slot has just passed its gate; the probes look again".to_owned());
        }
        None
    }

    /// The best slot to go to; else what is wrong with each of them.
    fn target(&self) -> Result<&SlotName, String> {
        let mut why = Vec::new();
        for slot in self.candidates() {
            match self.unfit(slot) {
                None => return Ok(slot),
                Some(reason) => why.push(reason),
            }
        }
        Err(why.join("; "))
    }

    /// The slot that was active before, then the others in the order of the config.
    fn candidates(&self) -> impl Iterator<Item = &SlotName> {
        let previous = self.state.previous.as_ref();
        let others = self
            .rules
            .slots
            .iter()
            .filter(move |slot| **slot != self.state.active && Some(*slot) != previous);
        previous.into_iter().chain(others)
    }

    fn unfit(&self, slot: &SlotName) -> Option<String> {
        match self.health(slot) {
            Some(SlotHealth::Unhealthy { reason }) => {
                Some(format!("{slot} is unhealthy too: {reason}"))
            }
            Some(SlotHealth::Healthy) => self
                .quarantine(slot)
                .map(|quarantine| format!("{slot} is in quarantine: {}", quarantine.ends))
                .or_else(|| self.schema_moved(slot)),
            Some(SlotHealth::Unknown) | None => {
                Some(format!("{slot} has not been probed enough to know"))
            }
        }
    }

    fn limit(&self) -> Option<String> {
        let failback = &self.rules.failback;
        (self.moves_in_window() >= failback.max_moves).then(|| {
            format!(
                "the limit of {} automatic moves within {} is reached",
                failback.max_moves,
                words(failback.window)
            )
        })
    }

    /// Is the time after an operator's move still running, in which failback is allowed after-flip?
    pub(super) fn watching(&self) -> bool {
        self.watch_ends().is_some_and(|end| end > self.now)
    }

    fn watch_ends(&self) -> Option<Moment> {
        // An automatic move opens no watch: at most one per flip.
        let after_flip = self.rules.failback.mode == FailbackMode::AfterFlip;
        self.watched_until().filter(|_| after_flip)
    }

    /// Both slots may be starting together with the daemon: then the slower one is not a bad one.
    fn start_ends(&self) -> Option<Moment> {
        let grace = self.rules.failback.start_grace;
        self.starting.map(|started| started.after(grace))
    }

    /// The active slot may still be starting together with the daemon.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.start_ends().is_some_and(|end| end > self.now)
    }

    /// Traffic stays for no other reason than that.
    #[must_use]
    pub fn stays_for_its_start(&self) -> bool {
        self.staying.is_some() && self.staying == self.still_starts()
    }

    fn still_starts(&self) -> Option<String> {
        self.is_starting().then(|| {
            format!(
                "it has not been healthy yet since switchd started, and has {} to become so",
                words(self.rules.failback.start_grace)
            )
        })
    }

    /// Only while the probes' last word contradicts the gate.
    pub(super) fn proof_ends(&self) -> Option<Moment> {
        let proof = self.proven.as_ref();
        let active = &self.state.active;
        let in_doubt = matches!(self.health(active), Some(SlotHealth::Unhealthy { .. }));
        proof
            .filter(|proof| in_doubt && proof.slot == *active)
            .map(|proof| proof.at.after(PROOF_LASTS))
    }

    /// When time alone may change what failback does.
    pub(super) fn failback_deadlines(&self) -> impl Iterator<Item = Moment> {
        let failback = &self.rules.failback;
        let remembered = failback.window.max(failback.watch);
        self.state
            .automatic_moves
            .iter()
            .flat_map(move |at| [at.after(failback.window), at.after(remembered)])
            .chain(self.watch_ends())
            .chain(self.start_ends())
            .chain(self.unconfirmed())
    }

    /// Longer than the limit needs where the watch is longer: the last one also tells who moved last.
    pub(super) fn forget_old_moves(&mut self) {
        let remembered = self.rules.failback.window.max(self.rules.failback.watch);
        let now = self.now;
        self.state
            .automatic_moves
            .retain(|at| now < at.after(remembered));
    }
}
