//! The requests of a gate of kind "http", one after the other.

use super::super::change::Differences;
use super::super::health::{self, HostKey};
use super::super::keys::{Key, Names, Section, key, repeated, section};
use super::super::secret;
use super::super::settings::Secret;
use super::super::table::{Named, Table};
use super::super::value::{Value, Zero, clip};
use super::read::member;
use crate::switch::MemberName;
use http::HeaderName;
use std::time::Duration;
use toml::de::DeValue;

/// One request, and what its answer must be like.
///
/// `{{name}}` in path, headers and body stands for what an earlier step captured under that name.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, Secret)>,
    pub body: Secret,
    /// None means the one that clients' requests for the path reach.
    pub member: Option<MemberName>,
    /// Inclusive ranges.
    pub expect_status: Vec<(u16, u16)>,
    /// Names in small letters, and the whole value.
    pub expect_headers: Vec<(String, String)>,
    /// Must occur in the body; empty means anything.
    pub expect_body: String,
    /// JSON pointers, and what stands there.
    pub expect_json: Vec<(String, serde_json::Value)>,
    /// JSON pointers that lead somewhere.
    pub expect_json_exists: Vec<String>,
    /// To the last byte of the answer.
    pub within: Duration,
    /// What is kept for later steps, by its name.
    pub capture: Vec<(String, Captured)>,
}

/// Where in an answer a value is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Captured {
    Cookie(String),
    Header(String),
    /// A JSON pointer.
    Json(String),
}

const KEYS: &[Key] = &[
    key("method", r#""POST""#),
    key("path", r#""/contract""#),
    key("headers", r#"{ X-Gate = "switchd" }"#),
    key("body", r#""{}""#),
    key("member", r#""http""#),
    key("expect_status", r#"["200-299"]"#),
    key("expect_headers", r#"{ x-contract-version = "1.0.0" }"#),
    key("expect_body", r#""pass""#),
    key("expect_json", r#"{ "/status" = "pass" }"#),
    key("expect_json_exists", r#"["/result"]"#),
    key("within", r#""10s""#),
    key("capture", r#"{ session = "cookie:session_id" }"#),
];

pub(in super::super) const STEP: Section = repeated("service.NAME.gate.step", KEYS);

const HOST_KEY: HostKey = HostKey {
    fault: "is set by `origin`",
    help: "write origin = \"https://...\" in the gate instead",
};

/// Names with their values.
const VALUES: Section = Section {
    names: Names::Values,
    ..section("", &[])
};

/// None when a step is wrong, or there is none.
pub(super) fn read(
    gate: &Table<'_>,
    members: &[MemberName],
    deadline: Duration,
) -> Option<Vec<Step>> {
    let tables = gate.tables("step", &STEP);
    if tables.is_empty() && !gate.has("step") {
        gate.report().add(
            &gate.at,
            format!("{} has no step", gate.shown()),
            format!(
                "add [[{}.step]] below it, with path = \"/...\" and what is expected",
                gate.header()
            ),
        );
        return None;
    }
    let mut known: Vec<String> = Vec::new();
    let mut steps = Vec::new();
    for table in &tables {
        let Some(step) = step(table, members, deadline) else {
            continue;
        };
        refuse_unknown_names(table, &known);
        known.extend(step.capture.iter().map(|(name, _)| name.clone()));
        steps.push(step);
    }
    (steps.len() == tables.len()).then_some(steps)
}

fn step(table: &Table<'_>, members: &[MemberName], deadline: Duration) -> Option<Step> {
    let within = table.duration(
        "within",
        Zero::Refused,
        Duration::from_secs(10).min(deadline),
    );
    if within > deadline
        && let Some(value) = table.get("within")
    {
        value.wrong(
            "`within` is longer than the `deadline` of the gate",
            "shorten it, or lengthen `deadline`: it is for all steps and all attempts",
        );
    }
    let written = table.get("path");
    if written.is_none() {
        table.missing("path");
    }
    let path = written.and_then(|value| path(&value));
    let status = table
        .get("expect_status")
        .and_then(|value| health::statuses(&value));
    let text = |key: &str| table.get(key).and_then(|value| value.text());
    Some(Step {
        method: table
            .get("method")
            .and_then(|value| method(&value))
            .unwrap_or_else(|| "GET".to_owned()),
        headers: table
            .get("headers")
            .map(|value| health::headers(&value, HOST_KEY))
            .unwrap_or_default(),
        body: table
            .get("body")
            .and_then(|value| secret::read(&value, "body"))
            .unwrap_or_else(|| Secret::new(String::new())),
        member: table
            .get("member")
            .filter(|value| !value.is_word(""))
            .and_then(|value| member(&value, members)),
        expect_status: status.unwrap_or_else(|| vec![(200, 299)]),
        expect_headers: expected_headers(table),
        expect_body: text("expect_body").unwrap_or_default().to_owned(),
        expect_json: expected_json(table),
        expect_json_exists: pointers(table),
        within,
        capture: captures(table),
        path: path?,
    })
}

/// As of a check, but for the places of captured values.
fn path(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.starts_with("{{") {
        return Some(text.to_owned());
    }
    health::path(value)
}

fn method(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("\"{}\" is no method", clip(text)),
        "write methods in capitals, as in \"POST\"",
    );
    None
}

/// The entries of the table behind `key`.
fn entries<'t>(table: &Table<'t>, key: &str) -> Vec<Named<'t>> {
    let Some(value) = table.get(key) else {
        return Vec::new();
    };
    let Some(entries) = value.as_table(key.to_owned(), &VALUES) else {
        value.expected("a table");
        return Vec::new();
    };
    entries.others()
}

fn expected_headers(table: &Table<'_>) -> Vec<(String, String)> {
    let mut expected = Vec::new();
    for named in entries(table, "expect_headers") {
        let Ok(name) = HeaderName::from_bytes(named.name.as_bytes()) else {
            named.value.report.add(
                &named.at,
                format!("`{}` cannot be the name of a header", clip(named.name)),
                "use letters, digits and `-`, as in x-contract-version",
            );
            continue;
        };
        let text = named.value.called(clip(named.name), "\"1.0.0\"").text();
        expected.extend(text.map(|text| (name.as_str().to_owned(), text.to_owned())));
    }
    expected
}

fn expected_json(table: &Table<'_>) -> Vec<(String, serde_json::Value)> {
    let mut expected = Vec::new();
    for named in entries(table, "expect_json") {
        if !is_pointer(named.name) {
            named.value.report.add(
                &named.at,
                format!("\"{}\" is no JSON pointer", clip(named.name)),
                POINTERS,
            );
            continue;
        }
        match json(named.value.node) {
            Some(value) => expected.push((named.name.to_owned(), value)),
            None => named.value.wrong(
                format!("\"{}\" cannot be compared with this value", clip(named.name)),
                "write a text, a number, true or false, or a list of them; `expect_json_exists` takes any value",
            ),
        }
    }
    expected
}

const POINTERS: &str =
    "write \"\" for the whole body, or begin with `/`, as in \"/result/uid\" or \"/items/0/name\"";

fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

/// None for dates and tables.
fn json(node: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match node {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()?
            .into(),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok()?.into(),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| json(item.get_ref()));
            items.collect::<Option<Vec<_>>>()?.into()
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

fn pointers(table: &Table<'_>) -> Vec<String> {
    let items = table.get("expect_json_exists").and_then(|it| it.list());
    let mut pointers = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        if !is_pointer(text) {
            item.wrong(format!("\"{}\" is no JSON pointer", clip(text)), POINTERS);
        }
        pointers.push(text.to_owned());
    }
    pointers
}

fn captures(table: &Table<'_>) -> Vec<(String, Captured)> {
    let mut captures = Vec::new();
    for named in entries(table, "capture") {
        if !is_name(named.name) {
            named.value.report.add(
                &named.at,
                format!("nothing can be captured as `{}`", clip(named.name)),
                "use letters, digits and `_`, as in `session`: later steps write {{session}}",
            );
            continue;
        }
        let value = named
            .value
            .called(clip(named.name), "\"cookie:session_id\"");
        let Some(text) = value.text() else { continue };
        let from = match text.split_once(':') {
            Some(("cookie", name)) if !name.is_empty() => Captured::Cookie(name.to_owned()),
            Some(("header", name)) if HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                Captured::Header(name.to_ascii_lowercase())
            }
            Some(("json", pointer)) if is_pointer(pointer) => Captured::Json(pointer.to_owned()),
            _ => {
                value.wrong(
                    format!(
                        "`{}` cannot be captured from \"{}\"",
                        value.name(),
                        clip(text)
                    ),
                    "write \"cookie:NAME\", \"header:NAME\" or \"json:/pointer\"",
                );
                continue;
            }
        };
        captures.push((named.name.to_owned(), from));
    }
    captures
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.is_empty() && text.bytes().all(plain)
}

/// The names between `{{` and `}}`.
#[must_use]
pub(crate) fn names_in(text: &str) -> Vec<&str> {
    let parts = text.split("{{").skip(1);
    let names = parts.filter_map(|part| part.split_once("}}").map(|(name, _)| name));
    names.filter(|name| is_name(name)).collect()
}

fn refuse_unknown_names(table: &Table<'_>, known: &[String]) {
    let check = |value: &Value<'_>| {
        let DeValue::String(text) = value.node else {
            return;
        };
        let unknown = |name: &&str| !known.iter().any(|known| known == name);
        if let Some(name) = names_in(text).into_iter().find(unknown) {
            value.wrong(
                format!("no step above captures `{}`", clip(name)),
                match known {
                    [] => {
                        "capture it in an earlier step: capture = { NAME = \"cookie:session_id\" }"
                            .to_owned()
                    }
                    known => format!("known here: {}", known.join(", ")),
                },
            );
        }
    };
    for key in ["path", "body"] {
        if let Some(value) = table.get(key) {
            check(&value);
        }
    }
    for named in entries_or_none(table, "headers") {
        check(&named.value);
    }
}

/// What is no table was told of.
fn entries_or_none<'t>(table: &Table<'t>, key: &str) -> Vec<Named<'t>> {
    let value = table.get(key);
    let entries = value.and_then(|value| value.as_table(key.to_owned(), &VALUES));
    entries.map(|entries| entries.others()).unwrap_or_default()
}

pub(super) fn changes(lines: &mut Differences, old: &[Step], new: &[Step]) {
    lines.value("steps", &old.len(), &new.len());
    for (number, (old, new)) in (1..).zip(old.iter().zip(new)) {
        let outer = lines.prefix.clone();
        lines.prefix = format!("{outer}step {number}: ");
        one_step(lines, old, new);
        lines.prefix = outer;
    }
}

fn one_step(lines: &mut Differences, old: &Step, new: &Step) {
    lines.value("method", &old.method, &new.method);
    lines.value("path", &old.path, &new.path);
    if old.headers != new.headers {
        lines.told("headers changed");
    }
    if old.body != new.body {
        lines.told("body changed");
    }
    let member = |step: &Step| {
        let member = step.member.as_ref();
        member.map_or("as for clients".to_owned(), ToString::to_string)
    };
    lines.value("member", &member(old), &member(new));
    let expected = |step: &Step| {
        (
            step.expect_status.clone(),
            step.expect_headers.clone(),
            step.expect_body.clone(),
            (step.expect_json.clone(), step.expect_json_exists.clone()),
        )
    };
    if expected(old) != expected(new) {
        lines.told("what is expected changed");
    }
    lines.time("within", old.within, new.within);
    if old.capture != new.capture {
        lines.told("what is captured changed");
    }
}
