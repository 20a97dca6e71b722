//! When the next order is due. Pure: time and chance are arguments.

use std::time::Duration;

/// Between two attempts for one host: the first failure waits this long, each further one twice as long.
const FIRST_RETRY: Duration = Duration::from_mins(1);
/// Authorities limit failures per hour and week; a name that is wrong for days must not use them up.
const LONGEST_RETRY: Duration = Duration::from_hours(12);

/// When a certificate is renewed, in seconds since 1970: with a third of its life left, and earlier by up to
/// a thirtieth of its life, so that many servers started together do not come at once. `chance` is 0.0 to 1.0.
pub(super) fn renew_at(not_before: i64, not_after: i64, chance: f64) -> i64 {
    let life = not_after.saturating_sub(not_before).max(0);
    let jitter = Duration::from_secs(u64::try_from(life / 30).unwrap_or(0)).mul_f64(chance);
    let jitter = i64::try_from(jitter.as_secs()).unwrap_or(0);
    not_after - life / 3 - jitter
}

/// How long to wait after so many failures in a row. `chance` is 0.0 to 1.0 and adds up to a fifth.
pub(super) fn retry_after(failures: u32, chance: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
    let wait = FIRST_RETRY.saturating_mul(doubled).min(LONGEST_RETRY);
    wait + wait.mul_f64(chance / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 24 * 60 * 60;

    #[test]
    fn a_certificate_of_ninety_days_is_renewed_between_day_57_and_day_60() {
        assert_eq!(renew_at(0, 90 * DAY, 0.0), 60 * DAY);
        assert_eq!(renew_at(0, 90 * DAY, 1.0), 57 * DAY);
    }

    #[test]
    fn failures_are_tried_again_ever_more_rarely_up_to_half_a_day() {
        assert_eq!(retry_after(1, 0.0), Duration::from_mins(1));
        assert_eq!(retry_after(2, 0.0), Duration::from_mins(2));
        assert_eq!(retry_after(1, 1.0), Duration::from_secs(72));
        assert_eq!(retry_after(u32::MAX, 0.0), Duration::from_hours(12));
    }

    proptest! {
        #[test]
        fn a_renewal_is_always_before_the_end(
            from in -4_000_000_000..4_000_000_000_i64,
            life in 0..400 * DAY,
            chance in 0.0..=1.0,
        ) {
            let at = renew_at(from, from + life, chance);
            prop_assert!(at >= from && at <= from + life);
        }
    }
}
