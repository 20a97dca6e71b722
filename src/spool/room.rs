//! How much room a disk has left beyond what others need of it: the state, its journal, other programs.

use rustix::fs::statvfs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// What is left to others, or this part of a small disk.
const LEFT: u64 = 64 << 20;
const PART: u64 = 20;
/// How long an answer of the disk is good for.
const FRESH: Duration = Duration::from_secs(1);

/// One disk, by a folder on it. Asked at most once a second; what is written meanwhile is counted.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    began: Instant,
    /// Milliseconds since `began`, plus one; 0 means never.
    looked: AtomicU64,
    /// Bytes that may be written still.
    left: AtomicU64,
}

impl Room {
    #[must_use]
    pub fn on_disk_of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            began: Instant::now(),
            looked: AtomicU64::new(0),
            left: AtomicU64::new(u64::MAX),
        }
    }

    /// Takes `bytes` of it. Blocks while the disk is asked.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when that would take what is left to others.
    pub fn take(&self, bytes: u64) -> io::Result<()> {
        self.look();
        // Relaxed: a figure of its own, and a second old at most.
        let has_room = self
            .left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        has_room.map(drop).map_err(|_| {
            let words = "the rest of the disk is left to the state and to others";
            io::Error::new(io::ErrorKind::StorageFull, words)
        })
    }

    fn look(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let looked = self.looked.load(Ordering::Relaxed);
        let fresh = u64::try_from(FRESH.as_millis()).unwrap_or(0);
        if looked != 0 && now - looked.min(now) < fresh {
            return;
        }
        self.looked.store(now, Ordering::Relaxed);
        // Where the file system does not tell, the writing will.
        let left = statvfs(&self.dir).map_or(u64::MAX, |room| {
            let size = room.f_blocks.saturating_mul(room.f_frsize);
            let free = room.f_bavail.saturating_mul(room.f_frsize);
            match size {
                0 => u64::MAX,
                size => free.saturating_sub(LEFT.min(size / PART)),
            }
        });
        self.left.store(left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_is_left_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::on_disk_of(dir.path());
        room.take(1).unwrap();
        let left = room.left.load(Ordering::Relaxed);
        let free = statvfs(dir.path()).unwrap();
        let free = free.f_bavail * free.f_frsize;
        // Others write meanwhile.
        assert!(left < free + LEFT, "{left} of {free}");
        let refused = room.take(left + 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_no_full_disk() {
        let room = Room::on_disk_of(Path::new("/nonexistent/spool"));
        room.take(1 << 40).unwrap();
    }
}
