//! How loud a line of the log is, where that depends on what is told.
//!
//! `ERROR`: visitors notice, or soon will, and somebody has to look. `WARN`: something works less well than it
//! should, moved by itself, or is over that was told so loudly. `INFO`: the operator's own story.

/// As `tracing::info!`, at a level that is known when it runs.
macro_rules! log_at {
    ($level:expr, $($line:tt)*) => {
        match $level {
            ::tracing::Level::ERROR => ::tracing::error!($($line)*),
            ::tracing::Level::WARN => ::tracing::warn!($($line)*),
            _ => ::tracing::info!($($line)*),
        }
    };
}

pub(super) use log_at;

use crate::switch::SlotHealth;
use crate::switch::WatchVerdict;
use tracing::Level;

/// What a slot is to visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Active,
    /// Active, within `start_grace`, and never healthy since the daemon started.
    Starting,
    Idle,
}

/// Of a slot whose health was `before` and is `now`.
pub(super) fn of_health(role: Role, before: &SlotHealth, now: &SlotHealth) -> Level {
    match (role, now, before) {
        (Role::Active, SlotHealth::Unhealthy { .. } | SlotHealth::Absent { .. }, _) => Level::ERROR,
        // An idle slot that is not there is no trouble.
        (Role::Idle, SlotHealth::Unhealthy { .. }, _) => Level::WARN,
        (Role::Active, SlotHealth::Healthy, before) if before.trouble().is_some() => Level::WARN,
        _ => Level::INFO,
    }
}

pub(super) fn of_verdict(verdict: WatchVerdict) -> Level {
    match verdict {
        WatchVerdict::Critical => Level::ERROR,
        WatchVerdict::Warning => Level::WARN,
        WatchVerdict::Inconclusive | WatchVerdict::Good => Level::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_active_slot_is_an_error_a_bad_idle_one_a_warning_and_a_start_is_neither() {
        let bad = SlotHealth::Unhealthy {
            reason: "HTTP 500".to_owned(),
        };
        let absent = SlotHealth::Absent {
            reason: "no such name".to_owned(),
        };
        let (good, unknown) = (SlotHealth::Healthy, SlotHealth::Unknown);
        for (role, before, now, level) in [
            (Role::Active, &good, &bad, Level::ERROR),
            (Role::Active, &unknown, &bad, Level::ERROR),
            (Role::Active, &bad, &good, Level::WARN),
            (Role::Active, &unknown, &good, Level::INFO),
            (Role::Starting, &unknown, &bad, Level::INFO),
            (Role::Starting, &bad, &good, Level::INFO),
            (Role::Idle, &good, &bad, Level::WARN),
            (Role::Idle, &good, &absent, Level::INFO),
            (Role::Active, &good, &absent, Level::ERROR),
            (Role::Active, &absent, &good, Level::WARN),
            (Role::Idle, &bad, &good, Level::INFO),
        ] {
            assert_eq!(
                of_health(role, before, now),
                level,
                "{role:?}: {before:?}, {now:?}"
            );
        }
    }
}
