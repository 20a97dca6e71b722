//! What becomes of a canary by itself: its steps, its failure, its end when nobody comes any more.

use super::canary_event::{CanaryEvent, CanaryNotice, Judgement, PersistedCanary, Portion};
use super::event::{Actor, Direction, Effect, Notice, Operation, SlotHealth};
use super::failback::PROOF_LASTS;
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
    Abort(String),
    Step(usize),
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
            Some(Next::Abort(reason)) => Operation {
                reason: Some(reason),
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

    fn next_of_canary(&self) -> Option<Next> {
        let canary = self.canary()?;
        if let Some(reason) = self.canary_fails(canary) {
            return Some(Next::Abort(reason));
        }
        if self.canary_idles(canary).is_some_and(|at| at <= self.now) {
            let idle = words(self.rules.canary.idle);
            return Some(Next::Abort(format!("nobody has come to it for {idle}")));
        }
        let is_due = self.canary_step_ends().is_some_and(|at| at <= self.now);
        let is_judged = self.rules.canary.is_judged;
        let is_good = !is_judged || self.canary_watch.judged == Judgement::Good;
        let goes_on = is_due && is_good && self.is_healthy(&canary.slot);
        let step = canary.step.filter(|_| goes_on)?;
        Some(Next::Step(step + 1))
    }

    /// Its slot is bad, and the active one may be better.
    fn canary_fails(&self, canary: &PersistedCanary) -> Option<String> {
        let Some(SlotHealth::Unhealthy { reason }) = self.health(&canary.slot) else {
            return match &self.canary_watch.judged {
                Judgement::Breach(reason) => Some(reason.clone()),
                _ => None,
            };
        };
        let shared_fails = matches!(self.shared, SlotHealth::Unhealthy { .. });
        let is_starting = !self.canary_watch.was_well && self.canary_grace_ends() > self.now;
        let has_just_passed = self.canary_proof_ends().is_some_and(|end| end > self.now);
        let may_stay = canary.unproven || shared_fails || is_starting || has_just_passed;
        (!may_stay).then(|| format!("{} is unhealthy: {reason}", canary.slot))
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
