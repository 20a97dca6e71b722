//! What `cache` shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is kept of answers: sums over everything, and those entries that were asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheList {
    pub schema: u32,
    /// Answers that are kept, shown or not.
    pub kept: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// How many of them the question fits; `entries` may hold fewer.
    pub matching: u64,
    /// Most hits first.
    pub entries: Vec<CacheEntry>,
}

/// One answer that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheEntry {
    pub service: String,
    /// As clients name it.
    pub host: String,
    pub scheme: String,
    /// Path and query.
    pub target: String,
    pub hits: u64,
    /// Since the upstream made it.
    pub age_ms: u64,
    /// Until it is too old to be given out.
    pub fresh_ms: u64,
    /// It outlives flips.
    pub immutable: bool,
    /// Fields of a request that choose between several answers for this target.
    pub vary: Vec<String>,
    /// `plain`, `zstd`, `br`, `gzip`.
    pub forms: Vec<CacheForm>,
}

/// One form of its body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheForm {
    pub form: String,
    pub bytes: u64,
    pub in_memory: bool,
    pub on_disk: bool,
}

/// What to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CachePurge {
    /// None is every service.
    #[serde(default)]
    pub service: Option<String>,
    /// What the path begins with, as clients write it; empty is everything.
    pub prefix: String,
}

/// What a purge forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CachePurged {
    pub schema: u32,
    pub entries: u64,
    pub bytes: u64,
}
