//! The machine: which slot of one service is active, and the steps by which that changes.
//!
//! `Steady → Gating → Publishing → Settling → Steady`. Draining is not a step of an operation: from
//! `Settling` the next one starts at once, so several generations may drain side by side.
//!
//! Two moves at once would leave nobody able to say where traffic goes. So failback waits for one that is being
//! published. One that is still gating has moved nothing, and a gate may wait long for a slot that is starting:
//! when traffic has to leave the active slot and another one is fit to take it, the operation gives way and is
//! ended with that reason (see `cancel`). When no other slot is fit it goes on: it may be what saves the site.

use super::afresh::Afresh;
use super::disk::Disk;
use super::event::{Direction, Effect, Event, Notice, Operation, Passed, Persisted, Transition};
use super::health::SlotHealth;
use super::moment::Moment;
use super::quarantine;
use super::refusal::Refusal;
use super::rules::Rules;
use super::slot::{FlipId, Generation, SlotName};
use super::status::{Draining, Phase};
use super::watch::Watched;
use std::collections::{BTreeMap, BTreeSet};

/// The state machine of one service.
///
/// Pure: time comes with each event, and what follows from it is returned. Call
/// [`apply`](Self::apply) with [`Event::Tick`] once after [`new`](Self::new), so that the first start
/// puts the active slot on disk: from then on an edited `initial` moves nothing.
#[derive(Debug, Clone)]
pub struct Switch {
    pub(super) rules: Rules,
    /// What is in force.
    pub(super) state: Persisted,
    pub(super) disk: Disk,
    /// The operation that is gating or publishing.
    pub(super) current: Option<Current>,
    /// The operation that traffic last moved by, until the service is steady.
    pub(super) settling: Option<Operation>,
    pub(super) unsettled: bool,
    /// Oldest first.
    pub(super) drains: Vec<Draining>,
    pub(super) health: BTreeMap<SlotName, Seen>,
    pub(super) shared: SlotHealth,
    /// The gate that was passed last, unless the probes have spoken of that slot since.
    pub(super) proven: Option<Proof>,
    /// When the daemon started, until the active slot was healthy once.
    pub(super) starting: Option<Moment>,
    /// When the daemon started.
    pub(super) began: Moment,
    pub(super) canary_watch: super::canary_course::Watch,
    pub(super) watched: Watched,
    pub(super) afresh: Afresh,
    pub(super) staying: Option<String>,
    /// What all slots fail with, alike.
    pub(super) shared_cause: Option<String>,
    pub(super) warning: Option<String>,
    pub(super) wake: Option<Moment>,
    /// The time of the latest event.
    pub(super) now: Moment,
}

#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) operation: Operation,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    Gating,
    /// Holds what was sent to disk.
    Recording {
        at: Moment,
        sent: Box<Persisted>,
    },
}

/// A passed gate.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    pub(super) slot: SlotName,
    pub(super) at: Moment,
}

/// A slot's health as last told.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) health: SlotHealth,
    /// Since when it has been in that state, whatever the words.
    pub(super) since: Moment,
}

impl Switch {
    /// Takes one event and returns what to do now, in this order.
    ///
    /// # Errors
    /// A [`Refusal`] changes nothing.
    pub fn apply(&mut self, now: Moment, event: Event) -> Result<Vec<Effect>, Refusal> {
        self.now = self.now.max(now);
        let mut effects = Vec::new();
        self.take(event, &mut effects)?;
        self.forget_old_moves();
        self.end_quarantines(&mut effects);
        self.begin_to_judge();
        self.consider_failback(&mut effects);
        self.consider_canary(&mut effects);
        self.ask_afresh(&mut effects);
        self.settle(&mut effects);
        self.write_state(&mut effects);
        self.ask_to_be_woken(&mut effects);
        debug_assert_eq!(self.check_invariants(), Ok(()));
        Ok(effects)
    }

    fn take(&mut self, event: Event, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        match event {
            Event::Command { by, command } => self.command(by, command, effects)?,
            Event::Gated { flip, verdict } => self.gated(flip, verdict, effects),
            Event::Recorded { flip, result } => self.recorded(flip, result, effects),
            Event::Unrecorded { reason } => self.disk.failed(self.now, reason),
            Event::Drained { generation, cut } => self.drained(generation, cut, effects),
            Event::Health { slot, health } => self.told_health(&slot, health),
            Event::Shared { health } => self.told_shared(health),
            Event::Answered { ask, answers } => self.answered(ask, answers),
            Event::Users { slot, users } => self.told_users(slot, users),
            Event::Canary(event) => self.canary_event(event),
            Event::Judged { generation, breach } => self.judged(generation, breach),
            Event::Tick => {}
            Event::Configured { rules } => self.configure(rules)?,
        }
        Ok(())
    }

    /// Gives the operation its id for good, then gates it; what needs no gate is recorded at once.
    pub(super) fn start(&mut self, operation: Operation, effects: &mut Vec<Effect>) {
        self.state.flip = operation.flip;
        // The id reaches the disk before anybody hears of it: after a crash it is not given out again.
        self.write_state(effects);
        effects.push(Effect::Tell(Notice::Started(operation.clone())));
        if operation.forced || self.goes_ungated(&operation) {
            self.record(operation, effects);
            return;
        }
        effects.push(Effect::RunGate {
            flip: operation.flip,
            slot: operation.to.clone(),
        });
        self.current = Some(Current {
            operation,
            stage: Stage::Gating,
        });
    }

    fn gated(
        &mut self,
        flip: FlipId,
        verdict: Result<Passed, Vec<String>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(current) = self.current.take_if(|current| {
            current.operation.flip == flip && matches!(current.stage, Stage::Gating)
        }) else {
            return;
        };
        match verdict {
            Ok(passed) => {
                self.saw_database(flip, passed);
                self.proven = Some(Proof {
                    slot: current.operation.to.clone(),
                    at: self.now,
                });
                self.record(current.operation, effects);
            }
            Err(reasons) => {
                let operation = current.operation;
                self.stop_steps_after(&operation, effects);
                effects.push(Effect::Tell(Notice::Failed { operation, reasons }));
            }
        }
    }

    fn record(&mut self, operation: Operation, effects: &mut Vec<Effect>) {
        let at = self.now;
        let sent = Box::new(self.after(&operation, at));
        effects.push(Effect::Record(Box::new(Transition {
            operation: Some(operation.clone()),
            state: (*sent).clone(),
        })));
        self.current = Some(Current {
            operation,
            stage: Stage::Recording { at, sent },
        });
    }

    /// What is in force once `operation` has moved traffic.
    fn after(&self, operation: &Operation, at: Moment) -> Persisted {
        if operation.direction.is_aside() {
            return self.after_canary(operation, at);
        }
        let mut state = self.state.clone();
        state.generation = Self::canary_gives_way(&mut state, &operation.to);
        state.previous = Some(state.active);
        state.active = operation.to.clone();
        state.moved = Some(at);
        state.unproven = operation.forced && !self.is_healthy(&operation.to);
        state.quarantines.remove(&operation.to);
        self.remember_databases(operation.flip, &operation.to, &mut state);
        state.accept_schema_change = operation.terms.accept_schema_change;
        state.confirm = Self::confirm_by(at, &operation.terms);
        if operation.direction == Direction::Failback {
            state.automatic_moves.push(at);
        }
        if operation.direction == Direction::Failback && !operation.blameless {
            let reason = operation.reason.clone().unwrap_or_default();
            let quarantine = quarantine::begin(at, reason);
            state.quarantines.insert(operation.from.clone(), quarantine);
        }
        state
    }

    fn recorded(&mut self, flip: FlipId, result: Result<(), String>, effects: &mut Vec<Effect>) {
        let awaited = |current: &mut Current| {
            current.operation.flip == flip && matches!(current.stage, Stage::Recording { .. })
        };
        let Some(Current {
            operation,
            stage: Stage::Recording { at, sent },
        }) = self.current.take_if(awaited)
        else {
            return;
        };
        match result {
            Ok(()) => {
                self.disk.holds(*sent);
                self.publish(operation, at, effects);
            }
            Err(reason) => {
                self.disk.failed(self.now, reason.clone());
                // A write that failed half-way may have reached the disk: say again what is in force.
                self.send_state(effects);
                effects.push(Effect::Tell(Notice::Failed {
                    operation,
                    reasons: vec![reason],
                }));
            }
        }
    }

    fn publish(&mut self, operation: Operation, at: Moment, effects: &mut Vec<Effect>) {
        if operation.direction.is_aside() {
            return self.publish_canary(operation, at, effects);
        }
        let canary = self.state.canary.clone();
        let left = Draining {
            generation: self.state.generation,
            slot: self.state.active.clone(),
            since: self.now,
            operation: operation.clone(),
        };
        let lifted = self.state.quarantines.contains_key(&operation.to);
        self.state = self.after(&operation, at);
        effects.push(Effect::Publish {
            flip: operation.flip,
            slot: operation.to.clone(),
            generation: self.state.generation,
        });
        effects.push(Effect::Tell(Notice::Published {
            operation: operation.clone(),
            generation: self.state.generation,
        }));
        effects.push(Effect::Drain {
            flip: operation.flip,
            slot: left.slot.clone(),
            generation: left.generation,
        });
        if lifted {
            effects.push(Effect::Tell(Notice::QuarantineEnded {
                slot: operation.to.clone(),
            }));
        }
        if let Some(quarantine) = self.state.quarantines.get(&left.slot)
            && operation.direction == Direction::Failback
        {
            effects.push(Effect::Tell(Notice::Quarantined {
                slot: left.slot.clone(),
                reason: quarantine.reason.clone(),
            }));
        }
        self.drains.push(left);
        self.canary_has_given_way(canary, &operation, effects);
        self.starting = None;
        self.unsettled = true;
        self.settling = Some(operation);
    }

    fn drained(&mut self, generation: Generation, cut: u64, effects: &mut Vec<Effect>) {
        let Some(at) = self
            .drains
            .iter()
            .position(|drain| drain.generation == generation)
        else {
            return;
        };
        let drain = self.drains.remove(at);
        effects.push(Effect::Tell(Notice::Drained {
            operation: drain.operation,
            generation,
            cut,
        }));
    }

    fn told_health(&mut self, slot: &SlotName, health: SlotHealth) {
        let now = self.now;
        let Some(seen) = self.health.get_mut(slot) else {
            return;
        };
        if std::mem::discriminant(&seen.health) != std::mem::discriminant(&health) {
            seen.since = now;
        }
        if seen.health != health {
            self.afresh.ask_at_once();
        }
        seen.health = health;
        // Whatever the probes say from now on is fresher than the gate.
        self.proven.take_if(|proof| proof.slot == *slot);
        self.canary_health(slot);
        if *slot == self.state.active && self.is_healthy(slot) {
            self.state.unproven = false;
            self.starting = None;
        }
    }

    /// Kept over restarts, and no more: what follows from a stranger is said of the slot's health.
    fn told_users(&mut self, slot: SlotName, users: BTreeMap<String, BTreeSet<u32>>) {
        if self.rules.slots.contains(&slot) {
            self.state.users.insert(slot, users);
        }
    }

    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let settled = self.phase() == Phase::Steady;
        if settled && self.unsettled {
            self.settling = None;
            effects.push(Effect::Tell(Notice::Settled));
        }
        self.unsettled = !settled && (self.unsettled || self.phase() == Phase::Settling);
    }

    fn ask_to_be_woken(&mut self, effects: &mut Vec<Effect>) {
        let next = self.next_deadline();
        if let Some(at) = next
            && self.wake != next
        {
            effects.push(Effect::WakeAt(at));
        }
        self.wake = next;
    }

    fn next_deadline(&self) -> Option<Moment> {
        let proof = self.proof_ends();
        let retry = self.disk.retry.as_ref().map(|retry| retry.at);
        self.failback_deadlines()
            .chain(self.quarantine_deadlines())
            .chain(self.canary_deadlines())
            .chain(proof)
            .chain(retry)
            .filter(|at| *at > self.now && *at < Moment(u64::MAX))
            .min()
    }
}
