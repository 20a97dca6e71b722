//! Orders from people.

use super::canary::Ordered;
use super::conductor::Asking;
use super::conductor::Conductor;
use super::events::About;
use super::message::Accepted;
use super::message::Denied;
use super::message::Order;
use super::underway::Asker;
use super::underway::audit;
use crate::api::AuditRecord;
use crate::api::EventKind;
use crate::switch::Command;
use crate::switch::Event;
use crate::switch::SlotName;
use tokio::sync::oneshot;

impl Conductor {
    pub(super) fn order(&mut self, order: Order) -> Result<Accepted, Denied> {
        let at = self.find(&order.service)?;
        let events = self.jobs.events.subscribe();
        let (done, hears) = oneshot::channel();
        let mut record = self.record_of(&order);
        let asker = Asker {
            until: order.until,
            done,
        };
        self.asking = Some(Asking {
            asker: Some(asker),
            flip: None,
        });
        let moves_nothing = matches!(
            order.command,
            Command::Acknowledge { .. }
                | Command::Label { .. }
                | Command::Confirm
                | Command::Cancel { .. }
        );
        let gating = self.services[at].switch.operation().cloned();
        let is_cancel = matches!(order.command, Command::Cancel { .. });
        if let Some(operation) = gating.as_ref().filter(|_| is_cancel) {
            record.to = Some(operation.to.to_string());
        }
        let acknowledged = acknowledged(&order.command);
        let accepted = acknowledged
            .as_ref()
            .and_then(|slot| self.accept_users(at, slot));
        let may_listen = accepted
            .iter()
            .map(|users| format!("{users} may listen there"));
        record.details.extend(may_listen);
        let event = Event::Command {
            by: order.by,
            command: order.command,
        };
        let is_quarantined = |slot| self.services[at].switch.quarantine(slot).is_some();
        let is_done = accepted.is_some() && !acknowledged.as_ref().is_some_and(is_quarantined);
        let result = if is_done {
            Ok(())
        } else {
            self.apply(at, event)
        };
        let flip = self.asking.take().and_then(|asking| asking.flip);
        if let Err(refusal) = result {
            record.details.push(refusal.to_string());
            self.refused(record, moves_nothing);
            return Err(refusal.into());
        }
        if flip.is_none() {
            if !moves_nothing {
                "unchanged".clone_into(&mut record.result);
            }
            self.finish(&record);
        }
        let quarantine = acknowledged.and_then(|slot| self.services[at].switch.quarantine(&slot));
        Ok(Accepted {
            flip: flip.map(|flip| flip.0),
            events,
            done: hears,
            remaining: quarantine.map(|quarantine| quarantine.ends),
            accepted,
            cancelled: gating.filter(|_| is_cancel),
        })
    }

    /// What the history keeps of it, before it is known what becomes of it.
    fn record_of(&self, order: &Order) -> AuditRecord {
        let now = self.jobs.clock.now();
        let mut record = audit(now, &order.by, command_words(&order.command));
        record.service.clone_from(&order.service);
        record.to = target(&order.command);
        record.reason = reason(&order.command);
        record.forced = is_forced(&order.command);
        if let Command::Label { label, .. } = &order.command {
            record.version = label.as_ref().map(ToString::to_string);
        }
        record
    }

    /// In the history, and told to whoever listens where traffic might have moved.
    fn refused(&mut self, mut record: AuditRecord, moves_nothing: bool) {
        "refused".clone_into(&mut record.result);
        self.finish(&record);
        if moves_nothing {
            return;
        }
        let kind = EventKind::OrderRefused {
            command: record.command,
            by: record.actor,
            reasons: record.details,
        };
        let about = About::service(&record.service);
        self.jobs.events.tell(about, kind);
    }
}

fn acknowledged(command: &Command) -> Option<SlotName> {
    match command {
        Command::Acknowledge { slot } => Some(slot.clone()),
        Command::Flip { .. }
        | Command::Rollback { .. }
        | Command::Label { .. }
        | Command::Canary(_)
        | Command::Cancel { .. }
        | Command::Confirm => None,
    }
}

fn command_words(command: &Command) -> &'static str {
    match command {
        Command::Flip { .. } => "flip",
        Command::Rollback { .. } => "rollback",
        Command::Acknowledge { .. } => "ack",
        Command::Canary(order) => Ordered::of(order).command,
        Command::Confirm => "confirm",
        Command::Cancel { .. } => "cancel",
        Command::Label { .. } => "label",
    }
}

fn target(command: &Command) -> Option<String> {
    match command {
        Command::Flip { to, .. } => Some(to.to_string()),
        Command::Acknowledge { slot } | Command::Label { slot, .. } => Some(slot.to_string()),
        Command::Canary(order) => Ordered::of(order).to,
        Command::Rollback { .. } | Command::Confirm | Command::Cancel { .. } => None,
    }
}

fn reason(command: &Command) -> Option<String> {
    match command {
        Command::Flip { reason, .. }
        | Command::Rollback { reason, .. }
        | Command::Cancel { reason } => reason.clone(),
        Command::Canary(order) => Ordered::of(order).reason,
        Command::Acknowledge { .. } | Command::Label { .. } | Command::Confirm => None,
    }
}

fn is_forced(command: &Command) -> bool {
    match command {
        Command::Flip { force, .. } | Command::Rollback { force, .. } => *force,
        Command::Canary(order) => Ordered::of(order).forced,
        Command::Acknowledge { .. }
        | Command::Label { .. }
        | Command::Cancel { .. }
        | Command::Confirm => false,
    }
}
