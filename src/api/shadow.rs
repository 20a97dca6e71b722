//! Copies of requests for an idle slot, and how their answers differ.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of `POST /v1/services/{service}/shadow`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowRequest {
    /// Which slot gets copies; none for no more copies.
    #[serde(default)]
    pub slot: Option<String>,
    /// Of the safe requests, 0.01 to 100; none for what the config says, 0 for no more copies.
    #[serde(default)]
    pub percent: Option<f64>,
}

/// In the status of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowStatus {
    pub slot: String,
    pub percent: f64,
    pub since: String,
    /// Copies under way.
    pub in_flight: u64,
    pub compared: u64,
    /// Of those that were compared.
    pub differ: u64,
    /// Copies without an answer.
    pub failed: u64,
}

/// What came of the copies since they were asked for last. Without any so far, `slot` is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowReport {
    pub schema: u32,
    pub service: String,
    /// Copies are sent now.
    pub on: bool,
    /// Which slot gets or got them.
    pub slot: Option<String>,
    pub percent: Option<f64>,
    /// Which slot's answers these are compared with.
    pub active: String,
    pub since: Option<String>,
    pub ended: Option<String>,
    /// Why, in words.
    pub end_reason: Option<String>,
    /// Copies under way.
    pub in_flight: u64,
    /// Requests that both slots have answered.
    pub compared: u64,
    /// Of these: the first digit of the status is another one.
    pub status_differs: u64,
    /// Of these: the size of the body is another one, while the status is of the same class.
    pub size_differs: u64,
    /// Copies without an answer.
    pub failed: u64,
    /// Copies that were not sent, for too many were under way.
    pub dropped: u64,
    /// Copies that were not sent, for the active slot's answer was too large.
    pub too_large: u64,
    /// By the pattern of their paths, the worst first.
    pub patterns: Vec<ShadowPattern>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowPattern {
    /// `*` stands for a number or a name of one of many; `(others)` for what there was no room for.
    pub pattern: String,
    pub compared: u64,
    pub status_differs: u64,
    pub size_differs: u64,
    pub failed: u64,
    pub active: ShadowSide,
    pub shadow: ShadowSide,
    /// Some of those that differ.
    pub examples: Vec<ShadowExample>,
}

/// One slot's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowSide {
    /// Until the first byte, to a tenth or so; none without any.
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub mean_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShadowExample {
    /// Without its query.
    pub path: String,
    /// Of the request, and of its copy.
    pub request_id: String,
    pub active_status: u16,
    pub active_bytes: u64,
    /// None when the copy got no answer.
    pub shadow_status: Option<u16>,
    pub shadow_bytes: Option<u64>,
    /// Why it got none.
    pub error: Option<String>,
}
