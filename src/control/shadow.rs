//! Copies of requests for an idle slot: asked for, shown, and ended when traffic moves.

use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::message::Answer;
use super::message::Denied;
use super::status::find_slot;
use super::steered::Steered;
use super::underway::audit;
use crate::api::EventKind;
use crate::api::SCHEMA;
use crate::api::ShadowExample;
use crate::api::ShadowPattern;
use crate::api::ShadowReport;
use crate::api::ShadowSide;
use crate::api::ShadowStatus;
use crate::config::Share;
use crate::filter::Paths;
use crate::live::Shadow;
use crate::switch::Actor;
use crate::switch::Moment;
use crate::switch::SlotName;
use crate::telemetry;
use crate::telemetry::ShadowFigures;
use crate::telemetry::ShadowRow;
use crate::telemetry::ShadowTally;
use std::sync::Arc;
use std::time::Duration;

/// About the copies of one service.
#[derive(Debug)]
pub(super) struct ShadowMessage {
    pub(super) service: String,
    /// None only asks.
    pub(super) order: Option<ShadowOrder>,
    pub(super) answer: Answer<Result<ShadowReport, Denied>>,
}

/// What an operator wants copied.
#[derive(Debug, Clone)]
pub struct ShadowOrder {
    pub by: Actor,
    /// None copies nothing any more.
    pub slot: Option<String>,
    /// None is the share that the config names.
    pub share: Option<Share>,
}

/// The copies of one service, since they were asked for last.
#[derive(Debug)]
pub(super) struct Shadowing {
    shadow: Arc<Shadow>,
    /// Whose answers it is compared with.
    active: SlotName,
    since: Moment,
    ended: Option<Ended>,
}

#[derive(Debug)]
struct Ended {
    at: Moment,
    reason: String,
}

impl Shadowing {
    fn is_on(&self) -> bool {
        self.ended.is_none()
    }

    /// As workers see it.
    pub(super) fn picture(&self) -> Option<Arc<Shadow>> {
        self.is_on().then(|| Arc::clone(&self.shadow))
    }

    pub(super) fn status(&self) -> Option<ShadowStatus> {
        let counts = self.shadow.tally.counts();
        self.is_on().then(|| ShadowStatus {
            slot: self.shadow.slot.to_string(),
            percent: self.shadow.share.percent(),
            since: stamp(self.since),
            in_flight: counts.in_flight,
            compared: counts.compared,
            differ: counts.status_differs + counts.size_differs,
            failed: counts.failed,
        })
    }

    pub(super) fn figures(&self) -> ShadowFigures {
        let percent = self.shadow.share.percent();
        ShadowFigures {
            slot: self.shadow.slot.to_string(),
            percent: if self.is_on() { percent } else { 0.0 },
            counts: self.shadow.tally.counts(),
        }
    }
}

impl Steered {
    /// The copies that are sent now.
    pub(super) fn shadow_on(&self) -> Option<&Arc<Shadow>> {
        let shadowing = self.shadow.as_ref().filter(|it| it.is_on());
        shadowing.map(|it| &it.shadow)
    }

    /// Takes over new settings.
    pub(super) fn configure_shadow(&mut self) {
        let excluded = Paths::new(&self.settings.shadow.exclude);
        if let Some(shadowing) = self.shadow.as_mut().filter(|it| it.is_on()) {
            let Shadow {
                slot, share, tally, ..
            } = &*shadowing.shadow;
            shadowing.shadow = Arc::new(Shadow {
                slot: slot.clone(),
                share: *share,
                excluded,
                tally: Arc::clone(tally),
            });
        }
    }
}

impl Conductor {
    pub(super) fn shadow(&mut self, message: ShadowMessage) {
        let result = self.find(&message.service).and_then(|at| {
            if let Some(order) = message.order {
                self.order_shadow(at, order)?;
            }
            Ok(self.shadow_report(at))
        });
        // Whoever left needs no answer.
        drop(message.answer.send(result));
    }

    fn order_shadow(&mut self, at: usize, order: ShadowOrder) -> Result<(), Denied> {
        let mut record = audit(self.jobs.clock.now(), &order.by, "shadow");
        record.service = self.services[at].name.to_string();
        record.to.clone_from(&order.slot);
        let result = self.carry_out_shadow(at, order);
        match &result {
            Ok(Some(words)) => record.details.push(words.clone()),
            Ok(None) => "unchanged".clone_into(&mut record.result),
            Err(denied) => {
                "refused".clone_into(&mut record.result);
                record.details.push(denied.to_string());
            }
        }
        self.finish(&record);
        result.map(drop)
    }

    /// What has changed, in words; none when nothing has.
    fn carry_out_shadow(
        &mut self,
        at: usize,
        order: ShadowOrder,
    ) -> Result<Option<String>, Denied> {
        let (has_changed, words) = if let Some(slot) = order.slot {
            let slot = find_slot(&self.services[at], &slot)?;
            let default = self.services[at].settings.shadow.share;
            let share = order.share.unwrap_or(default);
            let has_changed = self.begin_shadow(at, (slot, share), &order.by)?;
            (has_changed, format!("{share} of the safe requests"))
        } else {
            let has_changed = self.end_shadow(at, &format!("turned off by {}", order.by));
            (has_changed, "off".to_owned())
        };
        if has_changed {
            self.publish();
        }
        Ok(has_changed.then_some(words))
    }

    /// False when it is as it was.
    fn begin_shadow(
        &mut self,
        at: usize,
        (slot, share): (SlotName, Share),
        by: &Actor,
    ) -> Result<bool, Denied> {
        let now = self.jobs.clock.now();
        let workers = self.live.workers();
        let service = &mut self.services[at];
        if slot == service.active_slot().name {
            return Err(Denied::Shadow(format!(
                "{slot} is active: it gets the requests themselves; copies go to a slot that is idle"
            )));
        }
        if service.strangers.contains_key(&slot) {
            return Err(Denied::Shadow(format!(
                "a stranger listens on the port of {slot}, and gets no copies; look with `switchctl status`"
            )));
        }
        let before = service.shadow.as_ref().filter(|it| it.is_on());
        let before = before.filter(|it| it.shadow.slot == slot);
        let (since, tally) = match before {
            Some(before) if before.shadow.share == share => return Ok(false),
            // Another share of the same: what is known of it stays known.
            Some(before) => (before.since, Arc::clone(&before.shadow.tally)),
            None => {
                self.end_shadow(at, &format!("{slot} gets the copies instead"));
                (now, Arc::new(ShadowTally::new(workers)))
            }
        };
        let service = &mut self.services[at];
        tracing::info!(service = %service.name, %slot, %share, actor = %by, "shadow on");
        let kind = EventKind::ShadowOn {
            slot: slot.to_string(),
            percent: share.percent(),
            by: by.to_string(),
        };
        let about = About::service(service.name.as_str());
        self.jobs.events.tell(about, kind);
        let active = service.active_slot().name.clone();
        service.shadow = Some(Shadowing {
            active,
            shadow: Arc::new(Shadow {
                slot,
                share,
                excluded: Paths::new(&service.settings.shadow.exclude),
                tally,
            }),
            since,
            ended: None,
        });
        Ok(true)
    }

    /// Nothing is copied any more once this is published. What is known stays known. False when nothing was copied.
    pub(super) fn end_shadow(&mut self, at: usize, reason: &str) -> bool {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let Some(shadowing) = service.shadow.as_mut().filter(|it| it.is_on()) else {
            return false;
        };
        shadowing.shadow.tally.end();
        shadowing.ended = Some(Ended {
            at: now,
            reason: reason.to_owned(),
        });
        let slot = shadowing.shadow.slot.to_string();
        let counts = shadowing.shadow.tally.counts();
        tracing::info!(service = %service.name, slot, reason, compared = counts.compared, "shadow off");
        let kind = EventKind::ShadowOff {
            slot,
            reason: reason.to_owned(),
            compared: counts.compared,
            differ: counts.status_differs + counts.size_differs,
            failed: counts.failed,
        };
        let about = About::service(service.name.as_str());
        self.jobs.events.tell(about, kind);
        true
    }

    /// After a reload: a slot that is gone, or active by now, gets no copies.
    pub(super) fn check_shadows(&mut self) {
        for at in 0..self.services.len() {
            let service = &self.services[at];
            let Some(slot) = service.shadow_on().map(|shadow| shadow.slot.clone()) else {
                continue;
            };
            if service.index_of(&slot).is_none() {
                self.end_shadow(at, &format!("{slot} was taken out of the config"));
            }
        }
    }

    fn shadow_report(&self, at: usize) -> ShadowReport {
        let service = &self.services[at];
        let mut report = ShadowReport {
            schema: SCHEMA,
            service: service.name.to_string(),
            active: service.active_slot().name.to_string(),
            ..ShadowReport::default()
        };
        let Some(shadowing) = &service.shadow else {
            return report;
        };
        let shadow = &shadowing.shadow;
        let counts = shadow.tally.counts();
        report.on = shadowing.is_on();
        report.slot = Some(shadow.slot.to_string());
        report.active = shadowing.active.to_string();
        report.percent = Some(shadow.share.percent());
        report.since = Some(stamp(shadowing.since));
        if let Some(ended) = &shadowing.ended {
            report.ended = Some(stamp(ended.at));
            report.end_reason = Some(ended.reason.clone());
        }
        report.in_flight = counts.in_flight;
        report.compared = counts.compared;
        report.status_differs = counts.status_differs;
        report.size_differs = counts.size_differs;
        report.failed = counts.failed;
        report.dropped = counts.dropped;
        report.too_large = counts.too_large;
        let rows = shadow.tally.table().0;
        report.patterns = rows.iter().map(|(name, row)| pattern(name, row)).collect();
        // What to look at first.
        let weight =
            |it: &ShadowPattern| (it.status_differs + it.failed, it.size_differs, it.compared);
        report
            .patterns
            .sort_by_key(|it| std::cmp::Reverse(weight(it)));
        report
    }
}

fn pattern(name: &str, row: &ShadowRow) -> ShadowPattern {
    ShadowPattern {
        pattern: name.to_owned(),
        compared: row.compared,
        status_differs: row.status_differs,
        size_differs: row.size_differs,
        failed: row.failed,
        active: side(&row.active),
        shadow: side(&row.shadow),
        examples: row.statuses.iter().chain(&row.sizes).map(example).collect(),
    }
}

fn side(side: &telemetry::ShadowSide) -> ShadowSide {
    let ms = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
    ShadowSide {
        p50_ms: side.quantile(0.5).map(ms),
        p95_ms: side.quantile(0.95).map(ms),
        mean_bytes: side.mean_bytes(),
    }
}

fn example(example: &telemetry::ShadowExample) -> ShadowExample {
    let shadow = example.shadow.as_ref().ok();
    ShadowExample {
        path: example.path.clone(),
        request_id: example.request_id.clone(),
        active_status: example.active.status,
        active_bytes: example.active.bytes,
        shadow_status: shadow.map(|answer| answer.status),
        shadow_bytes: shadow.map(|answer| answer.bytes),
        error: example.shadow.as_ref().err().cloned(),
    }
}
