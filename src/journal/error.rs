//! Why something could not be kept, or not be believed.

use crate::net::is_ours;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {action} {}", .path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "the state directory {} is in use by another switchd{}\n  help: stop that one, or give this one another [state] dir",
        .dir.display(), holder(.process.as_deref())
    )]
    InUse {
        dir: PathBuf,
        /// The other one's process id, as far as it could be read.
        process: Option<String>,
    },
    #[error(
        "the state file {} is broken: {why}\n  help: it names the slots that have traffic, so it is not ignored; put back a copy of it, or start once with --recover, which sets the file aside and starts every service on the `initial` slot of the config",
        .path.display()
    )]
    Broken { path: PathBuf, why: String },
    #[error(
        "the state file {} is of format {found}, and this switchd reads formats up to {known}\n  help: start the newer switchd that wrote it, or start once with --recover, which sets the file aside and starts every service on the `initial` slot of the config",
        .path.display()
    )]
    TooNew {
        path: PathBuf,
        found: u64,
        known: u64,
    },
}

impl JournalError {
    /// The error and what caused it, in one line for a person.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// Nothing is broken: there is no room, or no descriptor, and there may be some later.
    pub(super) fn is_want_of_room(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if is_ours(cause))
    }

    /// For `map_err`: what was tried, and where.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io {
            action,
            path,
            cause,
        }
    }
}

fn holder(process: Option<&str>) -> String {
    process.map_or_else(String::new, |id| format!(" (process {id})"))
}
