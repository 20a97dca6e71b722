//! A canary: some of the new visitors go to a slot that is not active, before all traffic does.
//!
//! It has a generation of its own, which becomes the active one when traffic follows to it: whoever is there
//! stays there. Whatever else moves traffic ends it, and so does a slot that turns bad.

use super::canary_course::Watch;
use super::canary_event::{
    CanaryNotice, CanaryOrder, CanaryRefusal, Judgement, PersistedCanary, Portion,
};
use super::event::{Actor, Direction, Effect, Notice, Operation, Persisted};
use super::machine::Switch;
use super::moment::Moment;
use super::percent::{CanaryStep, Percent};
use super::quarantine;
use super::refusal::Refusal;
use super::slot::{Generation, SlotName};
use super::status::Draining;
use super::watch::Terms;

impl Switch {
    /// None when all visitors go to the active slot.
    #[must_use]
    pub fn canary(&self) -> Option<&PersistedCanary> {
        self.state.canary.as_ref()
    }

    /// When the canary goes on by itself, unless its slot is not well then.
    #[must_use]
    pub fn canary_step_ends(&self) -> Option<Moment> {
        let canary = self.canary()?;
        let steps = &self.rules.canary.steps;
        let at = canary.step?;
        let CanaryStep::Share { lasts, .. } = *steps.get(at)? else {
            return None;
        };
        steps.get(at + 1)?;
        lasts.map(|lasts| canary.changed.after(lasts))
    }

    pub(super) fn canary_order(
        &mut self,
        by: Actor,
        order: CanaryOrder,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let running = self.state.canary.as_ref().map(|canary| canary.slot.clone());
        let no_canary = || CanaryRefusal::None {
            active: self.state.active.clone(),
        };
        match order {
            CanaryOrder::Share {
                slot,
                share,
                force,
                reason,
                terms,
            } => {
                let to = slot.or(running).ok_or_else(no_canary)?;
                self.may_be_canary(&to)?;
                let portion = self.portion(share)?;
                let request = self.request(Direction::Canary, by, to);
                let mut request = request.with(force, reason, terms)?;
                request.portion = Some(portion);
                self.is_free()?;
                self.is_meant(&request.to, request.forced, &request.terms)?;
                self.share(request, portion, effects);
                Ok(())
            }
            CanaryOrder::Promote {
                slot,
                force,
                reason,
            } => {
                let to = running.ok_or_else(no_canary)?;
                self.may_be_canary(slot.as_ref().unwrap_or(&to))?;
                let request =
                    self.request(Direction::Flip, by, to)
                        .with(force, reason, Terms::default())?;
                self.ask(request, effects)
            }
            CanaryOrder::Abort { slot, reason } => {
                let from = running.ok_or_else(no_canary)?;
                self.may_be_canary(slot.as_ref().unwrap_or(&from))?;
                self.is_free()?;
                let request = self
                    .end_of_canary(from, by)
                    .with(false, reason, Terms::default())?;
                self.start(request, effects);
                Ok(())
            }
        }
    }

    fn may_be_canary(&self, slot: &SlotName) -> Result<(), Refusal> {
        self.known(slot)?;
        if *slot == self.state.active {
            return Err(CanaryRefusal::OnActive { slot: slot.clone() }.into());
        }
        match &self.state.canary {
            Some(canary) if canary.slot != *slot => Err(CanaryRefusal::Another {
                slot: canary.slot.clone(),
            }
            .into()),
            _ => Ok(()),
        }
    }

    fn portion(&self, share: Option<Percent>) -> Result<Portion, Refusal> {
        match (share, self.rules.canary.steps.first()) {
            (Some(share), _) => Ok(Portion { share, step: None }),
            (None, Some(CanaryStep::Share { share, .. })) => Ok(Portion {
                share: *share,
                step: Some(0),
            }),
            (None, _) => Err(CanaryRefusal::NoSteps.into()),
        }
    }

    fn share(&mut self, request: Operation, portion: Portion, effects: &mut Vec<Effect>) {
        let running = self.state.canary.as_ref();
        if running.is_some_and(|canary| canary.portion() == portion) {
            effects.push(Effect::Tell(Notice::Canary(CanaryNotice::Unchanged {
                slot: request.to,
                share: portion.share,
            })));
            return;
        }
        self.start(request, effects);
    }

    /// One that runs has proved itself: only its beginning is gated.
    pub(super) fn goes_ungated(&self, operation: &Operation) -> bool {
        match operation.direction {
            Direction::Failback | Direction::Abort => true,
            Direction::Canary => self.state.canary.is_some(),
            Direction::Flip | Direction::Rollback => false,
        }
    }

    pub(super) fn end_of_canary(&self, slot: SlotName, by: Actor) -> Operation {
        let to = self.state.active.clone();
        let request = self.request(Direction::Abort, by, to);
        Operation {
            from: slot,
            ..request
        }
    }

    /// What is in force once `operation` has begun, changed or ended a canary.
    pub(super) fn after_canary(&self, operation: &Operation, at: Moment) -> Persisted {
        let mut state = self.state.clone();
        let Some(portion) = operation.portion else {
            state.canary = None;
            let is_to_blame = self.has_failed(&operation.from) && !operation.blameless;
            if operation.by == Actor::itself() && is_to_blame {
                let reason = operation.reason.clone().unwrap_or_default();
                let quarantine = quarantine::begin(at, reason);
                state.quarantines.insert(operation.from.clone(), quarantine);
            }
            return state;
        };
        let Portion { share, step } = portion;
        if let Some(canary) = &mut state.canary {
            canary.share = share;
            canary.step = step;
            canary.changed = at;
            return state;
        }
        self.remember_databases(operation.flip, &operation.to, &mut state);
        state.newest = state.newest_generation().next();
        state.canary = Some(PersistedCanary {
            slot: operation.to.clone(),
            generation: state.newest,
            share,
            step,
            since: at,
            changed: at,
            unproven: operation.forced && !self.is_healthy(&operation.to),
        });
        state
    }

    /// Traffic moves: the canary's generation is the active one from now on, or there is no canary any more.
    pub(super) fn canary_gives_way(state: &mut Persisted, to: &SlotName) -> Generation {
        let generation = match state.canary.take() {
            Some(canary) if canary.slot == *to => canary.generation,
            _ => state.newest_generation().next(),
        };
        state.newest = state.newest_generation().max(generation);
        generation
    }

    pub(super) fn publish_canary(
        &mut self,
        operation: Operation,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.state.canary.clone();
        self.state = self.after_canary(&operation, at);
        self.canary_watch.seen = Some(self.now);
        // What it did with fewer visitors says nothing of what it does with more.
        self.canary_watch.judged = Judgement::Inconclusive;
        self.canary_watch.was_well |= self.is_healthy(&operation.to);
        effects.push(Effect::Share {
            flip: operation.flip,
            canary: self.state.canary.clone(),
        });
        effects.push(Effect::Tell(Notice::Canary(CanaryNotice::Set {
            operation: operation.clone(),
            canary: self.state.canary.clone(),
        })));
        let Some(left) = before.filter(|_| self.state.canary.is_none()) else {
            return;
        };
        self.drain_canary(left, operation.clone(), effects);
        if let Some(quarantine) = self.state.quarantines.get(&operation.from)
            && quarantine.since == at
        {
            effects.push(Effect::Tell(Notice::Quarantined {
                slot: operation.from.clone(),
                reason: quarantine.reason.clone(),
            }));
        }
        self.unsettled = true;
        self.settling = Some(operation);
    }

    /// Traffic has moved by `operation`: what ran before gets its end.
    pub(super) fn canary_has_given_way(
        &mut self,
        before: Option<PersistedCanary>,
        operation: &Operation,
        effects: &mut Vec<Effect>,
    ) {
        let Some(canary) = before else { return };
        self.canary_watch = Watch::default();
        let promoted = canary.slot == operation.to;
        effects.push(Effect::Tell(Notice::Canary(CanaryNotice::Over {
            flip: operation.flip,
            slot: canary.slot.clone(),
            promoted,
        })));
        if !promoted {
            let end = Operation {
                direction: Direction::Abort,
                from: canary.slot.clone(),
                ..operation.clone()
            };
            self.drain_canary(canary, end, effects);
        }
    }

    fn drain_canary(
        &mut self,
        canary: PersistedCanary,
        operation: Operation,
        effects: &mut Vec<Effect>,
    ) {
        self.canary_watch = Watch::default();
        effects.push(Effect::Drain {
            flip: operation.flip,
            slot: canary.slot.clone(),
            generation: canary.generation,
        });
        self.drains.push(Draining {
            generation: canary.generation,
            slot: canary.slot,
            since: self.now,
            operation,
        });
    }

    fn has_failed(&self, slot: &SlotName) -> bool {
        self.is_bad(slot) || matches!(self.canary_watch.judged, Judgement::Breach(_))
    }
}

impl Persisted {
    /// The newest that was ever given out.
    #[must_use]
    pub fn newest_generation(&self) -> Generation {
        let canary = self.canary.as_ref().map(|canary| canary.generation);
        self.newest
            .max(self.generation)
            .max(canary.unwrap_or_default())
    }
}
