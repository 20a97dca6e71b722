//! Why a name has no address.

use crate::net::Lack;
use std::io;
use std::sync::Arc;

/// Why there is no address for a name, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFailure {
    /// The name server knows of no such name, or of no address for it.
    #[error("the name {host} does not exist")]
    Absent { host: Arc<str> },
    /// Nobody could say.
    #[error("cannot look up {host}: {trouble}")]
    Unresolved {
        host: Arc<str>,
        trouble: NameTrouble,
    },
}

/// What stood in the way of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NameTrouble {
    pub words: Arc<str>,
    /// What this machine lacks to ask with: then it is no name server's fault.
    pub lack: Option<Lack>,
    /// Nothing came at all; the same question may get an answer the next time.
    pub(super) is_silence: bool,
}

impl NameTrouble {
    pub(super) fn new(words: impl Into<Arc<str>>) -> Self {
        Self {
            words: words.into(),
            lack: None,
            is_silence: false,
        }
    }

    pub(super) fn silence(words: impl Into<Arc<str>>) -> Self {
        Self {
            is_silence: true,
            ..Self::new(words)
        }
    }
}

impl NameFailure {
    /// What this machine lacks, where that is why.
    #[must_use]
    pub fn lack(&self) -> Option<Lack> {
        match self {
            Self::Absent { .. } => None,
            Self::Unresolved { trouble, .. } => trouble.lack,
        }
    }

    /// What a failed connect failed of, if that was its name.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<NameFailure> for io::Error {
    fn from(failure: NameFailure) -> Self {
        Self::other(failure)
    }
}
