//! Which paths of a service go to which member.

use super::keys::ROUTE;
use super::problem::{At, Report};
use super::settings::Route;
use super::slots::{self, WrittenSlot};
use super::table::Table;
use super::value::{Value, clip};
use crate::switch::MemberName;

pub(super) struct WrittenRoute {
    pub(super) route: Route,
    at: At,
}

/// Reads every `[[service.NAME.route]]`.
pub(super) fn read(table: &Table<'_>, members: &[MemberName]) -> Vec<WrittenRoute> {
    let mut routes: Vec<WrittenRoute> = Vec::new();
    for entry in table.tables("route", &ROUTE) {
        let Some(route) = route(&entry, members) else {
            continue;
        };
        let upgrades_only = entry.flag("upgrades_only", false);
        let at = entry
            .get("prefix")
            .map_or(entry.at.clone(), |value| value.at);
        routes.push(WrittenRoute {
            route: Route {
                upgrades_only,
                ..route
            },
            at,
        });
    }
    let report = table.report();
    for (place, route) in routes.iter().enumerate() {
        let same = |other: &&WrittenRoute| {
            other.route.prefix == route.route.prefix
                && other.route.upgrades_only == route.route.upgrades_only
        };
        if let Some(first) = routes[..place].iter().find(same) {
            report.add(
                &route.at,
                format!("prefix \"{}\" is routed twice", route.route.prefix),
                format!(
                    "keep this route or the one on line {}",
                    report.line(&first.at)
                ),
            );
        }
    }
    routes
}

fn route(entry: &Table<'_>, members: &[MemberName]) -> Option<Route> {
    if !entry.has("prefix") {
        entry.missing("prefix");
    }
    let prefix = entry.get("prefix").and_then(|value| prefix(&value));
    let Some(value) = entry.get("to") else {
        entry.missing("to");
        return None;
    };
    let text = value.text()?;
    let to = members.iter().find(|member| member.as_str() == text);
    if to.is_none() {
        let names: Vec<_> = members.iter().map(MemberName::as_str).collect();
        value.wrong(
            format!("no slot has a member \"{}\" to route to", clip(text)),
            slots::meant(text, &names, "members"),
        );
    }
    Some(Route {
        prefix: prefix?,
        upgrades_only: false,
        to: to?.clone(),
    })
}

fn prefix(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let shown = clip(text);
    let wrong = |what: &str, help: String| {
        value.wrong(format!("prefix \"{shown}\" {what}"), help);
        None
    };
    if !text.starts_with('/') {
        return wrong("does not begin with `/`", format!("write \"/{shown}\""));
    }
    if let Some(path) = text.split(['?', '#', '*']).next()
        && path.len() < text.len()
    {
        return wrong(
            "holds more than a path",
            format!(
                "write \"{}\": whole segments are matched, and all below them",
                clip(path)
            ),
        );
    }
    if let Some(bare) = text.strip_suffix('/')
        && !bare.is_empty()
    {
        let bare = clip(bare.trim_end_matches('/'));
        return wrong(
            "ends with `/`",
            format!("write \"{bare}\": it matches \"{bare}\" and all below it"),
        );
    }
    let segments: Vec<_> = text.split('/').skip(1).collect();
    let odd = |segment: &&str| matches!(*segment, "." | "..") || segment.is_empty();
    if !text.bytes().all(|b| b.is_ascii_graphic()) || (text != "/" && segments.iter().any(odd)) {
        return wrong(
            "is not a plain path",
            "write visible ASCII letters, percent-encode others, and leave out `//`, `.` and `..`"
                .to_owned(),
        );
    }
    Some(text.to_owned())
}

/// A member that nothing is routed to would be probed and gate flips, but never serve.
pub(super) fn refuse_idle_members(
    report: &Report<'_>,
    slots: &[WrittenSlot],
    routes: &[WrittenRoute],
) {
    let Some(slot) = slots.first() else { return };
    for member in &slot.members {
        let name = member.name.as_str();
        let is_used = routes.iter().any(|route| route.route.to == member.name);
        if name != slots::MAIN && !is_used {
            let prefix = if name == "websocket" {
                "/websocket"
            } else {
                "/path"
            };
            report.add(
                &member.at,
                format!("member `{name}` gets no traffic: no route leads to it"),
                format!(
                    "add [[service.NAME.route]] with prefix = \"{prefix}\" and to = \"{name}\", or leave the member out"
                ),
            );
        }
    }
}
