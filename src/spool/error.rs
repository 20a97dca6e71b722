//! Why a body finds no room, in words for whoever has to make some.

use crate::config::format_size;
use crate::net::is_ours;
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// A body that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error(
        "all bodies together may take {} of {} ([spool] max_size): ask again later, or allow more",
        format_size(*.max), .dir.display()
    )]
    Full { dir: PathBuf, max: u64 },
    #[error("it is longer than {limit} bytes, which is what one body may take of the disk")]
    TooLong { limit: u64 },
    #[error(
        "it cannot be kept in {} ({cause}): {}",
        .dir.display(), help(.cause)
    )]
    Disk {
        dir: PathBuf,
        #[source]
        cause: io::Error,
    },
}

impl SpoolError {
    /// Nothing is broken: the disk is full, or descriptors are lacking, and there may be some later.
    #[must_use]
    pub fn is_want_of_room(&self) -> bool {
        let is_full = |cause: &io::Error| cause.kind() == io::ErrorKind::StorageFull;
        matches!(self, Self::Disk { cause, .. } if is_full(cause) || is_ours(cause))
    }
}

fn help(cause: &io::Error) -> &'static str {
    if cause.raw_os_error() == Some(Errno::MFILE.raw_os_error()) {
        return "allow more open files (LimitNOFILE), one for each body";
    }
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that disk, or name a larger one in [spool] dir"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the user of switchd write there, or name another folder in [spool] dir"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => {
            "name a folder that can be made in [spool] dir"
        }
        _ => "look at that disk, or name another one in [spool] dir",
    }
}
