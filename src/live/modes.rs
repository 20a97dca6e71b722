//! Modes of a service that turn requests away, or let some of them wait.

use super::hold::Hold;
use crate::config::Network;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// What is on. A View holds it only where something is.
#[derive(Debug)]
pub struct Modes {
    pub maintenance: Option<Maintenance>,
    pub read_only: Option<ReadOnly>,
    pub refused: Arc<ModeCounts>,
}

/// Nobody gets in but a few.
pub struct Maintenance {
    pub message: Option<Arc<str>>,
    /// When it is expected to be over.
    pub until: Option<SystemTime>,
    pub allow: Vec<Network>,
    /// What the bypass cookie holds.
    pub secret: Option<Box<str>>,
}

/// What writes does not get in.
#[derive(Debug)]
pub struct ReadOnly {
    /// Where writes wait; none where they are refused.
    pub writes: Option<Arc<Hold>>,
}

/// Requests that were turned away since the start.
#[derive(Debug, Default)]
pub struct ModeCounts {
    pub maintenance: AtomicU64,
    pub read_only: AtomicU64,
}

impl ModeCounts {
    pub fn add(counter: &AtomicU64) {
        // Relaxed: a figure that stands alone.
        counter.fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

impl Maintenance {
    #[must_use]
    pub fn lets_in(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(client))
    }

    /// Whether this is the secret; it takes as long for a wrong one as for the right one.
    #[must_use]
    pub fn is_known_by(&self, secret: &[u8]) -> bool {
        let Some(known) = self.secret.as_deref().map(str::as_bytes) else {
            return false;
        };
        let differences = known
            .iter()
            .zip(secret)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        known.len() == secret.len() && differences == 0
    }
}

impl std::fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maintenance")
            .field("message", &self.message)
            .field("until", &self.until)
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let maintenance = |secret: Option<&str>| Maintenance {
            message: None,
            until: None,
            allow: Vec::new(),
            secret: secret.map(Into::into),
        };
        let with = maintenance(Some("abc"));
        assert!(with.is_known_by(b"abc"));
        for wrong in ["", "ab", "abd", "abcd"] {
            assert!(!with.is_known_by(wrong.as_bytes()), "{wrong}");
        }
        assert!(!maintenance(None).is_known_by(b""));
        assert!(!format!("{with:?}").contains("abc"));
    }
}
