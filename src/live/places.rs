//! Requests in flight per slot, bounded over all workers, and the line of those who wait for a place.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// One slot generation's places. First come, first served, over all workers.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    length: usize,
}

/// Held while a request is in flight; dropping it lets the next one in.
#[derive(Debug)]
pub struct Place(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// How a wait for a place can end without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The line is full.
    Full,
    /// The slot was left by a flip: ask the new one.
    Reaimed,
}

impl Places {
    /// `limit` places; at most `length` may wait for one.
    #[must_use]
    pub fn new(limit: usize, length: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            length,
        }
    }

    /// A place if one is free and nobody waits. No lock is taken.
    #[must_use]
    pub fn try_take(&self) -> Option<Place> {
        self.free.clone().try_acquire_owned().ok().map(Place)
    }

    /// Waits in line. Cancel safe: dropping the future leaves the line.
    ///
    /// # Errors
    /// See [`Waiting`]. A deadline is the caller's.
    pub async fn wait(&self) -> Result<Place, Waiting> {
        // Relaxed: a bound that is off by those who arrive in the same instant is still a bound.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.length {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Waiting::Full);
        }
        let _leave = LeaveLine(&self.waiting);
        self.free
            .clone()
            .acquire_owned()
            .await
            .map(Place)
            .map_err(|_| Waiting::Reaimed)
    }

    /// Sends everybody in line to the slot that is active now. Called after the flip was published.
    pub fn reaim(&self) {
        self.free.close();
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

struct LeaveLine<'a>(&'a AtomicUsize);

impl Drop for LeaveLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
