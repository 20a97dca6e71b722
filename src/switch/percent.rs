//! How many of the visitors a canary gets, and in which steps.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A part of all new visitors, to a hundredth of a percent.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Percent(u16);

/// Why a text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a share is 0% to 100% with at most two decimals, such as 5% or 0.25%; got {0:?}")]
pub struct PercentError(pub String);

impl Percent {
    /// Nobody new.
    pub const NONE: Self = Self(0);
    /// As many lots as there are.
    pub const LOTS: u16 = 10_000;

    /// Is one of those who are to come in the one who drew `lot`? Whoever is at one share is at every larger one.
    #[must_use]
    pub fn takes(self, lot: u16) -> bool {
        lot % Self::LOTS < self.0
    }

    /// As a number of percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// None outside of 0 to 100; rounded to a hundredth.
    #[must_use]
    pub fn of_percent(percent: f64) -> Option<Self> {
        let text = format!("{percent:.2}");
        text.parse().ok()
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    /// With or without the sign.
    fn from_str(text: &str) -> Result<Self, PercentError> {
        let refused = || PercentError(text.to_owned());
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = (1..=3).contains(&whole.len()) && (1..=2).contains(&decimals.len());
        if !fits || !is_number(whole) || !is_number(decimals) {
            return Err(refused());
        }
        let whole: u16 = whole.parse().map_err(|_| refused())?;
        let hundredths: u16 = format!("{decimals:0<2}").parse().map_err(|_| refused())?;
        let share = whole * 100 + hundredths;
        if share > Self::LOTS {
            return Err(refused());
        }
        Ok(Self(share))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole}%"),
            rest if rest % 10 == 0 => write!(f, "{whole}.{}%", rest / 10),
            rest => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

/// What a canary does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryRules {
    /// In this order; none means that an operator sets every share.
    pub steps: Vec<CanaryStep>,
    /// A canary that takes nobody new ends once nobody has come to it for so long.
    pub idle: Duration,
    /// A step follows only once enough have come to say that the canary does well.
    pub is_judged: bool,
}

/// One step of a canary that goes on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryStep {
    /// So many of the new visitors, for so long; none means until an operator says more.
    Share {
        share: Percent,
        lasts: Option<Duration>,
    },
    /// All traffic follows.
    Promote,
}

impl Default for CanaryRules {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            idle: Duration::from_mins(30),
            is_judged: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_as_it_is_read() {
        for text in ["0%", "5%", "0.25%", "12.5%", "0.05%", "100%", "99.99%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        assert_eq!("5".parse::<Percent>(), "5.00 %".parse());
        for wrong in [
            "", "%", "101%", "100.01%", "-1%", "5%%", "1.234%", ".5%", "5.%", "+5%", "five",
            "1e1%", "\u{665}%",
        ] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn whoever_is_at_one_share_is_at_every_larger_one() {
        let shares: Vec<Percent> = (0..=100).map(|percent| Percent(percent * 100)).collect();
        for lot in 0..Percent::LOTS {
            let taken: Vec<bool> = shares.iter().map(|share| share.takes(lot)).collect();
            assert!(taken.is_sorted(), "lot {lot}");
            assert!(!taken[0] && taken[100]);
        }
        let five = (0..Percent::LOTS).filter(|lot| Percent(500).takes(*lot));
        assert_eq!(five.count(), 500);
    }

    #[test]
    fn percent_is_rounded_to_a_hundredth() {
        assert_eq!(Percent::of_percent(2.5), "2.5%".parse().ok());
        assert_eq!(Percent::of_percent(33.333), "33.33%".parse().ok());
        for wrong in [-1.0, 100.01, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::of_percent(wrong), None, "{wrong}");
        }
        assert!((Percent(1250).percent() - 12.5).abs() < f64::EPSILON);
    }
}
