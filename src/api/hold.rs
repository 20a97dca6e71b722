//! What is asked and told of holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Holds new requests of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// For how long at most: `30s`, which it is when nothing is said, `5m`.
    #[serde(rename = "for", default = "usual")]
    pub at_most: String,
    /// Tell when nothing is left of what was under way: [`EventKind::HoldDrained`](super::EventKind).
    #[serde(default)]
    pub drain: bool,
    /// It ends when the connection that asked for it ends.
    #[serde(default = "yes")]
    pub lease: bool,
    #[serde(default)]
    pub reason: Option<String>,
}

fn usual() -> String {
    "30s".to_owned()
}

fn yes() -> bool {
    true
}

impl Default for HoldRequest {
    fn default() -> Self {
        Self {
            at_most: usual(),
            drain: false,
            lease: true,
            reason: None,
        }
    }
}

/// The answer of `release`: a hold ends now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldReleased {
    pub schema: u32,
    pub hold: u64,
    /// For how long it lasted.
    pub held_ms: u64,
    /// Requests that are let go now.
    pub waiting: u64,
    pub oldest_ms: u64,
}

/// Requests wait because the active slot cannot be connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutageStatus {
    pub waiting: u64,
    /// How long the one that waits longest has waited.
    pub oldest_ms: u64,
}

/// New requests wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldStatus {
    /// Unique in its service while the daemon runs.
    pub hold: u64,
    pub by: String,
    pub reason: Option<String>,
    pub since: String,
    /// It ends by itself then.
    pub until: String,
    /// It ends with the connection that asked for it.
    pub lease: bool,
    /// It is over, and those who wait are being let go.
    pub releasing: bool,
    /// Nothing is left of what was under way when it began; none while nobody has looked.
    pub drained: Option<bool>,
    pub waiting: u64,
    /// How long the one that waits longest has waited.
    pub oldest_ms: u64,
    /// Of those who wait.
    pub bytes: u64,
}

/// What ended a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// Somebody asked for it.
    Asked,
    Deadline,
    /// The connection that held it is gone.
    LeaseLost,
    /// Its service was taken out of the config.
    Removed,
    /// The daemon stops.
    Stopping,
}
