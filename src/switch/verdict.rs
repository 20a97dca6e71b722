//! How a slot does after a flip: against fixed limits, and against the slot that was left.
//!
//! Counts come in, a verdict comes out. What the old slot did as badly is no reason to leave the new one;
//! too little traffic is a reason for nothing.

use super::moment::Moment;
use super::status::words;
use super::tally::{Share, Tally, Track};
use std::time::Duration;

/// By what a slot is judged; none of a limit means that it is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRules {
    pub enabled: bool,
    /// How far back the old slot is looked at.
    pub baseline: Duration,
    /// In a window, before it says anything.
    pub min_requests: u64,
    pub min_handshakes: u64,
    /// So much more than the old slot a figure must be.
    pub worse_by: Share,
    /// What is quicker is never too slow.
    pub latency_floor: Duration,
    /// Errors that need no window to be full.
    pub at_once: Option<Share>,
    pub at_once_window: Duration,
    /// What moves traffic back.
    pub critical: Thresholds,
    /// What is only told.
    pub warning: Thresholds,
}

/// What is too much, when it lasts for the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    pub window: Duration,
    pub error_rate: Option<Share>,
    pub p95: Option<Duration>,
    pub p99: Option<Duration>,
    /// So much slower than the old slot, however fast both are.
    pub latency_rise: Option<Share>,
    /// Of websockets that were asked for, those that were not opened.
    pub handshake_failures: Option<Share>,
}

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
    /// What the slot that was left did before; none when that was too little.
    baseline: Option<Tally>,
    at_once: Track,
    critical: Track,
    warning: Track,
    /// What was last wrong: it is told until it has been better for a while, or it would come and go.
    worry: Option<Worry>,
}

#[derive(Debug, Clone)]
struct Worry {
    at: Moment,
    reasons: Vec<String>,
}

/// A stretch of time with what was counted in it.
struct Span {
    tally: Tally,
    /// In thirds, where it must last; none where it need not.
    thirds: Option<[Tally; 3]>,
    length: Duration,
}

impl Span {
    /// Whether something holds of the whole and, where it must last, of each third: one bad stretch does not last.
    fn lasts(&self, holds: impl Fn(&Tally) -> bool) -> bool {
        holds(&self.tally) && self.thirds.iter().flatten().all(holds)
    }
}

impl Judge {
    /// `start` is what had been counted before; `baseline` what the slot that was left did in its last time.
    #[must_use]
    pub fn new(rules: &WatchRules, since: Moment, start: &Tally, baseline: Option<Tally>) -> Self {
        let track = |length| Track::new(length, since, start);
        Self {
            since,
            baseline: baseline.filter(|it| it.requests >= rules.min_requests),
            at_once: track(rules.at_once_window),
            critical: track(rules.critical.window),
            warning: track(rules.warning.window),
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

    /// Looks at all that was counted up to now. `sick` is why the slot fails its health checks.
    pub fn look(
        &mut self,
        rules: &WatchRules,
        now: Moment,
        (tally, sick): (&Tally, Option<&str>),
    ) -> Finding {
        let windows = [
            (&mut self.at_once, rules.at_once_window),
            (&mut self.critical, rules.critical.window),
            (&mut self.warning, rules.warning.window),
        ];
        for (track, length) in windows {
            track.set_length(length);
            track.mark(now, tally);
        }
        let mut critical: Vec<String> = self.too_bad_at_once(rules, tally).into_iter().collect();
        let full = span(&self.critical, now, (tally, rules.critical.window));
        if let Some(span) = full {
            critical.extend(self.breaches(rules, &rules.critical, &span));
        }
        let breach = (!critical.is_empty()).then(|| critical.join("; "));
        critical.extend(sick.map(|reason| format!("its health check fails: {reason}")));
        let mut warning = Vec::new();
        let full = span(&self.warning, now, (tally, rules.warning.window));
        if let Some(span) = full {
            warning.extend(self.breaches(rules, &rules.warning, &span));
        }
        if critical.is_empty() {
            self.worries(rules, now, &mut warning);
        }
        let recent = tally.since(self.warning.oldest().unwrap_or(tally));
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

    fn too_bad_at_once(&self, rules: &WatchRules, tally: &Tally) -> Option<String> {
        let limit = rules.at_once?;
        let span = Span {
            tally: tally.since(self.at_once.oldest()?),
            thirds: None,
            length: rules.at_once_window,
        };
        self.too_many_errors(rules, limit, &span)
    }

    /// What of a full window is above its limits.
    fn breaches(&self, rules: &WatchRules, limits: &Thresholds, span: &Span) -> Vec<String> {
        let errors = limits
            .error_rate
            .and_then(|limit| self.too_many_errors(rules, limit, span));
        // One reason is enough: the slowest of a hundred are among the slowest of twenty.
        let slow = self
            .too_slow(rules, (95, limits.p95, limits.latency_rise), span)
            .or_else(|| self.too_slow(rules, (99, limits.p99, limits.latency_rise), span));
        let handshakes = limits
            .handshake_failures
            .and_then(|limit| self.too_many_refused(rules, limit, span));
        [errors, slow, handshakes].into_iter().flatten().collect()
    }

    fn too_many_errors(&self, rules: &WatchRules, limit: Share, span: &Span) -> Option<String> {
        let before = self.baseline.as_ref().map(Tally::error_rate);
        let least = limit.max(worse(rules, before));
        // A third of a window has a third of the requests.
        let enough = |tally: &Tally| tally.requests >= rules.min_requests / 3;
        let bad = |tally: &Tally| enough(tally) && tally.error_rate() > least;
        let tally = &span.tally;
        if tally.requests < rules.min_requests || !span.lasts(bad) {
            return None;
        }
        let rpc = match tally.rpc_errors {
            0 => String::new(),
            count => format!(", {count} of them JSON-RPC errors"),
        };
        Some(format!(
            "{} of {} requests failed within {} ({}{rpc}), more than {limit}{}",
            tally.errors(),
            tally.requests,
            words(span.length),
            tally.error_rate(),
            compared(before),
        ))
    }

    fn too_many_refused(&self, rules: &WatchRules, limit: Share, span: &Span) -> Option<String> {
        let known = |it: &&Tally| it.handshakes >= rules.min_handshakes;
        let before = self.baseline.as_ref().filter(known);
        let before = before.map(Tally::handshake_failures);
        let least = limit.max(worse(rules, before));
        let enough = |tally: &Tally| tally.handshakes >= rules.min_handshakes / 3;
        let bad = |tally: &Tally| enough(tally) && tally.handshake_failures() > least;
        let tally = &span.tally;
        if tally.handshakes < rules.min_handshakes || !span.lasts(bad) {
            return None;
        }
        Some(format!(
            "{} of {} websockets were not opened within {}, more than {limit}{}",
            tally.refused,
            tally.handshakes,
            words(span.length),
            compared(before),
        ))
    }

    fn too_slow(
        &self,
        rules: &WatchRules,
        (percent, bound, rise): (u64, Option<Duration>, Option<Share>),
        span: &Span,
    ) -> Option<String> {
        let tally = &span.tally;
        // The slowest of a hundred is one of a hundred.
        let needed = rules.min_requests.max(if percent > 95 { 100 } else { 20 });
        if tally.requests < needed {
            return None;
        }
        let before = self.baseline.as_ref().and_then(|it| it.percentile(percent));
        let at_least = |limit: Duration| limit.max(rules.latency_floor);
        let bound = bound.map(|bound| {
            let worse = before.map_or(Duration::ZERO, |before| rules.worse_by.above(before));
            (at_least(bound.max(worse)), words(bound))
        });
        let risen = rise.zip(before).map(|(rise, before)| {
            let limit = format!("{rise} above the {} of the old slot", words(whole(before)));
            (at_least(rise.above(before)), limit)
        });
        let lasts = |limit: Duration| {
            span.lasts(|tally| tally.percentile(percent).is_some_and(|time| time > limit))
        };
        let (_, limit) = [bound, risen]
            .into_iter()
            .flatten()
            .find(|(limit, _)| lasts(*limit))?;
        let time = tally.percentile(percent).unwrap_or_default();
        Some(format!(
            "p{percent} is {} over {}, more than {limit}",
            words(whole(time)),
            words(span.length)
        ))
    }
}

/// A full window up to now; none when the track is younger.
fn span(track: &Track, now: Moment, (tally, length): (&Tally, Duration)) -> Option<Span> {
    let begun = track.before(now, length)?;
    let first = track.before(now, length * 2 / 3)?;
    let second = track.before(now, length / 3)?;
    Some(Span {
        tally: tally.since(begun),
        thirds: Some([first.since(begun), second.since(first), tally.since(second)]),
        length,
    })
}

/// What a share must exceed to be worse than before.
fn worse(rules: &WatchRules, before: Option<Share>) -> Share {
    let before = before.unwrap_or_default();
    let more = u64::from(before.0) * u64::from(rules.worse_by.0) / 10_000;
    Share(
        before
            .0
            .saturating_add(u32::try_from(more).unwrap_or(u32::MAX)),
    )
}

fn compared(before: Option<Share>) -> String {
    before.map_or(String::new(), |before| {
        format!("; on the old slot it was {before}")
    })
}

/// As fine as anybody reads it.
fn whole(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
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
            worse_by: Share::percent(50),
            latency_floor: Duration::from_millis(100),
            at_once: Some(Share::percent(10)),
            at_once_window: 10 * SECOND,
            critical: Thresholds {
                window: minutes(5),
                error_rate: Some(Share::percent(1)),
                p95: Some(5 * SECOND),
                p99: None,
                latency_rise: None,
                handshake_failures: Some(Share::percent(10)),
            },
            warning: Thresholds {
                window: minutes(10),
                error_rate: Some(Share(50)),
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
            Self {
                judge: Judge::new(&rules, now, &tally, baseline),
                rules,
                now,
                tally,
            }
        }

        fn look(&mut self) -> Finding {
            self.judge.look(&self.rules, self.now, (&self.tally, None))
        }

        /// Each second as `traffic` says; the last finding.
        fn pass(&mut self, seconds: u64, traffic: impl Fn(u64) -> Traffic) -> Finding {
            for second in 0..seconds {
                add(&mut self.tally, traffic(second));
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
        let worse = traffic(10, 4);
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
            bench.tally.handshakes += 1;
            bench.tally.refused += 1;
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
        let tally = bench.tally.clone();
        let finding = bench.judge.look(&bench.rules, bench.now, (&tally, sick));
        assert_eq!(finding.verdict, WatchVerdict::Critical);
        assert_eq!(finding.reasons, ["its health check fails: HTTP 503"]);
    }

    #[test]
    fn what_was_counted_before_the_flip_is_not_held_against_the_slot() {
        let rules = rules();
        let mut before = Tally::default();
        (0..600).for_each(|_| add(&mut before, traffic(10, 10)));
        let mut judge = Judge::new(&rules, Moment(0), &before, None);
        let finding = judge.look(&rules, Moment(1000), (&before, None));
        assert_eq!(finding.verdict, WatchVerdict::Inconclusive);
        assert_eq!(finding.recent.requests, 0);
    }
}
