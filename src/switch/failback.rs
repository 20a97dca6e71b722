//! May traffic move by itself, where to, and if not, why not.
//!
//! After a move the slot that was left is in quarantine, and no target until that has ended: traffic does not
//! swing back and forth by itself. One thing is worse than swinging: to be down beside a slot that answers. So
//! when nobody can reach the active slot, neither a quarantine nor the limit of moves holds traffic back (see
//! `blame`); what an operator said does: `mode`, `max_moves = 0`, `--force`, and a database that has moved on.
//! Before any move all slots are asked afresh (see `afresh`).

use super::afresh::{Agreed, Said};
use super::blame::unasked;
use super::event::{Actor, Direction, Effect, Notice, Operation};
use super::health::SlotHealth;
use super::machine::{Current, Stage, Switch};
use super::moment::Moment;
use super::rules::FailbackMode;
use super::slot::SlotName;
use super::status::words;
use super::watch::Overdue;
use std::time::Duration;

/// A passed gate is fresher than the last that was told of the slot's health: for so long the probes
/// may catch up before an old verdict counts against it.
pub(super) const PROOF_LASTS: Duration = Duration::from_secs(10);

pub(super) enum Judgement {
    /// The active slot is not known to be bad, or traffic is leaving it by itself already.
    Well,
    /// What the slots say has to be heard first, or once more.
    Ask,
    Stay(String),
    /// The same, and nobody need be called: the active slot passes, and the probes will say so too.
    Recovers(String),
    Move {
        to: SlotName,
        reason: String,
        /// What is left may not be to blame.
        blameless: bool,
    },
}

/// A judgement by what the slots said, and when it is worth asking them again.
pub(super) struct Decision {
    pub(super) judgement: Judgement,
    pub(super) again: Duration,
    pub(super) agreed: Option<Agreed>,
    /// What the slots fail with, alike.
    pub(super) shared_cause: Option<String>,
}

impl Decision {
    pub(super) fn stay(why: String, again: Duration) -> Self {
        Self {
            again,
            ..Self::now(Judgement::Stay(why))
        }
    }

    pub(super) fn now(judgement: Judgement) -> Self {
        Self {
            judgement,
            again: Duration::ZERO,
            agreed: None,
            shared_cause: None,
        }
    }
}

impl Switch {
    pub(super) fn consider_failback(&mut self, effects: &mut Vec<Effect>) {
        match self.judge() {
            Judgement::Well => {
                self.staying = None;
                self.shared_cause = None;
            }
            Judgement::Ask => self.want_answers(),
            Judgement::Stay(reason) => {
                if self.staying.as_ref() != Some(&reason) {
                    effects.push(Effect::Tell(Notice::Staying {
                        slot: self.state.active.clone(),
                        reason: reason.clone(),
                    }));
                    self.staying = Some(reason);
                }
            }
            Judgement::Recovers(reason) => self.staying = Some(reason),
            Judgement::Move {
                to,
                reason,
                blameless,
            } => {
                self.staying = None;
                self.shared_cause = None;
                self.give_way(&to, &reason, effects);
                let request = self.request(Direction::Failback, Actor::itself(), to);
                let reason = Some(reason);
                let operation = Operation {
                    reason,
                    blameless,
                    ..request
                };
                self.start(operation, effects);
            }
        }
    }

    fn judge(&mut self) -> Judgement {
        let overdue = match self.overdue() {
            Some(overdue) => match self.go_back(overdue) {
                // A dead slot need not wait for one that nobody may go back to.
                Judgement::Stay(why) => Some(why),
                decided => return decided,
            },
            None => None,
        };
        match (self.judge_trouble(), overdue) {
            (
                Judgement::Move {
                    to,
                    reason,
                    blameless,
                },
                _,
            ) => Judgement::Move {
                to,
                reason,
                blameless,
            },
            (Judgement::Stay(more) | Judgement::Recovers(more), Some(why)) => {
                Judgement::Stay(format!("{why}; {more}"))
            }
            (Judgement::Well | Judgement::Ask, Some(why)) => Judgement::Stay(why),
            (judgement, None) => judgement,
        }
    }

    fn is_leaving(&self) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|it| it.operation.direction == Direction::Failback)
    }

    fn judge_trouble(&mut self) -> Judgement {
        let is_bad = self.is_bad(&self.state.active);
        let breach = self.breach().map(str::to_owned);
        if self.is_leaving() || (!is_bad && breach.is_none()) {
            return Judgement::Well;
        }
        let obstacle = self.obstacle().or_else(|| self.unwritten());
        if let Some(obstacle) = obstacle {
            return Judgement::Stay(obstacle);
        }
        self.want_answers();
        let Some(answers) = self.afresh.heard.take() else {
            return Judgement::Ask;
        };
        let passes = answers
            .get(&self.state.active)
            .is_some_and(|answer| answer.said == Said::Passed);
        let decision = match &breach {
            Some(breach) if !is_bad || passes => self.judge_breach(breach, &answers),
            _ => self.judge_health(&answers),
        };
        self.afresh.heard = Some(answers);
        self.decided(decision)
    }

    /// Remembers what was agreed, and when to ask again.
    fn decided(&mut self, decision: Decision) -> Judgement {
        self.heard_enough(decision.again);
        self.afresh.agreed = decision.agreed;
        self.shared_cause = decision.shared_cause;
        decision.judgement
    }

    /// An operator has asked for it, so no rule of failback speaks against it; but the slot must answer now.
    fn go_back(&mut self, Overdue { to, reason }: Overdue) -> Judgement {
        if self.is_leaving() {
            return Judgement::Well;
        }
        let obstacle = self
            .under_way()
            .or_else(|| self.unfit(&to))
            .or_else(|| self.unwritten());
        if let Some(obstacle) = obstacle {
            return Judgement::Stay(format!("{reason}, but {obstacle}"));
        }
        self.want_answers();
        let Some(answers) = &self.afresh.heard else {
            return Judgement::Ask;
        };
        let obstacle = match answers.get(&to).map(|answer| &answer.said) {
            Some(Said::Passed) => {
                return Judgement::Move {
                    to,
                    reason,
                    blameless: false,
                };
            }
            Some(Said::Failed(trouble) | Said::Unreachable { trouble, .. }) => {
                format!("{to} fails when asked now: {}", trouble.reason)
            }
            Some(Said::Unasked { reason }) => unasked(&to, reason),
            None => unasked(&to, "no answer"),
        };
        self.heard_enough(self.rules.round);
        Judgement::Stay(format!("{reason}, but {obstacle}"))
    }

    /// What is still gating gives way.
    fn under_way(&self) -> Option<String> {
        let Current { operation, stage } = self.current.as_ref()?;
        if matches!(stage, Stage::Gating) {
            return None;
        }
        Some(format!(
            "a move to {} by {} is under way; failback waits for its end",
            operation.to, operation.by
        ))
    }

    fn unwritten(&self) -> Option<String> {
        let retry = self.disk.waits(self.now)?;
        Some(format!(
            "a move could not be recorded, and is tried again: {}",
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
        if failback.max_moves == 0 {
            // An operator's word, where a limit that is used up is not.
            return self.limit();
        }
        if self.state.unproven {
            return Some(
                "traffic was forced here, and the slot has not been healthy since".to_owned(),
            );
        }
        if let Some(reason) = self.shared.trouble() {
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

    /// The slot that was active before, then the others in the order of the config.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &SlotName> {
        let previous = self.state.previous.as_ref();
        let others = self
            .rules
            .slots
            .iter()
            .filter(move |slot| **slot != self.state.active && Some(*slot) != previous);
        previous.into_iter().chain(others)
    }

    /// Why an operator who wants to go back cannot.
    fn unfit(&self, slot: &SlotName) -> Option<String> {
        self.unknown(slot)
            .or_else(|| self.quarantined(slot))
            .or_else(|| self.schema_moved(slot))
    }

    /// Why `slot` is not known to be healthy.
    pub(super) fn unknown(&self, slot: &SlotName) -> Option<String> {
        match self.health(slot) {
            Some(SlotHealth::Healthy) => None,
            Some(SlotHealth::Unhealthy { reason }) => {
                Some(format!("{slot} is unhealthy too: {reason}"))
            }
            Some(SlotHealth::Absent { reason }) => Some(format!("{slot} is not there: {reason}")),
            Some(SlotHealth::Unknown) | None => {
                Some(format!("{slot} has not been probed enough to know"))
            }
        }
    }

    pub(super) fn quarantined(&self, slot: &SlotName) -> Option<String> {
        let quarantine = self.quarantine(slot)?;
        Some(format!("{slot} is in quarantine: {}", quarantine.ends))
    }

    pub(super) fn limit(&self) -> Option<String> {
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
        let in_doubt = self.is_bad(active);
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
            .chain(self.asking_deadlines())
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
