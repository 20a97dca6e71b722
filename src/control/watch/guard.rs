//! Judging goes on when no watch runs: it warns, and moves nothing.
//!
//! The active slot is measured by the same limits, and by what it did itself in the last time that was calm.

use crate::api::EventKind;
use crate::api::WarningStatus;
use crate::control::clock::stamp;
use crate::control::conductor::Conductor;
use crate::control::events::About;
use crate::control::steered::Steered;
use crate::switch::Before;
use crate::switch::Believes;
use crate::switch::Evidence;
use crate::switch::Finding;
use crate::switch::Generation;
use crate::switch::Judge;
use crate::switch::Moment;
use crate::switch::Now;
use crate::switch::Share;
use crate::switch::Tally;
use crate::switch::WatchRules;
use crate::switch::WatchVerdict;

/// Loads differ from hour to hour: only so much slower than in a calm time is worth a word.
const LOUD: Share = Share::percent(900);

/// Looks at a slot that is not watched.
#[derive(Debug)]
pub(super) struct Guard {
    generation: Generation,
    pub(super) evidence: Evidence,
    judge: Judge,
    since: Moment,
    told: Option<Warning>,
}

#[derive(Debug, Clone)]
struct Warning {
    since: Moment,
    verdict: WatchVerdict,
    reasons: Vec<String>,
}

fn loud(rules: &WatchRules) -> WatchRules {
    let mut rules = rules.clone();
    for limits in [&mut rules.critical, &mut rules.warning] {
        limits.latency_rise = limits.latency_rise.map(|rise| rise.max(LOUD));
    }
    rules
}

impl Guard {
    /// Measures by what the slot did so far, if that is known.
    fn new(service: &Steered, now: Moment, tally: &Tally) -> Self {
        let rules = loud(&service.settings.watch.rules);
        let left = service.left_behind();
        let evidence = Evidence::new(&rules, Believes::Anybody, left.history);
        let before = Before {
            shown: left.shown,
            fair: evidence.before(),
        };
        Self {
            generation: service.switch.generation(),
            judge: Judge::new(&rules, now, tally, before),
            evidence,
            since: now,
            told: None,
        }
    }

    /// Whether there is something new to tell; none of what is told is over.
    fn take(&mut self, finding: &Finding, now: Moment) -> bool {
        let is_bad = finding.verdict >= WatchVerdict::Warning;
        let before = self.told.as_ref().map(|it| it.verdict);
        if !is_bad {
            // Too little traffic is no proof that it is over.
            let is_over = finding.verdict == WatchVerdict::Good && before.is_some();
            if is_over {
                self.told = None;
            }
            return is_over;
        }
        let since = self.told.as_ref().map_or(now, |it| it.since);
        self.told = Some(Warning {
            since,
            verdict: finding.verdict,
            reasons: finding.reasons.clone(),
        });
        before.is_none_or(|before| before < finding.verdict)
    }
}

impl Steered {
    /// What is new of a slot that is not watched.
    fn look_unwatched(&mut self, now: Moment) -> Option<Finding> {
        let settings = self.settings.clone();
        let is_watched = self.watching.watched.as_ref().is_some_and(|it| !it.is_over);
        if is_watched || !settings.watch.rules.enabled {
            self.watching.guard = None;
            return None;
        }
        let tally = self.active_slot().metrics.tally();
        let generation = self.switch.generation();
        let baseline = settings.watch.rules.baseline;
        let is_stale = |guard: &Guard| {
            let is_old = now.since(guard.since) >= baseline && guard.told.is_none();
            guard.generation != generation || is_old
        };
        if self.watching.guard.as_ref().is_none_or(is_stale) {
            self.watching.guard = Some(Guard::new(self, now, &tally));
        }
        let guard = self.watching.guard.as_mut()?;
        let seen = Now {
            tally: &tally,
            evidence: &guard.evidence,
            sick: None,
        };
        let finding = guard.judge.look(&loud(&settings.watch.rules), now, seen);
        guard.take(&finding, now).then_some(finding)
    }

    pub(in crate::control) fn warning_status(&self) -> Option<WarningStatus> {
        let told = self.watching.guard.as_ref()?.told.as_ref()?;
        Some(WarningStatus {
            severity: told.verdict.as_str().to_owned(),
            since: stamp(told.since),
            reasons: told.reasons.clone(),
        })
    }

    /// Whether something is wrong with the active slot that moves nothing.
    pub(in crate::control) fn is_warned_of(&self) -> bool {
        let guard = self.watching.guard.as_ref();
        guard.is_some_and(|guard| guard.told.is_some())
    }
}

impl Conductor {
    pub(super) fn look_at_guard(&mut self, at: usize, now: Moment) {
        let Some(finding) = self.services[at].look_unwatched(now) else {
            return;
        };
        let service = &self.services[at];
        let (name, slot) = (service.name.as_str(), service.switch.active());
        let reasons = &finding.reasons;
        match finding.verdict {
            WatchVerdict::Critical => {
                tracing::error!(service = name, %slot, reasons = ?reasons, "active slot does badly");
            }
            WatchVerdict::Warning => {
                tracing::warn!(service = name, %slot, reasons = ?reasons, "active slot does badly");
            }
            WatchVerdict::Inconclusive | WatchVerdict::Good => {
                tracing::info!(service = name, %slot, "active slot does well again");
            }
        }
        let kind = EventKind::Watch {
            slot: slot.to_string(),
            verdict: finding.verdict.as_str().to_owned(),
            reasons: finding.reasons,
            over: false,
            moves_nothing: true,
        };
        self.jobs.events.tell(About::service(name), kind);
    }
}
