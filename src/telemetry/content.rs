//! What the metrics page tells of content: what was compressed, and what the cache did.

use super::metrics::ContentCounts;
use super::prometheus::About;
use super::prometheus::Sample;
use super::prometheus::counter;
use super::prometheus::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// In the order of `config::Coding`.
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

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
        let by_coding = |value: fn(&super::Encoded) -> u64| {
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
