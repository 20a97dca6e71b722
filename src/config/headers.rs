//! Header lines that are set, added and removed on their way in both directions.

use super::change::Differences;
use super::cookies::is_token;
use super::keys::{Key, Names, Section, key, section};
use super::secret;
use super::settings::Secret;
use super::table::{Named, Table};
use super::value::{Value, Zero, clip};
use http::HeaderValue;
use std::time::Duration;

/// What changes among the header lines of a service's requests and answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Headers {
    pub request: HeaderRules,
    pub response: HeaderRules,
    /// The value of Strict-Transport-Security, for clients that came over TLS.
    pub hsts: Option<String>,
    /// The usual lines against being framed and misread, where the application sends none of its own.
    pub security: bool,
}

/// Rules of one direction. Names are compared in any case.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeaderRules {
    /// In place of all lines of the name.
    pub set: Vec<(String, Secret)>,
    pub add: Vec<(String, Secret)>,
    pub remove: Vec<String>,
}

impl HeaderRules {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Whether lines of this name do not pass as they came.
    #[must_use]
    pub fn replaces(&self, name: &str) -> bool {
        self.removed().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The names whose lines do not pass.
    pub fn removed(&self) -> impl Iterator<Item = &str> {
        let set = self.set.iter().map(|(name, _)| name.as_str());
        set.chain(self.remove.iter().map(String::as_str))
    }

    /// The lines that are written.
    pub fn written(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let lines = self.set.iter().chain(&self.add);
        lines.map(|(name, value)| (name.as_str(), value.reveal().as_bytes()))
    }
}

pub(super) const SERVICE_HEADERS: Section = section(
    "service.NAME.headers",
    &[
        key("hsts", r#""365d""#),
        key("hsts_subdomains", "true"),
        key("hsts_preload", "true"),
        key("security", "true"),
        key("request", "[service.NAME.headers.request]"),
        key("response", "[service.NAME.headers.response]"),
    ],
);

const RULES: &[Key] = &[
    key("set", r#"{ X-Environment = "production" }"#),
    key("add", r#"{ X-Environment = "production" }"#),
    key("remove", r#"["X-Powered-By"]"#),
];

pub(super) const REQUEST_HEADERS: Section = section("service.NAME.headers.request", RULES);
pub(super) const RESPONSE_HEADERS: Section = section("service.NAME.headers.response", RULES);

/// Names with their values.
const LINES: Section = Section {
    names: Names::Values,
    ..section("", &[])
};

/// What says where a message ends and how its connection goes on: nobody's but ours.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What we tell the upstream of the client in every request.
const TOLD: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

pub(super) fn read(service: &Table<'_>) -> Headers {
    let table = service.table("headers", &SERVICE_HEADERS);
    let request = table.table("request", &REQUEST_HEADERS);
    let response = table.table("response", &RESPONSE_HEADERS);
    Headers {
        request: rules(&request, Direction::Request),
        response: rules(&response, Direction::Response),
        hsts: hsts(&table),
        security: table.flag("security", false),
    }
}

fn hsts(table: &Table<'_>) -> Option<String> {
    let subdomains = table.flag("hsts_subdomains", false);
    let preload = table.flag("hsts_preload", false);
    let value = table.get("hsts").filter(|value| !value.is_word("off"))?;
    let age = value.duration(Zero::Allowed)?;
    if preload && (!subdomains || age < Duration::from_hours(365 * 24)) {
        value.wrong(
            "`hsts_preload` needs `hsts_subdomains` and a year: browsers' lists take no less",
            "write hsts = \"365d\" and hsts_subdomains = true beside it",
        );
    }
    let mut line = format!("max-age={}", age.as_secs());
    if subdomains {
        line.push_str("; includeSubDomains");
    }
    if preload {
        line.push_str("; preload");
    }
    Some(line)
}

fn rules(table: &Table<'_>, direction: Direction) -> HeaderRules {
    let set = lines(table, "set", direction);
    let add = lines(table, "add", direction);
    if let Some((_, value)) = table
        .get("set")
        .zip(set.iter().find(|(name, _)| is_cookies(name)))
        .map(|(value, line)| (line, value))
    {
        value.wrong(
            "`Set-Cookie` cannot be set: it would take all cookies' places",
            "write it under `add`: it stands beside them then",
        );
    }
    HeaderRules {
        set,
        add,
        remove: removed(table, direction),
    }
}

fn is_cookies(name: &str) -> bool {
    name.eq_ignore_ascii_case("set-cookie")
}

fn lines(table: &Table<'_>, key: &str, direction: Direction) -> Vec<(String, Secret)> {
    let Some(value) = table.get(key) else {
        return Vec::new();
    };
    let Some(entries) = value.as_table(key.to_owned(), &LINES) else {
        value.expected("a table");
        return Vec::new();
    };
    let entries = entries.others();
    entries
        .iter()
        .filter_map(|named| line(named, direction))
        .collect()
}

fn line(named: &Named<'_>, direction: Direction) -> Option<(String, Secret)> {
    let shown = clip(named.name);
    let wrong = |what: &str, help: &str| {
        let report = named.value.report;
        report.add(&named.at, format!("header `{shown}` {what}"), help);
    };
    if let Some(fault) = fault(named.name, direction) {
        wrong(fault.what, fault.help);
        return None;
    }
    let value = secret::read(&named.value, &shown)?;
    if HeaderValue::from_bytes(value.reveal().as_bytes()).is_err() {
        wrong(
            "has a value that cannot be sent",
            "leave out line breaks and other control characters; the value is not shown here",
        );
        return None;
    }
    Some((named.name.to_owned(), value))
}

/// Why a name is not for a rule.
pub(super) struct Unfit {
    pub(super) what: &'static str,
    pub(super) help: &'static str,
}

/// Why no line of this name may be added to a request; none when it may.
pub(super) fn unfit_for_requests(name: &str) -> Option<Unfit> {
    fault(name, Direction::Request)
}

fn fault(name: &str, direction: Direction) -> Option<Unfit> {
    let is_in = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !is_token(name) || name.contains('_') {
        return Some(Unfit {
            what: "has a name that cannot be sent",
            help: "use letters, digits and `-`, as in X-Environment",
        });
    }
    if is_in(OURS) {
        return Some(Unfit {
            what: "is not for rules: it says who is asked, or where a message ends",
            help: "leave it out",
        });
    }
    if direction == Direction::Request && is_in(TOLD) {
        return Some(Unfit {
            what: "is written by switchd itself: upstreams trust it",
            help: "leave it out; `trusted_proxies` names those whose word is passed on",
        });
    }
    None
}

fn removed(table: &Table<'_>, direction: Direction) -> Vec<String> {
    let Some(items) = table.get("remove").and_then(|value| value.list()) else {
        return Vec::new();
    };
    let name = |item: &Value<'_>| {
        let text = item.text()?;
        if let Some(fault) = fault(text, direction) {
            item.wrong(
                format!("header `{}` {}", clip(text), fault.what),
                fault.help,
            );
            return None;
        }
        Some(text.to_owned())
    };
    items.iter().filter_map(name).collect()
}

pub(super) fn changes(lines: &mut Differences, old: &Headers, new: &Headers) {
    let hsts = |headers: &Headers| headers.hsts.clone().unwrap_or_else(|| "off".to_owned());
    lines.value("headers hsts", &hsts(old), &hsts(new));
    lines.value("headers security", &old.security, &new.security);
    if old.request != new.request {
        lines.told("headers request changed");
    }
    if old.response != new.response {
        lines.told("headers response changed");
    }
}
