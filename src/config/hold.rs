//! What waits at the proxy while a service is held.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::table::Table;
use super::units::format_size;
use super::value::{Value, Zero, clip};
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
    /// Paths whose GET and HEAD requests wait for nothing: the checks of load balancers in front of us.
    pub pass: Vec<String>,
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
            on_outage: Duration::ZERO,
        }
    }
}

impl Hold {
    /// Whether a request goes through: `target` as the client wrote it. Only the very paths that are listed
    /// do, for whatever is written around them may mean another path to the upstream.
    #[must_use]
    pub fn lets_pass(&self, method: &str, target: &[u8]) -> bool {
        if self.pass.is_empty() || !matches!(method, "GET" | "HEAD") {
            return false;
        }
        let target = path_of(target);
        self.pass.iter().any(|path| path.as_bytes() == target)
    }
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
        pass: paths(&table, "pass").unwrap_or(default.pass),
        on_outage: service.duration("hold_on_outage", Zero::Allowed, default.on_outage),
    }
}

/// Paths as clients write them, without queries.
pub(super) fn paths(table: &Table<'_>, key: &str) -> Option<Vec<String>> {
    let items = table.get(key)?.list()?;
    Some(items.iter().filter_map(path).collect())
}

fn path(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
    if text.starts_with('/') && text.bytes().all(is_plain) {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("path \"{}\" is not one that a client asks for", clip(text)),
        "write the whole path as it is asked for, without a query: \"/web/health\"",
    );
    None
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
    let shown = |paths: &[String]| match paths {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    lines.time("hold_on_outage", old.on_outage, new.on_outage);
    lines.value("hold pass", &shown(&old.pass), &shown(&new.pass));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_requests_for_the_very_path_go_through() {
        let hold = Hold {
            pass: vec!["/web/health".to_owned()],
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
