//! How long answers took, in buckets that are fine enough to tell half as much again.

use std::time::Duration;

/// All below a millisecond, eight for each doubling up to two minutes, and the rest.
pub const TIME_BUCKETS: usize = 1 + OCTAVES * STEPS + 1;

const OCTAVES: usize = 17;
const STEPS: usize = 8;
/// The first octave begins at 2^10 microseconds.
const FIRST: u32 = 10;

/// Where a time belongs; at most an eighth longer than the shortest of its bucket.
#[must_use]
pub fn time_bucket(time: Duration) -> usize {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let Some(octave) = us.checked_ilog2().and_then(|it| it.checked_sub(FIRST)) else {
        return 0;
    };
    let step = usize::try_from((us >> (octave + FIRST - 3)) % STEPS as u64).unwrap_or(0);
    (1 + octave as usize * STEPS + step).min(TIME_BUCKETS - 1)
}

/// The longest time of a bucket; of the last one, its shortest.
pub(super) fn bound(bucket: usize) -> Duration {
    let Some(at) = bucket.min(TIME_BUCKETS - 2).checked_sub(1) else {
        return Duration::from_micros(1 << FIRST);
    };
    let steps = (STEPS + at % STEPS + 1) as u64;
    Duration::from_micros((steps << (at / STEPS)) << (FIRST - 3))
}

/// So many of a hundred took no longer; none where nothing is counted.
pub(super) fn percentile(counts: &[u64; TIME_BUCKETS], percent: u64) -> Option<Duration> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = (all * percent).div_ceil(100);
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    bucket.map(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    proptest! {
        #[test]
        fn a_time_lies_below_the_bound_of_its_bucket_and_not_far(us in 0..130_000_000_u64) {
            let time = Duration::from_micros(us);
            let bound = bound(time_bucket(time));
            prop_assert!(time <= bound);
            prop_assert!(us < 1024 || bound <= time.mul_f64(1.126), "{time:?} {bound:?}");
        }
    }

    #[test]
    fn the_longest_times_have_a_bucket_too() {
        for time in [Duration::from_hours(1), Duration::MAX] {
            assert_eq!(time_bucket(time), TIME_BUCKETS - 1);
        }
        assert_eq!(time_bucket(Duration::ZERO), 0);
        assert!(bound(TIME_BUCKETS - 1) > Duration::from_mins(2));
    }

    #[test]
    fn a_percentile_counts_from_the_shortest() {
        let mut counts = [0; TIME_BUCKETS];
        assert_eq!(percentile(&counts, 95), None);
        counts[time_bucket(Duration::from_millis(10))] = 95;
        counts[time_bucket(Duration::from_secs(3))] = 5;
        let near = |time: Option<Duration>, ms: u64| {
            let (time, wanted) = (time.unwrap(), Duration::from_millis(ms));
            assert!(time >= wanted && time < wanted.mul_f64(1.13), "{time:?}");
        };
        near(percentile(&counts, 95), 10);
        near(percentile(&counts, 96), 3000);
        near(percentile(&counts, 99), 3000);
    }
}
