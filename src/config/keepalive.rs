//! Connections to upstreams that are kept: one rule per service, with what a member does differently.

use super::change::Differences;
use super::keys::{Names, Section, key, section};
use super::slots::{self, MAIN};
use super::table::Table;
use super::value::{Zero, clip};
use crate::net::ProxyVersion;
use crate::switch::MemberName;
use std::time::Duration;

/// Connections to upstreams that are kept for the next request.
#[derive(Debug, Clone, PartialEq)]
pub struct Keepalive {
    /// Off: one connection per request, and none is ever opened ahead.
    pub enabled: bool,
    /// Closed after this long without a request; stay below the upstream's own limit.
    pub idle: Duration,
    /// Idle connections kept per endpoint and worker.
    pub max_idle: usize,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            enabled: true,
            // Many servers close idle connections after 5 s: we let go first.
            idle: Duration::from_secs(4),
            // A few HTTP/2 connections ask for hundreds of things at once, again and again.
            max_idle: 512,
        }
    }
}

/// The rule of each member of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Keepalives {
    service: Keepalive,
    /// Members with a rule of their own.
    members: Vec<MemberKeepalive>,
}

#[derive(Debug, Clone, PartialEq)]
struct MemberKeepalive {
    name: MemberName,
    keepalive: Keepalive,
}

impl Keepalives {
    /// None stands for the member where unrouted requests go.
    #[must_use]
    pub fn of(&self, member: Option<&MemberName>) -> &Keepalive {
        if self.members.is_empty() {
            return &self.service;
        }
        let name = member.map_or(MAIN, MemberName::as_str);
        let own = self.members.iter().find(|own| own.name.as_str() == name);
        own.map_or(&self.service, |own| &own.keepalive)
    }

    /// For all members, whatever is written.
    fn turn_off(&mut self) {
        let own = self.members.iter_mut().map(|own| &mut own.keepalive);
        for keepalive in own.chain([&mut self.service]) {
            keepalive.enabled = false;
        }
    }
}

const KEYS: &[super::keys::Key] = &[
    key("enabled", "true"),
    key("idle", r#""4s""#),
    key("max_idle", "512"),
];

pub(super) const KEEPALIVE: Section = Section {
    header: "service.NAME.keepalive",
    keys: KEYS,
    names: Names::Tables,
    is_repeated: false,
};

/// The same keys for one member.
pub(super) const MEMBER_KEEPALIVE: Section = section("service.NAME.keepalive.MEMBER", KEYS);

/// Reads `[service.NAME.keepalive]` and each `[service.NAME.keepalive.MEMBER]`.
pub(super) fn read(
    service: &Table<'_>,
    members: &[MemberName],
    introduced: Option<ProxyVersion>,
) -> Keepalives {
    let table = service.table("keepalive", &KEEPALIVE);
    let base = rule(&table, &Keepalive::default());
    let mut overrides = Vec::new();
    for named in table.others() {
        let header = format!("{}.{}", table.header(), clip(named.name));
        // What is no table was refused as an unknown key.
        let Some(entries) = named.value.as_table(header, &MEMBER_KEEPALIVE) else {
            continue;
        };
        let keepalive = rule(&entries, &base);
        let member = members.iter().find(|member| member.as_str() == named.name);
        if member.is_none() {
            let keys = KEYS.iter().map(|key| key.name);
            let known: Vec<_> = members.iter().map(MemberName::as_str).chain(keys).collect();
            named.value.report.add(
                &named.at,
                format!("no slot has a member `{}`", clip(named.name)),
                slots::meant(named.name, &known, "members and keys"),
            );
        }
        overrides.extend(member.map(|name| MemberKeepalive {
            name: name.clone(),
            keepalive,
        }));
    }
    let mut all = Keepalives {
        service: base,
        members: overrides,
    };
    // A connection that was made for one client must not serve the next.
    if introduced.is_some() {
        all.turn_off();
    }
    all
}

fn rule(table: &Table<'_>, base: &Keepalive) -> Keepalive {
    Keepalive {
        enabled: table.flag("enabled", base.enabled),
        idle: table.duration("idle", Zero::Refused, base.idle),
        max_idle: table.number("max_idle", 1..=100_000, base.max_idle),
    }
}

/// What a reload changes.
pub(super) fn changes(lines: &mut Differences, old: &Keepalives, new: &Keepalives) {
    one_rule(lines, "keepalive", &old.service, &new.service);
    for own in old.members.iter().chain(&new.members) {
        let name = format!("keepalive of {}", own.name);
        let (before, after) = (old.of(Some(&own.name)), new.of(Some(&own.name)));
        // A member that has its rule before and after is met twice.
        if new.members.iter().any(|other| std::ptr::eq(other, own))
            || !new.members.iter().any(|other| other.name == own.name)
        {
            one_rule(lines, &name, before, after);
        }
    }
}

fn one_rule(lines: &mut Differences, name: &str, old: &Keepalive, new: &Keepalive) {
    lines.value(&format!("{name} enabled"), &old.enabled, &new.enabled);
    lines.time(&format!("{name} idle"), old.idle, new.idle);
    lines.value(&format!("{name} max_idle"), &old.max_idle, &new.max_idle);
}
