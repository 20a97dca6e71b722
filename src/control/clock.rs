//! The one clock of control: wall time at the start, then monotonic.

use crate::switch::Moment;
use std::time::Duration;
use std::time::SystemTime;
use tokio::time::Instant;

/// Gives [`Moment`]s that never go backwards, whatever happens to the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    moment: Moment,
    instant: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            moment: Moment(0).after(wall.unwrap_or_default()),
            instant: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.moment.after(self.instant.elapsed())
    }

    pub(super) fn instant(&self, moment: Moment) -> Instant {
        // A day of sleep at most: the instant cannot overflow, and whoever wakes early looks again.
        let wait = moment
            .since(self.moment)
            .min(Duration::from_hours(24) + self.instant.elapsed());
        self.instant + wait
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn stamp(moment: Moment) -> String {
    let millis = i64::try_from(moment.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc_with_milliseconds() {
        assert_eq!(stamp(Moment(1_700_000_000_042)), "2023-11-14T22:13:20.042Z");
        assert_eq!(stamp(Moment(1_700_000_000_000)), "2023-11-14T22:13:20.000Z");
    }

    #[tokio::test(start_paused = true)]
    async fn moments_follow_the_monotonic_clock() {
        let clock = Clock::start();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(5));
        let later = clock.now().after(Duration::from_secs(3));
        assert_eq!(
            clock.instant(later) - Instant::now(),
            Duration::from_secs(3)
        );
    }
}
