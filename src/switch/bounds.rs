//! What a share surely is, seen in a few tries: luck around a limit must not decide.

use super::tally::Share;

/// One-sided, 99 of 100: so rarely is a share taken for more than it is.
const Z: f64 = 2.326;

/// What the true share surely exceeds (Wilson's lower bound); nothing of nothing.
pub(super) fn surely_above(part: u64, whole: u64) -> Share {
    if whole == 0 {
        return Share(0);
    }
    let Middle { centre, half } = middle(part, whole);
    share((centre - half).floor())
}

/// What the true share surely does not exceed (Wilson's upper bound); all of nothing.
pub(super) fn surely_below(part: u64, whole: u64) -> Share {
    if whole == 0 {
        return Share::percent(100);
    }
    let Middle { centre, half } = middle(part, whole);
    share((centre + half).ceil())
}

/// In hundredths of a percent.
struct Middle {
    centre: f64,
    half: f64,
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of a watch are far below 2^52, and a bound is no exact figure"
)]
fn middle(part: u64, whole: u64) -> Middle {
    let all = whole as f64;
    let seen = (part.min(whole)) as f64 / all;
    let square = Z * Z;
    let scale = 10_000.0 / (1.0 + square / all);
    let spread = seen * (1.0 - seen) / all + square / (4.0 * all * all);
    Middle {
        centre: scale * (seen + square / (2.0 * all)),
        half: scale * Z * spread.sqrt(),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it lies between 0 and 10,000"
)]
fn share(hundredths: f64) -> Share {
    Share(hundredths.clamp(0.0, 10_000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn ten_of_ten_are_surely_more_than_half_and_three_of_three_are_not() {
        assert!(surely_above(10, 10) > Share::percent(50));
        assert!(surely_above(3, 3) < Share::percent(50));
        assert!(surely_below(0, 10) < Share::percent(40));
        assert_eq!(surely_above(0, 0), Share(0));
        assert_eq!(surely_below(0, 0), Share::percent(100));
    }

    proptest! {
        #[test]
        fn the_bounds_enclose_what_was_seen(whole in 1..100_000_u64, part in 0..100_000_u64) {
            let part = part % (whole + 1);
            let seen = Share::of(part, whole);
            prop_assert!(surely_above(part, whole) <= seen);
            prop_assert!(surely_below(part, whole) >= seen);
        }
    }
}
