//! `[acme]`: certificates that get themselves.

use super::keys::{Section, key, section};
use super::listeners::Listener;
use super::sections::WrittenListener;
use super::table::Table;
use super::value::{Choice, clip};
use super::words;
use std::path::Path;
use std::path::PathBuf;

/// Let's Encrypt, by its short names.
const AUTHORITIES: &[(&str, &str)] = &[
    (
        "letsencrypt",
        "https://acme-v02.api.letsencrypt.org/directory",
    ),
    (
        "letsencrypt-staging",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
];

pub(super) const ACME: Section = section(
    "acme",
    &[
        key("hosts", r#"["erp.example.com"]"#),
        key("directory", r#""letsencrypt-staging""#),
        key("email", r#""admin@example.com""#),
        key("challenge", r#""tls-alpn-01""#),
        key("ca", r#""/etc/switchd/acme-ca.pem""#),
    ],
);

/// Which certificates are ordered, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Lower case; one certificate each. Empty means that nothing is ordered.
    pub hosts: Vec<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// Whom the authority warns.
    pub email: Option<String>,
    pub challenge: AcmeChallenge,
    /// Roots to trust the authority by; none means the system's.
    pub ca: Option<PathBuf>,
}

/// How a name is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By an answer on port 80 (RFC 8555, section 8.3).
    Http,
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn,
}

impl Acme {
    /// Where the certificate of `host` is kept, chain and key in one file: a pair is always replaced as one.
    #[must_use]
    pub fn certificate_file(state_dir: &Path, host: &str) -> PathBuf {
        state_dir.join("acme").join(format!("{host}.pem"))
    }
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            directory: AUTHORITIES[0].1.to_owned(),
            email: None,
            challenge: AcmeChallenge::Http,
            ca: None,
        }
    }
}

pub(super) fn read(top: &Table<'_>) -> Acme {
    let table = top.table("acme", &ACME);
    let default = Acme::default();
    let challenges = [
        Choice {
            word: "http-01",
            means: AcmeChallenge::Http,
        },
        Choice {
            word: "tls-alpn-01",
            means: AcmeChallenge::TlsAlpn,
        },
    ];
    Acme {
        hosts: hosts(&table),
        directory: directory(&table).unwrap_or(default.directory),
        email: email(&table),
        challenge: table
            .get("challenge")
            .and_then(|value| value.choice(&challenges))
            .unwrap_or(default.challenge),
        ca: table
            .get("ca")
            .filter(|value| !value.is_word("system"))
            .and_then(|value| value.absolute_path()),
    }
}

fn hosts(table: &Table<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for item in table
        .get("hosts")
        .and_then(|value| value.list())
        .unwrap_or_default()
    {
        let Some(text) = item.text() else { continue };
        let name = text.to_ascii_lowercase();
        let is_plain = name.contains('.')
            && name.parse::<std::net::IpAddr>().is_err()
            && matches!(words::host_pattern(&name), Ok(super::HostPattern::Exact(_)));
        if !is_plain {
            item.wrong(
                format!("no certificate can be ordered for \"{}\"", clip(text)),
                "write whole public names such as \"erp.example.com\": patterns and addresses cannot be proved this way",
            );
        } else if hosts.contains(&name) {
            item.wrong(
                format!("\"{}\" is named twice", clip(text)),
                "keep one of them",
            );
        } else {
            hosts.push(name);
        }
    }
    hosts
}

fn directory(table: &Table<'_>) -> Option<String> {
    let value = table.get("directory")?;
    let text = value.text()?;
    if let Some((_, url)) = AUTHORITIES.iter().find(|(name, _)| *name == text) {
        return Some((*url).to_owned());
    }
    let url = text.parse::<http::Uri>().ok();
    let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let here = ["127.0.0.1", "localhost", "[::1]"].contains(&host);
    match url.as_ref().and_then(http::Uri::scheme_str) {
        Some("https") if !host.is_empty() => return Some(text.to_owned()),
        // An account's key would be at the mercy of the network.
        Some("http") if here => return Some(text.to_owned()),
        _ => {}
    }
    value.wrong(
        format!("`directory` cannot be \"{}\"", clip(text)),
        "write \"letsencrypt\", \"letsencrypt-staging\", or the https:// URL of an ACME directory",
    );
    None
}

fn email(table: &Table<'_>) -> Option<String> {
    let value = table.get("email")?;
    let text = value.text().filter(|text| !text.is_empty())?;
    let parts = text.split_once('@');
    if parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
        && !text.contains(|c: char| c.is_whitespace() || c == ',' || c == '?')
    {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("`email` cannot be \"{}\"", clip(text)),
        "write one address such as \"admin@example.com\", or leave it out",
    );
    None
}

/// Reports certificates that nobody shows, and listeners that wait for certificates that nobody orders.
pub(super) fn together(top: &Table<'_>, acme: &Acme, listeners: &[(WrittenListener, Listener)]) {
    let showing = listeners.iter().find(|(_, listener)| listener.acme);
    let hosts = top.table("acme", &ACME).get("hosts");
    match (hosts.filter(|_| !acme.hosts.is_empty()), showing) {
        (Some(hosts), None) => hosts.wrong(
            "certificates are ordered for `hosts`, and no listener shows them",
            "add acme = true to the [[listener]] that clients reach over https",
        ),
        (None, Some((written, _))) if acme.hosts.is_empty() => top.report().add(
            &written.at,
            "`acme = true`, and no certificate is ordered for any host",
            "add [acme] and below it hosts = [\"erp.example.com\"]",
        ),
        _ => {}
    }
}

/// What a reload says of a change here.
pub(super) fn difference(old: &Acme, new: &Acme) -> Option<&'static str> {
    (old != new).then_some("acme")
}
