//! What `hooks` shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookList {
    pub schema: u32,
    /// In the order of the config.
    pub hooks: Vec<HookStatus>,
}

/// How it goes with one hook; counts are since the daemon started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookStatus {
    pub name: String,
    /// `json`, `slack` or `alertmanager`.
    pub kind: String,
    /// Scheme and host; the rest is never shown.
    pub url: String,
    pub events: Vec<String>,
    /// Empty means every service.
    pub services: Vec<String>,
    pub is_signed: bool,
    /// `idle`, `delivering`, or `retrying` after an attempt that failed.
    pub state: String,
    /// Messages that wait, with the one that is on its way.
    pub queued: u64,
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// Gave way to newer ones because the queue was full.
    pub dropped: u64,
    pub attempts: u64,
    pub last_delivered: Option<String>,
    /// When an attempt last failed.
    pub last_failed: Option<String>,
    /// Why; none when the newest attempt did not fail.
    pub error: Option<String>,
    /// When the message that is on its way is tried again.
    pub next_attempt: Option<String>,
}

/// The answer of `hooks test`: the receiver took the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookTested {
    pub schema: u32,
    pub name: String,
    pub took_ms: u64,
}
