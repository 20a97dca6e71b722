//! What the machine tells: to the log, to whoever listens, to whoever waits, and to the history.

use super::clock::millis;
use super::conductor::Conductor;
use super::events::About;
use super::gates::warned;
use super::log_level::log_at;
use super::message::Until;
use super::underway::Ending;
use super::underway::Published;
use super::underway::Underway;
use super::underway::direction_words;
use super::underway::result_words;
use crate::api::AuditRecord;
use crate::api::EventKind;
use crate::api::Verdict;
use crate::switch::Actor;
use crate::switch::Direction;
use crate::switch::FlipId;
use crate::switch::Generation;
use crate::switch::Notice;
use crate::switch::Operation;
use tokio::time::Instant;
use tracing::Level;

impl Conductor {
    pub(super) fn tell(&mut self, at: usize, notice: Notice) {
        let name = self.services[at].name.clone();
        let service = name.as_str();
        let plain = |kind| self.jobs.events.tell(About::service(service), kind);
        match notice {
            Notice::Started(operation) => self.started(at, operation),
            Notice::Unchanged { .. } => self.unchanged(at, Vec::new()),
            Notice::Failed { operation, reasons } => self.failed(at, &operation, reasons),
            Notice::Cancelled { operation, reason } => self.cancelled(at, &operation, reason),
            Notice::Published {
                operation,
                generation,
            } => self.published(at, &operation, generation),
            Notice::Drained {
                operation,
                generation,
                cut,
            } => self.drained(at, &operation, generation, cut),
            Notice::Settled => {
                tracing::info!(service, "service steady");
                plain(EventKind::Settled);
            }
            Notice::Quarantined { slot, reason } => {
                tracing::warn!(service, %slot, reason, "slot quarantined");
                let slot = slot.to_string();
                plain(EventKind::Quarantined { slot, reason });
            }
            Notice::QuarantineEnded { slot } => {
                tracing::info!(service, %slot, "quarantine ended");
                let slot = slot.to_string();
                plain(EventKind::QuarantineEnded { slot });
            }
            Notice::Acknowledged { slot, by } => {
                tracing::info!(service, %slot, actor = %by, "quarantine acknowledged");
                let (slot, by) = (slot.to_string(), by.to_string());
                plain(EventKind::Acknowledged { slot, by });
            }
            Notice::Canary(notice) => self.tell_canary(at, notice),
            Notice::Confirmed { slot, by } => {
                tracing::info!(service, %slot, actor = %by, "move confirmed");
                let (slot, by) = (slot.to_string(), by.to_string());
                plain(EventKind::Confirmed { slot, by });
            }
            Notice::Labelled { slot, label, by } => {
                let version = label.map(|label| label.to_string());
                tracing::info!(service, %slot, version, actor = %by, "slot labelled");
                let (slot, by) = (slot.to_string(), by.to_string());
                plain(EventKind::Labelled { slot, version, by });
            }
            Notice::Staying { slot, reason } => {
                let starting = self.services[at].switch.stays_for_its_start();
                let level = if starting { Level::INFO } else { Level::ERROR };
                log_at!(level, service, %slot, reason, "traffic stays on a bad slot");
                let slot = slot.to_string();
                plain(EventKind::Staying {
                    slot,
                    reason,
                    starting,
                });
            }
        }
    }

    fn started(&mut self, at: usize, operation: Operation) {
        // What moves by itself in the same instant has not been asked for by whoever asks now.
        let by_order = operation.by != Actor::itself();
        let order = self.asking.as_mut().filter(|_| by_order);
        let asker = order.and_then(|order| {
            order.flip = Some(operation.flip);
            order.asker.take()
        });
        let service = self.services[at].name.clone();
        log_at!(level_of(operation.direction), %service, flip_id = operation.flip.0, actor = %operation.by, from = %operation.from,
            to = %operation.to, forced = operation.forced, reason = operation.reason.as_deref(),
            direction = direction_words(operation.direction), "operation started");
        let quarantine = self.services[at].switch.quarantine(&operation.to);
        let quarantine = quarantine.map(|quarantine| quarantine.reason);
        let kind = EventKind::Started {
            direction: direction_words(operation.direction).to_owned(),
            from: operation.from.to_string(),
            to: operation.to.to_string(),
            by: operation.by.to_string(),
            reason: operation.reason.clone(),
            quarantine: quarantine.clone(),
        };
        let about = About::flip(service.as_str(), operation.flip);
        self.jobs.events.tell(about, kind);
        let label = self.services[at].switch.label(&operation.to);
        let version = label.map(ToString::to_string);
        let mut underway = Underway::new(operation, asker);
        underway.version = version;
        underway.quarantine = quarantine;
        if let Err(error) = self.journal.begin(&underway.audit(service.as_str())) {
            tracing::error!(%service, error = error.in_words(), "cannot note the start of an operation");
        }
        self.services[at].underway.push(underway);
    }

    /// The target of an operation has proved itself.
    pub(super) fn gate_passed(&mut self, at: usize, flip: FlipId) {
        let service = &mut self.services[at];
        let Some(underway) = service
            .underway
            .iter_mut()
            .find(|it| it.operation.flip == flip)
        else {
            return;
        };
        let took_ms = underway.elapsed_ms();
        underway.gated_ms = Some(took_ms);
        let kind = EventKind::GatePassed {
            slot: underway.operation.to.to_string(),
            took_ms,
        };
        let about = About::flip(service.name.as_str(), flip);
        self.jobs.events.tell(about, kind);
    }

    pub(super) fn journalled(&mut self, at: usize, flip: FlipId, took_ms: u64) {
        let about = About::flip(self.services[at].name.as_str(), flip);
        self.jobs
            .events
            .tell(about, EventKind::Journalled { took_ms });
    }

    pub(super) fn unchanged(&mut self, at: usize, reasons: Vec<String>) {
        let active = self.services[at].active_slot().name.to_string();
        let Some(asker) = self.asking.as_mut().and_then(|it| it.asker.take()) else {
            return;
        };
        let kind = EventKind::Done {
            verdict: Verdict::Unchanged,
            active,
            reasons,
            took_ms: 0,
            drained_ms: None,
            cut: 0,
        };
        let about = About::service(self.services[at].name.as_str());
        // Whoever left has no answer to get.
        let _ = asker.done.send(self.jobs.events.event(about, kind));
    }

    fn failed(&mut self, at: usize, operation: &Operation, reasons: Vec<String>) {
        let Some(mut underway) = self.take_underway(at, operation) else {
            return;
        };
        let passed = underway.gated_ms.is_some();
        let journal_failed = passed || operation.forced || !is_gated(operation.direction);
        let verdict = if journal_failed {
            Verdict::Failed
        } else {
            underway.gated_ms = Some(underway.elapsed_ms());
            Verdict::Refused
        };
        self.end(at, underway, Ending::early(verdict, reasons));
    }

    fn cancelled(&mut self, at: usize, operation: &Operation, reason: String) {
        // Nobody wants to know any more.
        if let Some(gating) = self.services[at].gating.take() {
            gating.abort();
        }
        let Some(underway) = self.take_underway(at, operation) else {
            return;
        };
        let ending = Ending::early(Verdict::Cancelled, vec![reason]);
        self.end(at, underway, ending);
    }

    fn published(&mut self, at: usize, operation: &Operation, generation: Generation) {
        let service = &mut self.services[at];
        let epoch = self.epoch.0;
        if operation.direction == Direction::Failback {
            tell_moved_back(service, operation, &self.jobs.events);
        }
        let same = |it: &&mut Underway| it.operation.flip == operation.flip;
        let Some(underway) = service.underway.iter_mut().find(same) else {
            return;
        };
        let took_ms = underway.elapsed_ms();
        underway.published = Some(Published {
            at: Instant::now(),
            after_ms: took_ms,
        });
        log_at!(level_of(operation.direction), service = %service.name, slot = %operation.to, generation = generation.0, epoch,
            flip_id = operation.flip.0, actor = %operation.by, version = underway.version, took_ms, "traffic moved");
        let about = About::flip(service.name.as_str(), operation.flip);
        let kind = EventKind::Published {
            from: operation.from.to_string(),
            to: operation.to.to_string(),
            generation: generation.0,
            took_ms,
        };
        self.jobs.events.tell(about, kind);
        let asker = underway.asker.take_if(|it| it.until == Until::Published);
        if let Some(asker) = asker {
            let kind = EventKind::Done {
                verdict: Verdict::Done,
                active: operation.to.to_string(),
                reasons: Vec::new(),
                took_ms,
                drained_ms: None,
                cut: 0,
            };
            let _ = asker.done.send(self.jobs.events.event(about, kind));
        }
        // Told first, kept second: after a crash from here on the history says that traffic had moved.
        let record = underway.audit(service.name.as_str());
        if let Err(error) = self.journal.begin(&record) {
            tracing::error!(service = %service.name, error = error.in_words(), "cannot note that traffic moved");
        }
    }

    fn drained(&mut self, at: usize, operation: &Operation, generation: Generation, cut: u64) {
        let Some(underway) = self.take_underway(at, operation) else {
            return;
        };
        let service = &self.services[at].name;
        let moved = underway.published.as_ref().map(|it| it.at.elapsed());
        let drained_ms = moved.map(millis);
        tracing::info!(%service, slot = %operation.from, generation = generation.0, flip_id = operation.flip.0,
            cut, took_ms = drained_ms, "old slot drained");
        let kind = EventKind::Drained {
            slot: operation.from.to_string(),
            generation: generation.0,
            cut,
            took_ms: drained_ms.unwrap_or_default(),
        };
        let about = About::flip(service.as_str(), operation.flip);
        self.jobs.events.tell(about, kind);
        let verdict = if underway.moved_back {
            Verdict::MovedBack
        } else {
            Verdict::Done
        };
        let ending = Ending {
            verdict,
            reasons: Vec::new(),
            drained_ms,
            cut,
        };
        self.end(at, underway, ending);
    }

    /// Ends what is under way on a service that a reload takes away.
    pub(super) fn end_all(&mut self, at: usize) {
        for underway in std::mem::take(&mut self.services[at].underway) {
            let ending = if underway.published.is_some() {
                Ending::early(Verdict::Done, Vec::new())
            } else {
                let reason = "the service was taken out of the config".to_owned();
                Ending::early(Verdict::Failed, vec![reason])
            };
            self.end(at, underway, ending);
        }
    }

    /// A flip that ends a canary leaves two slots: only the first of them is what its asker waits for.
    pub(super) fn take_underway(&mut self, at: usize, operation: &Operation) -> Option<Underway> {
        let all = &mut self.services[at].underway;
        let same = |it: &Underway| {
            it.operation.flip == operation.flip && it.operation.from == operation.from
        };
        let index = all.iter().position(same)?;
        Some(all.remove(index))
    }

    /// Tells everybody, and writes the line of the history.
    pub(super) fn end(&mut self, at: usize, underway: Underway, ending: Ending) {
        let service = &mut self.services[at];
        let result = result_words(ending.verdict);
        service.count(direction_words(underway.operation.direction), result);
        let mut record = underway.audit(service.name.as_str());
        result.clone_into(&mut record.result);
        record.details.extend(ending.reasons.iter().cloned());
        record.details.extend(warned(&underway.warnings));
        record.drained_ms = ending.drained_ms;
        record.took_ms = Some(underway.elapsed_ms());
        record.cut = ending.cut;
        let level = match ending.verdict {
            Verdict::Failed | Verdict::MovedBack => Level::ERROR,
            Verdict::Refused | Verdict::Cancelled => Level::WARN,
            Verdict::Done | Verdict::Unchanged => level_of(underway.operation.direction),
        };
        log_at!(level, service = %service.name, flip_id = underway.operation.flip.0,
            actor = %underway.operation.by, result, reasons = ?ending.reasons,
            took_ms = underway.elapsed_ms(), "operation ended");
        let kind = EventKind::Done {
            verdict: ending.verdict,
            active: service.active_slot().name.to_string(),
            reasons: ending.reasons,
            took_ms: underway.elapsed_ms(),
            drained_ms: ending.drained_ms,
            cut: ending.cut,
        };
        // In the history first: whoever hears that it is over finds it there.
        self.finish(&record);
        let about = About::flip(&record.service, underway.operation.flip);
        self.jobs.events.tell(about, kind.clone());
        if let Some(asker) = underway.asker {
            let _ = asker.done.send(self.jobs.events.event(about, kind));
        }
    }

    /// Puts a finished line into the history. The traffic has moved by then: a full disk cannot undo it.
    pub(super) fn finish(&mut self, record: &AuditRecord) {
        if let Err(error) = self.journal.finish(record) {
            tracing::error!(
                service = record.service,
                command = record.command,
                error = error.in_words(),
                "cannot write the history now"
            );
        }
        self.look_at_disk();
    }
}

/// What moves by itself moves because something is wrong.
fn level_of(direction: Direction) -> Level {
    match direction {
        Direction::Failback => Level::WARN,
        Direction::Flip | Direction::Rollback | Direction::Canary | Direction::Abort => Level::INFO,
    }
}

fn is_gated(direction: Direction) -> bool {
    !matches!(direction, Direction::Failback | Direction::Abort)
}

/// Traffic leaves `operation.from` by itself: whoever waits for a move to there is told at once.
fn tell_moved_back(
    service: &mut super::steered::Steered,
    operation: &Operation,
    events: &super::events::Events,
) {
    let name = service.name.clone();
    for earlier in &mut service.underway {
        if earlier.published.is_none() || earlier.operation.to != operation.from {
            continue;
        }
        earlier.moved_back = true;
        let Some(asker) = earlier.asker.take() else {
            continue;
        };
        let kind = EventKind::Done {
            verdict: Verdict::MovedBack,
            active: operation.to.to_string(),
            reasons: operation.reason.iter().cloned().collect(),
            took_ms: earlier.elapsed_ms(),
            drained_ms: None,
            cut: 0,
        };
        let about = About::flip(name.as_str(), earlier.operation.flip);
        let _ = asker.done.send(events.event(about, kind));
    }
}
