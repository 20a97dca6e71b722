//! How a slot is judged after a flip.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::table::Table;
use super::units::format_duration;
use super::value::{Choice, Value, Zero, clip};
use crate::switch::Share;
use crate::switch::Thresholds;
use crate::switch::WatchRules;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// How a slot is watched after a flip.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// For how long.
    pub time: Duration,
    pub rules: WatchRules,
    /// Look for JSON-RPC errors in answers of 200.
    pub json_rpc: bool,
    /// Names of errors that are none of the slot's faults, as an answer's `error.data.name` tells them.
    pub ignored_errors: Vec<String>,
    /// Names of errors of what all slots share.
    pub shared_errors: Vec<String>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            time: Duration::from_mins(2),
            rules: quick(),
            json_rpc: false,
            ignored_errors: Vec::new(),
            shared_errors: Vec::new(),
        }
    }
}

/// For a watch of minutes.
fn quick() -> WatchRules {
    let classic = classic();
    WatchRules {
        critical: Thresholds {
            window: 30 * SECOND,
            error_rate: Some(Share::percent(5)),
            ..classic.critical
        },
        warning: Thresholds {
            window: Duration::from_mins(1),
            error_rate: Some(Share::percent(1)),
            ..classic.warning
        },
        ..classic
    }
}

/// For a watch of a quarter of an hour or more.
fn classic() -> WatchRules {
    WatchRules {
        enabled: true,
        baseline: Duration::from_mins(10),
        min_requests: 50,
        min_handshakes: 10,
        min_clients: 3,
        worse_by: Share::percent(50),
        latency_floor: SECOND / 10,
        at_once: Some(Share::percent(10)),
        at_once_window: 10 * SECOND,
        critical: Thresholds {
            window: Duration::from_mins(5),
            error_rate: Some(Share::percent(1)),
            part_error_rate: Some(Share::percent(50)),
            p95: Some(5 * SECOND),
            p99: None,
            latency_rise: None,
            handshake_failures: Some(Share::percent(20)),
        },
        warning: Thresholds {
            window: Duration::from_mins(10),
            error_rate: Some(Share(50)),
            part_error_rate: Some(Share::percent(10)),
            p95: Some(3 * SECOND),
            p99: None,
            latency_rise: Some(Share::percent(50)),
            handshake_failures: Some(Share::percent(10)),
        },
    }
}

pub(super) const WATCH: Section = section(
    "service.NAME.watch",
    &[
        key("thresholds", r#""classic""#),
        key("enabled", "true"),
        key("time", r#""2m""#),
        key("baseline", r#""10m""#),
        key("min_requests", "50"),
        key("min_handshakes", "10"),
        key("min_clients", "3"),
        key("worse_by", r#""50%""#),
        key("latency_floor", r#""100ms""#),
        key("at_once", r#""10%""#),
        key("at_once_window", r#""10s""#),
        key("json_rpc", "true"),
        key("ignored_errors", r#"["odoo.exceptions.UserError"]"#),
        key("shared_errors", r#"["psycopg2.OperationalError"]"#),
        key("critical", "[service.NAME.watch.critical]"),
        key("warning", "[service.NAME.watch.warning]"),
    ],
);

const THRESHOLD_KEYS: &[super::keys::Key] = &[
    key("window", r#""5m""#),
    key("error_rate", r#""1%""#),
    key("part_error_rate", r#""50%""#),
    key("p95", r#""5s""#),
    key("p99", r#""10s""#),
    key("latency_rise", r#""50%""#),
    key("handshake_failures", r#""20%""#),
];

pub(super) const CRITICAL: Section = section("service.NAME.watch.critical", THRESHOLD_KEYS);
pub(super) const WARNING: Section = section("service.NAME.watch.warning", THRESHOLD_KEYS);

/// What stands where nothing is written.
#[derive(Clone, Copy)]
enum Named {
    Quick,
    Classic,
}

pub(super) fn read(service: &Table<'_>) -> Watch {
    let table = service.table("watch", &WATCH);
    let all = [
        Choice {
            word: "quick",
            means: Named::Quick,
        },
        Choice {
            word: "classic",
            means: Named::Classic,
        },
    ];
    let named = table.get("thresholds").and_then(|it| it.choice(&all));
    let default = match named {
        Some(Named::Classic) => Watch {
            time: Duration::from_mins(15),
            rules: classic(),
            ..Watch::default()
        },
        Some(Named::Quick) | None => Watch::default(),
    };
    let time = table.duration("time", Zero::Refused, default.time);
    let rules = default.rules;
    let window = |key: &str, default: Duration| {
        // One that is longer would never be full.
        table.duration(key, Zero::Refused, default).min(time)
    };
    Watch {
        time,
        rules: WatchRules {
            enabled: table.flag("enabled", rules.enabled),
            baseline: table.duration("baseline", Zero::Refused, rules.baseline),
            min_requests: table.number("min_requests", 1..=1_000_000, rules.min_requests),
            min_handshakes: table.number("min_handshakes", 1..=1_000_000, rules.min_handshakes),
            min_clients: table.number("min_clients", 1..=1000, rules.min_clients),
            worse_by: share(&table, "worse_by", Some(rules.worse_by)).unwrap_or_default(),
            latency_floor: table.duration("latency_floor", Zero::Allowed, rules.latency_floor),
            at_once: share(&table, "at_once", rules.at_once),
            at_once_window: window("at_once_window", rules.at_once_window),
            critical: thresholds(&table.table("critical", &CRITICAL), rules.critical, time),
            warning: thresholds(&table.table("warning", &WARNING), rules.warning, time),
        },
        json_rpc: table.flag("json_rpc", default.json_rpc),
        ignored_errors: names(&table, "ignored_errors").unwrap_or(default.ignored_errors),
        shared_errors: names(&table, "shared_errors").unwrap_or(default.shared_errors),
    }
}

/// How the classic thresholds are written where they are not the documented defaults.
pub(super) fn classic_words(pattern: &str, name: &str) -> Option<&'static str> {
    Some(match (pattern, name) {
        ("service.NAME.watch", "time") => "\"15m\"",
        ("service.NAME.watch.critical", "window") => "\"5m\"",
        ("service.NAME.watch.critical", "error_rate") => "\"1%\"",
        ("service.NAME.watch.warning", "window") => "\"10m\"",
        ("service.NAME.watch.warning", "error_rate") => "\"0.5%\"",
        _ => return None,
    })
}

fn thresholds(table: &Table<'_>, default: Thresholds, longest: Duration) -> Thresholds {
    let time = |key: &str, default: Option<Duration>| match table.get(key) {
        None => default,
        Some(value) if value.is_word("off") => None,
        Some(value) => value.duration(Zero::Refused),
    };
    let window = table.duration("window", Zero::Refused, default.window);
    Thresholds {
        window: window.min(longest),
        error_rate: share(table, "error_rate", default.error_rate),
        part_error_rate: share(table, "part_error_rate", default.part_error_rate),
        p95: time("p95", default.p95),
        p99: time("p99", default.p99),
        latency_rise: share(table, "latency_rise", default.latency_rise),
        handshake_failures: share(table, "handshake_failures", default.handshake_failures),
    }
}

fn share(table: &Table<'_>, key: &str, default: Option<Share>) -> Option<Share> {
    let Some(value) = table.get(key) else {
        return default;
    };
    if value.is_word("off") {
        return None;
    }
    percent(&value)
}

/// `10%`, `0.5%`: up to two places behind the point.
fn percent(value: &Value<'_>) -> Option<Share> {
    if value.is_number() {
        value.expected("a share");
        return None;
    }
    let text = value.text()?;
    let share = text.strip_suffix('%').and_then(hundredths).map(Share);
    if share.is_none() {
        value.wrong(
            format!("`{}` is no share: \"{}\"", value.name(), clip(text)),
            format!(
                "write a number with at most two places behind the point, and %: {} = {}, for example",
                value.name(),
                value.example
            ),
        );
    }
    share
}

fn hundredths(text: &str) -> Option<u32> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(rest) || rest.len() > 2 || whole.len() > 4 {
        return None;
    }
    let rest = format!("{rest:0<2}").parse::<u32>().ok()?;
    Some(whole.parse::<u32>().ok()? * 100 + rest)
}

fn names(table: &Table<'_>, key: &str) -> Option<Vec<String>> {
    let items = table.get(key)?.list()?;
    let mut names = Vec::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        if text.is_empty() || text.contains(['"', '\\']) {
            item.wrong(
                format!("no error is called \"{}\"", clip(text)),
                "write the name as the answer tells it, as in \"odoo.exceptions.UserError\"",
            );
        }
        names.push(text.to_owned());
    }
    Some(names)
}

pub(super) fn changes(lines: &mut Differences, old: &Watch, new: &Watch) {
    lines.time("watch time", old.time, new.time);
    let (a, b) = (&old.rules, &new.rules);
    lines.value("watch enabled", &a.enabled, &b.enabled);
    lines.time("watch baseline", a.baseline, b.baseline);
    lines.value("watch min_requests", &a.min_requests, &b.min_requests);
    lines.value("watch min_handshakes", &a.min_handshakes, &b.min_handshakes);
    lines.value("watch min_clients", &a.min_clients, &b.min_clients);
    lines.value("watch worse_by", &a.worse_by, &b.worse_by);
    lines.time("watch latency_floor", a.latency_floor, b.latency_floor);
    lines.value("watch at_once", &shown(a.at_once), &shown(b.at_once));
    lines.time("watch at_once_window", a.at_once_window, b.at_once_window);
    lines.value("watch json_rpc", &old.json_rpc, &new.json_rpc);
    let listed = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    for (key, old, new) in [
        (
            "watch ignored_errors",
            &old.ignored_errors,
            &new.ignored_errors,
        ),
        (
            "watch shared_errors",
            &old.shared_errors,
            &new.shared_errors,
        ),
    ] {
        lines.value(key, &listed(old), &listed(new));
    }
    for (name, a, b) in [
        ("critical", &a.critical, &b.critical),
        ("warning", &a.warning, &b.warning),
    ] {
        let key = |key: &str| format!("watch {name} {key}");
        lines.time(&key("window"), a.window, b.window);
        for (part, a, b) in [
            ("error_rate", a.error_rate, b.error_rate),
            ("part_error_rate", a.part_error_rate, b.part_error_rate),
            ("latency_rise", a.latency_rise, b.latency_rise),
            (
                "handshake_failures",
                a.handshake_failures,
                b.handshake_failures,
            ),
        ] {
            lines.value(&key(part), &shown(a), &shown(b));
        }
        for (part, a, b) in [("p95", a.p95, b.p95), ("p99", a.p99, b.p99)] {
            let shown = |time: Option<Duration>| time.map_or("off".to_owned(), format_duration);
            lines.value(&key(part), &shown(a), &shown(b));
        }
    }
}

fn shown(share: Option<Share>) -> String {
    share.map_or("off".to_owned(), |share| share.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{parse, summary};
    use super::*;
    use std::path::Path;

    fn watch(keys: &str) -> Watch {
        let text = format!(
            r#"
[[listener]]
address = "127.0.0.1:0"
[service.app.slots.blue]
http = ["127.0.0.1:3000"]
[service.app.slots.green]
http = ["127.0.0.1:4000"]
[service.app.watch]
{keys}
"#
        );
        let read = parse(&text, Path::new("switchd.toml"));
        let mut settings = read.unwrap_or_else(|problems| panic!("{}", summary(&problems)));
        let service = settings.services.remove(0);
        assert_eq!(
            service.failback.watch, service.watch.time,
            "one time for both"
        );
        service.watch
    }

    #[test]
    fn the_classic_thresholds_have_a_name_and_every_one_is_a_key() {
        let classic_ones = watch("thresholds = \"classic\"");
        assert_eq!(classic_ones.rules, classic());
        assert_eq!(classic_ones.time, Duration::from_mins(15));
        let written = watch(
            r#"
time = "15m"
at_once = "10%"
[service.app.watch.critical]
window = "5m"
error_rate = "1%"
p95 = "5s"
[service.app.watch.warning]
window = "10m"
error_rate = "0.5%"
p95 = "3s"
"#,
        );
        assert_eq!(written, classic_ones);
        let other = watch("thresholds = \"classic\"\nat_once = \"off\"\ncritical.p95 = \"off\"");
        assert_eq!(
            (other.rules.at_once, other.rules.critical.p95),
            (None, None)
        );
    }

    #[test]
    fn a_window_is_never_longer_than_the_watch() {
        let short = watch("time = \"5s\"");
        assert_eq!(short.rules.critical.window, 5 * SECOND);
        assert_eq!(short.rules.at_once_window, 5 * SECOND);
    }

    #[test]
    fn shares_are_read_exactly() {
        let read = ["1", "0.5", "12.34", "150", "0.05"].map(hundredths);
        assert_eq!(read, [100, 50, 1234, 15_000, 5].map(Some));
        for wrong in ["", ".5", "5.", "1.234", "-1", "1e2", "1 ", "99999"] {
            assert_eq!(hundredths(wrong), None, "{wrong}");
        }
    }
}
