//! What this machine says of names: `/etc/hosts` and `/etc/resolv.conf`, read again when they change.

use super::hosts;
use super::query::Fqdn;
use super::settings::ResolverSettings;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::Duration;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// More are not asked, as with the C library.
const SERVERS: usize = 3;
/// Whatever a file says, one query may take so long and not longer.
const LONGEST: Duration = Duration::from_secs(30);
const MOST_ATTEMPTS: u32 = 5;
/// Longer files hold more names than anybody means to have there.
const MOST_HOSTS: u64 = 4 << 20;

/// How names are looked up here and now.
#[derive(Debug, Clone)]
pub(super) struct System {
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    /// For one query.
    pub(super) timeout: Duration,
    /// Rounds over all servers.
    pub(super) attempts: u32,
    hosts: String,
    stamps: [Option<Stamp>; 2],
    settings: ResolverSettings,
}

/// Tells whether a file is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: u64,
    length: u64,
    changed: (i64, i64),
}

impl System {
    pub(super) fn read(settings: &ResolverSettings) -> Self {
        // The stamps first: what changes in between is read again.
        let stamps = stamps();
        let hosts = read_hosts().unwrap_or_else(|error| {
            tracing::warn!(file = HOSTS, %error, "the hosts file cannot be read; names are asked of the name server");
            String::new()
        });
        let text = if settings.servers.is_empty() {
            fs::read_to_string(RESOLV_CONF).unwrap_or_else(|error| {
                tracing::warn!(file = RESOLV_CONF, %error, "the name servers cannot be read; asking 127.0.0.1:53");
                String::new()
            })
        } else {
            fs::read_to_string(RESOLV_CONF).unwrap_or_default()
        };
        Self::of(settings, &text, hosts, stamps)
    }

    fn of(
        settings: &ResolverSettings,
        text: &str,
        hosts: String,
        stamps: [Option<Stamp>; 2],
    ) -> Self {
        // What is wrong in one line does not spoil the others, as with the C library.
        let (conf, _wrong) = resolv_conf::Config::parse_with_errors(text.as_bytes());
        let servers = if settings.servers.is_empty() {
            let named = conf.nameservers.iter().take(SERVERS).map(server);
            let named: Vec<_> = named.collect();
            if named.is_empty() {
                vec![(Ipv4Addr::LOCALHOST, PORT).into()]
            } else {
                named
            }
        } else {
            settings.servers.clone()
        };
        let timeout = Duration::from_secs(u64::from(conf.timeout));
        Self {
            servers,
            search: conf.get_last_search_or_domain().cloned().collect(),
            ndots: usize::try_from(conf.ndots).unwrap_or(usize::MAX),
            timeout: settings
                .timeout
                .unwrap_or(timeout)
                .clamp(Duration::from_millis(1), LONGEST),
            attempts: conf.attempts.clamp(1, MOST_ATTEMPTS),
            hosts,
            stamps,
            settings: settings.clone(),
        }
    }

    /// It was read of these settings, and the files are what they were.
    pub(super) fn is_current(&self, settings: &ResolverSettings) -> bool {
        self.settings == *settings && self.stamps == stamps()
    }

    /// What the hosts file has; `localhost` is always there.
    pub(super) fn listed(&self, host: &str) -> Vec<IpAddr> {
        let listed = hosts::addresses(&self.hosts, host);
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_local = name.eq_ignore_ascii_case("localhost")
            || name.to_ascii_lowercase().ends_with(".localhost");
        if listed.is_empty() && is_local {
            return vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        listed
    }

    /// The full names that a host may mean, in the order in which they are asked for.
    pub(super) fn candidates(&self, host: &str) -> Vec<Fqdn> {
        let full = |text: &str| Fqdn::from_str(&format!("{}.", text.trim_end_matches('.'))).ok();
        if host.ends_with('.') {
            return full(host).into_iter().collect();
        }
        let mut names: Vec<Fqdn> = self
            .search
            .iter()
            .filter_map(|domain| full(&format!("{host}.{domain}")))
            .collect();
        let plain = full(host);
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        if dots >= self.ndots {
            names.splice(0..0, plain);
        } else {
            names.extend(plain);
        }
        names
    }
}

fn server(ip: &resolv_conf::ScopedIp) -> SocketAddr {
    match ip {
        resolv_conf::ScopedIp::V4(ip) => (*ip, PORT).into(),
        resolv_conf::ScopedIp::V6(ip, scope) => {
            let scope = scope.as_deref().and_then(interface).unwrap_or(0);
            SocketAddrV6::new(*ip, PORT, 0, scope).into()
        }
    }
}

/// The number of a network interface, of its name or of itself.
fn interface(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'/');
    let file = format!("/sys/class/net/{name}/ifindex");
    let text = is_plain.then(|| fs::read_to_string(file).ok()).flatten()?;
    text.trim().parse().ok()
}

fn read_hosts() -> io::Result<String> {
    if fs::metadata(HOSTS)?.len() > MOST_HOSTS {
        return Err(io::Error::other("it is longer than 4MiB"));
    }
    Ok(String::from_utf8_lossy(&fs::read(HOSTS)?).into_owned())
}

fn stamps() -> [Option<Stamp>; 2] {
    [HOSTS, RESOLV_CONF].map(|file| {
        let meta = fs::metadata(file).ok()?;
        Some(Stamp {
            file: meta.ino(),
            length: meta.len(),
            changed: (meta.mtime(), meta.mtime_nsec()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(resolv_conf: &str) -> System {
        let settings = ResolverSettings::default();
        System::of(&settings, resolv_conf, String::new(), [None; 2])
    }

    fn candidates(resolv_conf: &str, host: &str) -> Vec<String> {
        let all = system(resolv_conf).candidates(host);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_search_list_is_followed_as_the_c_library_does() {
        let conf = "search corp.example lan\nnameserver 10.0.0.1\n";
        assert_eq!(
            candidates(conf, "app"),
            ["app.corp.example", "app.lan", "app"]
        );
        assert_eq!(
            candidates(conf, "app.eu"),
            ["app.eu", "app.eu.corp.example", "app.eu.lan"]
        );
        assert_eq!(candidates(conf, "app."), ["app"]);
        let docker = "search corp.example\nnameserver 127.0.0.11\noptions ndots:0\n";
        assert_eq!(candidates(docker, "app"), ["app", "app.corp.example"]);
        let kubernetes = "search a.svc svc\noptions ndots:5\n";
        assert_eq!(
            candidates(kubernetes, "db.example"),
            ["db.example.a.svc", "db.example.svc", "db.example"]
        );
        assert_eq!(candidates("domain lan\n", "app"), ["app.lan", "app"]);
    }

    #[test]
    fn servers_and_patience_come_from_resolv_conf_and_the_settings_come_first() {
        let conf = "nameserver 10.0.0.1\nnameserver ::1\nnonsense here\nnameserver 10.0.0.2\n\
                    nameserver 10.0.0.3\noptions timeout:1 attempts:3\n";
        let found = system(conf);
        let servers: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53", "10.0.0.2:53"]);
        assert_eq!((found.timeout, found.attempts), (Duration::from_secs(1), 3));
        let settings = ResolverSettings {
            servers: vec![([127, 0, 0, 1], 5353).into()],
            timeout: Some(Duration::from_secs(7)),
            ..ResolverSettings::default()
        };
        let found = System::of(&settings, conf, String::new(), [None; 2]);
        assert_eq!(found.servers, settings.servers);
        assert_eq!(found.timeout, Duration::from_secs(7));
    }

    #[test]
    fn without_a_name_server_this_machine_is_asked_and_localhost_is_known() {
        let found = system("");
        assert_eq!(found.servers, [SocketAddr::from(([127, 0, 0, 1], 53))]);
        for host in ["localhost", "LOCALHOST.", "app.localhost"] {
            assert_eq!(found.listed(host).len(), 2, "{host}");
        }
        assert!(found.listed("localhost.example").is_empty());
    }
}
