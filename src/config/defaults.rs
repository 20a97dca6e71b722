//! What holds where the operator wrote nothing. `config/switchd.toml` tells each; a test compares.

use super::settings::{
    AccessLog, AccessLogFormat, AccessLogTarget, Admin, Flip, Health, Limits, Log, LogFormat,
    Runtime, State, Stop, Timeouts,
};
use crate::switch::FailbackMode;
use crate::switch::FailbackRules;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

/// More threads than this help nobody.
pub(super) const MOST_WORKERS: usize = 256;

impl Default for Runtime {
    /// One worker per core that this process may use.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            workers: cores.min(MOST_WORKERS),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            socket: "/run/switchd/admin.sock".into(),
            metrics: None,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            dir: "/var/lib/switchd".into(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            target: AccessLogTarget::Off,
            format: AccessLogFormat::Json,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            header_count: 100,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            // Far above any honest upload, far below what fills a disk behind us.
            body_bytes: 1 << 30,
            connections: 20_000,
            http2_streams: 100,
            connections_per_client: 0,
            // Slower than any modem.
            min_rate: 500,
            min_rate_grace: Duration::from_mins(1),
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_millis(250),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            min_healthy: 1,
            busy_timeout: None,
            expect_status: vec![(200, 299)],
            expect_body: String::new(),
            host: None,
            headers: Vec::new(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(1),
            idle: Duration::from_mins(1),
            total: None,
            tunnel_idle: Duration::from_mins(10),
        }
    }
}

impl Default for Flip {
    fn default() -> Self {
        let drain = Duration::from_secs(30);
        Self {
            drain_requests: drain,
            drain_transfers: drain,
            drain_websockets: drain,
            gate_timeout: Duration::from_secs(30),
        }
    }
}

/// The rules of moving back by itself where the operator wrote none.
#[must_use]
pub fn default_failback() -> FailbackRules {
    FailbackRules {
        mode: FailbackMode::Always,
        watch: Duration::from_mins(2),
        quarantine: Duration::from_mins(5),
        acknowledge: true,
        start_grace: Duration::from_secs(30),
        shared_grace: Duration::from_secs(30),
        max_moves: 3,
        window: Duration::from_hours(1),
    }
}

/// How what the slots share is checked, besides its address.
pub(super) const SHARED_INTERVAL: Duration = Duration::from_secs(2);
pub(super) const SHARED_TIMEOUT: Duration = Duration::from_secs(2);
