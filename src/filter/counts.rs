//! Counters by worker, summed when somebody looks.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// `N` counters, on a cache line of its own for each worker.
#[derive(Debug)]
pub(super) struct Counts<const N: usize>(Box<[Own<N>]>);

#[derive(Debug)]
#[repr(align(128))]
struct Own<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counts<N> {
    pub(super) fn new(workers: usize) -> Self {
        let own = || Own([const { AtomicU64::new(0) }; N]);
        Self((0..workers.max(1)).map(|_| own()).collect())
    }

    /// Relaxed: each count stands alone.
    pub(super) fn add(&self, worker: usize, which: usize) {
        let own = &self.0[worker % self.0.len()];
        own.0[which].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sum(&self, which: usize) -> u64 {
        let all = self.0.iter();
        all.map(|own| own.0[which].load(Ordering::Relaxed)).sum()
    }
}
