//! A canary as control holds it: its picture, what is told of it, and whether anybody comes to it.

use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::log_level::log_at;
use super::log_level::of_verdict;
use super::message::Until;
use super::steered::Steered;
use super::underway::Ending;
use super::underway::Published;
use super::views::Stock;
use crate::api::CanaryStatus;
use crate::api::EventKind;
use crate::api::Verdict;
use crate::live::Canary;
use crate::live::Choices;
use crate::live::Sides;
use crate::live::Slot;
use crate::switch::Actor;
use crate::switch::Before;
use crate::switch::Believes;
use crate::switch::CanaryEvent;
use crate::switch::CanaryNotice;
use crate::switch::CanaryOrder;
use crate::switch::CanaryStep;
use crate::switch::Event;
use crate::switch::Evidence;
use crate::switch::FlipId;
use crate::switch::Generation;
use crate::switch::Judge;
use crate::switch::Judgement;
use crate::switch::Moment;
use crate::switch::Now;
use crate::switch::Operation;
use crate::switch::Percent;
use crate::switch::PersistedCanary;
use crate::switch::SlotName;
use crate::switch::WatchVerdict;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Level;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    verdict: WatchVerdict,
    is_breach: bool,
}

/// The watch over a canary.
#[derive(Debug)]
pub(super) struct CanaryJudge {
    /// When the share was set that it is judged at.
    since: Moment,
    judge: Judge,
    pub(super) evidence: Evidence,
    /// As the machine and everybody else was told.
    told: Told,
}

impl Steered {
    /// Gives the canary's slot counts of its own, or the slot of one that has ended. What was left by that.
    pub(super) fn show_canary(&mut self, stock: &mut Stock) -> Option<Arc<Slot>> {
        let canary = self.switch.canary().cloned();
        let shown = canary.and_then(|canary| {
            let index = self.index_of(&canary.slot)?;
            if self.slots[index].generation != canary.generation {
                self.redraw(index, canary.generation, stock);
            }
            Some(index)
        });
        let before = std::mem::replace(&mut self.canary, shown);
        let ended = before.filter(|_| shown.is_none())?;
        let left = self.redraw(ended, Generation(0), stock);
        self.left = Some(Arc::clone(&left));
        Some(left)
    }

    /// What workers have to choose by; none where there is nothing to choose.
    pub(super) fn choices(&self) -> Option<Box<Choices>> {
        let canary = self.canary_choice();
        let preview = &self.settings.preview;
        let is_any = canary.is_some() || preview.enabled || preview.slot_header.is_some();
        is_any.then(|| {
            Box::new(Choices {
                seal: Arc::clone(&self.seal),
                canary,
                links: self.links.clone(),
            })
        })
    }

    fn canary_choice(&self) -> Option<Canary> {
        let canary = self.switch.canary()?;
        let slot = self.index_of(&canary.slot)?;
        let sides = Sides {
            service: &self.name,
            active: self.switch.active(),
            canary: &canary.slot,
            generation: canary.generation,
        };
        Some(Canary::new(slot, sides, canary.share, &self.seal))
    }
}

impl Conductor {
    /// Looks at what the visitors of a canary got.
    pub(super) fn judge_canary(&mut self, at: usize) {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let rules = &service.settings.watch.rules;
        let Some(canary) = service.switch.canary().filter(|_| rules.enabled) else {
            service.canary_judge = None;
            return;
        };
        let (generation, slot, since) = (canary.generation, canary.slot.clone(), canary.changed);
        let Some(index) = service.index_of(&slot) else {
            return;
        };
        let tally = service.slots[index].metrics.tally();
        service.canary_judge.take_if(|it| it.since != since);
        if service.canary_judge.is_none() {
            let left = service.left_behind();
            // New visitors are nobody's old acquaintances.
            let evidence = Evidence::new(rules, Believes::Anybody, left.history);
            let before = Before {
                shown: left.shown,
                fair: evidence.before(),
            };
            service.canary_judge = Some(CanaryJudge {
                since,
                judge: Judge::new(rules, now, &tally, before),
                evidence,
                // That nothing is known at first goes without saying.
                told: Told {
                    verdict: WatchVerdict::Inconclusive,
                    is_breach: false,
                },
            });
        }
        let Some(watch) = &mut service.canary_judge else {
            return;
        };
        let seen = Now {
            tally: &tally,
            evidence: &watch.evidence,
            sick: None,
        };
        let finding = watch.judge.look(rules, now, seen);
        let told = Told {
            verdict: finding.verdict,
            is_breach: finding.breach.is_some(),
        };
        if std::mem::replace(&mut watch.told, told) == told {
            return;
        }
        let judgement = match (finding.breach, finding.verdict) {
            (Some(reason), _) => Judgement::Breach(reason),
            (None, WatchVerdict::Inconclusive) => Judgement::Inconclusive,
            (None, _) => Judgement::Good,
        };
        let verdict = finding.verdict.as_str();
        let level = of_verdict(finding.verdict);
        log_at!(level, service = %service.name, %slot, verdict, reasons = ?finding.reasons, "canary watch");
        let kind = EventKind::Watch {
            slot: slot.to_string(),
            verdict: verdict.to_owned(),
            reasons: finding.reasons,
            over: false,
            moves_nothing: false,
        };
        let about = About::service(service.name.as_str());
        self.jobs.events.tell(about, kind);
        let event = CanaryEvent::Judged {
            generation,
            judgement,
        };
        self.event(at, Event::Canary(event));
    }

    /// From now on workers choose by what the machine says of a canary.
    pub(super) fn publish_canary(&mut self, at: usize) {
        let left = self.services[at].show_canary(&mut self.stock);
        self.publish();
        if let Some(left) = left {
            self.dismiss(&left);
        }
        // A look at once, and then at the pace of the watch.
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let is_judged = service.settings.watch.rules.enabled && service.canary.is_some();
        if is_judged {
            service.watching.next = Some(now);
        }
    }

    /// Who waits for a place of a slot because it belonged there must look again, now that it does not.
    pub(super) fn dismiss(&self, left: &Slot) {
        if let Some(places) = &left.places {
            places.dismiss(self.epoch.0);
        }
    }

    /// A canary that takes nobody new lives as long as somebody comes to it.
    pub(super) fn look_at_canary(&mut self, at: usize) {
        let service = &mut self.services[at];
        let Some(canary) = service
            .switch
            .canary()
            .filter(|it| it.share == Percent::NONE)
        else {
            return;
        };
        let (slot, generation) = (canary.slot.clone(), canary.generation);
        let pictures = service.pictures_of_generation(&slot, generation);
        let is_busy = pictures.iter().any(|picture| !picture.in_flight.is_empty());
        let counted = pictures.first().map(|it| it.metrics.counts().requests());
        let came = std::mem::replace(&mut service.came_to_canary, counted) != counted;
        if is_busy || came {
            self.event(at, Event::Canary(CanaryEvent::Seen(generation)));
        }
    }

    pub(super) fn tell_canary(&mut self, at: usize, notice: CanaryNotice) {
        match notice {
            CanaryNotice::Set { operation, canary } => {
                self.canary_set(at, &operation, canary.as_ref());
            }
            CanaryNotice::Unchanged { slot, share } => {
                let reason = format!("{slot} has {share} of the new visitors already");
                self.unchanged(at, vec![reason]);
            }
            CanaryNotice::Over {
                flip,
                slot,
                promoted,
            } => self.canary_over((at, flip), &slot, promoted),
            CanaryNotice::Halted { slot, share } => self.canary_halted(at, &slot, share),
        }
    }

    /// A canary has begun, changed its share, or ended.
    fn canary_set(&mut self, at: usize, operation: &Operation, canary: Option<&PersistedCanary>) {
        let service = &mut self.services[at];
        let about = About::flip(service.name.as_str(), operation.flip);
        let kind = if let Some(canary) = canary {
            tracing::info!(service = %service.name, slot = %canary.slot, share = %canary.share,
                    generation = canary.generation.0, flip_id = operation.flip.0, actor = %operation.by,
                    "canary set");
            EventKind::Canary {
                slot: canary.slot.to_string(),
                percent: canary.share.percent(),
                generation: canary.generation.0,
                step: canary.step.map(|step| step + 1),
            }
        } else {
            let by_itself = operation.by == Actor::itself();
            let level = if by_itself { Level::WARN } else { Level::INFO };
            log_at!(level, service = %service.name, slot = %operation.from, flip_id = operation.flip.0,
                    actor = %operation.by, reason = operation.reason.as_deref(), "canary ended");
            EventKind::CanaryOver {
                slot: operation.from.to_string(),
                promoted: false,
                reason: operation.reason.clone(),
            }
        };
        self.jobs.events.tell(about, kind);
        if canary.is_some() {
            if let Some(underway) = self.take_underway(at, operation) {
                self.end(at, underway, Ending::early(Verdict::Done, Vec::new()));
            }
            return;
        }
        self.canary_left(at, operation);
    }

    /// Nobody comes to it any more; what is there drains.
    fn canary_left(&mut self, at: usize, operation: &Operation) {
        let service = &mut self.services[at];
        let name = service.name.clone();
        let same = |it: &&mut super::underway::Underway| it.operation.flip == operation.flip;
        let Some(underway) = service.underway.iter_mut().find(same) else {
            return;
        };
        let took_ms = underway.elapsed_ms();
        underway.published = Some(Published {
            at: Instant::now(),
            after_ms: took_ms,
        });
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
            let about = About::flip(name.as_str(), operation.flip);
            // Whoever left has no answer to get.
            let _ = asker.done.send(self.jobs.events.event(about, kind));
        }
    }

    /// All traffic has moved, to its slot or elsewhere.
    fn canary_over(&self, (at, flip): (usize, FlipId), slot: &SlotName, promoted: bool) {
        let service = &self.services[at].name;
        tracing::info!(%service, %slot, promoted, "canary over");
        let kind = EventKind::CanaryOver {
            slot: slot.to_string(),
            promoted,
            reason: None,
        };
        self.jobs
            .events
            .tell(About::flip(service.as_str(), flip), kind);
    }

    fn canary_halted(&self, at: usize, slot: &SlotName, share: Percent) {
        let service = &self.services[at].name;
        tracing::warn!(%service, %slot, %share, "canary halted");
        let kind = EventKind::CanaryHalted {
            slot: slot.to_string(),
            percent: share.percent(),
        };
        self.jobs
            .events
            .tell(About::service(service.as_str()), kind);
    }
}

/// As `status` shows it.
pub(super) fn canary_status(service: &Steered) -> Option<CanaryStatus> {
    let canary = service.switch.canary()?;
    let steps = &service.settings.canary.rules.steps;
    let next = canary.step.and_then(|step| steps.get(step + 1));
    Some(CanaryStatus {
        slot: canary.slot.to_string(),
        generation: canary.generation.0,
        percent: canary.share.percent(),
        since: stamp(canary.since),
        changed: stamp(canary.changed),
        next: next.map(|step| match step {
            CanaryStep::Promote => "promote".to_owned(),
            CanaryStep::Share { share, .. } => share.to_string(),
        }),
        next_at: service.switch.canary_step_ends().map(stamp),
    })
}

/// What the history keeps of an order besides its command.
pub(super) struct Ordered {
    pub(super) command: &'static str,
    pub(super) to: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) forced: bool,
}

impl Ordered {
    pub(super) fn of(order: &CanaryOrder) -> Self {
        let (command, to) = match order {
            CanaryOrder::Share { slot, .. } => ("canary", slot),
            CanaryOrder::Promote { slot, .. } => ("flip", slot),
            CanaryOrder::Abort { slot, .. } => ("abort", slot),
        };
        let (forced, reason) = match order {
            CanaryOrder::Share { force, reason, .. }
            | CanaryOrder::Promote { force, reason, .. } => (*force, reason),
            CanaryOrder::Abort { reason, .. } => (false, reason),
        };
        Self {
            command,
            to: to.as_ref().map(ToString::to_string),
            reason: reason.clone(),
            forced,
        }
    }
}
