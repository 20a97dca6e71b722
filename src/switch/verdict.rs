//! How a slot does after a flip: against fixed limits, and against the slot that was left.
//!
//! Counts come in, a verdict comes out. What the old slot did as badly is no reason to leave the new one;
//! too little traffic is a reason for nothing.

use super::breach::{Measure, Tracks, Witnesses, span};
use super::evidence::Evidence;
use super::limits::WatchRules;
use super::moment::Moment;
use super::status::words;
use super::tally::{Tally, Track};
use std::time::Duration;

/// Parts of a site are judged from then on.
const SETTLED: Duration = Duration::from_secs(10);

/// How a slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchVerdict {
    /// Not enough traffic to say.
    Inconclusive,
    Good,
    Warning,
    Critical,
}

impl WatchVerdict {
    pub const ALL: [Self; 4] = [
        Self::Inconclusive,
        Self::Good,
        Self::Warning,
        Self::Critical,
    ];

    /// As the API, the logs and the metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inconclusive => "inconclusive",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A verdict and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub verdict: WatchVerdict,
    /// In words; of a good slot there are none.
    pub reasons: Vec<String>,
    /// Of a critical one: what counts say, besides its health check.
    pub breach: Option<String>,
    /// What was counted lately: over the longer window, or since the beginning.
    pub recent: Tally,
}

/// Judges one slot, from a beginning on.
#[derive(Debug, Clone)]
pub struct Judge {
    since: Moment,
    /// What the slot that was left did before, whoever asked; none when that was too little.
    baseline: Option<Tally>,
    /// What it did as far as that is comparable.
    before: Option<Tally>,
    /// All that was counted, whoever asked.
    recent: Track,
    counted: Tracks,
    strangers: Tracks,
    /// What was last wrong: it is told until it has been better for a while, or it would come and go.
    worry: Option<Worry>,
}

/// What is known of the slot that was left.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// Whoever asked: as everybody is shown it.
    pub shown: Option<Tally>,
    /// As far as it is comparable.
    pub fair: Option<Tally>,
}

/// All that was seen of a slot up to now.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// Whoever asked.
    pub tally: &'a Tally,
    pub evidence: &'a Evidence,
    /// Why it fails its health checks.
    pub sick: Option<&'a str>,
}

#[derive(Debug, Clone)]
struct Worry {
    at: Moment,
    reasons: Vec<String>,
}

impl Judge {
    /// `start` is what had been counted before.
    #[must_use]
    pub fn new(rules: &WatchRules, since: Moment, start: &Tally, before: Before) -> Self {
        let enough = |it: &Tally| it.requests >= rules.min_requests;
        Self {
            since,
            baseline: before.shown.filter(enough),
            before: before.fair.filter(enough),
            recent: Track::new(rules.warning.window, since, start),
            counted: Tracks::new(rules, since),
            strangers: Tracks::new(rules, since),
            worry: None,
        }
    }

    #[must_use]
    pub fn since(&self) -> Moment {
        self.since
    }

    #[must_use]
    pub fn baseline(&self) -> Option<&Tally> {
        self.baseline.as_ref()
    }

    /// Looks at all that was seen up to now.
    pub fn look(&mut self, rules: &WatchRules, now: Moment, seen: Now<'_>) -> Finding {
        let Now {
            tally,
            evidence,
            sick,
        } = seen;
        self.recent.set_length(rules.warning.window);
        self.recent.mark(now, tally);
        self.counted.mark(rules, now, evidence.counted());
        self.strangers.mark(rules, now, evidence.strangers());
        let mut critical = self.critical(rules, now, evidence);
        let breach = (!critical.is_empty()).then(|| critical.join("; "));
        critical.extend(sick.map(|reason| format!("its health check fails: {reason}")));
        let mut warning = self.warning(rules, now, evidence);
        if critical.is_empty() {
            self.worries(rules, now, &mut warning);
        }
        let recent = tally.since(self.recent.oldest().unwrap_or(tally));
        let too_few = recent.requests < rules.min_requests;
        let (verdict, reasons) = match (critical.is_empty(), warning.is_empty()) {
            (false, _) => (WatchVerdict::Critical, critical),
            (_, false) => (WatchVerdict::Warning, warning),
            _ if too_few => (
                WatchVerdict::Inconclusive,
                vec![self.too_few(rules, now, &recent)],
            ),
            _ => (WatchVerdict::Good, Vec::new()),
        };
        Finding {
            verdict,
            reasons,
            breach,
            recent,
        }
    }

    /// The first seconds are the whole site's to judge, and a part's start is often a bumpy one.
    fn knows_parts(&self, rules: &WatchRules, now: Moment, evidence: &Evidence) -> bool {
        evidence.seen() >= rules.min_requests && now.since(self.since) >= SETTLED
    }

    fn measure<'a>(&'a self, rules: &'a WatchRules) -> Measure<'a> {
        Measure {
            rules,
            before: self.before.as_ref(),
        }
    }

    /// Those who are believed first; what only strangers met is believed of many of them alone.
    fn witnesses<'a>(&'a self, now: Moment, evidence: &'a Evidence) -> [Witnesses<'a>; 2] {
        let counted = Witnesses {
            now,
            evidence,
            tracks: &self.counted,
            tally: evidence.counted(),
            are_strangers: false,
        };
        let strangers = Witnesses {
            tracks: &self.strangers,
            tally: evidence.strangers(),
            are_strangers: true,
            ..counted
        };
        [counted, strangers]
    }

    fn critical(&self, rules: &WatchRules, now: Moment, evidence: &Evidence) -> Vec<String> {
        let mut found = Vec::new();
        let measure = self.measure(rules);
        for who in self.witnesses(now, evidence) {
            found.extend(measure.too_bad_at_once(who));
            let length = rules.critical.window;
            if let Some(span) = span(&who.tracks.critical, now, (who.tally, length)) {
                found.extend(measure.breaches(&rules.critical, (&span, who)));
            }
            if !found.is_empty() {
                break;
            }
        }
        let is_enough = self.knows_parts(rules, now, evidence);
        let limit = rules.critical.part_error_rate.filter(|_| is_enough);
        found.extend(
            limit
                .map(|limit| evidence.broken_parts(now, limit))
                .unwrap_or_default(),
        );
        found
    }

    fn warning(&self, rules: &WatchRules, now: Moment, evidence: &Evidence) -> Vec<String> {
        let [who, _] = self.witnesses(now, evidence);
        let mut found = Vec::new();
        let length = rules.warning.window;
        if let Some(span) = span(&who.tracks.warning, now, (who.tally, length)) {
            found.extend(self.measure(rules).breaches(&rules.warning, (&span, who)));
        }
        let is_enough = self.knows_parts(rules, now, evidence);
        let limit = rules.warning.part_error_rate.filter(|_| is_enough);
        found.extend(
            limit
                .map(|limit| evidence.doubtful_parts(now, limit))
                .unwrap_or_default(),
        );
        found
    }

    /// What was wrong within the last window still is a warning.
    fn worries(&mut self, rules: &WatchRules, now: Moment, warning: &mut Vec<String>) {
        if !warning.is_empty() {
            let reasons = warning.clone();
            self.worry = Some(Worry { at: now, reasons });
            return;
        }
        self.worry
            .take_if(|worry| now.since(worry.at) >= rules.warning.window);
        if let Some(worry) = &self.worry {
            warning.clone_from(&worry.reasons);
        }
    }

    fn too_few(&self, rules: &WatchRules, now: Moment, recent: &Tally) -> String {
        let window = now.since(self.since).min(rules.warning.window);
        format!(
            "{} requests in {} say nothing; it takes {}",
            recent.requests,
            words(Duration::from_secs(window.as_secs())),
            rules.min_requests
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::account::{ClientId, Met, Observation};
    use super::super::evidence::Believes;
    use super::super::limits::Thresholds;
    use super::super::tally::Share;
    use super::super::times::time_bucket;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The classic thresholds.
    fn rules() -> WatchRules {
        let minutes = Duration::from_mins;
        WatchRules {
            enabled: true,
            baseline: minutes(10),
            min_requests: 50,
            min_handshakes: 10,
            min_clients: 3,
            worse_by: Share::percent(50),
            latency_floor: Duration::from_millis(100),
            at_once: Some(Share::percent(10)),
            at_once_window: 10 * SECOND,
            critical: Thresholds {
                window: minutes(5),
                error_rate: Some(Share::percent(1)),
                part_error_rate: Some(Share::percent(50)),
                p95: Some(5 * SECOND),
                p99: None,
                latency_rise: None,
                handshake_failures: Some(Share::percent(10)),
            },
            warning: Thresholds {
                window: minutes(10),
                error_rate: Some(Share(50)),
                part_error_rate: Some(Share::percent(10)),
                p95: Some(3 * SECOND),
                p99: None,
                latency_rise: Some(Share::percent(50)),
                handshake_failures: Some(Share::percent(5)),
            },
        }
    }

    /// Traffic as it comes, second by second.
    #[derive(Clone, Copy)]
    struct Traffic {
        requests: u64,
        errors: u64,
        took: Duration,
    }

    fn traffic(requests: u64, errors: u64) -> Traffic {
        Traffic {
            requests,
            errors,
            took: 50 * SECOND / 1000,
        }
    }

    fn slow(took: Duration) -> Traffic {
        Traffic {
            took,
            ..traffic(10, 0)
        }
    }

    fn add(tally: &mut Tally, traffic: Traffic) {
        tally.requests += traffic.requests;
        tally.rpc_errors += traffic.errors;
        tally.times[time_bucket(traffic.took)] += traffic.requests;
    }

    struct Bench {
        rules: WatchRules,
        judge: Judge,
        now: Moment,
        tally: Tally,
        evidence: Evidence,
    }

    impl Bench {
        fn new(baseline: Option<Traffic>) -> Self {
            let rules = rules();
            let now = Moment(1_000_000);
            let baseline = baseline.map(|traffic| {
                let mut tally = Tally::default();
                (0..600).for_each(|_| add(&mut tally, traffic));
                tally
            });
            let tally = Tally::default();
            let before = Before {
                shown: baseline.clone(),
                fair: baseline,
            };
            Self {
                judge: Judge::new(&rules, now, &tally, before),
                evidence: Evidence::new(&rules, Believes::Anybody, None),
                rules,
                now,
                tally,
            }
        }

        fn look(&mut self) -> Finding {
            let seen = Now {
                tally: &self.tally,
                evidence: &self.evidence,
                sick: None,
            };
            self.judge.look(&self.rules, self.now, seen)
        }

        fn note(&mut self, met: Met, weight: u64, took: Duration) {
            let seen = Observation {
                client: ClientId(1),
                part: "/",
                met,
                error: None,
                time: time_bucket(took),
                weight,
            };
            if weight > 0 {
                self.evidence.note(self.now, &seen);
            }
        }

        /// Each second as `traffic` says; the last finding.
        fn pass(&mut self, seconds: u64, traffic: impl Fn(u64) -> Traffic) -> Finding {
            for second in 0..seconds {
                let one = traffic(second);
                add(&mut self.tally, one);
                self.note(Met::Served, one.requests - one.errors, one.took);
                self.note(Met::RpcError, one.errors, one.took);
                self.now = self.now.after(SECOND);
                self.look();
            }
            self.look()
        }

        /// After how many seconds it is critical; none within `seconds`.
        fn turns(&mut self, seconds: u64, verdict: WatchVerdict, one: Traffic) -> Option<u64> {
            (1..=seconds).find(|_| self.pass(1, |_| one).verdict == verdict)
        }
    }

    #[test]
    fn a_slot_without_errors_is_good_once_there_was_enough_traffic() {
        let mut bench = Bench::new(None);
        let finding = bench.pass(4, |_| traffic(10, 0));
        assert_eq!(finding.verdict, WatchVerdict::Inconclusive);
        let words = ["40 requests in 4s say nothing; it takes 50".to_owned()];
        assert_eq!(finding.reasons, words);
        assert_eq!(
            bench.pass(1, |_| traffic(10, 0)).verdict,
            WatchVerdict::Good
        );
    }

    #[test]
    fn three_requests_a_minute_are_inconclusive_whatever_they_are() {
        let mut bench = Bench::new(None);
        for second in 0..3600 {
            let now = u64::from(second % 20 == 0);
            let finding = bench.pass(1, |_| traffic(now, now));
            assert_eq!(finding.verdict, WatchVerdict::Inconclusive, "{finding:?}");
        }
    }

    #[test]
    fn one_error_in_five_is_critical_at_once() {
        let mut bench = Bench::new(Some(traffic(10, 0)));
        let finding = bench.pass(5, |_| traffic(10, 2));
        assert_eq!(finding.verdict, WatchVerdict::Critical);
        assert_eq!(
            finding.reasons,
            [
                "10 of 50 requests failed within 10s (20 %, 10 of them JSON-RPC errors), \
                 more than 10 %; on the old slot it was 0 %"
            ]
        );
    }

    #[test]
    fn a_lasting_error_rate_is_critical_once_its_window_is_full() {
        let mut bench = Bench::new(None);
        let one = traffic(50, 1);
        assert_eq!(bench.turns(400, WatchVerdict::Critical, one), Some(300));
        let mut bench = Bench::new(None);
        let one = Traffic {
            requests: 1000,
            errors: 8,
            ..one
        };
        assert_eq!(bench.turns(700, WatchVerdict::Warning, one), Some(600));
        assert_eq!(bench.turns(700, WatchVerdict::Critical, one), None);
    }

    #[test]
    fn what_does_not_last_for_the_window_is_no_breach() {
        let mut bench = Bench::new(None);
        bench.pass(150, |_| traffic(50, 0));
        // One bad stretch: 3 % of the whole window, in its second half.
        for second in 0..400 {
            let errors = if second < 100 { 4 } else { 0 };
            let finding = bench.pass(1, |_| traffic(50, errors));
            assert_ne!(
                finding.verdict,
                WatchVerdict::Critical,
                "{second}: {finding:?}"
            );
        }
    }

    #[test]
    fn what_the_old_slot_did_as_badly_is_no_reason_to_go_back() {
        let one = traffic(10, 2);
        let mut bench = Bench::new(Some(one));
        assert_eq!(bench.turns(700, WatchVerdict::Critical, one), None);
        let worse = traffic(10, 6);
        let soon = bench.turns(60, WatchVerdict::Critical, worse);
        assert!(soon.is_some());
        let old = slow(8 * SECOND);
        let mut bench = Bench::new(Some(old));
        assert_eq!(bench.turns(700, WatchVerdict::Critical, old), None);
    }

    #[test]
    fn slow_answers_are_critical_above_the_bound_and_a_warning_above_the_baseline() {
        let mut bench = Bench::new(Some(slow(SECOND)));
        let finding = bench.pass(700, |_| slow(2 * SECOND));
        assert_eq!(finding.verdict, WatchVerdict::Warning);
        assert!(finding.reasons[0].starts_with("p95 is 2s"), "{finding:?}");
        assert!(
            finding.reasons[0].contains("50 % above the 1"),
            "{finding:?}"
        );
        let finding = bench.pass(310, |_| slow(7 * SECOND));
        assert_eq!(finding.verdict, WatchVerdict::Critical);
        assert!(finding.reasons[0].ends_with("more than 5s"), "{finding:?}");
    }

    #[test]
    fn a_warning_does_not_come_and_go() {
        let mut bench = Bench::new(None);
        let bad = Traffic {
            requests: 1000,
            errors: 8,
            ..traffic(0, 0)
        };
        let finding = bench.pass(600, |_| bad);
        assert_eq!(finding.verdict, WatchVerdict::Warning);
        let begun = bench.now;
        let good = traffic(1000, 0);
        let over = bench.turns(1500, WatchVerdict::Good, good);
        assert!(over.is_some(), "not for ever");
        assert!(bench.now.since(begun) >= bench.rules.warning.window);
    }

    #[test]
    fn what_is_quick_is_never_too_slow() {
        let mut bench = Bench::new(Some(slow(SECOND / 100)));
        let finding = bench.pass(700, |_| slow(SECOND / 20));
        assert_eq!(finding.verdict, WatchVerdict::Good, "{finding:?}");
    }

    #[test]
    fn websockets_that_do_not_open_are_critical() {
        let mut bench = Bench::new(None);
        for _ in 0..310 {
            bench.note(Met::Unopened, 1, SECOND);
            bench.pass(1, |_| traffic(1, 0));
        }
        let finding = bench.look();
        assert_eq!(finding.verdict, WatchVerdict::Critical);
        assert!(finding.reasons[0].contains("websockets were not opened"));
    }

    #[test]
    fn a_failing_health_check_is_critical() {
        let mut bench = Bench::new(None);
        let sick = Some("HTTP 503");
        let seen = Now {
            tally: &bench.tally,
            evidence: &bench.evidence,
            sick,
        };
        let finding = bench.judge.look(&bench.rules, bench.now, seen);
        assert_eq!(finding.verdict, WatchVerdict::Critical);
        assert_eq!(finding.reasons, ["its health check fails: HTTP 503"]);
    }

    #[test]
    fn what_was_counted_before_the_flip_is_not_held_against_the_slot() {
        let rules = rules();
        let mut before = Tally::default();
        (0..600).for_each(|_| add(&mut before, traffic(10, 10)));
        let mut judge = Judge::new(&rules, Moment(0), &before, Before::default());
        let seen = Now {
            tally: &before,
            evidence: &Evidence::new(&rules, Believes::Anybody, None),
            sick: None,
        };
        let finding = judge.look(&rules, Moment(1000), seen);
        assert_eq!(finding.verdict, WatchVerdict::Inconclusive);
        assert_eq!(finding.recent.requests, 0);
    }
}
