//! What becomes of a canary by itself: its steps, its failure, its end when nobody comes any more.

use super::blame::Blame;
use super::canary_event::{CanaryEvent, CanaryNotice, Judgement, PersistedCanary, Portion};
use super::event::{Actor, Direction, Effect, Notice, Operation};
use super::failback::PROOF_LASTS;
use super::health::SlotHealth;
use super::machine::Switch;
use super::moment::Moment;
use super::percent::{CanaryStep, Percent};
use super::slot::SlotName;
use super::status::words;
use std::time::Duration;

/// What is known of a running canary besides what is on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    /// When somebody last came, or it was last said how many shall.
    pub(super) seen: Option<Moment>,
    pub(super) judged: Judgement,
    /// Its slot has been well in this life of the daemon.
    pub(super) was_well: bool,
}

/// What becomes of a canary by itself.
enum Next {
    Abort(Failure),
    Step(usize),
}

/// Why a canary ends by itself, and whose fault that is.
struct Failure {
    reason: String,
    blame: Blame,
}

impl Switch {
    pub(super) fn canary_event(&mut self, event: CanaryEvent) {
        let of = match &event {
            CanaryEvent::Seen(generation) | CanaryEvent::Judged { generation, .. } => *generation,
        };
        if self
            .state
            .canary
            .as_ref()
            .is_some_and(|it| it.generation == of)
        {
            match event {
                CanaryEvent::Seen(_) => self.canary_watch.seen = Some(self.now),
                CanaryEvent::Judged { judgement, .. } => self.canary_watch.judged = judgement,
            }
        }
    }

    pub(super) fn canary_health(&mut self, slot: &SlotName) {
        if self.is_healthy(slot)
            && let Some(canary) = self.state.canary.as_mut().filter(|it| it.slot == *slot)
        {
            canary.unproven = false;
            self.canary_watch.was_well = true;
        }
    }

    /// The steps stop where they are: an operator has to look.
    pub(super) fn stop_steps_after(&mut self, operation: &Operation, effects: &mut Vec<Effect>) {
        let by_itself = operation.by == Actor::itself() && operation.direction == Direction::Flip;
        let Some(canary) = self.state.canary.as_mut().filter(|_| by_itself) else {
            return;
        };
        canary.step = None;
        effects.push(Effect::Tell(Notice::Canary(CanaryNotice::Halted {
            slot: canary.slot.clone(),
            share: canary.share,
        })));
    }

    pub(super) fn consider_canary(&mut self, effects: &mut Vec<Effect>) {
        if self.current.is_some() || self.disk.waits(self.now).is_some() {
            return;
        }
        let Some(slot) = self.state.canary.as_ref().map(|it| it.slot.clone()) else {
            return;
        };
        let operation = match self.next_of_canary() {
            None => return,
            Some(Next::Abort(Failure { reason, blame })) => Operation {
                reason: Some(reason),
                blameless: blame == Blame::Unproven,
                ..self.end_of_canary(slot, Actor::itself())
            },
            Some(Next::Step(at)) => match self.rules.canary.steps[at] {
                CanaryStep::Share { share, .. } => Operation {
                    portion: Some(Portion {
                        share,
                        step: Some(at),
                    }),
                    ..self.request(Direction::Canary, Actor::itself(), slot)
                },
                CanaryStep::Promote => Operation {
                    reason: Some("the canary has passed its last step".to_owned()),
                    ..self.request(Direction::Flip, Actor::itself(), slot)
                },
            },
        };
        self.start(operation, effects);
    }

    fn next_of_canary(&mut self) -> Option<Next> {
        if let Some(failure) = self.canary_fails() {
            return Some(Next::Abort(failure));
        }
        let canary = self.canary()?;
        if self.canary_idles(canary).is_some_and(|at| at <= self.now) {
            let idle = words(self.rules.canary.idle);
            return Some(Next::Abort(Failure {
                reason: format!("nobody has come to it for {idle}"),
                blame: Blame::Unproven,
            }));
        }
        let is_due = self.canary_step_ends().is_some_and(|at| at <= self.now);
        let is_judged = self.rules.canary.is_judged;
        let is_good = !is_judged || self.canary_watch.judged == Judgement::Good;
        let goes_on = is_due && is_good && self.is_healthy(&canary.slot);
        let step = canary.step.filter(|_| goes_on)?;
        Some(Next::Step(step + 1))
    }

    /// Its slot is bad, and the active one, asked at the same moment, is better.
    fn canary_fails(&mut self) -> Option<Failure> {
        let canary = self.canary()?;
        let (slot, active) = (canary.slot.clone(), self.state.active.clone());
        let Some(reason) = self.health(&slot).and_then(SlotHealth::trouble) else {
            let Judgement::Breach(reason) = &self.canary_watch.judged else {
                return None;
            };
            let reason = reason.clone();
            self.want_answers();
            let is_certain = self.is_no_worse(&active);
            return self.once_heard(is_certain.then_some(Failure {
                reason,
                blame: Blame::Slot,
            }));
        };
        let shared_fails = self.shared.trouble().is_some();
        let is_starting = !self.canary_watch.was_well && self.canary_grace_ends() > self.now;
        let has_just_passed = self.canary_proof_ends().is_some_and(|end| end > self.now);
        if canary.unproven || shared_fails || is_starting || has_just_passed {
            return None;
        }
        let reason = format!("{slot} is unhealthy: {reason}");
        self.want_answers();
        let better = self.is_better(&slot, &active);
        if self.afresh.heard.is_some() {
            let since = better.map(|_| self.afresh.canary_agreed.unwrap_or(self.now));
            self.afresh.canary_agreed = since;
        }
        let since = self.afresh.canary_agreed;
        let failure = better.zip(since).and_then(|(better, since)| {
            let blame = better.blame;
            let is_certain = since.after(better.wait) <= self.now;
            is_certain.then_some(Failure { reason, blame })
        });
        self.once_heard(failure)
    }

    fn once_heard(&mut self, failure: Option<Failure>) -> Option<Failure> {
        if failure.is_none() && self.afresh.heard.is_some() {
            self.heard_enough(self.rules.round);
        }
        failure
    }

    /// A passed gate is fresher than what was told of its slot before.
    fn canary_proof_ends(&self) -> Option<Moment> {
        let slot = &self.canary()?.slot;
        let proof = self.proven.as_ref().filter(|proof| proof.slot == *slot);
        proof.map(|proof| proof.at.after(PROOF_LASTS))
    }

    /// Both may be starting together with the daemon.
    fn canary_grace_ends(&self) -> Moment {
        self.began.after(self.rules.failback.start_grace)
    }

    fn canary_idles(&self, canary: &PersistedCanary) -> Option<Moment> {
        let seen = self.canary_watch.seen.unwrap_or(self.began);
        let last = seen.max(canary.changed);
        let wait: Duration = self.rules.canary.idle;
        (canary.share == Percent::NONE).then(|| last.after(wait))
    }

    /// When time alone may change what becomes of a canary.
    pub(super) fn canary_deadlines(&self) -> impl Iterator<Item = Moment> {
        let canary = self.canary();
        let idles = canary.and_then(|canary| self.canary_idles(canary));
        let grace = canary.map(|_| self.canary_grace_ends());
        let steps = self.canary_step_ends();
        let proof = self.canary_proof_ends();
        idles.into_iter().chain(grace).chain(steps).chain(proof)
    }
}
