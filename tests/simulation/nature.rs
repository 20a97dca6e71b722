//! How the slots really are, and what probes find of that: each at a time of its own, so that what is told of two
//! slots is of different ages.

use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;
use switchd::switch::{Answer, Moment, Said, SlotHealth, SlotName, Stretch, Trouble};

const RISE: u32 = 2;
const FALL: u32 = 3;
pub(crate) const INTERVAL: u64 = 2_000;
const FAST: u64 = 250;
const TIMEOUT: u64 = 2_000;

/// How a slot is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    Good,
    Errs,
    Refuses,
    Silent,
}

/// One slot, and its prober.
#[derive(Debug, Clone)]
pub(crate) struct Nature {
    pub(crate) own: Own,
    /// When anything about it last became different.
    pub(crate) turned: Moment,
    /// What it shares reaches it again only then.
    recovers: Moment,
    streak: u32,
    last_passed: bool,
    verdict: Option<bool>,
    failing: Option<Stretch>,
    goes_on: bool,
    well: Option<Moment>,
    /// Since when it has passed whatever asked.
    pub(crate) good_since: Option<Moment>,
    /// Since when nobody can reach it for reasons of its own.
    pub(crate) dead_since: Option<Moment>,
}

/// All slots, what they share, and what we lack ourselves.
#[derive(Debug, Clone)]
pub(crate) struct Natures {
    slots: BTreeMap<SlotName, Nature>,
    pub(crate) shared_is_well: bool,
    /// Requests to a database that is away hang, instead of failing.
    outage_is_silent: bool,
    pub(crate) outage_ended: Option<Moment>,
    /// Until then we have no descriptors to ask with.
    pub(crate) exhausted_until: Moment,
}

impl Natures {
    pub(crate) fn new(slots: &[SlotName], now: Moment) -> Self {
        let nature = Nature {
            own: Own::Good,
            turned: now,
            recovers: now,
            streak: 0,
            last_passed: false,
            verdict: None,
            failing: None,
            goes_on: false,
            well: None,
            good_since: None,
            dead_since: None,
        };
        Self {
            slots: slots
                .iter()
                .map(|slot| (slot.clone(), nature.clone()))
                .collect(),
            shared_is_well: true,
            outage_is_silent: false,
            outage_ended: None,
            exhausted_until: now,
        }
    }

    pub(crate) fn of(&self, slot: &SlotName) -> &Nature {
        &self.slots[slot]
    }

    fn of_mut(&mut self, slot: &SlotName) -> &mut Nature {
        self.slots.get_mut(slot).expect("it is configured")
    }

    pub(crate) fn turn(&mut self, slot: &SlotName, own: Own, now: Moment) {
        let nature = self.of_mut(slot);
        nature.own = own;
        nature.turned = now;
    }

    /// What all share goes away, or comes back: then each slot needs a time of its own to notice.
    pub(crate) fn shared_turns(&mut self, now: Moment, rng: &mut Rng) {
        self.shared_is_well = !self.shared_is_well;
        if self.shared_is_well {
            self.outage_ended = Some(now);
            for nature in self.slots.values_mut() {
                nature.recovers = now.after(Duration::from_millis(rng.u64(0..4_000)));
            }
        } else {
            self.outage_is_silent = rng.u8(0..4) == 0;
        }
    }

    pub(crate) fn everything_mends(&mut self, now: Moment) {
        for nature in self.slots.values_mut() {
            nature.own = Own::Good;
            nature.turned = now;
        }
        self.exhausted_until = now;
    }

    pub(crate) fn is_hit_by_an_outage(&self, slot: &SlotName, now: Moment) -> bool {
        !self.shared_is_well || now < self.of(slot).recovers
    }

    pub(crate) fn truth(&self, slot: &SlotName, now: Moment) -> Said {
        let trouble = |kind: &str| Trouble {
            reason: format!("http {slot}: {kind}"),
            kind: format!("{kind} on http"),
        };
        let silent = || Said::Unreachable {
            trouble: trouble("timeout after 2s"),
            is_silent: true,
        };
        match self.of(slot).own {
            Own::Refuses => Said::Unreachable {
                trouble: trouble("connection refused"),
                is_silent: false,
            },
            Own::Silent => silent(),
            _ if self.is_hit_by_an_outage(slot, now) && self.outage_is_silent => silent(),
            _ if self.is_hit_by_an_outage(slot, now) => Said::Failed(trouble("HTTP 404")),
            Own::Errs => Said::Failed(trouble("HTTP 500")),
            Own::Good => Said::Passed,
        }
    }

    fn heard(&self, slot: &SlotName, now: Moment) -> Said {
        if now < self.exhausted_until {
            let reason = "too many open files".to_owned();
            return Said::Unasked { reason };
        }
        self.truth(slot, now)
    }

    /// One probe: what the machine is told of it, where that is news, and when the next one follows.
    pub(crate) fn probe(&mut self, slot: &SlotName, now: Moment, rng: &mut Rng) -> Probed {
        let said = self.heard(slot, now);
        let is_silent = matches!(
            said,
            Said::Unreachable {
                is_silent: true,
                ..
            }
        );
        let nature = self.of_mut(slot);
        let news = nature.take(&said, now);
        let settled = nature.verdict == Some(said == Said::Passed);
        let pause = if settled {
            INTERVAL * rng.u64(80..=100) / 100
        } else {
            FAST
        };
        Probed {
            news,
            next: pause.max(if is_silent { TIMEOUT } else { 0 }),
        }
    }

    /// What it says when it is asked, which counts as a probe too.
    pub(crate) fn answer(&mut self, slot: &SlotName, now: Moment) -> (Answer, Option<SlotHealth>) {
        let said = self.heard(slot, now);
        let nature = self.of_mut(slot);
        let news = nature.take(&said, now);
        let answer = Answer {
            said,
            failing: nature.failing,
            well: nature.well,
        };
        (answer, news)
    }

    /// Keeps account of since when things are as they are.
    pub(crate) fn look(&mut self, now: Moment) {
        let names: Vec<_> = self.slots.keys().cloned().collect();
        for slot in names {
            let is_good = self.truth(&slot, now) == Said::Passed;
            let nature = self.of_mut(&slot);
            let is_dead = matches!(nature.own, Own::Refuses | Own::Silent);
            nature.good_since = is_good.then(|| nature.good_since.unwrap_or(now));
            nature.dead_since = is_dead.then(|| nature.dead_since.unwrap_or(now));
        }
    }

    /// Another daemon knows nothing of what an earlier one found.
    pub(crate) fn forget(&mut self) {
        for nature in self.slots.values_mut() {
            nature.streak = 0;
            nature.verdict = None;
            nature.failing = None;
            nature.well = None;
        }
    }
}

/// What came of a probe.
pub(crate) struct Probed {
    pub(crate) news: Option<SlotHealth>,
    pub(crate) next: u64,
}

impl Nature {
    pub(crate) fn last_failed(&self) -> Option<Moment> {
        self.failing.map(|failing| failing.last)
    }

    /// Rise and fall, as the real ones count them.
    fn take(&mut self, said: &Said, now: Moment) -> Option<SlotHealth> {
        if matches!(said, Said::Unasked { .. }) {
            return None;
        }
        let passed = *said == Said::Passed;
        self.streak = if self.last_passed == passed {
            self.streak + 1
        } else {
            1
        };
        self.last_passed = passed;
        if passed && self.streak >= RISE {
            self.well = Some(now);
            self.goes_on = false;
        }
        if !passed {
            let since = self.failing.filter(|_| self.goes_on);
            let since = since.map_or(now, |failing| failing.since);
            self.failing = Some(Stretch { since, last: now });
            self.goes_on = true;
        }
        let enough = if passed { RISE } else { FALL };
        let is_news = self.streak >= enough && self.verdict != Some(passed);
        if !is_news {
            return None;
        }
        self.verdict = Some(passed);
        Some(match said.trouble() {
            None => SlotHealth::Healthy,
            Some(trouble) => SlotHealth::Unhealthy {
                reason: trouble.reason.clone(),
            },
        })
    }
}
