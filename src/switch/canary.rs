//! A canary: some of the new visitors go to a slot that is not active, before all traffic does.
//!
//! It has a generation of its own, which becomes the active one when traffic follows to it: whoever is there
//! stays there. Whatever else moves traffic ends it, and so does a slot that turns bad.

use super::event::{Actor, Direction, Effect, Notice, Operation, Persisted, Refusal, SlotHealth};
use super::failback::PROOF_LASTS;
use super::machine::Switch;
use super::moment::Moment;
use super::percent::{CanaryStep, Percent};
use super::quarantine;
use super::slot::{FlipId, Generation, SlotName};
use super::status::{Draining, words};
use super::watch::Terms;
use std::time::Duration;

/// What an operator may ask of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryOrder {
    /// Begins one, or changes its share.
    Share {
        /// None for the one that runs.
        slot: Option<SlotName>,
        /// None for the steps of the rules.
        share: Option<Percent>,
        /// Skips the gate; needs a reason.
        force: bool,
        reason: Option<String>,
    },
    /// All traffic follows: a flip.
    Promote {
        /// Only if it runs there.
        slot: Option<SlotName>,
        force: bool,
        reason: Option<String>,
    },
    /// Nobody goes there any more.
    Abort {
        slot: Option<SlotName>,
        reason: Option<String>,
    },
}

/// What happened to a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryEvent {
    /// Somebody came to this generation since that was last told.
    Seen(Generation),
    /// How this generation does, by what its visitors got.
    Judged {
        generation: Generation,
        judgement: Judgement,
    },
}

/// How a canary does since its share was last set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Judgement {
    /// Too few came to say.
    #[default]
    Inconclusive,
    /// Well enough to go on.
    Good,
    /// Too badly to stay; why.
    Breach(String),
}

/// A slot that some of the new visitors go to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PersistedCanary {
    pub slot: SlotName,
    /// Newer than the active one.
    pub generation: Generation,
    pub share: Percent,
    /// Which of the rules' steps it is at; none when an operator sets the share.
    pub step: Option<usize>,
    pub since: Moment,
    /// When the share was last set.
    pub changed: Moment,
    /// It was forced onto a slot that was not well, and has not been well since.
    #[serde(default)]
    pub unproven: bool,
}

/// What is told of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryNotice {
    /// It has begun or changed its share; none: it has come to its end.
    Set {
        operation: Operation,
        canary: Option<PersistedCanary>,
    },
    /// It has that share already.
    Unchanged { slot: SlotName, share: Percent },
    /// Traffic has moved: to its slot, or elsewhere.
    Over {
        flip: FlipId,
        slot: SlotName,
        promoted: bool,
    },
    /// Its next step failed, and no more follow by themselves.
    Halted { slot: SlotName, share: Percent },
}

/// Why an order about a canary was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanaryRefusal {
    #[error(
        "no canary is running, all traffic is on {active}; begin one with `switchctl canary SLOT 5%`"
    )]
    None { active: SlotName },
    #[error("slot {slot} is active: all traffic goes there already; a canary is for another slot")]
    OnActive { slot: SlotName },
    #[error(
        "a canary runs on {slot}; end it with `switchctl canary abort`, or move all traffic there with `switchctl canary promote`"
    )]
    Another { slot: SlotName },
    #[error(
        "how many of the new visitors? Say `switchctl canary SLOT 5%`, or write `steps` under [service.NAME.canary]"
    )]
    NoSteps,
}

impl Direction {
    /// The active slot stays the active one.
    #[must_use]
    pub fn is_aside(self) -> bool {
        matches!(self, Self::Canary | Self::Abort)
    }
}

/// What an operation wants of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Portion {
    pub share: Percent,
    /// Which of the rules' steps it is; none for one that an operator set.
    pub step: Option<usize>,
}

/// What is known of a running canary besides what is on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    /// When somebody last came, or it was last said how many shall.
    seen: Option<Moment>,
    judged: Judgement,
    /// Its slot has been well in this life of the daemon.
    was_well: bool,
}

/// What becomes of a canary by itself.
enum Next {
    Abort(String),
    Step(usize),
}

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
            } => {
                let to = slot.or(running).ok_or_else(no_canary)?;
                self.may_be_canary(&to)?;
                let portion = self.portion(share)?;
                let mut request = self.request(Direction::Canary, by, to).with(
                    force,
                    reason,
                    Terms::default(),
                )?;
                request.portion = Some(portion);
                self.is_free()?;
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

    fn end_of_canary(&self, slot: SlotName, by: Actor) -> Operation {
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
            if operation.by == Actor::itself() && self.has_failed(&operation.from) {
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
        if let Some(fingerprint) = self.database_at(operation.flip) {
            state.fingerprints.insert(operation.to.clone(), fingerprint);
        }
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

    fn has_failed(&self, slot: &SlotName) -> bool {
        matches!(self.health(slot), Some(SlotHealth::Unhealthy { .. }))
            || matches!(self.canary_watch.judged, Judgement::Breach(_))
    }
}

impl PersistedCanary {
    #[must_use]
    pub fn portion(&self) -> Portion {
        Portion {
            share: self.share,
            step: self.step,
        }
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
