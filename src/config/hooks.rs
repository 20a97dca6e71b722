//! `[[hook]]`: who else is told what happens.

use super::admin_api;
use super::change::Differences;
use super::hook_events::HookEvent;
use super::keys::{Names, Section, key, repeated};
use super::secret;
use super::settings::Secret;
use super::table::Table;
use super::value::{Choice, Value, Zero, clip};
use crate::switch::ServiceName;
use http::HeaderName;
use http::HeaderValue;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const HOOK: Section = repeated(
    "hook",
    &[
        key("name", r#""team""#),
        key("kind", r#""json""#),
        key("url", r#""https://ci.example.com/switchd""#),
        key("url_file", r#""/etc/switchd/hook-url""#),
        key("url_env", r#""HOOK_URL""#),
        key("events", r#"["failback", "flip_refused"]"#),
        key("services", "[]"),
        key("secret_file", r#""/etc/switchd/hook-secret""#),
        key("secret_env", r#""HOOK_SECRET""#),
        key("headers", r#"{ X-From = "switchd" }"#),
        key("ca", r#""/etc/switchd/hook-ca.pem""#),
        key("timeout", r#""10s""#),
        key("attempts", "10"),
        key("backoff", r#""1s""#),
        key("queue", "256"),
    ],
);

pub(super) const HOOK_HEADERS: Section = Section {
    header: "hook.headers",
    keys: &[],
    names: Names::Values,
    is_repeated: false,
};

/// Written by the delivery itself.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "host",
    "switchd-delivery",
    "switchd-event",
    "switchd-signature",
    "transfer-encoding",
];

/// One address that is told what happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    pub name: String,
    pub kind: HookKind,
    pub url: HookUrl,
    /// In the order in which they are documented.
    pub events: Vec<HookEvent>,
    /// Empty means every service.
    pub services: Vec<ServiceName>,
    /// Signs what is sent; none means that nothing is signed.
    pub secret: Option<Secret>,
    pub headers: Vec<(String, Secret)>,
    /// Whom to trust; none means the system's roots.
    pub ca: Option<PathBuf>,
    /// One attempt, from the look-up of the name to the last byte of the answer.
    pub timeout: Duration,
    /// Before a message is given up.
    pub attempts: u32,
    /// Before the second attempt; doubled before each further one.
    pub backoff: Duration,
    /// Messages that may wait; the oldest gives way.
    pub queue: usize,
}

/// In whose words it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    Json,
    Slack,
    Alertmanager,
}

impl HookKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
            Self::Alertmanager => "alertmanager",
        }
    }
}

/// Where it goes. Never shown in full: paths and queries of hooks are passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl {
    whole: Secret,
    shown: String,
}

impl HookUrl {
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url: http::Uri = text.trim().parse().map_err(|_| "is no URL")?;
        let scheme = url.scheme_str().unwrap_or_default();
        if !["http", "https"].contains(&scheme) {
            return Err("begins neither with https:// nor with http://");
        }
        let host = url.host().unwrap_or_default();
        if host.is_empty() {
            return Err("names no host");
        }
        let port = url.port().map(|port| format!(":{port}"));
        let rest = if url.path_and_query().is_none_or(|rest| rest == "/") {
            "/"
        } else {
            "/..."
        };
        Ok(Self {
            shown: format!("{scheme}://{host}{}{rest}", port.unwrap_or_default()),
            whole: Secret::new(text.trim().to_owned()),
        })
    }

    /// For the wire only.
    ///
    /// # Panics
    /// Never: it was parsed before.
    #[must_use]
    pub fn reveal(&self) -> http::Uri {
        let parsed = self.whole.reveal().parse();
        parsed.expect("it was parsed when it was read")
    }
}

/// Scheme and host alone.
impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

const KINDS: &[Choice<HookKind>] = &[
    Choice {
        word: "json",
        means: HookKind::Json,
    },
    Choice {
        word: "slack",
        means: HookKind::Slack,
    },
    Choice {
        word: "alertmanager",
        means: HookKind::Alertmanager,
    },
];

pub(super) fn read(top: &Table<'_>, services: &[&str]) -> Vec<Hook> {
    let mut hooks: Vec<Hook> = Vec::new();
    for table in top.tables("hook", &HOOK) {
        let hook = one(&table, services);
        if let Some(hook) = &hook
            && hooks.iter().any(|it| it.name == hook.name)
            && let Some(value) = table.get("name")
        {
            value.wrong(
                format!("`{}` is the name of two hooks", hook.name),
                "give each hook a name of its own",
            );
        }
        hooks.extend(hook);
    }
    hooks
}

fn one(table: &Table<'_>, services: &[&str]) -> Option<Hook> {
    let name = name(table);
    let url = url(table);
    let kind = table.get("kind").and_then(|value| value.choice(KINDS));
    let secret = kept(table, ["secret_file", "secret_env"]);
    let ca = table.get("ca").filter(|value| !value.is_word("system"));
    let headers = table.get("headers").map(|value| headers(&value));
    let hook = Hook {
        kind: kind.unwrap_or(HookKind::Json),
        events: events(table),
        services: admin_api::scope(table, services),
        secret,
        headers: headers.unwrap_or_default(),
        ca: ca.and_then(|value| value.absolute_path()),
        timeout: table.duration("timeout", Zero::Refused, Duration::from_secs(10)),
        attempts: table.number("attempts", 1..=100, 10),
        backoff: table.duration("backoff", Zero::Refused, Duration::from_secs(1)),
        queue: table.number("queue", 1..=10_000, 256),
        name: name?,
        url: url?,
    };
    Some(hook)
}

fn name(table: &Table<'_>) -> Option<String> {
    let Some(value) = table.get("name") else {
        table.missing("name");
        return None;
    };
    let text = value.text()?;
    if ServiceName::new(text).is_ok() {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("`name` cannot be \"{}\"", clip(text)),
        "write 1 to 63 of a-z, 0-9, - and _",
    );
    None
}

fn url(table: &Table<'_>) -> Option<HookUrl> {
    let written = table.get("url").filter(|value| !value.is_word(""));
    let elsewhere = ["url_file", "url_env"];
    let there = |key: &str| table.get(key).filter(|value| !value.is_word(""));
    let kept_at = elsewhere.iter().find_map(|key| there(key));
    let (value, text) = match (written, kept_at) {
        (Some(value), None) => {
            let text = value.text()?.to_owned();
            (value, text)
        }
        (None, Some(value)) => {
            let text = kept(table, elsewhere)?;
            (value, text.reveal().to_owned())
        }
        (Some(value), Some(_)) => {
            value.wrong("the URL is kept in two places", "keep one of them");
            return None;
        }
        (None, None) => {
            table.missing("url");
            return None;
        }
    };
    let url = HookUrl::parse(&text);
    url.map_err(|what| {
        value.wrong(
            format!("`{}` {what}", value.name()),
            "write https://, the host and the path; it is not shown here",
        );
    })
    .ok()
}

/// What is kept in a file or in the environment; none where neither is named.
fn kept(table: &Table<'_>, [file, env]: [&str; 2]) -> Option<Secret> {
    let there = |key| table.get(key).filter(|value| !value.is_word(""));
    match (there(file), there(env)) {
        (None, None) => None,
        (Some(value), None) => secret::from_file(&value),
        (None, Some(value)) => secret::from_environment(&value),
        (Some(_), Some(value)) => {
            value.wrong(
                format!("`{file}` and `{env}` are both written"),
                "keep one of them",
            );
            None
        }
    }
}

fn events(table: &Table<'_>) -> Vec<HookEvent> {
    let all = || {
        let all = HookEvent::ALL.iter().copied();
        all.filter(|event| *event != HookEvent::Test)
    };
    let Some(items) = table.get("events").and_then(|value| value.list()) else {
        return all().collect();
    };
    let choices: Vec<Choice<HookEvent>> = all()
        .map(|event| Choice {
            word: event.word(),
            means: event,
        })
        .collect();
    let mut events = Vec::new();
    for item in items {
        if item.is_word("all") {
            return all().collect();
        }
        events.extend(item.choice(&choices));
    }
    events.sort_unstable();
    events.dedup();
    events
}

fn headers(value: &Value<'_>) -> Vec<(String, Secret)> {
    let Some(table) = value.as_table("headers".to_owned(), &HOOK_HEADERS) else {
        value.expected("a table");
        return Vec::new();
    };
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for named in table.others() {
        let shown = clip(named.name);
        let name = HeaderName::from_bytes(named.name.as_bytes());
        let refused = match &name {
            Err(_) => Some("has a name that cannot be sent"),
            Ok(name) if OWN_HEADERS.contains(&name.as_str()) => {
                Some("is written by the delivery itself")
            }
            Ok(name) if headers.iter().any(|(it, _)| it == name.as_str()) => {
                Some("is written twice")
            }
            Ok(_) => None,
        };
        if let Some(what) = refused {
            let report = named.value.report;
            report.add(
                &named.at,
                format!("header `{shown}` {what}"),
                "leave it out",
            );
            continue;
        }
        let (Ok(name), Some(secret)) = (name, secret::read(&named.value, &shown)) else {
            continue;
        };
        if HeaderValue::from_str(secret.reveal()).is_err() {
            let report = named.value.report;
            report.add(
                &named.at,
                format!("header `{shown}` has a value that cannot be sent"),
                "leave out line breaks and other control characters; the value is not shown here",
            );
        }
        headers.push((name.as_str().to_owned(), secret));
    }
    headers
}

pub(super) fn changes(lines: &mut Differences, old: &[Hook], new: &[Hook]) {
    for hook in new {
        match old.iter().find(|it| it.name == hook.name) {
            None => lines.told(format_args!("hook {} added", hook.name)),
            Some(before) if before != hook => {
                lines.told(format_args!("hook {} changed", hook.name));
            }
            Some(_) => {}
        }
    }
    for hook in old {
        if !new.iter().any(|it| it.name == hook.name) {
            lines.told(format_args!("hook {} removed", hook.name));
        }
    }
    let names = |hooks: &[Hook]| hooks.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let (mut before, mut after) = (names(old), names(new));
    if before != after {
        before.sort();
        after.sort();
        if before == after {
            lines.told("hooks stand in another order");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_url_shows_more_than_its_host() {
        for (url, shown) in [
            (
                "https://hooks.slack.com/services/T0/B0/hunter2",
                "https://hooks.slack.com/...",
            ),
            ("https://user:hunter2@ci.example", "https://ci.example/"),
            (
                "http://ci.example:8080/?token=hunter2",
                "http://ci.example:8080/...",
            ),
            ("https://[::1]:9/", "https://[::1]:9/"),
        ] {
            let parsed = HookUrl::parse(url).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert!(!format!("{parsed:?}").contains("hunter2"));
            assert_eq!(parsed.reveal(), url);
        }
    }

    #[test]
    fn what_is_no_url_of_the_web_is_refused() {
        for wrong in [
            "",
            "ftp://a/",
            "/path",
            "https://",
            "https:///x",
            "unix:/x",
            "not a url",
        ] {
            assert!(HookUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
