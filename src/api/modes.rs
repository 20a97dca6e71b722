//! What is asked and told of maintenance and of services that are read only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Switches maintenance on or off. On again where it is on replaces what was said before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    pub on: bool,
    /// For people, in one sentence.
    #[serde(default)]
    pub message: Option<String>,
    /// When it is expected to be over, RFC 3339: told to clients; nothing ends by it.
    #[serde(default)]
    pub until: Option<String>,
    /// Networks and addresses that get in all the same.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Make a secret that lets its holders in; the answer holds it.
    #[serde(default)]
    pub bypass: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Switches read-only on or off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadOnlyRequest {
    pub on: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How the modes of a service are now: the answer of `maintenance` and `read_only`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModesStatus {
    pub schema: u32,
    pub maintenance: Option<MaintenanceStatus>,
    pub read_only: Option<ReadOnlyStatus>,
    /// The way in, where it was asked for; shown this once.
    pub bypass: Option<Bypass>,
}

/// A secret way past maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bypass {
    /// A visit of `https://HOST` and this sets the cookie.
    pub path: String,
    /// `NAME=VALUE`, for those who set it themselves.
    pub cookie: String,
    /// Exact hosts of the service.
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceStatus {
    pub by: String,
    pub since: String,
    pub until: Option<String>,
    pub message: Option<String>,
    /// Of the command and of the config.
    pub allow: Vec<String>,
    /// There is a cookie that lets its holders in.
    pub bypass: bool,
    /// Requests that were turned away since the daemon started.
    pub refused: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadOnlyStatus {
    pub by: String,
    pub since: String,
    /// `refuse` or `hold`.
    pub writes: String,
    /// Writes that wait.
    pub waiting: u64,
    /// Writes that were turned away since the daemon started.
    pub refused: u64,
}
