//! Where clients connect, and how they are spoken to there.

use super::change::{Differences, Lists};
use super::keys::{Section, key, repeated};
use super::sections::WrittenListener;
use super::table::Table;
use super::units::format_duration;
use super::value::{Choice, Value, Zero, clip};
use super::welcome::{self, Welcome};
use super::words;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const LISTENER: Section = repeated(
    "listener",
    &[
        key("address", r#""127.0.0.1:8080""#),
        key("kind", r#""serve""#),
        key("redirect_port", "443"),
        key("proxy_protocol", r#"["10.0.0.0/8"]"#),
        key("http2", "false"),
        key("certificate", "[[listener.certificate]]"),
        key("acme", "true"),
        key("handshake_timeout", r#""10s""#),
        key("tls_min", r#""1.2""#),
        key("client_auth", r#""off""#),
        key("client_ca", r#""""#),
    ],
);

pub(super) const CERTIFICATE: Section = repeated(
    "listener.certificate",
    &[
        key("chain", r#""/etc/switchd/tls/fullchain.pem""#),
        key("key", r#""/etc/switchd/tls/privkey.pem""#),
    ],
);

/// One address, and what is spoken there.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub address: SocketAddr,
    /// Clients may speak HTTP/2.
    pub http2: bool,
    /// TLS where there is one or more; the first is for clients that name no other's host.
    pub certificates: Vec<CertificateFiles>,
    /// The certificates that get themselves are shown here too.
    pub acme: bool,
    pub tls: TlsRules,
    pub welcome: Welcome,
}

/// The files of one certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's own certificate first, then those that vouch for it.
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// How a listener speaks TLS, where it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsRules {
    /// From the connection to the end of the handshake.
    pub handshake_timeout: Duration,
    pub least: TlsVersion,
    pub client_auth: ClientAuth,
}

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// Whether clients show a certificate; the file holds the CAs that may vouch for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    Off,
    Optional(PathBuf),
    Required(PathBuf),
}

impl Default for TlsRules {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            least: TlsVersion::Tls12,
            client_auth: ClientAuth::Off,
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

impl ClientAuth {
    /// The file with the CAs of clients, where they are asked for certificates.
    #[must_use]
    pub fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Off => None,
            Self::Optional(ca) | Self::Required(ca) => Some(ca),
        }
    }
}

impl fmt::Display for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Optional(ca) => write!(f, "optional ({})", ca.display()),
            Self::Required(ca) => write!(f, "required ({})", ca.display()),
        }
    }
}

impl Listener {
    /// Without TLS.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            http2: true,
            certificates: Vec::new(),
            acme: false,
            tls: TlsRules::default(),
            welcome: Welcome::default(),
        }
    }

    /// Whether TLS is spoken here.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.acme || !self.certificates.is_empty()
    }

    /// What a reload makes of the listeners that are bound: their addresses stay, and those that are
    /// still configured are spoken to as the new settings say.
    #[must_use]
    pub fn after_reload(bound: &[Self], new: &[Self]) -> Vec<Self> {
        let pairs = Pairs::of(bound, new);
        let after = bound.iter().zip(pairs.0);
        after.map(|(old, new)| new.unwrap_or(old).clone()).collect()
    }
}

/// For each old listener the new one with its address; the n-th where several have one address.
struct Pairs<'l>(Vec<Option<&'l Listener>>);

impl<'l> Pairs<'l> {
    fn of(old: &[Listener], new: &'l [Listener]) -> Self {
        let same = |one: &Listener, other: &Listener| one.address == other.address;
        let partner = |(at, listener): (usize, &Listener)| {
            let before = old[..at].iter().filter(|it| same(it, listener)).count();
            new.iter().filter(|it| same(it, listener)).nth(before)
        };
        Self(old.iter().enumerate().map(partner).collect())
    }
}

/// Those with an address that can be read.
pub(super) fn read(top: &Table<'_>) -> Vec<(WrittenListener, Listener)> {
    let tables = top.tables("listener", &LISTENER);
    tables.iter().filter_map(one).collect()
}

fn one(table: &Table<'_>) -> Option<(WrittenListener, Listener)> {
    let certificates: Vec<_> = table
        .tables("certificate", &CERTIFICATE)
        .iter()
        .filter_map(certificate)
        .collect();
    let tls = rules(table);
    let welcome = welcome::read(table);
    if tls.client_auth != ClientAuth::Off
        && !table.has("certificate")
        && !table.flag("acme", false)
        && let Some(value) = table.get("client_auth")
    {
        value.wrong(
            "`client_auth` asks for certificates on a listener that has none itself",
            "add [[listener.certificate]] below it: without one it speaks plain HTTP",
        );
    }
    let Some(value) = table.get("address") else {
        table.missing("address");
        return None;
    };
    let text = value.text()?;
    let address = words::listen_address(text)
        .map_err(|fault| value.wrong(format!("\"{}\" {}", clip(text), fault.what), fault.help))
        .ok()?;
    let listener = Listener {
        address,
        http2: table.flag("http2", true),
        certificates,
        acme: table.flag("acme", false),
        tls,
        welcome,
    };
    let at = value.at;
    Some((WrittenListener { address, at }, listener))
}

fn certificate(table: &Table<'_>) -> Option<CertificateFiles> {
    let path = |name: &str| {
        if !table.has(name) {
            table.missing(name);
        }
        table.get(name).and_then(|value| value.absolute_path())
    };
    let (chain, key) = (path("chain"), path("key"));
    chain
        .zip(key)
        .map(|(chain, key)| CertificateFiles { chain, key })
}

fn rules(table: &Table<'_>) -> TlsRules {
    let default = TlsRules::default();
    let versions = [
        Choice {
            word: "1.2",
            means: TlsVersion::Tls12,
        },
        Choice {
            word: "1.3",
            means: TlsVersion::Tls13,
        },
    ];
    TlsRules {
        handshake_timeout: table.duration(
            "handshake_timeout",
            Zero::Refused,
            default.handshake_timeout,
        ),
        least: table
            .get("tls_min")
            .and_then(|value| value.choice(&versions))
            .unwrap_or(default.least),
        client_auth: client_auth(table),
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Off,
    Optional,
    Required,
}

fn client_auth(table: &Table<'_>) -> ClientAuth {
    let modes = [
        Choice {
            word: "off",
            means: Mode::Off,
        },
        Choice {
            word: "optional",
            means: Mode::Optional,
        },
        Choice {
            word: "required",
            means: Mode::Required,
        },
    ];
    let mode = table.get("client_auth");
    let chosen = mode.as_ref().and_then(|value| value.choice(&modes));
    let ca = table
        .get("client_ca")
        .filter(|value| !value.is_word(""))
        .map(|value| (value.absolute_path(), value));
    match (chosen.unwrap_or(Mode::Off), ca) {
        (Mode::Off, None) => ClientAuth::Off,
        (Mode::Optional, Some((path, _))) => path.map_or(ClientAuth::Off, ClientAuth::Optional),
        (Mode::Required, Some((path, _))) => path.map_or(ClientAuth::Off, ClientAuth::Required),
        (Mode::Optional | Mode::Required, None) => {
            let told = |value: &Value<'_>| {
                value.wrong(
                    "`client_auth` needs a `client_ca`: who may vouch for clients?",
                    "add client_ca = \"/etc/switchd/tls/clients.pem\", with your own file",
                );
            };
            mode.iter().for_each(told);
            ClientAuth::Off
        }
        (Mode::Off, Some((_, value))) => {
            value.wrong(
                "`client_ca` alone asks no client for a certificate",
                "add client_auth = \"required\" or client_auth = \"optional\", or leave it out",
            );
            ClientAuth::Off
        }
    }
}

/// Addresses are bound at a start.
pub(super) fn needs_restart(lines: &mut Differences, old: &[Listener], new: &[Listener]) {
    let address = |listener: &Listener| listener.address;
    let addresses = |listeners: &[Listener]| listeners.iter().map(address).collect::<Vec<_>>();
    let (before, after) = (addresses(old), addresses(new));
    lines.list(
        "listener",
        &Lists {
            old: &before,
            new: &after,
        },
        ToString::to_string,
    );
    // One more with the same address, or in another order: nothing above has words for it.
    if lines.lines.is_empty() && before != after {
        lines.told("listeners changed");
    }
}

/// What holds from a reload on.
pub(super) fn applied(lines: &mut Differences, old: &[Listener], new: &[Listener]) {
    for (before, after) in old.iter().zip(Pairs::of(old, new).0) {
        let Some(after) = after else { continue };
        lines.prefix = format!("listener {}: ", before.address);
        one_listener(lines, before, after);
        lines.prefix.clear();
    }
}

fn one_listener(lines: &mut Differences, old: &Listener, new: &Listener) {
    let begun = lines.lines.len();
    lines.list(
        "certificate",
        &Lists {
            old: &old.certificates,
            new: &new.certificates,
        },
        |files| files.chain.display().to_string(),
    );
    lines.value("http2", &old.http2, &new.http2);
    lines.value("acme", &old.acme, &new.acme);
    let (a, b) = (&old.tls, &new.tls);
    let time = |time| format_duration(time);
    lines.value(
        "handshake_timeout",
        &time(a.handshake_timeout),
        &time(b.handshake_timeout),
    );
    lines.value("tls_min", &a.least, &b.least);
    lines.value(
        "client_auth",
        &a.client_auth.to_string(),
        &b.client_auth.to_string(),
    );
    lines.value("acme", &old.acme, &new.acme);
    welcome::changes(lines, &old.welcome, &new.welcome);
    if lines.lines.len() == begun && old != new {
        lines.told("order of the certificates changed");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, summary};
    use super::*;
    use std::path::Path;

    const SERVICE: &str = r#"
[service.web.slots.blue]
http = ["127.0.0.1:3000"]
[service.web.slots.green]
http = ["127.0.0.1:4000"]
"#;

    fn read(listeners: &str) -> Vec<Listener> {
        let text = [listeners, SERVICE].concat();
        parse(&text, Path::new("switchd.toml"))
            .unwrap_or_else(|problems| panic!("{}", summary(&problems)))
            .listeners
    }

    #[test]
    fn a_listener_with_a_certificate_speaks_tls_and_one_without_does_not() {
        let listeners = read(
            r#"
[[listener]]
address = "127.0.0.1:80"
[[listener]]
address = "127.0.0.1:443"
tls_min = "1.3"
client_auth = "optional"
client_ca = "/clients.pem"
[[listener.certificate]]
chain = "/a.pem"
key = "/a.key"
[[listener.certificate]]
chain = "/b.pem"
key = "/b.key"
"#,
        );
        assert_eq!(listeners[0], Listener::plain(([127, 0, 0, 1], 80).into()));
        assert!(!listeners[0].is_tls() && listeners[1].is_tls());
        assert_eq!(listeners[1].certificates[1].key, Path::new("/b.key"));
        assert_eq!(listeners[1].tls.least, TlsVersion::Tls13);
        let auth = ClientAuth::Optional("/clients.pem".into());
        assert_eq!(listeners[1].tls.client_auth, auth);
    }

    #[test]
    fn a_reload_keeps_the_addresses_and_takes_the_rest() {
        let at = |port: u16| Listener::plain(([127, 0, 0, 1], port).into());
        let patient = |port| {
            let mut listener = at(port);
            listener.tls.handshake_timeout = Duration::from_mins(1);
            listener
        };
        let bound = [at(0), at(0), at(81)];
        let after = Listener::after_reload(&bound, &[at(0), at(82), patient(0)]);
        assert_eq!(after, [at(0), patient(0), at(81)]);
    }
}
