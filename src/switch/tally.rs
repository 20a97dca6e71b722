//! What a slot is judged by: counts of its answers, and what they were some time ago.

use super::moment::Moment;
use super::times::{TIME_BUCKETS, bound, percentile};
use std::collections::VecDeque;
use std::time::Duration;

/// Marks kept of a [`Track`], over its whole length.
const MARKS: u32 = 40;

/// A part of a whole, in hundredths of a percent.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Share(pub u32);

impl Share {
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 100)
    }

    /// Of nothing it is nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Self {
        let share = u128::from(part) * 10_000 / u128::from(whole.max(1));
        Self(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// So much more than `time`.
    #[must_use]
    pub fn above(self, time: Duration) -> Duration {
        time.saturating_add(time.saturating_mul(self.0) / 10_000)
    }
}

impl std::fmt::Display for Share {
    /// `10 %`, `0.5 %`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, rest) if rest % 10 == 0 => write!(f, "{whole}.{} %", rest / 10),
            (whole, rest) => write!(f, "{whole}.{rest:02} %"),
        }
    }
}

/// What was counted of one slot's answers since it began to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Answered, or failed at the upstream. Not those whose client left, and no websockets.
    pub requests: u64,
    /// Answers of 500 and above, failed connections, and those that got no place in time.
    pub failed: u64,
    /// Answers of 200 that hold a JSON-RPC error.
    pub rpc_errors: u64,
    /// Of websockets: asked for.
    pub handshakes: u64,
    /// Of websockets: asked for and not opened.
    pub refused: u64,
    /// How long answers took to begin, by [`time_bucket`](super::time_bucket).
    pub times: Box<[u64; TIME_BUCKETS]>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: 0,
            failed: 0,
            rpc_errors: 0,
            handshakes: 0,
            refused: 0,
            times: Box::new([0; TIME_BUCKETS]),
        }
    }
}

impl Tally {
    /// What was counted between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut times = self.times.clone();
        for (time, before) in times.iter_mut().zip(earlier.times.iter()) {
            *time = time.saturating_sub(*before);
        }
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            rpc_errors: self.rpc_errors.saturating_sub(earlier.rpc_errors),
            handshakes: self.handshakes.saturating_sub(earlier.handshakes),
            refused: self.refused.saturating_sub(earlier.refused),
            times,
        }
    }

    #[must_use]
    pub fn errors(&self) -> u64 {
        self.failed + self.rpc_errors
    }

    #[must_use]
    pub fn error_rate(&self) -> Share {
        Share::of(self.errors(), self.requests)
    }

    #[must_use]
    pub fn handshake_failures(&self) -> Share {
        Share::of(self.refused, self.handshakes)
    }

    /// How long so many of a hundred answers took at most, up to an eighth too long; none without any.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        percentile(&self.times, percent)
    }
}

impl Tally {
    /// Answers that took longer than `limit`, up to an eighth too many.
    #[must_use]
    pub fn slower_than(&self, limit: Duration) -> u64 {
        let times = self.times.iter().enumerate();
        let slow = times.filter(|(bucket, _)| bound(*bucket) > limit);
        slow.map(|(_, count)| count).sum()
    }

    /// Answers whose times are known.
    #[must_use]
    pub fn timed(&self) -> u64 {
        self.times.iter().sum()
    }
}

/// Tallies of the recent past.
#[derive(Debug, Clone)]
pub struct Track {
    length: Duration,
    /// Oldest first.
    marks: VecDeque<Mark>,
}

/// What had been counted at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Marked<'a> {
    pub at: Moment,
    pub tally: &'a Tally,
}

#[derive(Debug, Clone)]
struct Mark {
    at: Moment,
    tally: Tally,
}

impl Track {
    /// Begins at `now`.
    #[must_use]
    pub fn new(length: Duration, now: Moment, tally: &Tally) -> Self {
        let mut track = Self {
            length,
            marks: VecDeque::new(),
        };
        track.mark(now, tally);
        track
    }

    /// How far back it reaches from now on.
    pub fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    /// Remembers `tally`, unless that was just done.
    pub fn mark(&mut self, now: Moment, tally: &Tally) {
        let is_due = |last: &Mark| now.since(last.at) >= self.length / MARKS;
        if self.marks.back().is_none_or(is_due) {
            let tally = tally.clone();
            self.marks.push_back(Mark { at: now, tally });
        }
        // One that is as old as the whole length stays: it is where a window of that length begins.
        let second_is_old_enough = |marks: &VecDeque<Mark>, length| {
            let second = marks.get(1);
            second.is_some_and(|mark| now.since(mark.at) >= length)
        };
        while second_is_old_enough(&self.marks, self.length) {
            self.marks.pop_front();
        }
    }

    /// What it was at least `ago`; none when it does not reach back so far.
    #[must_use]
    pub fn before(&self, now: Moment, ago: Duration) -> Option<&Tally> {
        let mut marks = self.marks.iter().rev();
        let mark = marks.find(|mark| now.since(mark.at) >= ago)?;
        Some(&mark.tally)
    }

    /// What it was about `ago`, or at the beginning, and when exactly that was.
    ///
    /// # Panics
    ///
    /// Never: there is a mark since the beginning.
    #[must_use]
    pub fn mark_before(&self, now: Moment, ago: Duration) -> Marked<'_> {
        let mut marks = self.marks.iter().rev();
        let mark = marks.find(|mark| now.since(mark.at) >= ago);
        let mark = mark.or(self.marks.front());
        let Mark { at, tally } = mark.expect("`new` puts one there, and the last one stays");
        Marked { at: *at, tally }
    }

    /// What it was at the beginning, or a whole length ago.
    #[must_use]
    pub fn oldest(&self) -> Option<&Tally> {
        self.marks.front().map(|mark| &mark.tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn requests(count: u64) -> Tally {
        Tally {
            requests: count,
            ..Tally::default()
        }
    }

    fn track(length: Duration, seconds: u64) -> Track {
        let mut track = Track::new(length, Moment(0), &requests(0));
        for at in 1..=seconds {
            track.mark(Moment(at * 1000), &requests(at));
        }
        track
    }

    #[test]
    fn a_window_begins_where_it_should_or_a_little_earlier() {
        let now = Moment(3_600_000);
        for length in [10 * SECOND, 60 * SECOND, 600 * SECOND] {
            let track = track(length, 3600);
            for window in [length, length / 2] {
                let begun = track.before(now, window).unwrap().requests;
                let wanted = 3600 - window.as_secs();
                let slack = 1 + length.as_secs() / u64::from(MARKS);
                assert!(
                    begun <= wanted && begun + slack >= wanted,
                    "{begun} {wanted}"
                );
            }
            assert!(track.marks.len() <= MARKS as usize + 2, "bounded");
        }
    }

    #[test]
    fn a_young_track_knows_no_past() {
        let track = track(60 * SECOND, 30);
        assert!(track.before(Moment(30_000), 31 * SECOND).is_none());
        assert_eq!(
            track.before(Moment(30_000), 30 * SECOND),
            Some(&requests(0))
        );
        assert_eq!(track.oldest(), Some(&requests(0)));
    }

    #[test]
    fn shares_are_exact_and_written_as_people_do() {
        assert_eq!(Share::of(1, 200), Share(50));
        assert_eq!(Share::of(5, 0), Share(50_000));
        assert_eq!(Share::of(u64::MAX, 1), Share(u32::MAX));
        let shown = [Share::percent(10), Share(50), Share(1234), Share(5)];
        let shown = shown.map(|share| share.to_string());
        assert_eq!(shown, ["10 %", "0.5 %", "12.34 %", "0.05 %"]);
        assert_eq!(Share::percent(50).above(SECOND * 2), SECOND * 3);
    }
}
