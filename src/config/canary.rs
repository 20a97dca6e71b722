//! Some of the new visitors on a slot that is not active: who they are, and in which steps they become more.

use super::change::Differences;
use super::cookies::{is_token, name};
use super::keys::{Section, key, section};
use super::table::Table;
use super::units::{format_duration, parse_duration};
use super::value::{Value, Zero, clip};
use crate::switch::CanaryRules;
use crate::switch::CanaryStep;
use crate::switch::Percent;
use std::time::Duration;

/// Who comes to a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The name of the cookie that keeps a visitor where it is.
    pub cookie: String,
    /// For how long a browser keeps it.
    pub cookie_age: Duration,
    /// Whoever has one of these has been here before; `*` is any cookie.
    pub known_cookies: Vec<String>,
    /// The value of the first that a request has decides, in place of a cookie.
    pub hash_headers: Vec<String>,
    pub rules: CanaryRules,
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            cookie: "switchd_canary".to_owned(),
            cookie_age: Duration::from_hours(90 * 24),
            known_cookies: vec!["*".to_owned()],
            hash_headers: vec!["Authorization".to_owned(), "X-Api-Key".to_owned()],
            rules: CanaryRules::default(),
        }
    }
}

pub(super) const CANARY: Section = section(
    "service.NAME.canary",
    &[
        key("cookie", r#""switchd_canary""#),
        key("cookie_age", r#""90d""#),
        key("known_cookies", r#"["session_id"]"#),
        key("hash_headers", r#"["Authorization"]"#),
        key("steps", r#"["5% 10m", "25% 10m", "promote"]"#),
        key("idle", r#""30m""#),
    ],
);

pub(super) fn read(service: &Table<'_>) -> Canary {
    let table = service.table("canary", &CANARY);
    let default = Canary::default();
    let rules = CanaryRules {
        steps: table
            .get("steps")
            .and_then(|value| steps(&value))
            .unwrap_or(default.rules.steps),
        idle: table.duration("idle", Zero::Refused, default.rules.idle),
        is_judged: default.rules.is_judged,
    };
    let cookies = table.get("known_cookies").and_then(|value| value.list());
    Canary {
        cookie: table
            .get("cookie")
            .and_then(|value| name(&value))
            .unwrap_or(default.cookie),
        cookie_age: table.duration("cookie_age", Zero::Refused, default.cookie_age),
        known_cookies: cookies.map_or(default.known_cookies, |items| {
            items.iter().filter_map(name).collect()
        }),
        hash_headers: table
            .get("hash_headers")
            .and_then(|value| value.list())
            .map_or(default.hash_headers, |items| {
                items.iter().filter_map(header).collect()
            }),
        rules,
    }
}

pub(super) fn header(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if is_token(text) {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("\"{}\" is not a header's name", clip(text)),
        "leave out spaces, commas and colons: \"X-Api-Key\", for example",
    );
    None
}

/// Each a share of the new visitors and for how long, and `promote` at the end if traffic is to follow.
fn steps(value: &Value<'_>) -> Option<Vec<CanaryStep>> {
    let items = value.list()?;
    let mut steps = Vec::new();
    let last = items.len().saturating_sub(1);
    for (at, item) in items.iter().enumerate() {
        let Some(text) = item.text() else { continue };
        match step(text) {
            Some(CanaryStep::Promote) if at == 0 || at != last => item.wrong(
                "`promote` can only be the last step, behind a share",
                "write steps = [\"5% 10m\", \"25% 10m\", \"promote\"], for example",
            ),
            Some(CanaryStep::Share { lasts: None, .. }) if at != last => item.wrong(
                format!("step \"{}\" does not say for how long", clip(text)),
                "write \"5% 10m\", for example; only the last step may last for ever",
            ),
            Some(CanaryStep::Share { share, .. }) if share == Percent::NONE => item.wrong(
                "a step of 0% would show nothing",
                "begin with a small share, such as \"1% 10m\"",
            ),
            Some(step) => steps.push(step),
            None => item.wrong(
                format!("\"{}\" is no step of a canary", clip(text)),
                "write a share and for how long, as in \"5% 10m\", or \"promote\" as the last one",
            ),
        }
    }
    Some(steps)
}

fn step(text: &str) -> Option<CanaryStep> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    if first == "promote" {
        return second.is_none().then_some(CanaryStep::Promote);
    }
    let share = first.ends_with('%').then(|| first.parse().ok()).flatten()?;
    let lasts = match second.map(parse_duration) {
        None => None,
        Some(Ok(lasts)) if !lasts.is_zero() => Some(lasts),
        Some(_) => return None,
    };
    Some(CanaryStep::Share { share, lasts })
}

fn shown(steps: &[CanaryStep]) -> String {
    let one = |step: &CanaryStep| match step {
        CanaryStep::Promote => "promote".to_owned(),
        CanaryStep::Share { share, lasts: None } => share.to_string(),
        CanaryStep::Share {
            share,
            lasts: Some(lasts),
        } => format!("{share} {}", format_duration(*lasts)),
    };
    list(&steps.iter().map(one).collect::<Vec<_>>())
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

pub(super) fn changes(lines: &mut Differences, old: &Canary, new: &Canary) {
    lines.value("canary cookie", &old.cookie, &new.cookie);
    lines.time("canary cookie_age", old.cookie_age, new.cookie_age);
    lines.value(
        "canary known_cookies",
        &list(&old.known_cookies),
        &list(&new.known_cookies),
    );
    lines.value(
        "canary hash_headers",
        &list(&old.hash_headers),
        &list(&new.hash_headers),
    );
    lines.value(
        "canary steps",
        &shown(&old.rules.steps),
        &shown(&new.rules.steps),
    );
    lines.time("canary idle", old.rules.idle, new.rules.idle);
}
