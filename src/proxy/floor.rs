//! What a client must do at least while it is waited for.

use super::flight::TICK;
use crate::config::Limits;

const TICKS_PER_SECOND: u64 = 10;

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// 0 is as slow as it likes.
    bytes_per_second: u64,
    /// So long it may do less.
    grace_ticks: u32,
}

impl Floor {
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        let ticks = limits.min_rate_grace.as_millis() / TICK.as_millis();
        Self {
            bytes_per_second: limits.min_rate,
            grace_ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
        }
    }

    /// Whether so many bytes are too few for a client that was waited for in so many ticks.
    #[must_use]
    pub(super) fn is_missed_by(self, bytes: u64, ticks: u32) -> bool {
        let beyond = u64::from(ticks.saturating_sub(self.grace_ticks));
        bytes.saturating_mul(TICKS_PER_SECOND) < beyond.saturating_mul(self.bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn floor(rate: u64) -> Floor {
        Floor::of(&Limits {
            min_rate: rate,
            min_rate_grace: Duration::from_secs(2),
            ..Limits::default()
        })
    }

    #[test]
    fn a_client_is_slow_by_its_average_after_the_grace() {
        let ten_per_second = floor(10);
        assert!(!ten_per_second.is_missed_by(0, 20), "within the grace");
        assert!(ten_per_second.is_missed_by(0, 21));
        assert!(!ten_per_second.is_missed_by(100, 120));
        assert!(ten_per_second.is_missed_by(99, 120));
        assert!(
            !ten_per_second.is_missed_by(1_000_000, 10_000),
            "it was fast before"
        );
    }

    #[test]
    fn without_a_floor_nobody_is_slow() {
        assert!(!floor(0).is_missed_by(0, u32::MAX));
    }
}
