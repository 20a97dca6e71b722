//! One operation under way: who waits for it, and what the history will say of it.

use super::clock::millis;
use super::clock::stamp;
use super::message::Until;
use crate::api::AuditRecord;
use crate::api::GateCheck;
use crate::api::SCHEMA;
use crate::api::StreamEvent;
use crate::api::Verdict;
use crate::switch::Actor;
use crate::switch::Direction;
use crate::switch::Moment;
use crate::switch::Operation;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One operation, from its start until the old slot is drained.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) operation: Operation,
    pub(super) started: Instant,
    /// What its gate took, once it has passed.
    pub(super) gated_ms: Option<u64>,
    pub(super) published: Option<Published>,
    /// What was said to run in its target.
    pub(super) version: Option<String>,
    /// Why its target was in quarantine.
    pub(super) quarantine: Option<String>,
    /// How long before its gates were passed that were not tried again for it.
    pub(super) reused: Option<Duration>,
    /// Traffic left its target again by itself.
    pub(super) moved_back: bool,
    pub(super) asker: Option<Asker>,
    /// Upgraded connections that were cut off.
    pub(super) cut_websockets: u64,
    /// What the gates looked at.
    pub(super) gates: Vec<GateCheck>,
    /// What did not stand in the way.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) at: Instant,
    pub(super) after_ms: u64,
}

/// Who waits for an operation.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) until: Until,
    pub(super) done: oneshot::Sender<Arc<StreamEvent>>,
}

/// How an operation ended, on the way into the history.
pub(super) struct Ending {
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<String>,
    pub(super) drained_ms: Option<u64>,
    pub(super) cut: u64,
}

impl Ending {
    pub(super) fn early(verdict: Verdict, reasons: Vec<String>) -> Self {
        Self {
            verdict,
            reasons,
            drained_ms: None,
            cut: 0,
        }
    }
}

pub(super) fn direction_words(direction: Direction) -> &'static str {
    match direction {
        Direction::Flip => "flip",
        Direction::Rollback => "rollback",
        Direction::Failback => "failback",
        Direction::Canary => "canary",
        Direction::Abort => "abort",
    }
}

pub(super) fn result_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "done",
        Verdict::Unchanged => "unchanged",
        Verdict::Refused => "refused",
        Verdict::Failed => "failed",
        Verdict::MovedBack => "moved_back",
        Verdict::Cancelled => "cancelled",
    }
}

/// A line of the history that is filled in later.
pub(super) fn audit(at: Moment, by: &Actor, command: &str) -> AuditRecord {
    AuditRecord {
        schema: SCHEMA,
        at: stamp(at),
        actor: by.to_string(),
        service: String::new(),
        command: command.to_owned(),
        result: "done".to_owned(),
        ..AuditRecord::default()
    }
}

impl Underway {
    pub(super) fn new(operation: Operation, asker: Option<Asker>) -> Self {
        Self {
            operation,
            started: Instant::now(),
            gated_ms: None,
            published: None,
            version: None,
            quarantine: None,
            reused: None,
            moved_back: false,
            cut_websockets: 0,
            asker,
            gates: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    pub(super) fn audit(&self, service: &str) -> AuditRecord {
        let operation = &self.operation;
        let command = direction_words(operation.direction);
        let share = operation
            .portion
            .map(|portion| format!("{} of the new visitors", portion.share));
        let quarantine = self.quarantine.as_ref();
        let to = &operation.to;
        let quarantine = quarantine.map(|why| format!("{to} was in quarantine: {why}"));
        let reused = self.reused.map(millis);
        let reused = reused.map(|ms| format!("{to} had passed its gates {ms} ms before"));
        AuditRecord {
            details: share.into_iter().chain(quarantine).chain(reused).collect(),
            service: service.to_owned(),
            flip: Some(operation.flip.0),
            reason: operation.reason.clone(),
            forced: operation.forced,
            from: Some(operation.from.to_string()),
            to: Some(operation.to.to_string()),
            version: self.version.clone(),
            published_ms: self.published.as_ref().map(|it| it.after_ms),
            gates: self.gates.clone(),
            gate_ms: self.gated_ms,
            cut_websockets: self.cut_websockets,
            ..audit(operation.started, &operation.by, command)
        }
    }
}
