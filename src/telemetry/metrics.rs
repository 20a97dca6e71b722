//! Counters by slot: one writer per worker, summed when somebody looks.

use super::content::ContentCounts;
use super::content::ContentMetrics;
use super::handshakes::Handshake;
use super::handshakes::HandshakeFailure;
use super::judged::JudgedCounters;
use super::observations::Observations;
use super::unwelcome::Unwelcome;
use super::unwelcome::UnwelcomeCounts;
use super::websockets::Farewell;
use super::websockets::Parting;
use super::websockets::WebsocketCounters;
use super::websockets::WebsocketCounts;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Upper bounds of the latency buckets in microseconds; one more bucket takes the rest.
pub const BUCKETS_US: [u64; 14] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 15_000_000, 60_000_000,
];

/// How one request ended, as far as metrics go.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// 0 when the client left before an answer.
    pub status: u16,
    /// A fault of ours or the upstream's, not an answer of the application.
    pub fault: bool,
    /// From the head of the request to the end of the answer.
    pub took: Duration,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// Why a request that waited for a place, or wanted to, got none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unserved {
    /// The line was full.
    Full,
    /// It waited for too long.
    Deadline,
    /// Its client left, or an operator or a stop ended it.
    Left,
}

impl Unserved {
    /// As indices into [`SlotCounts::unserved`].
    pub const ALL: [Self; 3] = [Self::Full, Self::Deadline, Self::Left];

    /// As the metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Deadline => "deadline",
            Self::Left => "left",
        }
    }
}

/// Counts of all requests that went to one slot, over all its generations.
#[derive(Debug)]
pub struct SlotMetrics(Box<[WorkerCounts]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerCounts {
    /// By first digit of the status; index 0 is "no answer".
    classes: [AtomicU64; 6],
    faults: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    latency: Times,
    /// In line for a place; only those who had to wait.
    waited: Times,
    /// By [`Unserved`].
    unserved: [AtomicU64; Unserved::ALL.len()],
    websockets: WebsocketCounters,
    judged: JudgedCounters,
    observations: Observations,
}

#[derive(Debug, Default)]
struct Times {
    sum_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
}

/// A snapshot of [`SlotMetrics`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotCounts {
    pub classes: [u64; 6],
    pub faults: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub latency: Histogram,
    /// In line for a place; only those who had to wait.
    pub waited: Histogram,
    /// In the order of [`Unserved::ALL`].
    pub unserved: [u64; Unserved::ALL.len()],
    pub websockets: WebsocketCounts,
}

/// Counts per bucket of [`BUCKETS_US`] (not cumulative), and the sum in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    pub buckets: [u64; BUCKETS_US.len() + 1],
    pub sum_us: u64,
}

impl SlotMetrics {
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| WorkerCounts::default()).collect())
    }

    /// Only ever called on the thread of `worker`.
    pub fn record(&self, worker: usize, outcome: Outcome) {
        let counts = &self.0[worker];
        let class = usize::from(outcome.status / 100).min(5);
        add(&counts.classes[class], 1);
        add(&counts.faults, u64::from(outcome.fault));
        add(&counts.bytes_in, outcome.bytes_in);
        add(&counts.bytes_out, outcome.bytes_out);
        counts.latency.add(outcome.took);
    }

    /// A request got a place after a wait in line. Only ever called on the thread of `worker`.
    pub fn waited(&self, worker: usize, wait: Duration) {
        self.0[worker].waited.add(wait);
    }

    /// A request got no place. Only ever called on the thread of `worker`.
    pub fn unserved(&self, worker: usize, reason: Unserved) {
        add(&self.0[worker].unserved[reason as usize], 1);
    }

    /// A websocket was closed from here. Only ever called on the thread of `worker`.
    pub fn websocket_closed(&self, worker: usize, parting: Parting, farewell: Farewell) {
        self.0[worker].websockets.closed(parting, farewell);
    }

    /// A websocket was opened while those of another slot were being moved, or soon after.
    /// Only ever called on the thread of `worker`.
    pub fn websocket_returned(&self, worker: usize) {
        self.0[worker].websockets.returned();
    }

    pub(super) fn judged(&self, worker: usize) -> &JudgedCounters {
        &self.0[worker].judged
    }

    pub(super) fn all_judged(&self) -> impl Iterator<Item = &JudgedCounters> {
        self.0.iter().map(|worker| &worker.judged)
    }

    pub(super) fn observations(&self, worker: usize) -> &Observations {
        &self.0[worker].observations
    }

    pub(super) fn all_observations(&self) -> impl Iterator<Item = &Observations> {
        self.0.iter().map(|worker| &worker.observations)
    }

    #[must_use]
    pub fn counts(&self) -> SlotCounts {
        let mut sum = SlotCounts::default();
        for worker in &self.0 {
            for (to, from) in sum.classes.iter_mut().zip(&worker.classes) {
                *to += from.load(Ordering::Relaxed);
            }
            for (to, from) in sum.unserved.iter_mut().zip(&worker.unserved) {
                *to += from.load(Ordering::Relaxed);
            }
            worker.latency.add_to(&mut sum.latency);
            worker.waited.add_to(&mut sum.waited);
            worker.websockets.add_to(&mut sum.websockets);
            sum.faults += worker.faults.load(Ordering::Relaxed);
            sum.bytes_in += worker.bytes_in.load(Ordering::Relaxed);
            sum.bytes_out += worker.bytes_out.load(Ordering::Relaxed);
        }
        sum
    }
}

impl Times {
    fn add(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        add(&self.sum_us, us);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        add(&self.buckets[bucket], 1);
    }

    fn add_to(&self, sum: &mut Histogram) {
        sum.sum_us += self.sum_us.load(Ordering::Relaxed);
        for (to, from) in sum.buckets.iter_mut().zip(&self.buckets) {
            *to += from.load(Ordering::Relaxed);
        }
    }
}

impl SlotCounts {
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }
}

/// One writer per counter, so a load and a store do; relaxed, for each count stands alone.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

/// What one worker counts besides the slots: connections, and requests that reached no slot.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EdgeMetrics {
    accepted: AtomicU64,
    /// Turned away because of `limits.connections`.
    turned_away: AtomicU64,
    /// Open now.
    connections: AtomicU64,
    /// Requests that reached no slot, by first digit of their status.
    refused: [AtomicU64; 6],
    pub content: ContentMetrics,
    /// Requests of HTTP/2 connections, open now.
    streams: AtomicU64,
    /// Those that were too many for this worker.
    streams_refused: AtomicU64,
    /// HTTP/2 connections that kept us busy without asking for anything.
    floods: AtomicU64,
    handshakes: [AtomicU64; Handshake::ALL.len()],
    failed_handshakes: [AtomicU64; HandshakeFailure::ALL.len()],
    unwelcome: [AtomicU64; Unwelcome::ALL.len()],
}

/// A snapshot of [`EdgeMetrics`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdgeCounts {
    pub accepted: u64,
    pub turned_away: u64,
    pub connections: u64,
    /// By first digit of the status; index 0 is "no answer".
    pub refused: [u64; 6],
    pub content: ContentCounts,
    pub streams: u64,
    pub streams_refused: u64,
    pub floods: u64,
    /// In the order of [`Handshake::ALL`].
    pub handshakes: [u64; Handshake::ALL.len()],
    /// In the order of [`HandshakeFailure::ALL`].
    pub failed_handshakes: [u64; HandshakeFailure::ALL.len()],
    pub unwelcome: UnwelcomeCounts,
}

impl EdgeMetrics {
    pub fn opened(&self) {
        add(&self.accepted, 1);
        add(&self.connections, 1);
    }

    pub fn closed(&self) {
        // As `add`, the other way round.
        self.connections.store(
            self.connections.load(Ordering::Relaxed) - 1,
            Ordering::Relaxed,
        );
    }

    pub fn stream_opened(&self) {
        add(&self.streams, 1);
    }

    pub fn stream_closed(&self) {
        // As `add`, the other way round.
        self.streams
            .store(self.streams.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    pub fn stream_refused(&self) {
        add(&self.streams_refused, 1);
    }

    pub fn flooded(&self) {
        add(&self.floods, 1);
    }

    pub fn turned_away(&self) {
        add(&self.turned_away, 1);
    }

    pub fn refused(&self, status: u16) {
        add(&self.refused[usize::from(status / 100).min(5)], 1);
    }

    pub fn handshake(&self, handshake: Handshake) {
        add(&self.handshakes[handshake as usize], 1);
    }

    pub fn failed_handshake(&self, reason: HandshakeFailure) {
        add(&self.failed_handshakes[reason as usize], 1);
    }

    pub fn unwelcome(&self, reason: Unwelcome) {
        add(&self.unwelcome[reason as usize], 1);
    }

    /// Adds this worker's counts to `sum`.
    pub fn add_to(&self, sum: &mut EdgeCounts) {
        sum.accepted += self.accepted.load(Ordering::Relaxed);
        sum.turned_away += self.turned_away.load(Ordering::Relaxed);
        sum.connections += self.connections.load(Ordering::Relaxed);
        sum.streams += self.streams.load(Ordering::Relaxed);
        sum.streams_refused += self.streams_refused.load(Ordering::Relaxed);
        sum.floods += self.floods.load(Ordering::Relaxed);
        for (to, from) in sum.refused.iter_mut().zip(&self.refused) {
            *to += from.load(Ordering::Relaxed);
        }
        self.content.add_to(&mut sum.content);
        for (to, from) in sum.handshakes.iter_mut().zip(&self.handshakes) {
            *to += from.load(Ordering::Relaxed);
        }
        for (to, from) in sum.unwelcome.iter_mut().zip(&self.unwelcome) {
            *to += from.load(Ordering::Relaxed);
        }
        let failed = sum.failed_handshakes.iter_mut();
        for (to, from) in failed.zip(&self.failed_handshakes) {
            *to += from.load(Ordering::Relaxed);
        }
    }

    /// Requests of HTTP/2 connections, open now on this worker.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Open now, on this worker.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}
