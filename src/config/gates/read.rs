//! Reads gates.

use super::super::problem::{At, nearest};
use super::super::table::Table;
use super::super::value::{Value, Zero, clip};
use super::super::{health, secret, slots};
use super::kinds::{COMMON, GATE, KEYS, KINDS, Kind, SEVERITIES, SMOKE_TESTS};
use super::steps;
use super::{Gate, GateKind, LatencyGate, OdooGate, Origin, Severity, SmokeTest, WarmUp};
use crate::switch::MemberName;
use http::uri::Authority;
use std::time::Duration;

/// Reads every `[[service.NAME.gate]]`, in the order of the file.
pub(in super::super) fn read(service: &Table<'_>, members: &[MemberName]) -> Vec<Gate> {
    let mut gates = Vec::new();
    let mut names: Vec<(String, At)> = Vec::new();
    for table in service.tables("gate", &GATE) {
        let Some(value) = table.get("kind") else {
            table.missing("kind");
            continue;
        };
        let Some(kind) = value.choice(&KINDS) else {
            continue;
        };
        refuse_other_kinds(&table, kind);
        let (name, at) = name(&table, kind, value.at);
        if let Some((_, first)) = names.iter().find(|(known, _)| *known == name) {
            let line = table.report().line(first);
            table.report().add(
                &at,
                format!("two gates are called \"{}\"", clip(&name)),
                format!("give this one or the one on line {line} a `name` of its own"),
            );
        }
        names.push((name.clone(), at));
        gates.extend(gate(&table, kind, members).map(|gate| Gate { name, ..gate }));
    }
    gates
}

fn refuse_other_kinds(table: &Table<'_>, kind: Kind) {
    for key in KEYS.iter().map(|key| key.name) {
        let Some(value) = table.get(key) else {
            continue;
        };
        if COMMON.contains(&key) || kind.keys().contains(&key) {
            continue;
        }
        let home = KINDS
            .iter()
            .find(|choice| choice.means.keys().contains(&key));
        let home = home.map_or("other", |choice| choice.word);
        let help = match nearest(key, kind.keys().iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("this kind takes {}", kind.keys().join(", ")),
        };
        value.wrong(
            format!(
                "`{key}` belongs to gates of kind \"{home}\", this one is of kind \"{}\"",
                kind.word()
            ),
            help,
        );
    }
}

/// What the operator calls it, else its kind.
fn name(table: &Table<'_>, kind: Kind, at: At) -> (String, At) {
    let by_default = (kind.word().to_owned(), at);
    let Some(value) = table.get("name") else {
        return by_default;
    };
    let Some(text) = value.text() else {
        return by_default;
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        value.wrong(
            format!("\"{}\" cannot be the name of a gate", clip(text)),
            "use 1 to 64 of a-z, 0-9, - and _",
        );
    }
    (text.to_owned(), value.at)
}

/// Without its name; none when it is off or wrong.
fn gate(table: &Table<'_>, kind: Kind, members: &[MemberName]) -> Option<Gate> {
    let severity = match table.get("severity") {
        None => Some(Severity::Required),
        Some(value) => value.choice(&SEVERITIES).flatten(),
    };
    let patience = kind.patience();
    let deadline = table.duration("deadline", Zero::Refused, patience.deadline);
    let read = match kind {
        Kind::Http => steps::read(table, members, deadline).map(GateKind::Http),
        Kind::Odoo => odoo(table).map(GateKind::Odoo),
        Kind::Latency => Some(GateKind::Latency(latency(table))),
        Kind::WarmUp => Some(GateKind::WarmUp(warm_up(table, members))),
    };
    Some(Gate {
        name: String::new(),
        attempts: table.number("attempts", 1..=1000, patience.attempts),
        interval: table.duration("interval", Zero::Allowed, patience.interval),
        deadline,
        origin: table.get("origin").and_then(|value| origin(&value)),
        severity: severity?,
        kind: read?,
    })
}

/// "" is none: as clients see the service.
fn origin(value: &Value<'_>) -> Option<Origin> {
    let text = value.text().filter(|text| !text.is_empty())?;
    let plain =
        |host: &str| !host.contains('@') && host.is_ascii() && host.parse::<Authority>().is_ok();
    let origin = text.split_once("://").and_then(|(scheme, host)| {
        let is_https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        plain(host).then(|| Origin {
            is_https,
            host: host.to_owned(),
        })
    });
    if origin.is_none() {
        value.wrong(
            format!("`origin` is no site: \"{}\"", clip(text)),
            "write scheme and host and no more, as in \"https://erp.example.com\"",
        );
    }
    origin
}

fn odoo(table: &Table<'_>) -> Option<OdooGate> {
    let text = |key: &str| {
        let Some(value) = table.get(key) else {
            table.missing(key);
            return None;
        };
        let text = value.text()?;
        if text.is_empty() {
            value.wrong(
                format!("`{key}` is empty"),
                "write whom the gate logs in as",
            );
        }
        Some(text.to_owned())
    };
    let (database, login) = (text("database"), text("login"));
    let password = table.get("password");
    if password.is_none() {
        table.missing("password");
    }
    let password = password.and_then(|value| secret::read(&value, "password"));
    let models = table.get("models").map(|value| names(&value, "a model"));
    Some(OdooGate {
        modules: table
            .get("modules")
            .map(|value| names(&value, "a module"))
            .unwrap_or_default(),
        models: models.unwrap_or_else(|| vec!["res.users".to_owned(), "res.partner".to_owned()]),
        smoke_test: table
            .get("smoke_test")
            .and_then(|value| value.choice(&SMOKE_TESTS))
            .unwrap_or(SmokeTest::Off),
        websocket: table.flag("websocket", true),
        session: table.flag("session", true),
        database: database?,
        login: login?,
        password: password?,
    })
}

/// Technical names, as Odoo writes them.
fn names(value: &Value<'_>, what: &str) -> Vec<String> {
    let mut names = Vec::new();
    for item in value.list().unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._".contains(&b);
        if text.is_empty() || !text.bytes().all(plain) {
            item.wrong(
                format!("\"{}\" cannot be the name of {what}", clip(text)),
                "write the technical name, as in \"sale_stock\" or \"res.partner\"",
            );
        }
        names.push(text.to_owned());
    }
    names
}

fn latency(table: &Table<'_>) -> LatencyGate {
    let max_increase = match table.get("max_increase") {
        None => Some(50),
        Some(value) if value.is_word("off") => None,
        Some(value) => value
            .number(0..=10_000)
            .and_then(|percent| u32::try_from(percent).ok()),
    };
    LatencyGate {
        path: table
            .get("path")
            .and_then(|value| health::path(&value))
            .unwrap_or_else(|| "/".to_owned()),
        // With fewer the slowest one alone would be the p95 of nothing.
        requests: table.number("requests", 5..=10_000, 20),
        max_p95: table.duration("max_p95", Zero::Refused, Duration::from_secs(2)),
        max_increase,
        ignore_below: table.duration("ignore_below", Zero::Allowed, Duration::from_millis(50)),
    }
}

fn warm_up(table: &Table<'_>, members: &[MemberName]) -> WarmUp {
    let paths = table.get("paths").map(|value| {
        let items = value.list().unwrap_or_default();
        if items.is_empty() {
            value.wrong(
                "`paths` is empty: nothing would be asked for",
                "name a path",
            );
        }
        items.iter().filter_map(health::path).collect()
    });
    let known = table.get("members").map(|value| {
        let items = value.list().unwrap_or_default();
        let named = |item: &Value<'_>| member(item, members);
        items.iter().filter_map(named).collect()
    });
    WarmUp {
        paths: paths.unwrap_or_else(|| vec!["/".to_owned()]),
        assets: table.flag("assets", true),
        parallel: table.number("parallel", 1..=1000, 4),
        within: table.duration("within", Zero::Refused, Duration::from_secs(1)),
        members: known.unwrap_or_default(),
    }
}

/// A member that the slots have.
pub(super) fn member(value: &Value<'_>, members: &[MemberName]) -> Option<MemberName> {
    let text = value.text()?;
    if let Some(member) = members.iter().find(|member| member.as_str() == text) {
        return Some(member.clone());
    }
    let names: Vec<&str> = members.iter().map(MemberName::as_str).collect();
    value.wrong(
        format!("no slot has a member `{}`", clip(text)),
        slots::meant(text, &names, "members"),
    );
    None
}

#[cfg(test)]
mod tests {
    use super::super::super::documented;
    use super::super::super::{parse, summary};
    use super::*;
    use std::path::Path;

    const SITE: &str = "[[listener]]\naddress = \"127.0.0.1:8080\"\n[service.odoo.slots.blue]\nhttp = [\"127.0.0.1:1\"]\n[service.odoo.slots.green]\nhttp = [\"127.0.0.1:2\"]\n";

    fn gates(text: &str) -> Vec<Gate> {
        let text = format!("{SITE}{text}");
        let settings = parse(&text, Path::new("switchd.toml"));
        let settings = settings.unwrap_or_else(|problems| panic!("{}", summary(&problems)));
        settings.services[0].gates.clone()
    }

    #[test]
    fn what_the_documented_gates_show_is_the_default() {
        let shown = documented::with_examples();
        let from = shown.find("[[service.odoo.gate]]").unwrap();
        let to = shown.find("[service.odoo.flip]").unwrap();
        let written = gates(&shown[from..to]);
        let least = gates(
            r#"
[[service.odoo.gate]]
kind = "http"
name = "contract"
[[service.odoo.gate.step]]
path = "/contract"
[[service.odoo.gate]]
kind = "odoo"
database = "prod"
login = "gate"
password = "a password"
[[service.odoo.gate]]
kind = "latency"
[[service.odoo.gate]]
kind = "warm_up"
"#,
        );
        assert_eq!(written, least);
        assert_eq!(least.len(), 4);
    }

    #[test]
    fn a_gate_that_is_off_is_not_there() {
        let off = "[[service.odoo.gate]]\nkind = \"latency\"\nseverity = \"off\"\n";
        assert_eq!(gates(off), []);
    }

    #[test]
    fn a_warm_up_of_ones_own_takes_the_place_of_the_presets() {
        let own = "[[service.odoo.gate]]\nkind = \"warm_up\"\nparallel = 3\n[service.odoo]\npreset = \"odoo\"\n";
        let gates = gates(own);
        assert_eq!(gates.len(), 1);
        assert_eq!(gates[0].severity, Severity::Required);
    }
}
