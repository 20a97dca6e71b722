//! What all bodies at rest take together, over all workers.

use super::error::SpoolError;
use super::room::Room;
use super::store::Store;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Reads and writes that one worker has under way at once: a disk that hangs leaves threads for others.
pub const JOBS: usize = 4;
/// A disk in trouble is told of this often, in milliseconds; the metrics count every body.
const TOLD_EVERY: u64 = 10_000;
/// How long the status goes on telling.
const LATELY: Duration = Duration::from_mins(1);

/// What all bodies take. Made once at start, shared by all workers.
#[derive(Debug)]
pub struct Account {
    dir: PathBuf,
    pub(super) room: Room,
    disk: AtomicU64,
    memory: AtomicU64,
    requests: Counts,
    answers: Counts,
    began: Instant,
    /// Milliseconds since `began`, plus one; 0 means never.
    told: AtomicU64,
    /// Why a body found no room, and when that was.
    trouble: Mutex<Option<(Instant, String)>>,
}

#[derive(Debug, Default)]
struct Counts {
    spooled: AtomicU64,
    no_room: AtomicU64,
}

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Kept whole, or refused.
    Request,
    /// Kept as far as there is room; without, it goes on at the pace of whoever reads it.
    Answer,
}

/// A snapshot for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Bytes on disk now.
    pub disk: u64,
    /// Bytes in memory now.
    pub memory: u64,
    /// Bodies that went to disk.
    pub requests_spooled: u64,
    pub answers_spooled: u64,
    /// Requests that were refused for want of room.
    pub requests_refused: u64,
    /// Answers that waited for their clients for want of room.
    pub answers_held_up: u64,
}

impl Account {
    /// Files will lie in `dir`, which is made when the first one is needed.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            room: Room::on_disk_of(dir),
            trouble: Mutex::default(),
            dir: dir.to_owned(),
            disk: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            requests: Counts::default(),
            answers: Counts::default(),
            began: Instant::now(),
            told: AtomicU64::new(0),
        }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Can a body be kept? Makes the folder, and writes one byte. Blocks.
    ///
    /// # Errors
    /// [`SpoolError::Disk`] says where and what to do.
    pub fn check(self: &Arc<Self>) -> Result<(), SpoolError> {
        let store = Store::new(self.clone());
        store
            .write(b"?", 0, false)
            .map_err(|cause| self.broken(cause))
    }

    #[must_use]
    pub fn amounts(&self) -> Amounts {
        Amounts {
            disk: self.on_disk(),
            memory: self.in_memory(),
            requests_spooled: self.requests.spooled.load(Ordering::Relaxed),
            answers_spooled: self.answers.spooled.load(Ordering::Relaxed),
            requests_refused: self.requests.no_room.load(Ordering::Relaxed),
            answers_held_up: self.answers.no_room.load(Ordering::Relaxed),
        }
    }

    // All orderings are relaxed: each figure stands alone, and no memory is handed over by it.

    #[must_use]
    pub fn on_disk(&self) -> u64 {
        self.disk.load(Ordering::Relaxed)
    }

    pub(super) fn in_memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Takes `bytes` of the disk, as long as all together stay within `max`.
    pub(super) fn take(&self, bytes: u64, max: u64) -> Result<(), SpoolError> {
        let before = self.disk.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= max {
            return Ok(());
        }
        self.give_back(bytes);
        Err(self.full(max))
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.disk.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// One body holds `now` bytes of memory instead of `before`.
    pub(super) fn weigh(&self, before: usize, now: usize) {
        if now > before {
            let more = (now - before) as u64;
            self.memory.fetch_add(more, Ordering::Relaxed);
        } else if now < before {
            let less = (before - now) as u64;
            self.memory.fetch_sub(less, Ordering::Relaxed);
        }
    }

    fn counts(&self, whose: Whose) -> &Counts {
        match whose {
            Whose::Request => &self.requests,
            Whose::Answer => &self.answers,
        }
    }

    pub(super) fn spooled(&self, whose: Whose) {
        let spooled = &self.counts(whose).spooled;
        spooled.fetch_add(1, Ordering::Relaxed);
    }

    /// A body found no room: counted, and told to the operator now and then.
    pub(super) fn no_room(&self, whose: Whose, error: &SpoolError) {
        let no_room = &self.counts(whose).no_room;
        no_room.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) + 1;
        let told = self.told.load(Ordering::Relaxed);
        let is_time = told == 0 || now.saturating_sub(told) >= TOLD_EVERY;
        let exchanged = || {
            self.told
                .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
        };
        if is_time && exchanged().is_ok() {
            let body = match whose {
                Whose::Request => "request",
                Whose::Answer => "answer",
            };
            tracing::warn!(body, error = %error, "no room for a body");
            *self.last_trouble() = Some((Instant::now(), error.to_string()));
        }
    }

    fn last_trouble(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        // Whoever panicked left a whole value.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why bodies found no room lately, and what to do.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.last_trouble();
        let recent = trouble.as_ref().filter(|(at, _)| at.elapsed() < LATELY);
        recent.map(|(_, words)| words.clone())
    }

    pub(super) fn full(&self, max: u64) -> SpoolError {
        SpoolError::Full {
            dir: self.dir.clone(),
            max,
        }
    }

    pub(super) fn broken(&self, cause: std::io::Error) -> SpoolError {
        SpoolError::Disk {
            dir: self.dir.clone(),
            cause,
        }
    }
}

/// One worker's way to the disk.
#[derive(Debug, Clone)]
pub struct Shelf {
    pub(super) account: Arc<Account>,
    pub(super) jobs: Arc<Semaphore>,
}

impl Shelf {
    /// At most [`JOBS`] of the worker's blocking threads will be used at a time.
    #[must_use]
    pub fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            jobs: Arc::new(Semaphore::new(JOBS)),
        }
    }

    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }
}
