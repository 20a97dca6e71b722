//! How the slot that traffic moved to does, and who must confirm that it stays.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the active slot does since traffic moved to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WatchStatus {
    /// `inconclusive` (too little traffic to say), `good`, `warning` or `critical`.
    pub verdict: String,
    /// Why, in words; empty when it is good.
    pub reasons: Vec<String>,
    pub since: String,
    /// Until when it is watched; in the past when it was, and the verdict is the last one.
    pub until: String,
    /// What was counted lately.
    pub figures: WatchFigures,
    /// Failures that do not count: what anybody can ask for and make fail, on paths or by clients that the old slot
    /// never served well.
    #[serde(default)]
    pub not_counted: u64,
    /// Errors of what all slots share (`shared_errors`), which speak against none of them.
    #[serde(default)]
    pub shared_errors: u64,
    /// What the last of those calls itself.
    #[serde(default)]
    pub shared_error: Option<String>,
    /// What the slot that was left did before; none when that was too little to compare with.
    pub baseline: Option<WatchFigures>,
}

/// Figures of one slot over some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WatchFigures {
    pub requests: u64,
    /// Answers of 500 and above, failed connections, and requests that got no place in time.
    pub failed: u64,
    /// JSON-RPC errors in answers of 200.
    pub rpc_errors: u64,
    /// Both kinds, in percent of the requests.
    pub error_percent: f64,
    /// Until an answer began; none where there was none.
    pub p95_ms: Option<u64>,
    pub p99_ms: Option<u64>,
    /// Websockets that were asked for.
    pub handshakes: u64,
    /// Websockets that were asked for and not opened.
    pub handshakes_refused: u64,
}

/// The active slot does badly while no watch runs: nothing moves by itself for that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WarningStatus {
    /// `warning` or `critical`.
    pub severity: String,
    pub since: String,
    pub reasons: Vec<String>,
}

/// What a slot did in the last minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastMinute {
    /// How long it really was: less right after a start.
    pub seconds: f64,
    pub requests: u64,
    pub requests_per_second: f64,
    /// Answers of 500 and above, failed connections, and requests that got no place in time.
    pub failed: u64,
    /// JSON-RPC errors in answers of 200.
    pub rpc_errors: u64,
    /// Both kinds, in percent of the requests.
    pub error_percent: f64,
    /// Until an answer began; none where there was none.
    pub p50_ms: Option<u64>,
    pub p95_ms: Option<u64>,
}

/// A move that goes back unless it is confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmStatus {
    pub until: String,
    /// Where traffic goes otherwise.
    pub back_to: String,
}

/// The answer of `confirm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmed {
    pub schema: u32,
    /// The slot that stays active.
    pub slot: String,
    pub generation: u64,
}
