//! What can only be seen over all services and listeners together.

use super::problem::{At, Report};
use super::sections::{WrittenAdmin, WrittenListener};
use super::service::WrittenService;
use super::settings::HostPattern;
use crate::net::EndpointAddr;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;

/// Reports what does not fit together.
pub(super) fn together(
    report: &Report<'_>,
    listeners: &[WrittenListener],
    services: &[WrittenService],
    admin: &WrittenAdmin,
) {
    hosts(report, services);
    addresses(report, services);
    crossing_listeners(report, listeners, admin);
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

fn crossing_listeners(report: &Report<'_>, listeners: &[WrittenListener], admin: &WrittenAdmin) {
    let mut firsts: HashMap<SocketAddr, &At> = HashMap::new();
    let fixed = || {
        let own = admin.metrics.iter().chain(&admin.api.address);
        let all = listeners.iter().chain(own);
        all.filter(|one| one.address.port() != 0)
    };
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
    admin: &WrittenAdmin,
) {
    let addresses = |of: &[WrittenListener]| of.iter().map(|one| one.address).collect();
    let ours = Ours {
        listeners: addresses(listeners),
        metrics: addresses(admin.metrics.as_slice()),
        api: addresses(admin.api.address.as_slice()),
        socket: &admin.settings.socket,
    };
    for service in services {
        for written in &service.addresses {
            if let Some(what) = ours.at(&written.address) {
                let help = match what {
                    Own::Listener => {
                        "name the server behind switchd; requests would come back for ever"
                    }
                    Own::Metrics => {
                        "name the server behind switchd, or give `metrics` another address"
                    }
                    Own::Api => {
                        "name the server behind switchd: clients must not reach the admin API"
                    }
                    Own::Socket => {
                        "name the server behind switchd: clients must not reach the admin socket"
                    }
                };
                report.add(
                    &written.at,
                    what.told(&format!("address {}", written.address)),
                    help,
                );
            }
        }
        if let (Some(at), Some(shared)) = (
            &service.shared,
            service.service.as_ref().and_then(|s| s.shared.as_ref()),
        ) && let Some(what) = ours.at(&shared.tcp)
        {
            report.add(
                at,
                what.told(&shared.tcp.to_string()),
                "name what the slots share, a database for example",
            );
        }
    }
}

/// What switchd itself listens on.
struct Ours<'a> {
    listeners: HashSet<SocketAddr>,
    /// None or one.
    metrics: HashSet<SocketAddr>,
    /// None or one.
    api: HashSet<SocketAddr>,
    socket: &'a Path,
}

#[derive(Clone, Copy)]
enum Own {
    Listener,
    Metrics,
    Api,
    Socket,
}

impl Ours<'_> {
    /// What of ours a connection to `address` would reach.
    fn at(&self, address: &EndpointAddr) -> Option<Own> {
        match canonical(address) {
            EndpointAddr::Tcp(address) if leads_to(&self.listeners, address) => Some(Own::Listener),
            EndpointAddr::Tcp(address) if leads_to(&self.metrics, address) => Some(Own::Metrics),
            EndpointAddr::Tcp(address) if leads_to(&self.api, address) => Some(Own::Api),
            EndpointAddr::Unix(path) if path == self.socket => Some(Own::Socket),
            _ => None,
        }
    }
}

impl Own {
    fn told(self, address: &str) -> String {
        match self {
            Self::Listener => format!("{address} is a listener of switchd itself"),
            Self::Metrics => format!("{address} is where switchd shows its metrics"),
            Self::Api => format!("{address} is the admin API of switchd"),
            Self::Socket => "this is the admin socket of switchd".to_owned(),
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
