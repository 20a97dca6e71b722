//! What is kept of operations.

use super::gates::GateCheck;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    pub schema: u32,
    pub operations: Vec<AuditRecord>,
}

/// One line of the audit log: one operation, whoever started it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    pub schema: u32,
    /// When it started.
    pub at: String,
    /// `uid 1000 (alice)`, or `switchd`.
    pub actor: String,
    pub service: String,
    /// `flip`, `rollback`, `failback`, `gate` (by hand), `rehearsal`, `ack`, `confirm`, `label`, `hold`, `kill`,
    /// `reload`, `shared_down`, `shared_up`, `cache_purge`, `hook_test`, `recover` (a start without the state) or `call` (over TCP).
    pub command: String,
    pub flip: Option<u64>,
    pub reason: Option<String>,
    /// The gate was skipped on purpose.
    #[serde(default)]
    pub forced: bool,
    pub from: Option<String>,
    pub to: Option<String>,
    /// What was said to run in `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `done`, `unchanged`, `refused`, `failed`, `moved_back` (by itself, before the old slot was drained) or `interrupted`.
    pub result: String,
    /// Why it was refused, failed or interrupted; what a reload changed, which request was killed.
    pub details: Vec<String>,
    /// Until traffic moved; none when it did not.
    pub published_ms: Option<u64>,
    /// Until the old slot was empty.
    pub drained_ms: Option<u64>,
    /// Until it was over, whatever its result; none for what is over at once.
    #[serde(default)]
    pub took_ms: Option<u64>,
    /// How many requests were cut off.
    pub cut: u64,
    /// Of those, upgraded connections.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub cut_websockets: u64,
    /// What the gate took, whatever it said; none when it did not run to its end.
    #[serde(default)]
    pub gate_ms: Option<u64>,
    /// What the gates looked at, and what they found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateCheck>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}
