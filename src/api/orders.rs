//! What is asked for, and what is answered at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the document"
)]
pub struct FlipRequest {
    pub to: String,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub reason: Option<String>,
    /// Refuse unless this generation is still active.
    #[serde(default)]
    pub expect_generation: Option<u64>,
    /// End the answer's stream once `to` is published, not when the old slot is drained.
    #[serde(default)]
    pub no_wait: bool,
    /// Prove `to` and tell what would happen, and change nothing.
    #[serde(default)]
    pub rehearse: bool,
    /// Go back unless it is confirmed within this time: `10m`.
    #[serde(default)]
    pub confirm_within: Option<String>,
    /// Going back is fine even where the database has changed.
    #[serde(default)]
    pub accept_schema_change: bool,
    /// What runs in `to`; labels the slot before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Refuse at once where `to` does not answer yet, instead of waiting for its start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_wait_for_start: bool,
    /// The slot is in quarantine and has been mended: acknowledge that with this move.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge: bool,
    /// The `proof` of `gates_done`: where nothing has changed since, and that was seconds ago, the gates are not
    /// tried again. Every address is probed all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// Ends what is still being proven.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    #[serde(default)]
    pub reason: Option<String>,
}

/// The answer of `cancel`: what was ended. Nothing of it had moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    pub schema: u32,
    pub flip: u64,
    pub from: String,
    pub to: String,
}

/// Asks for the gates of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateRequest {
    pub slot: String,
    /// Say no at once where it does not answer yet, instead of waiting for its start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_wait_for_start: bool,
}

/// Says what runs in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelRequest {
    pub slot: String,
    /// None takes the label away.
    #[serde(default)]
    pub version: Option<String>,
}

/// The answer of `label`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Labelled {
    pub schema: u32,
    pub slot: String,
    pub version: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the document"
)]
pub struct RollbackRequest {
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub no_wait: bool,
    /// Go there even though the database has changed since.
    #[serde(default)]
    pub accept_schema_change: bool,
    /// Wait for a slot that does not answer yet, as a flip does, instead of refusing at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait_for_start: bool,
    /// The slot is in quarantine and has been mended: acknowledge that with this move.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotRequest {
    pub slot: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    pub schema: u32,
    pub slot: String,
    /// What still has to happen before the quarantine ends; none when it is over.
    pub remaining: Option<String>,
    /// Who may listen on the slot's port from now on; none where nobody was a stranger there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}
