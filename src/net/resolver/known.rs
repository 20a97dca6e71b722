//! What is known of one name.

use super::failure::NameTrouble;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What is known of one name. Replaced as a whole.
#[derive(Debug, Clone)]
pub(in crate::net) struct Known {
    /// As last seen; empty where there are none to use.
    pub(in crate::net) addresses: Arc<[IpAddr]>,
    /// When the name server said so last.
    pub(super) learned: Option<Instant>,
    pub(super) last: Last,
    /// When it is asked again.
    pub(super) due: Instant,
    /// Look-ups in a row that failed.
    pub(super) failures: u32,
    /// The first that is asked.
    pub(super) server: Option<SocketAddr>,
}

/// How the last look-up ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Last {
    /// None has ended yet.
    Never,
    Found,
    Absent,
    Failed(NameTrouble),
}

/// How it stands with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameState {
    /// The first look-up is under way.
    Unknown,
    /// Its addresses are as its name server has them.
    Fresh,
    /// Its name server gives no answer; the last addresses are used.
    Stale,
    /// There is no such name.
    Absent,
    /// Its name server gives no answer, and there are no addresses to use.
    Unresolved,
}

impl NameState {
    /// As the API and the metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Unresolved => "unresolved",
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Fresh,
        Self::Stale,
        Self::Absent,
        Self::Unresolved,
    ];
}

impl Known {
    pub(super) fn nothing() -> Self {
        Self {
            addresses: Arc::new([]),
            learned: None,
            last: Last::Never,
            due: Instant::now(),
            failures: 0,
            server: None,
        }
    }

    pub(super) fn state(&self) -> NameState {
        match (&self.last, self.addresses.is_empty()) {
            (Last::Never, _) => NameState::Unknown,
            (Last::Found, _) => NameState::Fresh,
            (Last::Absent, _) => NameState::Absent,
            (Last::Failed(_), false) => NameState::Stale,
            (Last::Failed(_), true) => NameState::Unresolved,
        }
    }

    pub(super) fn age(&self) -> Option<Duration> {
        self.learned.map(|learned| learned.elapsed())
    }

    /// The same addresses, in whatever order: name servers turn them.
    pub(super) fn has_just(&self, addresses: &[IpAddr]) -> bool {
        self.addresses.len() == addresses.len()
            && addresses.iter().all(|one| self.addresses.contains(one))
    }
}
