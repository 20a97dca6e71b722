//! Calls of the admin API over TCP.

use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    Done,
    /// Of somebody who is known; nothing was done.
    Refused,
    Failed,
    /// No token that is known.
    Unknown,
    /// The same, from where it was tried too often.
    Limited,
}

impl CallEnd {
    /// As it is called in the history and in the metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Limited => "limited",
        }
    }

    const ALL: [Self; 5] = [
        Self::Done,
        Self::Refused,
        Self::Failed,
        Self::Unknown,
        Self::Limited,
    ];
}

/// Counts calls since the start.
#[derive(Debug, Default)]
pub struct CallCounts([AtomicU64; CallEnd::ALL.len()]);

impl CallCounts {
    pub fn count(&self, end: CallEnd) {
        // A figure and nothing else hangs on it.
        self.0[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn figures(&self) -> CallFigures {
        let counts = self.0.each_ref();
        CallFigures(counts.map(|count| count.load(Ordering::Relaxed)))
    }
}

#[derive(Debug, Clone, Copy)]
pub struct CallFigures([u64; CallEnd::ALL.len()]);

impl CallFigures {
    pub(super) fn encode(self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ends = CallEnd::ALL.iter().zip(self.0);
        let samples = ends.map(|(end, count)| Sample::new(&[("result", end.word())], count));
        let about = About(
            "admin_calls",
            "Calls of the admin API over TCP, by how they ended",
        );
        counter(out, &about, samples)
    }
}
