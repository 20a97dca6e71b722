//! Some of the new visitors on another slot, and links for those who look at it first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a canary: a share with `percent`, its configured steps with `slot` alone, or an `action`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the document"
)]
pub struct CanaryRequest {
    /// None for the canary that runs.
    #[serde(default)]
    pub slot: Option<String>,
    /// Of the new visitors: 0 to 100, with at most two decimals.
    #[serde(default)]
    pub percent: Option<f64>,
    #[serde(default)]
    pub action: Option<CanaryAction>,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub reason: Option<String>,
    /// End the answer's stream once it holds, not when what was left is drained.
    #[serde(default)]
    pub no_wait: bool,
    /// Refuse at once where the slot does not answer yet, instead of waiting for its start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_wait_for_start: bool,
    /// The slot is in quarantine and has been mended: acknowledge that with this move.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CanaryAction {
    /// All traffic follows: a flip.
    Promote,
    /// Nobody goes there any more.
    Abort,
}

/// A canary that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryStatus {
    pub slot: String,
    /// As the visitors' cookies carry it; becomes the active one when traffic follows.
    pub generation: u64,
    /// Of the new visitors.
    pub percent: f64,
    pub since: String,
    /// When the share was last set.
    pub changed: String,
    /// What follows by itself: a share such as `25%`, or `promote`.
    pub next: Option<String>,
    /// When, if the slot is well then.
    pub next_at: Option<String>,
}

/// The answer of `preview`: a link that leads to a slot once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewLink {
    pub schema: u32,
    pub slot: String,
    pub url: String,
    /// Until when somebody may follow it.
    pub expires: String,
}
