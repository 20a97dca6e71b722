//! Websockets that were closed from here, and how many came back.

use super::prometheus::Page;
use super::prometheus::labels;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Why a websocket is closed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Its slot was left: its client shall come back to the new one.
    Moved,
    /// Its slot was left long ago, and it was allowed to stay that long.
    Kept,
    /// Its slot was left, and nothing was to stay there.
    Cut,
    Killed,
    /// The daemon stops.
    Stopped,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Both ends were told at a frame's boundary and have answered.
    Answered,
    /// Somebody did not answer in time, or was in the middle of a message when all time was over.
    Cut,
}

impl Parting {
    pub const ALL: [Self; 5] = [
        Self::Moved,
        Self::Kept,
        Self::Cut,
        Self::Killed,
        Self::Stopped,
    ];

    /// As the metrics and the access log name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Kept => "kept",
            Self::Cut => "cut",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
        }
    }
}

impl Farewell {
    pub const ALL: [Self; 2] = [Self::Answered, Self::Cut];

    /// As the metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Cut => "cut",
        }
    }
}

/// One worker's counts for one slot.
#[derive(Debug, Default)]
pub(super) struct WebsocketCounters {
    closed: [[AtomicU64; Farewell::ALL.len()]; Parting::ALL.len()],
    returned: AtomicU64,
}

/// A snapshot over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebsocketCounts {
    closed: [[u64; Farewell::ALL.len()]; Parting::ALL.len()],
    /// Handshakes soon after the websockets of another slot were closed for a flip.
    pub returned: u64,
}

impl WebsocketCounters {
    pub(super) fn closed(&self, parting: Parting, farewell: Farewell) {
        add(&self.closed[parting as usize][farewell as usize]);
    }

    pub(super) fn returned(&self) {
        add(&self.returned);
    }

    pub(super) fn add_to(&self, sum: &mut WebsocketCounts) {
        for (to, from) in sum.closed.iter_mut().zip(&self.closed) {
            for (to, from) in to.iter_mut().zip(from) {
                *to += from.load(Ordering::Relaxed);
            }
        }
        sum.returned += self.returned.load(Ordering::Relaxed);
    }
}

impl WebsocketCounts {
    #[must_use]
    pub fn closed(&self, parting: Parting, farewell: Farewell) -> u64 {
        self.closed[parting as usize][farewell as usize]
    }
}

impl Page {
    /// Open ones are among those in flight.
    pub(super) fn websockets(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let closed = self.each_slot().flat_map(|(service, slot)| {
            Parting::ALL.into_iter().flat_map(move |parting| {
                Farewell::ALL.map(|farewell| {
                    let [first, second] = labels(service, slot);
                    let third = ("reason", parting.as_str());
                    let fourth = ("end", farewell.as_str());
                    let count = slot.counts.websockets.closed(parting, farewell);
                    Sample::new(&[first, second, third, fourth], count)
                })
            })
        });
        let about = About(
            "websockets_closed",
            "Websockets that were closed from here, by reason and by whether the peers agreed in time",
        );
        counter(out, &about, closed)?;
        let about = About(
            "websockets_returned",
            "Websockets opened on this slot from the moment those of another one are closed for a flip until 30 s after the last",
        );
        counter(
            out,
            &about,
            self.by_slot(|slot| slot.counts.websockets.returned),
        )
    }
}

/// One writer per counter, so a load and a store do; relaxed, for each count stands alone.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
