//! One service: its hosts, its slots, its routes and its rules.

use super::access::{self, Access};
use super::buffering;
use super::cache::{self, Cache};
use super::canary;
use super::compression::{self, Compression};
use super::cookies;
use super::cors;
use super::deploy;
use super::errors;
use super::gates;
use super::headers;
use super::health;
use super::hold;
use super::keepalive;
use super::keys::SERVICE;
use super::maintenance;
use super::preview;
use super::problem::At;
use super::queue;
use super::rate_limit;
use super::read_only;
use super::routes;
use super::rules;
use super::sendfile::{self, Sendfile};
use super::service_limits;
use super::settings::{HostPattern, Limits, Member, Service, Slot};
use super::shadow;
use super::slots::{self, WrittenAddress, WrittenSlot};
use super::table::{Named, Table};
use super::upstream_tls;
use super::value::clip;
use super::watch;
use super::websocket;
use super::welcome;
use super::words;
use crate::switch::MemberName;
use crate::switch::ServiceName;
use crate::switch::SlotName;

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

/// Reads what stands under `[service.NAME]`; `common` is what holds for all services.
#[allow(clippy::too_many_lines, reason = "one line for each part of a service")]
pub(super) fn read(named: &Named<'_>, common: &Limits) -> Option<WrittenService> {
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
    let buffering = buffering::buffering(&table);
    let routes = routes::read(&table, &members, &buffering);
    routes::refuse_idle_members(&table, &slots, &routes);
    let initial = initial(&table, &slots);
    let timeouts = rules::timeouts(&table);
    let flip = rules::flip(&table, &timeouts);
    let gate = health::Gate {
        timeout: flip.gate_timeout,
        at: rules::gate_timeout_at(&table),
    };
    let checks = health::read(&table, &members, &gate);
    let gates = gates::read(&table, &members);
    let (shared, shared_at) = rules::shared(&table);
    let shares_nothing = rules::shares_nothing(&table);
    // Read before anything is put together: a missing name must not hide their problems.
    let limits = service_limits::read(&table, common);
    let upstream_proxy_protocol = welcome::upstream(&table);
    let keepalive = keepalive::read(&table, &members, upstream_proxy_protocol);
    let compression = compression::read(&table, Compression::default());
    let cache = cache::read(&table, Cache::default());
    let sendfile = sendfile::read(&table, Sendfile::default());
    let queue = queue::read(&table, &members);
    let hold = hold::read(&table);
    let maintenance = maintenance::read(&table);
    let read_only = read_only::read(&table);
    let deploy = deploy::read(&table, &hold);
    let shadow = shadow::read(&table);
    let errors = errors::read(&table);
    let headers = headers::read(&table);
    let cors = cors::read(&table);
    let cookies = cookies::read(&table);
    let canary = canary::read(&table);
    let (preview, preview_at) = preview::read(&table);
    let watch = watch::read(&table);
    let failback = rules::failback(&table, watch.time);
    let websocket = websocket::read(&table, &flip);
    let access = access::read(&table, Access::default());
    let rate_limits = rate_limit::read(&table, Vec::new());
    let addresses = slots::addresses(&slots);
    let upstream_tls = upstream_tls::read(&table, &addresses);
    let service = name.zip(initial).map(|(name, initial)| Service {
        name,
        hosts: hosts.iter().map(|host| host.pattern.clone()).collect(),
        initial,
        slots: slots
            .iter()
            .map(|slot| build(slot, &members, &checks))
            .collect(),
        routes: routes.into_settings(),
        limits,
        keepalive,
        timeouts,
        queue,
        hold,
        shadow,
        maintenance,
        read_only,
        errors,
        headers,
        cors,
        cookies,
        canary,
        preview,
        buffering,
        upstream_proxy_protocol,
        access,
        rate_limits,
        compression,
        cache,
        sendfile,
        deploy,
        gates,
        flip,
        failback,
        watch,
        shared,
        shares_nothing,
        upstream_tls,
        websocket,
    });
    let preview_host = preview_host(service.as_ref(), preview_at);
    Some(WrittenService {
        service,
        name: shown,
        hosts: hosts.into_iter().chain(preview_host).collect(),
        addresses,
        shared: shared_at,
    })
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
        owner: slot.owner,
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

/// It belongs to this service alone, as its other hosts do.
fn preview_host(service: Option<&Service>, at: Option<At>) -> Option<WrittenHost> {
    Some(WrittenHost {
        pattern: HostPattern::Exact(service?.preview.host.clone()?),
        at: at?,
        by_default: false,
    })
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
    if slots.len() < table.named("slots").len() {
        // It may name one that was refused; that was told.
        return None;
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
