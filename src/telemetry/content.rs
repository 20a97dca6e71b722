//! What the metrics page tells of content: what was compressed, and what the cache did.

use super::metrics::add;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// In the order of `config::Coding`.
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// What one worker did with content.
#[derive(Debug, Default)]
pub struct ContentMetrics {
    /// By coding, in the order of `config::Coding`.
    encoded: [EncodedMetrics; 3],
    /// Bodies that went as they were because too many were being encoded.
    not_encoded: AtomicU64,
    /// Requests by [`Looked`].
    cache: [AtomicU64; 3],
}

#[derive(Debug, Default)]
struct EncodedMetrics {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// A snapshot of [`ContentMetrics`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentCounts {
    /// By coding, in the order of `config::Coding`.
    pub encoded: [Encoded; 3],
    pub not_encoded: u64,
    /// Requests by [`Looked`].
    pub cache: [u64; 3],
}

/// Bytes of bodies, before and after they were encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encoded {
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// What the cache had for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    Hit,
    /// It was fetched by another request meanwhile.
    Waited,
    Miss,
}

impl Looked {
    /// As the access log names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit | Self::Waited => "hit",
            Self::Miss => "miss",
        }
    }
}

impl ContentMetrics {
    /// `coding` is its number in `config::Coding`.
    pub fn encoded(&self, coding: usize, bytes_in: u64, bytes_out: u64) {
        add(&self.encoded[coding].bytes_in, bytes_in);
        add(&self.encoded[coding].bytes_out, bytes_out);
    }

    pub fn not_encoded(&self) {
        add(&self.not_encoded, 1);
    }

    pub fn looked(&self, looked: Looked) {
        add(&self.cache[looked as usize], 1);
    }

    pub(super) fn add_to(&self, sum: &mut ContentCounts) {
        for (to, from) in sum.encoded.iter_mut().zip(&self.encoded) {
            to.bytes_in += from.bytes_in.load(Ordering::Relaxed);
            to.bytes_out += from.bytes_out.load(Ordering::Relaxed);
        }
        sum.not_encoded += self.not_encoded.load(Ordering::Relaxed);
        for (to, from) in sum.cache.iter_mut().zip(&self.cache) {
            *to += from.load(Ordering::Relaxed);
        }
    }
}

/// What is on the page about content.
#[derive(Debug, Clone, Default)]
pub struct ContentFigures {
    pub counts: ContentCounts,
    pub cache: CacheFigures,
}

/// How full the cache is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    pub entries: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Answers that were kept.
    pub stored: u64,
}

impl ContentFigures {
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = &self.counts;
        let by_coding = |value: fn(&Encoded) -> u64| {
            let each = CODINGS.iter().zip(&counts.encoded);
            each.map(move |(coding, it)| Sample::new(&[("coding", coding)], value(it)))
        };
        let about = About("uncompressed_bytes", "Bytes of answers before compression");
        counter(out, &about, by_coding(|it| it.bytes_in))?;
        let about = About("compressed_bytes", "The same bytes after compression");
        counter(out, &about, by_coding(|it| it.bytes_out))?;
        let one = |value| [Sample::new(&[], value)];
        let about = About(
            "compression_skipped",
            "Answers sent as they are because too many were being compressed",
        );
        counter(out, &about, one(counts.not_encoded))?;
        let cache = &self.cache;
        let by_result = ["hit", "waited", "miss"].into_iter();
        let by_result = by_result
            .zip(counts.cache)
            .map(|(result, count)| Sample::new(&[("result", result)], count));
        let about = About(
            "cache_requests",
            "Requests for what is kept; waited: a hit once another request had fetched it",
        );
        counter(out, &about, by_result)?;
        let about = About("cache_entries", "Answers that are kept");
        gauge(out, &about, one(cache.entries))?;
        let about = About("cache_bytes", "Bytes of answers that are kept");
        let places = [("memory", cache.memory_bytes), ("disk", cache.disk_bytes)];
        let by_place = places.map(|(place, bytes)| Sample::new(&[("place", place)], bytes));
        gauge(out, &about, by_place)?;
        let about = About("cache_stored", "Answers that were taken into the cache");
        counter(out, &about, one(cache.stored))?;
        let about = About("cache_evicted", "Answers that made room for others");
        counter(out, &about, one(cache.evicted))
    }
}
