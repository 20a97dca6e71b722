//! What an operator asks for, and whether it may start.

use super::event::{Actor, Command, Direction, Effect, Notice, Operation};
use super::machine::{Stage, Switch};
use super::refusal::Refusal;
use super::slot::{Generation, SlotName};
use super::watch::Terms;

impl Switch {
    pub(super) fn command(
        &mut self,
        by: Actor,
        command: Command,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        match command {
            Command::Acknowledge { slot } => self.acknowledge(slot, by, effects),
            Command::Canary(order) => self.canary_order(by, order, effects),
            Command::Confirm => self.confirm(by, effects),
            Command::Cancel { reason } => self.cancel(&by, reason.as_deref(), effects),
            Command::Label { slot, label } => self.put_label(by, slot, label, effects),
            Command::Flip {
                to,
                force,
                reason,
                expect,
                terms,
            } => {
                self.known(&to)?;
                self.expected(expect)?;
                let request = self.request(Direction::Flip, by, to);
                self.ask(request.with(force, reason, terms)?, effects)
            }
            Command::Rollback {
                force,
                reason,
                terms,
            } => {
                let Some(to) = self.state.previous.clone() else {
                    return Err(Refusal::NothingToRollBackTo {
                        active: self.state.active.clone(),
                    });
                };
                self.fits(&to, &terms)?;
                let request = self.request(Direction::Rollback, by, to);
                self.ask(request.with(force, reason, terms)?, effects)
            }
        }
    }

    /// Starts an operator's operation, unless another one stands in the way.
    pub(super) fn ask(
        &mut self,
        request: Operation,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.is_free()?;
        if request.to == self.state.active {
            effects.push(Effect::Tell(Notice::Unchanged {
                slot: self.state.active.clone(),
                generation: self.state.generation,
            }));
            return Ok(());
        }
        self.is_meant(&request.to, request.forced, &request.terms)?;
        self.start(request, effects);
        Ok(())
    }

    /// One operation at a time.
    pub(super) fn is_free(&self) -> Result<(), Refusal> {
        match &self.current {
            None => Ok(()),
            Some(current) => Err(Refusal::Busy {
                operation: Box::new(current.operation.clone()),
                stage: self.phase().as_str(),
                way_past: match current.stage {
                    Stage::Gating => {
                        "wait for it, look with `switchctl status`, or end it with `switchctl cancel`"
                    }
                    Stage::Recording { .. } => "wait for it, or look with `switchctl status`",
                },
            }),
        }
    }

    pub(super) fn request(&self, direction: Direction, by: Actor, to: SlotName) -> Operation {
        Operation {
            flip: self.state.flip.next(),
            direction,
            by,
            from: self.state.active.clone(),
            to,
            forced: false,
            reason: None,
            started: self.now,
            portion: None,
            terms: Terms::default(),
            blameless: false,
        }
    }

    pub(super) fn known(&self, slot: &SlotName) -> Result<(), Refusal> {
        if self.rules.slots.contains(slot) {
            return Ok(());
        }
        Err(Refusal::UnknownSlot {
            slot: slot.clone(),
            slots: self.rules.slots.clone(),
        })
    }

    fn expected(&self, expected: Option<Generation>) -> Result<(), Refusal> {
        match expected {
            Some(expected) if expected != self.state.generation => Err(Refusal::Outdated {
                expected,
                active: self.state.generation,
                slot: self.state.active.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl Operation {
    pub(super) fn with(
        self,
        force: bool,
        reason: Option<String>,
        terms: Terms,
    ) -> Result<Self, Refusal> {
        let reason = reason.filter(|reason| !reason.trim().is_empty());
        if force && reason.is_none() {
            return Err(Refusal::ForceNeedsReason);
        }
        Ok(Self {
            forced: force,
            reason,
            terms,
            ..self
        })
    }
}
