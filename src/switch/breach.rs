//! What of a window is above its limits, and surely so.

use super::bounds::surely_above;
use super::evidence::{Evidence, Trouble};
use super::limits::{Thresholds, WatchRules};
use super::moment::Moment;
use super::status::words;
use super::tally::{Share, Tally, Track};
use std::time::Duration;

/// The windows of one kind of witnesses.
#[derive(Debug, Clone)]
pub(super) struct Tracks {
    pub(super) at_once: Track,
    pub(super) critical: Track,
    pub(super) warning: Track,
}

impl Tracks {
    pub(super) fn new(rules: &WatchRules, since: Moment) -> Self {
        let track = |length| Track::new(length, since, &Tally::default());
        Self {
            at_once: track(rules.at_once_window),
            critical: track(rules.critical.window),
            warning: track(rules.warning.window),
        }
    }

    pub(super) fn mark(&mut self, rules: &WatchRules, now: Moment, tally: &Tally) {
        for (track, length) in [
            (&mut self.at_once, rules.at_once_window),
            (&mut self.critical, rules.critical.window),
            (&mut self.warning, rules.warning.window),
        ] {
            track.set_length(length);
            track.mark(now, tally);
        }
    }
}

/// Whose experience is looked at.
#[derive(Clone, Copy)]
pub(super) struct Witnesses<'a> {
    pub(super) now: Moment,
    pub(super) evidence: &'a Evidence,
    pub(super) tracks: &'a Tracks,
    pub(super) tally: &'a Tally,
    pub(super) are_strangers: bool,
}

impl Witnesses<'_> {
    /// Enough of them had this trouble, each for itself.
    fn agree(&self, trouble: Trouble, length: Duration) -> bool {
        if self.are_strangers {
            return self
                .evidence
                .is_common_to_strangers(trouble, (self.now, length));
        }
        self.evidence.is_common(trouble, (self.now, length))
    }
}

/// A stretch of time with what was counted in it.
pub(super) struct Span {
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

/// By what windows are measured.
#[derive(Clone, Copy)]
pub(super) struct Measure<'a> {
    pub(super) rules: &'a WatchRules,
    /// What the slot that was left did.
    pub(super) before: Option<&'a Tally>,
}

impl Measure<'_> {
    pub(super) fn too_bad_at_once(&self, who: Witnesses<'_>) -> Option<String> {
        let limit = self.rules.at_once?;
        let span = Span {
            tally: who.tally.since(who.tracks.at_once.oldest()?),
            thirds: None,
            length: self.rules.at_once_window,
        };
        self.too_many_errors(limit, (&span, who))
    }

    /// What of a full window is above its limits.
    pub(super) fn breaches(
        &self,
        limits: &Thresholds,
        (span, who): (&Span, Witnesses<'_>),
    ) -> Vec<String> {
        let errors = limits
            .error_rate
            .and_then(|limit| self.too_many_errors(limit, (span, who)));
        // One reason is enough: the slowest of a hundred are among the slowest of twenty.
        let slow = self
            .too_slow((95, limits.p95, limits.latency_rise), span)
            .or_else(|| self.too_slow((99, limits.p99, limits.latency_rise), span))
            .filter(|_| who.agree(Trouble::Slow, span.length));
        let handshakes = limits
            .handshake_failures
            .and_then(|limit| self.too_many_refused(limit, (span, who)));
        [errors, slow, handshakes].into_iter().flatten().collect()
    }

    fn too_many_errors(&self, limit: Share, (span, who): (&Span, Witnesses<'_>)) -> Option<String> {
        let before = self.before.map(Tally::error_rate);
        let least = limit.max(worse(self.rules, before));
        // A third of a window has a third of the requests.
        let enough = |tally: &Tally| tally.requests >= self.rules.min_requests / 3;
        let bad = |tally: &Tally| enough(tally) && tally.error_rate() > least;
        let tally = &span.tally;
        let surely = surely_above(tally.errors(), tally.requests) > least;
        if tally.requests < self.rules.min_requests || !surely || !span.lasts(bad) {
            return None;
        }
        if !who.agree(Trouble::Failed, span.length) {
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

    fn too_many_refused(
        &self,
        limit: Share,
        (span, who): (&Span, Witnesses<'_>),
    ) -> Option<String> {
        let known = |it: &&Tally| it.handshakes >= self.rules.min_handshakes;
        let before = self.before.filter(known);
        let before = before.map(Tally::handshake_failures);
        let least = limit.max(worse(self.rules, before));
        let enough = |tally: &Tally| tally.handshakes >= self.rules.min_handshakes / 3;
        let bad = |tally: &Tally| enough(tally) && tally.handshake_failures() > least;
        let tally = &span.tally;
        let surely = surely_above(tally.refused, tally.handshakes) > least;
        if tally.handshakes < self.rules.min_handshakes || !surely || !span.lasts(bad) {
            return None;
        }
        if !who.agree(Trouble::Unopened, span.length) {
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
        (percent, bound, rise): (u64, Option<Duration>, Option<Share>),
        span: &Span,
    ) -> Option<String> {
        let tally = &span.tally;
        // The slowest of a hundred is one of a hundred.
        let needed = self
            .rules
            .min_requests
            .max(if percent > 95 { 100 } else { 20 });
        if tally.requests < needed {
            return None;
        }
        let before = self.before.and_then(|it| it.percentile(percent));
        let at_least = |limit: Duration| limit.max(self.rules.latency_floor);
        let bound = bound.map(|bound| {
            let worse = before.map_or(Duration::ZERO, |before| self.rules.worse_by.above(before));
            (at_least(bound.max(worse)), words(bound))
        });
        let risen = rise.zip(before).map(|(rise, before)| {
            let limit = format!("{rise} above the {} of the old slot", words(whole(before)));
            (at_least(rise.above(before)), limit)
        });
        let may_be = Share::percent(100 - u32::try_from(percent).unwrap_or(100));
        let lasts = |limit: Duration| {
            surely_above(tally.slower_than(limit), tally.timed()) > may_be
                && span.lasts(|tally| tally.percentile(percent).is_some_and(|time| time > limit))
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
pub(super) fn span(
    track: &Track,
    now: Moment,
    (tally, length): (&Tally, Duration),
) -> Option<Span> {
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
