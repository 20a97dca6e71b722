//! What gates find.

use super::status::CountsStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that a gate looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateCheck {
    pub slot: String,
    /// As the config names it.
    pub gate: String,
    /// `http`, `odoo`, `latency` or `warm_up`.
    pub kind: String,
    /// What was looked at: `modules`, `POST /jsonrpc`, `p95`.
    pub check: String,
    /// The address that was asked, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub outcome: Outcome,
    /// What came back.
    pub said: String,
    /// What to do about it; none for what passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    pub took_ms: u64,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    /// It did not pass, and its gate only warns.
    Warn,
    /// Nobody can say; counts as not passed.
    Inconclusive,
    Failed,
}

impl Outcome {
    /// As the API spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warn => "warn",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "failed",
        }
    }
}

/// A gate goes on: why it tries again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateProgress {
    pub slot: String,
    pub gate: String,
    /// Counts from 1.
    pub attempt: u32,
    pub attempts: u32,
    pub said: String,
}

/// The slot is not ready yet and may be starting; told about once a second, more rarely after a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateWaiting {
    pub slot: String,
    /// Every address that is not ready, with what it said last.
    pub endpoints: Vec<WaitingEndpoint>,
    pub waited_ms: u64,
    /// For so long it waits: `flip.gate_timeout`.
    pub limit_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingEndpoint {
    pub member: String,
    pub endpoint: String,
    pub said: String,
}

/// The last line of the stream of `gate` and of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatesDone {
    pub slot: String,
    /// A flip to the slot would not be refused for what was seen here.
    pub passed: bool,
    /// Gates that were tried.
    pub gates: usize,
    /// Why not, one each.
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    /// Which modules the database holds, in which versions; none where no gate looks at that.
    pub fingerprint: Option<String>,
    /// What a flip would do; for a rehearsal only.
    pub rehearsed: Option<Rehearsed>,
    /// For a flip within seconds (`proof`), so that it need not try the gates again; none where they did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    pub took_ms: u64,
}

/// What a flip would do now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rehearsed {
    pub from: String,
    pub to: String,
    /// The one that `to` would be.
    pub generation: u64,
    /// What is under way on `from`, and would have to end.
    pub left: CountsStatus,
    /// Requests that wait for a place, and would go to `to`.
    pub queued: u64,
}

/// How a slot last stood before its gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatesStatus {
    /// None while they are tried for the first time.
    pub at: Option<String>,
    pub running: bool,
    pub passed: bool,
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
}
