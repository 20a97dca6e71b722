//! What waits at the proxy while a service is held.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::path_pattern::{PathPattern, list, shown};
use super::table::Table;
use super::units::format_size;
use super::value::Zero;
use std::time::Duration;

/// Bounds of a hold, and who goes through one.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    /// How many requests may wait; more are answered with 503.
    pub max_requests: usize,
    /// Bytes of heads and kept bodies of all who wait; beyond, 503.
    pub max_bytes: u64,
    /// How long one request may wait; then 503.
    pub max_wait: Duration,
    /// The longest hold that may be asked for.
    pub max_for: Duration,
    /// How many are let go per second; 0 is all at once.
    pub release_rate: u64,
    /// What GET and HEAD requests ask for that wait for nothing: the checks of load balancers in front of us.
    pub pass: Vec<PathPattern>,
    /// The same, until nothing else is under way: what requests under way may need before they end.
    pub pass_while_draining: Vec<PathPattern>,
    /// How long a request that cannot be connected may wait for a slot that can be; zero: not at all.
    pub on_outage: Duration,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            max_requests: 5000,
            max_bytes: 256 << 20,
            max_wait: Duration::from_mins(2),
            max_for: Duration::from_mins(10),
            release_rate: 500,
            pass: Vec::new(),
            pass_while_draining: Vec::new(),
            on_outage: Duration::ZERO,
        }
    }
}

impl Hold {
    /// Whether a request goes through: `target` as the client wrote it. Only the very paths that are listed
    /// do, and what fits a pattern in every reading, for whatever is written around them may mean another path
    /// to the upstream.
    #[must_use]
    pub fn lets_pass(&self, method: &str, target: &[u8]) -> bool {
        is_listed(&self.pass, method, target)
    }

    /// The same while the hold drains.
    #[must_use]
    pub fn lets_pass_while_draining(&self, method: &str, target: &[u8]) -> bool {
        is_listed(&self.pass_while_draining, method, target)
    }
}

fn is_listed(paths: &[PathPattern], method: &str, target: &[u8]) -> bool {
    if paths.is_empty() || !matches!(method, "GET" | "HEAD") {
        return false;
    }
    let path = std::str::from_utf8(path_of(target));
    path.is_ok_and(|path| paths.iter().any(|known| known.is(path)))
}

/// Without scheme, host and query.
fn path_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let target = &target[..end.unwrap_or(target.len())];
    if target.starts_with(b"/") {
        return target;
    }
    let Some(scheme) = target.windows(3).position(|part| part == b"://") else {
        return target;
    };
    let rest = &target[scheme + 3..];
    let path = rest.iter().position(|byte| *byte == b'/');
    path.map_or(&b"/"[..], |at| &rest[at..])
}

pub(super) const HOLD: Section = section(
    "service.NAME.hold",
    &[
        key("max_requests", "5000"),
        key("max_bytes", r#""256MiB""#),
        key("max_wait", r#""2m""#),
        key("max_for", r#""10m""#),
        key("release_rate", "500"),
        key("pass", r#"["/web/health"]"#),
        key("pass_while_draining", r#"["/web/assets/*", "*/static/*"]"#),
    ],
);

pub(super) fn read(service: &Table<'_>) -> Hold {
    let table = service.table("hold", &HOLD);
    let default = Hold::default();
    Hold {
        max_requests: table.number("max_requests", 0..=1_000_000, default.max_requests),
        max_bytes: table
            .get("max_bytes")
            .and_then(|value| value.size())
            .unwrap_or(default.max_bytes),
        max_wait: table.duration("max_wait", Zero::Refused, default.max_wait),
        max_for: table.duration("max_for", Zero::Refused, default.max_for),
        release_rate: table.number("release_rate", 0..=1_000_000, default.release_rate),
        pass: list(&table, "pass").unwrap_or(default.pass),
        pass_while_draining: list(&table, "pass_while_draining")
            .unwrap_or(default.pass_while_draining),
        on_outage: service.duration("hold_on_outage", Zero::Allowed, default.on_outage),
    }
}

pub(super) fn changes(lines: &mut Differences, old: &Hold, new: &Hold) {
    lines.value("hold max_requests", &old.max_requests, &new.max_requests);
    lines.value(
        "hold max_bytes",
        &format_size(old.max_bytes),
        &format_size(new.max_bytes),
    );
    lines.time("hold max_wait", old.max_wait, new.max_wait);
    lines.time("hold max_for", old.max_for, new.max_for);
    lines.value("hold release_rate", &old.release_rate, &new.release_rate);
    lines.time("hold_on_outage", old.on_outage, new.on_outage);
    lines.value("hold pass", &shown(&old.pass), &shown(&new.pass));
    lines.value(
        "hold pass_while_draining",
        &shown(&old.pass_while_draining),
        &shown(&new.pass_while_draining),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_requests_for_the_very_path_go_through() {
        let hold = Hold {
            pass: vec!["/web/health".into()],
            ..Hold::default()
        };
        for target in [
            "/web/health",
            "/web/health?db_server_status=1",
            "http://erp.example.com/web/health?x",
        ] {
            assert!(hold.lets_pass("GET", target.as_bytes()), "{target}");
            assert!(!hold.lets_pass("POST", target.as_bytes()), "{target}");
        }
        for target in [
            "/web/health/",
            "/web/health/../../jsonrpc",
            "//web/health",
            "/web/healthy",
            "http://erp.example.com",
            "*",
        ] {
            assert!(!hold.lets_pass("GET", target.as_bytes()), "{target}");
        }
        assert!(!Hold::default().lets_pass("GET", b"/web/health"));
    }
}
