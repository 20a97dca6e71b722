//! How endpoints are probed: one check per service, with what a member does differently.

use super::keys::{HEADERS, HEALTH, MEMBER_HEALTH};
use super::problem::At;
use super::secret;
use super::settings::{Health, Secret};
use super::slots;
use super::table::Table;
use super::value::{Value, Zero, clip};
use crate::switch::MemberName;
use http::HeaderName;
use http::HeaderValue;
use http::uri::Authority;
use std::collections::HashSet;
use std::time::Duration;

/// The checks of a service.
pub(super) struct Checks {
    service: Health,
    members: Vec<MemberCheck>,
}

struct MemberCheck {
    name: MemberName,
    health: Health,
}

impl Checks {
    pub(super) fn of(&self, member: &MemberName) -> Health {
        self.members
            .iter()
            .find(|check| check.name == *member)
            .map_or_else(|| self.service.clone(), |check| check.health.clone())
    }
}

/// How long a flip waits for checks, and where that was written.
pub(super) struct Gate {
    pub(super) timeout: Duration,
    pub(super) at: Option<At>,
}

/// Reads `[service.NAME.health]` and each `[service.NAME.health.MEMBER]`.
pub(super) fn read(service: &Table<'_>, members: &[MemberName], gate: &Gate) -> Checks {
    let table = service.table("health", &HEALTH);
    let base = check(&table, &Health::default());
    refuse_contradictions(&table, &base, gate);
    let mut overrides = Vec::new();
    for named in table.others() {
        let header = format!("{}.{}", table.header(), clip(named.name));
        // What is no table was refused as an unknown key.
        let Some(entries) = named.value.as_table(header, &MEMBER_HEALTH) else {
            continue;
        };
        let health = check(&entries, &base);
        if ["timeout", "rise", "fast_interval", "interval"]
            .iter()
            .any(|key| entries.has(key))
        {
            refuse_contradictions(&entries, &health, gate);
        }
        let member = members.iter().find(|member| member.as_str() == named.name);
        if member.is_none() {
            let keys = HEALTH.keys.iter().map(|key| key.name);
            let known: Vec<_> = members.iter().map(MemberName::as_str).chain(keys).collect();
            named.value.report.add(
                &named.at,
                format!("no slot has a member `{}` to check", clip(named.name)),
                slots::meant(named.name, &known, "members and keys"),
            );
        }
        overrides.extend(member.map(|name| MemberCheck {
            name: name.clone(),
            health,
        }));
    }
    Checks {
        service: base,
        members: overrides,
    }
}

fn check(table: &Table<'_>, base: &Health) -> Health {
    let interval = table.duration("interval", Zero::Refused, base.interval);
    Health {
        path: table
            .get("path")
            .and_then(|value| path(&value))
            .unwrap_or_else(|| base.path.clone()),
        interval,
        // A shorter interval alone is no contradiction: nothing is faster than fast.
        fast_interval: table.duration(
            "fast_interval",
            Zero::Refused,
            base.fast_interval.min(interval),
        ),
        timeout: table.duration("timeout", Zero::Refused, base.timeout),
        rise: table.number("rise", 1..=100, base.rise),
        fall: table.number("fall", 1..=100, base.fall),
        min_healthy: table.number("min_healthy", 1..=1000, base.min_healthy),
        busy_timeout: busy_timeout(table, base),
        expect_status: table
            .get("expect_status")
            .and_then(|value| statuses(&value))
            .unwrap_or_else(|| base.expect_status.clone()),
        expect_body: table
            .get("expect_body")
            .and_then(|value| value.text())
            .map_or_else(|| base.expect_body.clone(), str::to_owned),
        host: match table.get("host") {
            Some(value) => host(&value),
            None => base.host.clone(),
        },
        headers: match table.get("headers") {
            Some(value) => headers(&value, HOST_KEY),
            None => base.headers.clone(),
        },
    }
}

fn busy_timeout(table: &Table<'_>, base: &Health) -> Option<Duration> {
    let Some(value) = table.get("busy_timeout") else {
        return base.busy_timeout;
    };
    if value.is_word("off") {
        return None;
    }
    let time = value.duration(Zero::Refused)?;
    let timeout = table.duration("timeout", Zero::Refused, base.timeout);
    if time < timeout {
        value.wrong(
            "`busy_timeout` is shorter than `timeout`: a busy endpoint would get less time than an idle one",
            "lengthen `busy_timeout`, or write \"off\"",
        );
    }
    Some(time)
}

fn refuse_contradictions(table: &Table<'_>, health: &Health, gate: &Gate) {
    if health.fast_interval > health.interval
        && let Some(value) = table.get("fast_interval").or(table.get("interval"))
    {
        value.wrong(
            "`fast_interval` is longer than `interval`",
            "shorten `fast_interval`: it is for the moments when news matter",
        );
    }
    let place = ["timeout", "rise", "fast_interval"]
        .iter()
        .find_map(|key| table.get(key))
        .map(|value| value.at)
        .or_else(|| gate.at.clone())
        .unwrap_or_else(|| table.at.clone());
    if health.timeout > gate.timeout {
        table.report().add(
            &place,
            "the `timeout` of a check is longer than the `gate_timeout` of a flip",
            "shorten `timeout`, or lengthen `gate_timeout` of the flip: a flip waits for the check",
        );
    } else if health.fast_interval * health.rise.saturating_sub(1) >= gate.timeout {
        table.report().add(
            &place,
            format!(
                "no flip could ever pass: `rise` = {} checks, `fast_interval` apart, outlast `gate_timeout`",
                health.rise
            ),
            "lower `rise` or `fast_interval`, or lengthen `gate_timeout` of the flip",
        );
    }
}

pub(super) fn path(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let shown = clip(text);
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').map_or("/", |slash| &rest[slash..]);
        value.wrong(
            "`path` is a URL",
            format!("write path = \"{}\", and the host as `host`", clip(path)),
        );
        return None;
    }
    if !text.starts_with('/') {
        value.wrong(
            format!("`path` does not begin with `/`: \"{shown}\""),
            format!("write path = \"/{shown}\""),
        );
        return None;
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        value.wrong(
            format!("`path` holds what cannot be sent: \"{shown}\""),
            "percent-encode spaces and letters that are not ASCII, and leave out `#`",
        );
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn statuses(value: &Value<'_>) -> Option<Vec<(u16, u16)>> {
    let items = value.list()?;
    if items.is_empty() {
        value.wrong(
            "`expect_status` is empty: no answer would do",
            "write expect_status = [\"200-299\"], for example",
        );
    }
    Some(items.iter().filter_map(status).collect())
}

fn status(item: &Value<'_>) -> Option<(u16, u16)> {
    if item.is_number() {
        let code = u16::try_from(item.number(100..=599)?).ok()?;
        return Some((code, code));
    }
    let text = item.text()?;
    let code = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|code| (100..=599).contains(code))
    };
    let range = match text.split_once('-') {
        Some((low, high)) => code(low).zip(code(high)),
        None => code(text).map(|code| (code, code)),
    };
    if let Some((low, high)) = range
        && low <= high
    {
        return Some((low, high));
    }
    let class = text
        .to_ascii_lowercase()
        .strip_suffix("xx")
        .and_then(|digit| digit.parse::<u16>().ok())
        .filter(|digit| (1..=5).contains(digit));
    item.wrong(
        format!("\"{}\" is no status or range of statuses", clip(text)),
        match (class, range) {
            (Some(class), _) => format!("write \"{class}00-{class}99\""),
            (None, Some((low, high))) => format!("write \"{high}-{low}\""),
            (None, None) => "write a number as in 200, or a range as in \"200-299\"".to_owned(),
        },
    );
    None
}

fn host(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.is_empty() {
        return None;
    }
    let plain = !text.contains('@') && text.is_ascii();
    if plain && text.parse::<Authority>().is_ok() {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("`host` is no host: \"{}\"", clip(text)),
        "write what the Host header shall say, as in \"erp.example.com\"",
    );
    None
}

/// How the Host header is written instead.
#[derive(Clone, Copy)]
pub(super) struct HostKey {
    pub(super) fault: &'static str,
    pub(super) help: &'static str,
}

const HOST_KEY: HostKey = HostKey {
    fault: "is set by `host`",
    help: "write host = \"...\" beside `headers` instead",
};

/// Those that the prober writes itself, or that would change how the probe is framed.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn headers(value: &Value<'_>, host: HostKey) -> Vec<(String, Secret)> {
    let Some(table) = value.as_table("headers".to_owned(), &HEADERS) else {
        value.expected("a table");
        return Vec::new();
    };
    let mut seen = HashSet::new();
    let mut headers = Vec::new();
    for named in table.others() {
        let shown = clip(named.name);
        let wrong = |what: &str, help: &str| {
            named
                .value
                .report
                .add(&named.at, format!("header `{shown}` {what}"), help);
        };
        let Ok(name) = HeaderName::from_bytes(named.name.as_bytes()) else {
            wrong(
                "has a name that cannot be sent",
                "use letters, digits and `-`, as in X-Probe",
            );
            continue;
        };
        if name == "host" {
            wrong(host.fault, host.help);
        } else if OWN_HEADERS.contains(&name.as_str()) {
            wrong("is written by the check itself", "leave it out");
        }
        if !seen.insert(name.clone()) {
            wrong(
                "is written twice",
                "keep one of them: capitals do not matter in header names",
            );
        }
        let Some(secret) = secret::read(&named.value, &shown) else {
            continue;
        };
        if HeaderValue::from_str(secret.reveal()).is_err() {
            wrong(
                "has a value that cannot be sent",
                "leave out line breaks and other control characters; the value is not shown here",
            );
        }
        headers.push((name.as_str().to_owned(), secret));
    }
    headers
}
