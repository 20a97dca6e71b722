//! What a slot has to prove before traffic moves to it: the gates of a service.

mod changes;
mod kinds;
mod read;
mod steps;

pub(super) use changes::changes;
pub(super) use kinds::GATE;
pub(super) use read::read;
pub(super) use steps::STEP;
pub use steps::{Captured, Step};

use super::settings::Secret;
use crate::switch::MemberName;
use std::fmt;
use std::time::Duration;

/// One gate: what is asked of a slot, and what a "no" means.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    pub name: String,
    pub severity: Severity,
    /// How often it is tried at most.
    pub attempts: u32,
    /// From the end of one attempt to the next.
    pub interval: Duration,
    /// For all attempts together.
    pub deadline: Duration,
    /// As whose site the slot is asked; none means as its clients see the service.
    pub origin: Option<Origin>,
    pub kind: GateKind,
}

/// What a gate that does not pass means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// No traffic moves.
    Required,
    /// It is told.
    Warn,
}

/// Scheme and host of a site, with its port where that is not the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub is_https: bool,
    pub host: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum GateKind {
    /// One or more.
    Http(Vec<Step>),
    Odoo(OdooGate),
    Latency(LatencyGate),
    WarmUp(WarmUp),
}

/// Whether the code of a slot and the database belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct OdooGate {
    pub database: String,
    pub login: String,
    /// Or an API key.
    pub password: Secret,
    /// Must be installed.
    pub modules: Vec<String>,
    /// Of each one record is read with every column.
    pub models: Vec<String>,
    pub smoke_test: SmokeTest,
    pub websocket: bool,
    pub session: bool,
}

/// When a record is created, read and deleted for a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmokeTest {
    Off,
    /// On the slot that has the traffic, and on no other.
    Active,
    Always,
}

/// How fast a slot answers.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyGate {
    pub path: String,
    pub requests: u32,
    pub max_p95: Duration,
    /// Percent above the active slot's p95; none compares nothing.
    pub max_increase: Option<u32>,
    /// A p95 up to this is never too slow by comparison.
    pub ignore_below: Duration,
}

/// Requests that make a slot as fast as it can be.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmUp {
    pub paths: Vec<String>,
    /// What the pages name is asked for too.
    pub assets: bool,
    /// At the same time, of each endpoint.
    pub parallel: u32,
    /// The slowest has to be as fast as that.
    pub within: Duration,
    /// Empty means all.
    pub members: Vec<MemberName>,
}

impl GateKind {
    /// As it is written.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Odoo(_) => "odoo",
            Self::Latency(_) => "latency",
            Self::WarmUp(_) => "warm_up",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)
    }
}
