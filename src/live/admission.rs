//! Counted before sent: how a worker counts a request on a generation without missing a flip.
//!
//! A worker counts itself, then looks whether the epoch is still the one it chose the slot by.
//! Control moves the epoch, then reads the counts. A `SeqCst` fence on both sides makes sure that
//! at least one of the two sees the other. `tests/loom.rs` runs this very file in every interleaving.

use super::sync::{AtomicU64, Ordering, fence};

/// What a request is, for draining: each kind has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    /// An upload or download of more than 1 MiB.
    Transfer,
    /// Any upgraded connection.
    Websocket,
}

impl Kind {
    /// All kinds share one word, so that a request changes its kind in one step and is never seen as gone.
    const fn unit(self) -> u64 {
        match self {
            Self::Request => 1,
            Self::Transfer => 1 << 24,
            Self::Websocket => 1 << 44,
        }
    }

    /// As the API and the logs spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Transfer => "transfer",
            Self::Websocket => "websocket",
        }
    }
}

/// How many of each kind are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub requests: u64,
    pub transfers: u64,
    pub websockets: u64,
}

impl Counts {
    fn from_word(word: u64) -> Self {
        Self {
            requests: word & 0xff_ffff,
            transfers: (word >> 24) & 0xf_ffff,
            websockets: word >> 44,
        }
    }

    #[must_use]
    pub fn total(self) -> u64 {
        self.requests + self.transfers + self.websockets
    }

    #[must_use]
    pub fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Request => self.requests,
            Kind::Transfer => self.transfers,
            Kind::Websocket => self.websockets,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            transfers: self.transfers + other.transfers,
            websockets: self.websockets + other.websockets,
        }
    }
}

/// The published epoch: moved by control only.
#[derive(Debug)]
pub struct EpochClock(AtomicU64);

impl EpochClock {
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self(AtomicU64::new(epoch))
    }

    #[must_use]
    pub fn now(&self) -> u64 {
        // Acquire: whoever sees an epoch sees the View that was stored before it.
        self.0.load(Ordering::Acquire)
    }

    /// From here on every worker counts on the new generation, or is visible in the old one's counts.
    pub fn advance(&self, epoch: u64) {
        self.0.store(epoch, Ordering::Release);
        // Orders this store before the coming reads of the counts; pairs with `still`.
        fence(Ordering::SeqCst);
    }

    /// Asked after counting: was the count made in time?
    #[must_use]
    pub fn still(&self, epoch: u64) -> bool {
        // Orders the count before this read; pairs with `advance`.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Acquire) == epoch
    }
}

/// One worker's count, on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU64);

/// What is under way on one generation (or one endpoint), counted per worker without contention.
#[derive(Debug)]
pub struct InFlight(Box<[Padded]>);

impl InFlight {
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Padded(AtomicU64::new(0))).collect())
    }

    /// Only ever called on the thread of `worker`: that is what makes load and store enough.
    pub fn enter(&self, worker: usize, kind: Kind) {
        let count = &self.0[worker].0;
        // Relaxed: `EpochClock::still` fences after it.
        count.store(
            count.load(Ordering::Relaxed) + kind.unit(),
            Ordering::Relaxed,
        );
    }

    /// Undoes one `enter` of the same worker and kind.
    pub fn leave(&self, worker: usize, kind: Kind) {
        let count = &self.0[worker].0;
        // Release: who sees the count gone sees everything the request did.
        count.store(
            count.load(Ordering::Relaxed) - kind.unit(),
            Ordering::Release,
        );
    }

    pub fn change(&self, worker: usize, from: Kind, to: Kind) {
        let count = &self.0[worker].0;
        count.store(
            count.load(Ordering::Relaxed) - from.unit() + to.unit(),
            Ordering::Release,
        );
    }

    /// Over all workers. Exact once nobody enters any more.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0
            .iter()
            .map(|worker| Counts::from_word(worker.0.load(Ordering::Acquire)))
            .fold(Counts::default(), Counts::plus)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0
            .iter()
            .all(|worker| worker.0.load(Ordering::Acquire) == 0)
    }
}
