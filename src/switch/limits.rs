//! By what a slot is judged, as the config says it.

use super::tally::Share;
use std::time::Duration;

/// By what a slot is judged; none of a limit means that it is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRules {
    pub enabled: bool,
    /// How far back the old slot is looked at.
    pub baseline: Duration,
    /// In a window, before it says anything.
    pub min_requests: u64,
    pub min_handshakes: u64,
    /// So many clients must have met it, unless those who did were most of the traffic before.
    pub min_clients: u64,
    /// So much more than the old slot a figure must be.
    pub worse_by: Share,
    /// What is quicker is never too slow.
    pub latency_floor: Duration,
    /// Errors that need no window to be full.
    pub at_once: Option<Share>,
    pub at_once_window: Duration,
    /// What moves traffic back.
    pub critical: Thresholds,
    /// What is only told.
    pub warning: Thresholds,
}

/// What is too much, when it lasts for the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    pub window: Duration,
    pub error_rate: Option<Share>,
    /// Of one part of the site, where the old slot did better.
    pub part_error_rate: Option<Share>,
    pub p95: Option<Duration>,
    pub p99: Option<Duration>,
    /// So much slower than the old slot, however fast both are.
    pub latency_rise: Option<Share>,
    /// Of websockets that were asked for, those that were not opened.
    pub handshake_failures: Option<Share>,
}
