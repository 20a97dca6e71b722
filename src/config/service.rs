//! One service: its hosts, its slots, its routes and its rules.

use super::defaults::{SHARED_INTERVAL, SHARED_TIMEOUT, default_failback};
use super::health;
use super::keys::{FAILBACK, FLIP, KEEPALIVE, QUEUE, ROUTE, SERVICE, SHARED, TIMEOUTS};
use super::problem::{At, Report};
use super::reader::{Choice, Named, Table, Value, Zero, clip};
use super::settings::{
    Flip, HostPattern, Keepalive, Member, Queue, Route, Service, Shared, Slot, Timeouts,
};
use super::slots::{self, WrittenAddress, WrittenSlot};
use super::words;
use crate::switch::FailbackMode;
use crate::switch::FailbackRules;
use crate::switch::MemberName;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use std::time::Duration;

/// A service, with the places that checks over all services complain about.
pub(super) struct WrittenService {
    /// None where a problem left nothing to build from.
    pub(super) service: Option<Service>,
    pub(super) name: String,
    pub(super) hosts: Vec<WrittenHost>,
    pub(super) addresses: Vec<WrittenAddress>,
    /// The address of what the slots share.
    pub(super) shared: Option<At>,
}

pub(super) struct WrittenHost {
    pub(super) pattern: HostPattern,
    /// The service's header where it is the default.
    pub(super) at: At,
    pub(super) by_default: bool,
}

struct WrittenRoute {
    route: Route,
    at: At,
}

/// Reads what stands under `[service.NAME]`.
pub(super) fn read(named: &Named<'_>) -> Option<WrittenService> {
    let shown = clip(named.name);
    let report = named.value.report;
    let Some(mut table) = named.value.as_table(format!("service.{shown}"), &SERVICE) else {
        named.value.wrong(
            format!("`{shown}` must be a service"),
            format!("write [service.{shown}] on a line of its own, and its keys below"),
        );
        return None;
    };
    // A service written only through its parts has no header of its own: its name stands in the first.
    table.at = named.at.clone();
    let name = slots::name::<ServiceName>(report, named, "service");
    let hosts = hosts(&table);
    let slots = slots::read(&table);
    let members = slots::members(report, &slots, &table.at);
    let routes = routes(&table, &members);
    refuse_idle_members(report, &slots, &routes);
    let initial = initial(&table, &slots);
    let flip = flip(&table);
    let checks = health::read(&table, &members, flip.gate_timeout);
    let (shared, shared_at) = shared(&table);
    let addresses: Vec<WrittenAddress> = slots::addresses(&slots);
    let rest = Rest {
        keepalive: keepalive(&table),
        timeouts: timeouts(&table),
        queue: queue(&table),
        failback: failback(&table),
    };
    let service = name.zip(initial).map(|(name, initial)| Service {
        name,
        hosts: hosts.iter().map(|host| host.pattern.clone()).collect(),
        initial,
        slots: slots
            .iter()
            .map(|slot| build(slot, &members, &checks))
            .collect(),
        routes: routes.into_iter().map(|route| route.route).collect(),
        keepalive: rest.keepalive,
        timeouts: rest.timeouts,
        queue: rest.queue,
        flip,
        failback: rest.failback,
        shared,
    });
    Some(WrittenService {
        service,
        name: shown,
        hosts,
        addresses,
        shared: shared_at,
    })
}

struct Rest {
    keepalive: Keepalive,
    timeouts: Timeouts,
    queue: Queue,
    failback: FailbackRules,
}

/// Puts a slot together, its members in the order that all slots share.
fn build(slot: &WrittenSlot, members: &[MemberName], checks: &health::Checks) -> Slot {
    let members = members
        .iter()
        .filter_map(|name| slot.members.iter().find(|member| member.name == *name))
        .map(|member| Member {
            name: member.name.clone(),
            addresses: member
                .addresses
                .iter()
                .map(|address| address.address.clone())
                .collect(),
            health: checks.of(&member.name),
        })
        .collect();
    Slot {
        name: slot.name.clone(),
        members,
    }
}

fn hosts(table: &Table<'_>) -> Vec<WrittenHost> {
    let Some(value) = table.get("hosts") else {
        return vec![WrittenHost {
            pattern: HostPattern::Any,
            at: table.at.clone(),
            by_default: true,
        }];
    };
    let Some(items) = value.list() else {
        return Vec::new();
    };
    if items.is_empty() {
        value.wrong(
            "`hosts` is empty: no request would reach this service",
            "name a host, or leave `hosts` out to answer every host",
        );
    }
    let mut hosts: Vec<WrittenHost> = Vec::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        match words::host_pattern(text) {
            Ok(pattern) => hosts.push(WrittenHost {
                pattern,
                at: item.at.clone(),
                by_default: false,
            }),
            Err(fault) => item.wrong(
                format!("host \"{}\" {}", clip(text), fault.what),
                fault.help,
            ),
        }
    }
    hosts
}

fn initial(table: &Table<'_>, slots: &[WrittenSlot]) -> Option<SlotName> {
    let first = slots.first().map(|slot| slot.name.clone());
    let Some(value) = table.get("initial") else {
        return first;
    };
    let text = value.text()?;
    if let Some(slot) = slots.iter().find(|slot| slot.name.as_str() == text) {
        return Some(slot.name.clone());
    }
    let names: Vec<_> = slots.iter().map(|slot| slot.name.as_str()).collect();
    value.wrong(
        format!(
            "`initial` names no slot of this service: \"{}\"",
            clip(text)
        ),
        slots::meant(text, &names, "slots"),
    );
    None
}

fn routes(table: &Table<'_>, members: &[MemberName]) -> Vec<WrittenRoute> {
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
    let prefix = match entry.get("prefix") {
        Some(value) => prefix(&value),
        None => {
            entry.missing("prefix");
            None
        }
    };
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
fn refuse_idle_members(report: &Report<'_>, slots: &[WrittenSlot], routes: &[WrittenRoute]) {
    let Some(slot) = slots.first() else { return };
    for member in &slot.members {
        let name = member.name.as_str();
        let routed = routes.iter().any(|route| route.route.to == member.name);
        if name != slots::MAIN && !routed {
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

fn flip(service: &Table<'_>) -> Flip {
    let table = service.table("flip", &FLIP);
    let default = Flip::default();
    let drain = |key: &str, default: Duration| table.duration(key, Zero::Allowed, default);
    let all = table
        .has("drain_timeout")
        .then(|| drain("drain_timeout", default.drain_requests));
    Flip {
        drain_requests: drain("drain_requests", all.unwrap_or(default.drain_requests)),
        drain_transfers: drain("drain_transfers", all.unwrap_or(default.drain_transfers)),
        drain_websockets: drain("drain_websockets", all.unwrap_or(default.drain_websockets)),
        gate_timeout: table.duration("gate_timeout", Zero::Refused, default.gate_timeout),
    }
}

fn failback(service: &Table<'_>) -> FailbackRules {
    let table = service.table("failback", &FAILBACK);
    let default = default_failback();
    let modes = [
        Choice {
            word: "always",
            means: FailbackMode::Always,
        },
        Choice {
            word: "after-flip",
            means: FailbackMode::AfterFlip,
        },
        Choice {
            word: "off",
            means: FailbackMode::Off,
        },
    ];
    FailbackRules {
        mode: table
            .get("mode")
            .and_then(|value| value.choice(&modes))
            .unwrap_or(default.mode),
        watch: table.duration("watch", Zero::Refused, default.watch),
        quarantine: table.duration("quarantine", Zero::Allowed, default.quarantine),
        acknowledge: table.flag("acknowledge", default.acknowledge),
        max_moves: table.number("max_moves", 0..=1000, default.max_moves),
        window: table.duration("window", Zero::Refused, default.window),
    }
}

fn shared(service: &Table<'_>) -> (Option<Shared>, Option<At>) {
    let table = service.table("shared", &SHARED);
    let interval = table.duration("interval", Zero::Refused, SHARED_INTERVAL);
    let timeout = table.duration("timeout", Zero::Refused, SHARED_TIMEOUT);
    let Some(value) = table.get("tcp") else {
        if table.is_present() {
            table.missing("tcp");
        }
        return (None, None);
    };
    if value.is_word("off") {
        return (None, None);
    }
    let tcp = value.text().and_then(|text| match words::endpoint(text) {
        Ok(address) => Some(address),
        Err(fault) => {
            value.wrong(format!("\"{}\" {}", clip(text), fault.what), fault.help);
            None
        }
    });
    let shared = tcp.map(|tcp| Shared {
        tcp,
        interval,
        timeout,
    });
    (shared, Some(value.at))
}

fn keepalive(service: &Table<'_>) -> Keepalive {
    let table = service.table("keepalive", &KEEPALIVE);
    let default = Keepalive::default();
    Keepalive {
        enabled: table.flag("enabled", default.enabled),
        idle: table.duration("idle", Zero::Refused, default.idle),
        max_idle: table.number("max_idle", 1..=100_000, default.max_idle),
    }
}

fn timeouts(service: &Table<'_>) -> Timeouts {
    let table = service.table("timeouts", &TIMEOUTS);
    let default = Timeouts::default();
    let total = table
        .get("total")
        .filter(|value| !value.is_word("none"))
        .and_then(|value| value.duration(Zero::Refused));
    for key in ["connect", "first_byte", "idle"] {
        let Some(value) = table.get(key) else {
            continue;
        };
        let written = table.duration(key, Zero::Refused, Duration::ZERO);
        if total.is_some_and(|total| written > total) {
            value.wrong(
                format!("`{key}` is longer than `total`: it can never run out"),
                format!("shorten `{key}`, or lengthen `total`"),
            );
        }
    }
    Timeouts {
        connect: table.duration("connect", Zero::Refused, default.connect),
        first_byte: table.duration("first_byte", Zero::Refused, default.first_byte),
        idle: table.duration("idle", Zero::Refused, default.idle),
        total,
        tunnel_idle: table.duration("tunnel_idle", Zero::Refused, default.tunnel_idle),
    }
}

fn queue(service: &Table<'_>) -> Queue {
    let table = service.table("queue", &QUEUE);
    let default = Queue::default();
    Queue {
        max_in_flight: table.number("max_in_flight", 0..=1_000_000, default.max_in_flight),
        length: table.number("length", 0..=1_000_000, default.length),
        timeout: table.duration("timeout", Zero::Refused, default.timeout),
    }
}
