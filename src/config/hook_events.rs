//! What a hook may be told of, in the words of the config.

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a hook may be told of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum HookEvent {
            $($(#[$doc])* $name,)*
        }

        impl HookEvent {
            /// In the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

events! {
    FlipStarted = "flip_started",
    FlipFinished = "flip_finished",
    FlipRefused = "flip_refused",
    GateFailed = "gate_failed",
    /// Traffic left a slot by itself.
    Failback = "failback",
    /// The active slot is bad, and traffic stays.
    Staying = "staying",
    /// The slot that traffic moved to does worse than it should.
    WatchWarning = "watch_warning",
    WatchGood = "watch_good",
    CanaryOver = "canary_over",
    CanaryHalted = "canary_halted",
    /// Another user listens on a slot's port than when it last served.
    OwnerChanged = "owner_changed",
    OwnerRestored = "owner_restored",
    /// What all slots need (a database) fails: nothing moves by itself until it is back.
    SharedDown = "shared_down",
    SharedUp = "shared_up",
    /// Requests wait because the active slot cannot be connected.
    Outage = "outage",
    OutageOver = "outage_over",
    /// Maintenance or read-only was switched.
    Mode = "mode",
    /// A hold ended by itself: out of time, or because nobody held it any more.
    HoldExpired = "hold_expired",
    Quarantine = "quarantine",
    QuarantineEnded = "quarantine_ended",
    CertificateExpiring = "certificate_expiring",
    CertificatesRejected = "certificates_rejected",
    CertificatesTaken = "certificates_taken",
    ConfigRejected = "config_rejected",
    ConfigTaken = "config_taken",
    /// The state directory cannot be written as it should be.
    StateNotWritten = "state_not_written",
    StateWritten = "state_written",
    /// Events were lost on the way here.
    Missed = "missed",
    /// Asked for by an operator, whatever a hook is subscribed to.
    Test = "test",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_word_of_its_own() {
        let mut words: Vec<&str> = HookEvent::ALL.iter().map(|it| it.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), HookEvent::ALL.len());
    }
}
