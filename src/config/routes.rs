//! Which paths of a service go to which member.

use super::buffering::Buffering;
use super::keys::ROUTE;
use super::problem::{At, Report};
use super::settings::Route;
use super::slots::{self, WrittenMember, WrittenSlot};
use super::table::Table;
use super::value::{Value, clip};
use crate::switch::MemberName;
use std::collections::HashMap;
use std::collections::HashSet;

/// The routes of a service.
#[derive(Default)]
pub(super) struct Routes {
    written: Vec<WrittenRoute>,
    /// The members that are routed to, by routes that are wrong in another way too.
    targets: HashSet<MemberName>,
}

struct WrittenRoute {
    route: Route,
    at: At,
}

impl Routes {
    pub(super) fn into_settings(self) -> Vec<Route> {
        self.written
            .into_iter()
            .map(|written| written.route)
            .collect()
    }
}

/// Reads every `[[service.NAME.route]]`.
pub(super) fn read(service: &Table<'_>, members: &[MemberName], buffering: &Buffering) -> Routes {
    let mut routes = Routes::default();
    for entry in service.tables("route", &ROUTE) {
        let to = target(&entry, members);
        routes.targets.extend(to.clone());
        let upgrades_only = entry.flag("upgrades_only", false);
        let buffer_requests = entry.flag("buffer_requests", buffering.requests);
        let buffer_responses = entry.flag("buffer_responses", buffering.responses);
        let Some(value) = entry.get("prefix") else {
            entry.missing("prefix");
            continue;
        };
        if let (Some(prefix), Some(to)) = (prefix(&value), to) {
            routes.written.push(WrittenRoute {
                route: Route {
                    prefix,
                    upgrades_only,
                    to,
                    buffer_requests,
                    buffer_responses,
                },
                at: value.at,
            });
        }
    }
    refuse_twins(service.report(), &routes.written);
    routes
}

fn refuse_twins(report: &Report<'_>, routes: &[WrittenRoute]) {
    let mut firsts: HashMap<Matched<'_>, &At> = HashMap::new();
    for written in routes {
        let matched = Matched {
            prefix: &written.route.prefix,
            upgrades_only: written.route.upgrades_only,
        };
        match firsts.get(&matched) {
            Some(first) => report.add(
                &written.at,
                format!("prefix \"{}\" is routed twice", matched.prefix),
                format!("keep this route or the one on line {}", report.line(first)),
            ),
            None => {
                firsts.insert(matched, &written.at);
            }
        }
    }
}

/// What a route takes; no two routes may take the same.
#[derive(PartialEq, Eq, Hash)]
struct Matched<'r> {
    prefix: &'r str,
    upgrades_only: bool,
}

fn target(entry: &Table<'_>, members: &[MemberName]) -> Option<MemberName> {
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
    to.cloned()
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
                clip(&format!("/{}", path.trim_matches('/')))
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
pub(super) fn refuse_idle_members(service: &Table<'_>, slots: &[WrittenSlot], routes: &Routes) {
    let Some(slot) = slots.first() else { return };
    let is_main = |member: &&WrittenMember| member.name.as_str() == slots::MAIN;
    if !slot.members.iter().any(|member| is_main(&member)) {
        // Its absence was told; another member may be meant by it.
        return;
    }
    for member in slot.members.iter().filter(|member| !is_main(member)) {
        if routes.targets.contains(&member.name) {
            continue;
        }
        let name = &member.name;
        let prefix = match name.as_str() {
            "websocket" => "/websocket",
            _ => "/path",
        };
        service.report().add(
            &member.at,
            format!("member `{name}` gets no traffic: no route leads to it"),
            format!(
                "add [[{}.route]] with prefix = \"{prefix}\" and to = \"{name}\", or leave the member out",
                service.header()
            ),
        );
    }
}
