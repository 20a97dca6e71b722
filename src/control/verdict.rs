//! Rise and fall: from single probes to a verdict on one endpoint.

use crate::live::Wellness;

/// How often in a row it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thresholds {
    /// Passes until healthy.
    pub(super) rise: u32,
    /// Failures until unhealthy.
    pub(super) fall: u32,
}

/// The verdict on one endpoint, and the streak that may change it.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    wellness: Wellness,
    streak: u32,
    last_passed: bool,
}

impl Verdict {
    pub(super) fn wellness(&self) -> Wellness {
        self.wellness
    }

    /// Whether the last probe passed; none before the first.
    pub(super) fn last_passed(&self) -> Option<bool> {
        (self.streak > 0).then_some(self.last_passed)
    }

    /// It has passed as often in a row as it takes to be healthy.
    pub(super) fn is_steady(&self, needed: Thresholds) -> bool {
        self.last_passed && self.streak >= needed.rise
    }

    /// Takes one probe into account; true when the verdict changed by it.
    pub(super) fn observe(&mut self, passed: bool, needed: Thresholds) -> bool {
        self.streak = if self.last_passed == passed {
            self.streak.saturating_add(1)
        } else {
            1
        };
        self.last_passed = passed;
        let (enough, would_be) = if passed {
            (needed.rise, Wellness::Healthy)
        } else {
            (needed.fall, Wellness::Unhealthy)
        };
        let changes = self.streak >= enough && self.wellness != would_be;
        if changes {
            self.wellness = would_be;
        }
        changes
    }

    /// It is unhealthy whatever it did before; true when the verdict changed by it.
    pub(super) fn condemn(&mut self) -> bool {
        self.streak = 1;
        self.last_passed = false;
        std::mem::replace(&mut self.wellness, Wellness::Unhealthy) != Wellness::Unhealthy
    }

    /// A gate has proved the endpoint by as many passes as it takes; true when the verdict changed by it.
    pub(super) fn prove(&mut self, needed: Thresholds) -> bool {
        self.streak = needed.rise;
        self.last_passed = true;
        std::mem::replace(&mut self.wellness, Wellness::Healthy) != Wellness::Healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Thresholds = Thresholds { rise: 2, fall: 3 };

    fn after(probes: &str) -> Wellness {
        let mut verdict = Verdict::default();
        for probe in probes.chars() {
            verdict.observe(probe == '+', NEEDED);
        }
        verdict.wellness()
    }

    #[test]
    fn it_takes_rise_passes_in_a_row_to_be_healthy() {
        assert_eq!(after("+"), Wellness::Unknown);
        assert_eq!(after("+-+"), Wellness::Unknown);
        assert_eq!(after("-++"), Wellness::Healthy);
        assert_eq!(after("---+"), Wellness::Unhealthy);
        assert_eq!(after("---++"), Wellness::Healthy);
    }

    #[test]
    fn it_takes_fall_failures_in_a_row_to_be_unhealthy() {
        assert_eq!(after("--"), Wellness::Unknown);
        assert_eq!(after("---"), Wellness::Unhealthy);
        assert_eq!(after("++--+--"), Wellness::Healthy);
        assert_eq!(after("++---"), Wellness::Unhealthy);
    }

    #[test]
    fn a_change_is_told_once() {
        let mut verdict = Verdict::default();
        let told = [true; 5].map(|passed| verdict.observe(passed, NEEDED));
        assert_eq!(told, [false, true, false, false, false]);
    }

    #[test]
    fn who_is_condemned_is_unhealthy_at_once_and_has_to_rise_again() {
        let mut verdict = Verdict::default();
        verdict.prove(NEEDED);
        assert!(verdict.condemn());
        assert!(!verdict.condemn());
        assert_eq!(verdict.wellness(), Wellness::Unhealthy);
        assert!(!verdict.observe(true, NEEDED));
        assert!(verdict.observe(true, NEEDED));
    }

    #[test]
    fn a_proof_starts_the_count_of_failures_afresh() {
        let mut verdict = Verdict::default();
        for _ in 0..7 {
            verdict.observe(false, NEEDED);
        }
        assert!(verdict.prove(NEEDED));
        assert!(!verdict.observe(false, NEEDED));
        assert_eq!(verdict.wellness(), Wellness::Healthy);
    }
}
