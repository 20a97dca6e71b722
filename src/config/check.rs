//! What can only be seen over all services and listeners together.

use super::problem::{At, Report};
use super::sections::WrittenListener;
use super::service::WrittenService;
use super::settings::{Admin, HostPattern};
use crate::net::EndpointAddr;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// Reports what does not fit together.
pub(super) fn together(
    report: &Report<'_>,
    listeners: &[WrittenListener],
    services: &[WrittenService],
    admin: &Admin,
) {
    hosts(report, services);
    addresses(report, services);
    crossing_listeners(report, listeners);
    loops(report, listeners, services, admin);
}

fn hosts(report: &Report<'_>, services: &[WrittenService]) {
    struct First<'s> {
        service: &'s str,
        at: &'s At,
        by_default: bool,
    }
    let mut firsts: HashMap<&HostPattern, First<'_>> = HashMap::new();
    for service in services {
        for host in &service.hosts {
            let Some(first) = firsts.get(&host.pattern) else {
                let first = First {
                    service: &service.name,
                    at: &host.at,
                    by_default: host.by_default,
                };
                firsts.insert(&host.pattern, first);
                continue;
            };
            let line = report.line(first.at);
            if first.service == service.name {
                report.add(
                    &host.at,
                    format!("host \"{}\" is named twice", host.pattern),
                    format!("keep this one or the one on line {line}"),
                );
            } else if host.by_default || first.by_default {
                report.add(
                    &host.at,
                    format!(
                        "services `{}` and `{}` both answer every host",
                        first.service, service.name
                    ),
                    format!(
                        "give this one or the one on line {line} its hosts = [\"...\"]; without it a service answers every host"
                    ),
                );
            } else {
                report.add(
                    &host.at,
                    format!(
                        "host \"{}\" already belongs to service `{}`",
                        host.pattern, first.service
                    ),
                    format!("keep this one or the one on line {line}"),
                );
            }
        }
    }
}

fn addresses(report: &Report<'_>, services: &[WrittenService]) {
    let mut firsts: HashMap<EndpointAddr, &At> = HashMap::new();
    for written in services.iter().flat_map(|service| &service.addresses) {
        match firsts.get(&canonical(&written.address)) {
            Some(first) => report.add(
                &written.at,
                format!("address {} is used twice", written.address),
                format!(
                    "give each member of each slot a server of its own; it is first used on line {}",
                    report.line(first)
                ),
            ),
            None => {
                firsts.insert(canonical(&written.address), &written.at);
            }
        }
    }
}

fn crossing_listeners(report: &Report<'_>, listeners: &[WrittenListener]) {
    let mut firsts: HashMap<SocketAddr, &At> = HashMap::new();
    let fixed = || listeners.iter().filter(|one| one.address.port() != 0);
    let crossing = |listener: &WrittenListener, other: &At| {
        report.add(
            &listener.at,
            format!("{} is listened on already", listener.address),
            format!(
                "leave this one out, or the one on line {}",
                report.line(other)
            ),
        );
    };
    for listener in fixed() {
        match firsts.get(&listener.address) {
            Some(first) => crossing(listener, first),
            None => {
                firsts.insert(listener.address, &listener.at);
            }
        }
    }
    for listener in fixed().filter(|one| !one.address.ip().is_unspecified()) {
        if let Some(everywhere) = firsts.get(&everywhere(listener.address)) {
            crossing(listener, everywhere);
        }
    }
}

/// The same port on every address of the machine.
fn everywhere(address: SocketAddr) -> SocketAddr {
    let ip = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    SocketAddr::new(ip, address.port())
}

fn loops(
    report: &Report<'_>,
    listeners: &[WrittenListener],
    services: &[WrittenService],
    admin: &Admin,
) {
    let ours: HashSet<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
    for service in services {
        for written in &service.addresses {
            match canonical(&written.address) {
                EndpointAddr::Tcp(address) if leads_to(&ours, address) => report.add(
                    &written.at,
                    format!(
                        "address {} is a listener of switchd itself",
                        written.address
                    ),
                    "name the server behind switchd; requests would come back for ever",
                ),
                EndpointAddr::Unix(path) if path == admin.socket => report.add(
                    &written.at,
                    "this is the admin socket of switchd",
                    "name the server behind switchd: clients must not reach the admin socket",
                ),
                _ => {}
            }
        }
        if let (Some(at), Some(shared)) = (
            &service.shared,
            service.service.as_ref().and_then(|s| s.shared.as_ref()),
        ) && let EndpointAddr::Tcp(address) = canonical(&shared.tcp)
            && leads_to(&ours, address)
        {
            report.add(
                at,
                format!("{} is a listener of switchd itself", shared.tcp),
                "name what the slots share, a database for example",
            );
        }
    }
}

/// Whether a connection to `address` from this machine would be accepted by one of `ours`.
fn leads_to(ours: &HashSet<SocketAddr>, address: SocketAddr) -> bool {
    let at = |ip| SocketAddr::new(ip, address.port());
    let any4 = Ipv4Addr::UNSPECIFIED.into();
    let any6 = Ipv6Addr::UNSPECIFIED.into();
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    ours.contains(&address)
        || (here && (ours.contains(&at(any6)) || (address.is_ipv4() && ours.contains(&at(any4)))))
}

/// One form for addresses that lead to the same place for certain.
fn canonical(address: &EndpointAddr) -> EndpointAddr {
    match address {
        EndpointAddr::Tcp(address) => {
            EndpointAddr::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
        }
        EndpointAddr::Named { host, port } => match host.to_ascii_lowercase().as_str() {
            "localhost" => EndpointAddr::Tcp((Ipv4Addr::LOCALHOST, *port).into()),
            lower => EndpointAddr::Named {
                host: lower.to_owned(),
                port: *port,
            },
        },
        EndpointAddr::Unix(path) => EndpointAddr::Unix(path.clone()),
    }
}
