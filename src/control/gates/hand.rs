//! Gates by hand and rehearsals, and what is kept of what gates found.

use super::super::clock::millis;
use super::super::clock::stamp;
use super::super::conductor::Conductor;
use super::super::drain::counts_status;
use super::super::drain::sum;
use super::super::events::About;
use super::super::gate;
use super::super::gate::Gate;
use super::super::message::Accepted;
use super::super::message::Answer;
use super::super::message::Denied;
use super::super::message::GateOrder;
use super::super::status::queued;
use super::super::underway::audit;
use super::asking::Lacked;
use super::check::Findings;
use super::proof::Conditions;
use super::proof::Proof;
use super::proof::Reused;
use super::trial::Active;
use super::trial::Trial;
use crate::api::EventKind;
use crate::api::GatesDone;
use crate::api::GatesStatus;
use crate::api::Outcome;
use crate::api::Rehearsed;
use crate::api::StreamEvent;
use crate::switch::Actor;
use crate::switch::Command;
use crate::switch::Event;
use crate::switch::FlipId;
use crate::switch::Moment;
use crate::switch::ServiceName;
use crate::switch::SlotHealth;
use crate::switch::SlotName;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What the conductor is told and asked about gates.
#[derive(Debug)]
pub(in crate::control) enum GatesMessage {
    Order(GateOrder, Answer<Result<Accepted, Denied>>),
    Ended(Box<Ended>),
}

/// A slot has been through its gates, or as far as it came.
#[derive(Debug)]
pub(in crate::control) struct Ended {
    pub(in crate::control) service: ServiceName,
    pub(in crate::control) slot: SlotName,
    pub(in crate::control) flip: Option<FlipId>,
    pub(in crate::control) findings: Findings,
    /// Why no traffic may move, the endpoints' reasons among them.
    pub(in crate::control) reasons: Vec<String>,
    pub(in crate::control) hand: Option<Hand>,
}

/// Who asked for it by hand.
#[derive(Debug)]
pub(in crate::control) struct Hand {
    by: Actor,
    reason: Option<String>,
    is_rehearsal: bool,
    /// As they were when it began.
    conditions: Conditions,
    started: Moment,
    began: Instant,
    done: oneshot::Sender<Arc<StreamEvent>>,
}

impl Hand {
    /// Whoever asked has gone: nobody would hear the answer.
    pub(in crate::control) fn is_left_alone(&self) -> bool {
        self.done.is_closed()
    }
}

/// How the slots of a service last stood before their gates, and how often each gate said what.
#[derive(Debug, Default)]
pub(in crate::control) struct SlotGates {
    last: BTreeMap<SlotName, Last>,
    /// Of the gates that were passed last.
    proof: Option<Proof>,
    pub(in crate::control) counts: BTreeMap<GateCount, u64>,
}

/// How the metrics tell checks apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) struct GateCount {
    pub(in crate::control) gate: String,
    pub(in crate::control) outcome: Outcome,
}

#[derive(Debug, Default)]
struct Last {
    /// By hand, now.
    is_running: bool,
    at: Option<Moment>,
    reasons: Vec<String>,
    warnings: Vec<String>,
}

impl SlotGates {
    /// None where nothing was tried yet.
    pub(in crate::control) fn status(&self, slot: &SlotName) -> Option<GatesStatus> {
        let last = self.last.get(slot)?;
        Some(GatesStatus {
            at: last.at.map(stamp),
            running: last.is_running,
            passed: last.at.is_some() && last.reasons.is_empty(),
            reasons: last.reasons.clone(),
            warnings: last.warnings.clone(),
        })
    }

    fn ended(&mut self, ended: &Ended, now: Moment) {
        if ended.findings.tried > 0 {
            let last = self.last.entry(ended.slot.clone()).or_default();
            last.at = Some(now);
            last.reasons.clone_from(&ended.reasons);
            last.warnings = ended.findings.warnings();
        }
        if ended.hand.is_some() {
            if let Some(last) = self.last.get_mut(&ended.slot) {
                last.is_running = false;
            }
            self.last
                .retain(|_, last| last.is_running || last.at.is_some());
        }
        for check in &ended.findings.checks {
            let count = GateCount {
                gate: check.gate.clone(),
                outcome: check.outcome,
            };
            *self.counts.entry(count).or_default() += 1;
        }
    }
}

impl Conductor {
    pub(in crate::control) fn gates(&mut self, message: GatesMessage) {
        match message {
            // Whoever asked and left needs no answer.
            GatesMessage::Order(order, answer) => drop(answer.send(self.gate_by_hand(order))),
            GatesMessage::Ended(ended) => self.gates_ended(*ended),
        }
    }

    /// The slot, and with what its gates compare it.
    pub(in crate::control) fn trial(&self, at: usize, slot: &SlotName) -> Trial {
        let service = &self.services[at];
        let targets = |slot: &SlotName| self.stock.endpoints.targets(&service.name, slot);
        let active = service.switch.active();
        let is_bad = |slot: &SlotName| {
            let told = service.health.get(slot).map(|told| &told.health);
            told.and_then(SlotHealth::trouble).is_some()
        };
        let listeners = &self.settings.listeners;
        Trial {
            service: Arc::clone(&service.settings),
            slot: slot.clone(),
            targets: targets(slot),
            active: (active != slot).then(|| Active {
                slot: active.clone(),
                targets: targets(active),
                is_bad: is_bad(active),
            }),
            is_https: listeners
                .iter()
                .any(|listener| listener.acme || !listener.certificates.is_empty()),
            lacked: Lacked::default(),
        }
    }

    fn gate_by_hand(&mut self, order: GateOrder) -> Result<Accepted, Denied> {
        let at = self.find(&order.service)?;
        let service = &self.services[at];
        let slots = service.settings.slots.iter();
        let slots: Vec<SlotName> = slots.map(|slot| slot.name.clone()).collect();
        let Some(slot) = slots
            .iter()
            .find(|slot| slot.as_str() == order.slot)
            .cloned()
        else {
            return Err(Denied::UnknownSlot {
                asked: order.slot,
                slots: slots.iter().map(ToString::to_string).collect(),
            });
        };
        if let Some(rehearsal) = &order.rehearsal {
            // On a copy: nothing of it happens.
            let mut machine = service.switch.clone();
            let command = Command::Flip {
                to: slot.clone(),
                force: false,
                reason: order.reason.clone(),
                expect: rehearsal.expect,
                terms: rehearsal.terms.clone(),
            };
            let by = order.by.clone();
            machine.apply(self.jobs.clock.now(), Event::Command { by, command })?;
        }
        let running = self.services[at]
            .gates
            .last
            .entry(slot.clone())
            .or_default();
        if std::mem::replace(&mut running.is_running, true) {
            return Err(Denied::Gating { slot });
        }
        let events = self.jobs.events.subscribe();
        let (done, hears) = oneshot::channel();
        let hand = Hand {
            by: order.by,
            reason: order.reason,
            is_rehearsal: order.rehearsal.is_some(),
            conditions: self.conditions(at, &slot),
            started: self.jobs.clock.now(),
            began: Instant::now(),
            done,
        };
        let service = &self.services[at];
        let gate = Gate {
            service: service.name.clone(),
            flip: None,
            within: service.settings.flip.gate_timeout,
            trial: Arc::new(self.trial(at, &slot)),
            is_warm: false,
            starting: order.starting,
            hand: Some(hand),
            reused: None,
        };
        tokio::spawn(gate::run(gate, self.jobs.clone()));
        Ok(Accepted {
            flip: None,
            events,
            done: hears,
            remaining: None,
            accepted: None,
            cancelled: None,
        })
    }

    fn conditions(&self, at: usize, slot: &SlotName) -> Conditions {
        let service = &self.services[at];
        Conditions {
            slot: slot.clone(),
            generation: service.switch.generation(),
            label: service.switch.label(slot).cloned(),
            settings: Arc::clone(&service.settings),
        }
    }

    /// Whether the gates of the operation that begins were passed just now.
    pub(in crate::control) fn reused(&mut self, at: usize, slot: &SlotName) -> Option<Reused> {
        let operation = self.services[at].switch.operation()?;
        let token = operation.terms.proof.clone()?;
        let now = self.conditions(at, slot);
        // It is for one flip.
        let proof = self.services[at].gates.proof.take()?;
        proof.holds(&token, &now)
    }

    fn gates_ended(&mut self, mut ended: Ended) {
        let Some(at) = self.index_of(&ended.service) else {
            return;
        };
        let now = self.jobs.clock.now();
        self.services[at].gates.ended(&ended, now);
        if let Some(hand) = ended.hand.take() {
            self.ended_by_hand(at, ended, hand);
            return;
        }
        let mut underway = self.services[at].underway.iter_mut();
        let underway = underway.find(|it| Some(it.operation.flip) == ended.flip);
        if let Some(underway) = underway {
            underway.warnings = ended.findings.warnings();
            underway.reused = ended.findings.reused;
            underway.gates = ended.findings.checks;
        }
    }

    fn ended_by_hand(&mut self, at: usize, ended: Ended, hand: Hand) {
        let rehearsed = hand.is_rehearsal.then(|| self.rehearsed(at, &ended.slot));
        let took_ms = millis(hand.began.elapsed());
        let command = if hand.is_rehearsal {
            "rehearsal"
        } else {
            "gate"
        };
        let mut record = audit(hand.started, &hand.by, command);
        let passed = ended.reasons.is_empty();
        record.service = ended.service.to_string();
        record.to = Some(ended.slot.to_string());
        record.reason = hand.reason;
        record.took_ms = Some(took_ms);
        record.details.clone_from(&ended.reasons);
        record.details.extend(warned(&ended.findings.warnings()));
        if !passed {
            "refused".clone_into(&mut record.result);
        }
        let proof = passed.then(|| Proof::new(hand.conditions, ended.findings.passed()));
        let token = proof.as_ref().map(|proof| proof.token().to_owned());
        self.services[at].gates.proof = proof;
        let done = GatesDone {
            proof: token,
            slot: ended.slot.to_string(),
            passed,
            gates: ended.findings.tried,
            reasons: ended.reasons,
            warnings: ended.findings.warnings(),
            fingerprint: ended.findings.fingerprint,
            rehearsed,
            took_ms,
        };
        record.gates = ended.findings.checks;
        tracing::info!(service = %ended.service, slot = %ended.slot, command, actor = %hand.by, passed, took_ms,
            "gates tried");
        // In the history first: whoever hears that it is over finds it there.
        self.finish(&record);
        let about = About::service(ended.service.as_str());
        let kind = EventKind::GatesDone(done);
        self.jobs.events.tell(about, kind.clone());
        // Whoever left has no answer to get.
        let _ = hand.done.send(self.jobs.events.event(about, kind));
    }

    fn rehearsed(&self, at: usize, slot: &SlotName) -> Rehearsed {
        let service = &self.services[at];
        let active = service.switch.active();
        let pictures = service.pictures_of(active);
        Rehearsed {
            from: active.to_string(),
            to: slot.to_string(),
            generation: service.switch.generation().next().0,
            left: counts_status(sum(&pictures)),
            queued: queued(&pictures),
        }
    }
}

/// As the history shows what did not stand in the way.
pub(in crate::control) fn warned(warnings: &[String]) -> impl Iterator<Item = String> {
    warnings.iter().map(|words| format!("warned: {words}"))
}
