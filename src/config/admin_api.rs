//! `[admin.tcp]` and `[[admin.token]]`: the admin API over TCP, for whoever shows a token.

use super::change::Differences;
use super::keys::{Key, Section, key, repeated, section};
use super::listeners::CertificateFiles;
use super::problem::nearest;
use super::sections::WrittenListener;
use super::table::Table;
use super::value::{Choice, Value, clip};
use super::words;
use crate::switch::ServiceName;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::fmt;
use std::fmt::Write;
use std::net::SocketAddr;

pub(super) const ADMIN_TCP: Section = section(
    "admin.tcp",
    &[
        key("address", r#""127.0.0.1:9146""#),
        key("chain", r#""/etc/switchd/tls/fullchain.pem""#),
        key("key", r#""/etc/switchd/tls/privkey.pem""#),
    ],
);

const TOKEN_KEYS: &[Key] = &[
    key("name", r#""ci""#),
    key(
        "hash",
        r#""sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855""#,
    ),
    key("role", r#""operate""#),
    key("services", "[]"),
];

pub(super) const ADMIN_TOKEN: Section = repeated("admin.token", TOKEN_KEYS);

const HASH: &str = "sha256:";
const BYTES: usize = 32;
/// Tells what it is to whoever finds one in a log or a repository.
const TOKEN: &str = "switchd_";

/// Who may use the admin API over TCP, and where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdminApi {
    /// None means that the unix socket is the only way.
    pub tcp: Option<AdminTcp>,
    pub tokens: Vec<AdminToken>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AdminTcp {
    pub address: SocketAddr,
    /// None on this machine's own addresses only.
    pub certificate: Option<CertificateFiles>,
}

/// What one token lets its bearer do.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminToken {
    /// As it is called in the history.
    pub name: String,
    pub hash: TokenHash,
    pub role: Role,
    /// Empty means every service, and the daemon as a whole.
    pub services: Vec<ServiceName>,
}

/// What somebody may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look, and change nothing.
    View,
    /// Move traffic, and all that goes with it.
    Operate,
    /// Reload, kill, purge.
    Admin,
}

impl Role {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// # Errors
    /// For a word that is no role.
    pub fn parse(word: &str) -> Result<Self, String> {
        let found = ROLES.iter().find(|choice| choice.word == word);
        found
            .map(|choice| choice.means)
            .ok_or_else(|| "a role is view, operate or admin".to_owned())
    }
}

const ROLES: &[Choice<Role>] = &[
    Choice {
        word: "view",
        means: Role::View,
    },
    Choice {
        word: "operate",
        means: Role::Operate,
    },
    Choice {
        word: "admin",
        means: Role::Admin,
    },
];

/// What is kept of a token: enough to know it again, and useless to whoever reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; BYTES]);

impl TokenHash {
    #[must_use]
    pub fn of(token: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// Takes as long for one that is almost right as for one that is not.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(HASH)?;
        if digits.len() != 2 * BYTES || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

/// A token of 256 random bits that nobody has seen before; none when the machine gives no random bytes.
#[must_use]
pub fn fresh_token() -> Option<String> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).ok()?;
    let mut token = TOKEN.to_owned();
    BASE64_URL_SAFE_NO_PAD.encode_string(bytes, &mut token);
    Some(token)
}

/// The lines to add to a config for a token.
#[must_use]
pub fn token_lines(name: &str, hash: &TokenHash, role: Role, services: &[ServiceName]) -> String {
    let mut text = format!(
        "[[admin.token]]\nname = \"{name}\"\nhash = \"{hash}\"\nrole = \"{}\"\n",
        role.word()
    );
    if !services.is_empty() {
        let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
        let _ = writeln!(text, "services = {names:?}");
    }
    text
}

/// The settings, and where their address was written.
pub(super) struct WrittenApi {
    pub(super) settings: AdminApi,
    pub(super) address: Option<WrittenListener>,
}

pub(super) fn read(admin: &Table<'_>, services: &[&str]) -> WrittenApi {
    let table = admin.table("tcp", &ADMIN_TCP);
    let address = table.get("address").and_then(|value| address(&value));
    let tcp = address.as_ref().map(|address| AdminTcp {
        address: address.address,
        certificate: certificate(&table, address),
    });
    let mut tokens: Vec<AdminToken> = Vec::new();
    for table in admin.tables("token", &ADMIN_TOKEN) {
        tokens.extend(token(&table, &tokens, services));
    }
    WrittenApi {
        settings: AdminApi { tcp, tokens },
        address,
    }
}

fn address(value: &Value<'_>) -> Option<WrittenListener> {
    let text = value.text().filter(|text| *text != "off")?;
    match words::listen_address(text) {
        Ok(address) => Some(WrittenListener {
            address,
            at: value.at.clone(),
        }),
        Err(fault) => {
            value.wrong(
                format!("\"{}\" {}", clip(text), fault.what),
                format!("{}, or \"off\" for no way but the admin socket", fault.help),
            );
            None
        }
    }
}

fn certificate(table: &Table<'_>, address: &WrittenListener) -> Option<CertificateFiles> {
    let path = |name: &str| {
        let value = table.get(name).filter(|value| !value.is_word(""));
        value.map(|value| (value.absolute_path(), value))
    };
    match (path("chain"), path("key")) {
        (Some((chain, _)), Some((key, _))) => {
            let pair = chain.zip(key);
            pair.map(|(chain, key)| CertificateFiles { chain, key })
        }
        (Some((_, value)), None) | (None, Some((_, value))) => {
            value.wrong(
                "TLS needs both `chain` and `key`",
                "name the certificate in `chain` and its key in `key`",
            );
            None
        }
        (None, None) => {
            if !address.address.ip().is_loopback() {
                table.report().add(
                    &address.at,
                    "tokens would cross the network for everybody to read",
                    "add `chain` and `key` for TLS, or listen on 127.0.0.1",
                );
            }
            None
        }
    }
}

fn token(table: &Table<'_>, before: &[AdminToken], services: &[&str]) -> Option<AdminToken> {
    let name = name(table);
    if let Some(name) = &name
        && before.iter().any(|token| token.name == *name)
        && let Some(value) = table.get("name")
    {
        value.wrong(
            format!("`{name}` is the name of two tokens"),
            "give each token a name of its own: the history tells them apart by it",
        );
    }
    let hash = hash(table);
    let role = table.get("role").and_then(|value| value.choice(ROLES));
    Some(AdminToken {
        name: name?,
        hash: hash?,
        role: role.unwrap_or(Role::View),
        services: scope(table, services),
    })
}

fn name(table: &Table<'_>) -> Option<String> {
    let Some(value) = table.get("name") else {
        table.missing("name");
        return None;
    };
    let text = value.text()?;
    if ServiceName::new(text).is_ok() {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("`name` cannot be \"{}\"", clip(text)),
        "write 1 to 63 of a-z, 0-9, - and _",
    );
    None
}

fn hash(table: &Table<'_>) -> Option<TokenHash> {
    let Some(value) = table.get("hash") else {
        table.missing("hash");
        return None;
    };
    let hash = TokenHash::parse(value.text()?);
    if hash.is_none() {
        // What was written may be the token itself: it is not told.
        value.wrong(
            "`hash` is not a token's hash",
            "write sha256: and 64 hex digits; `switchctl token new` makes a token and prints these lines",
        );
    }
    hash
}

/// The services named in `services`, each of which must exist.
pub(super) fn scope(table: &Table<'_>, services: &[&str]) -> Vec<ServiceName> {
    let mut scope = Vec::new();
    let listed = table.get("services").and_then(|value| value.list());
    for item in listed.unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        match ServiceName::new(text) {
            Ok(name) if services.contains(&text) => scope.push(name),
            _ => {
                let help = match nearest(text, services.iter().copied()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("the services are {}", services.join(", ")),
                };
                item.wrong(format!("there is no service \"{}\"", clip(text)), help);
            }
        }
    }
    scope
}

/// The address is bound at a start.
pub(super) fn needs_restart(lines: &mut Differences, old: &AdminApi, new: &AdminApi) {
    let address = |api: &AdminApi| match &api.tcp {
        Some(tcp) => tcp.address.to_string(),
        None => "off".to_owned(),
    };
    lines.value("admin tcp address", &address(old), &address(new));
    let is_tls = |api: &AdminApi| {
        let tcp = api.tcp.as_ref();
        tcp.is_some_and(|tcp| tcp.certificate.is_some())
    };
    if address(old) == address(new) && is_tls(old) != is_tls(new) {
        lines.told(format_args!(
            "admin tcp TLS {} -> {}",
            is_tls(old),
            is_tls(new)
        ));
    }
}

pub(super) fn changes(lines: &mut Differences, old: &AdminApi, new: &AdminApi) {
    let files = |api: &AdminApi| api.tcp.as_ref().and_then(|tcp| tcp.certificate.clone());
    if let (Some(before), Some(after)) = (files(old), files(new))
        && before != after
    {
        lines.told(format_args!(
            "admin tcp certificate {} -> {}",
            before.chain.display(),
            after.chain.display()
        ));
    }
    for token in &new.tokens {
        match old.tokens.iter().find(|it| it.name == token.name) {
            None => lines.told(format_args!("admin token {} added", token.name)),
            Some(before) if before != token => {
                lines.told(format_args!("admin token {} changed", token.name));
            }
            Some(_) => {}
        }
    }
    for token in &old.tokens {
        if !new.tokens.iter().any(|it| it.name == token.name) {
            lines.told(format_args!("admin token {} removed", token.name));
        }
    }
}

impl AdminApi {
    /// What a reload makes of what is bound: the address stays, and whether TLS is spoken there.
    #[must_use]
    pub fn after_reload(bound: &Self, new: &Self) -> Self {
        let renewed = |tcp: &AdminTcp| {
            let after = new.tcp.as_ref().and_then(|tcp| tcp.certificate.clone());
            AdminTcp {
                address: tcp.address,
                certificate: match (&tcp.certificate, after) {
                    (Some(_), Some(after)) => Some(after),
                    (before, _) => before.clone(),
                },
            }
        };
        Self {
            tcp: bound.tcp.as_ref().map(renewed),
            tokens: new.tokens.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_token_is_known_by_its_hash_alone() {
        let (one, other) = (fresh_token().unwrap(), fresh_token().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), TOKEN.len() + 43, "{one}");
        let kept = TokenHash::parse(&TokenHash::of(&one).to_string()).unwrap();
        assert!(kept.is(&TokenHash::of(&one)));
        assert!(!kept.is(&TokenHash::of(&other)));
        assert!(!format!("{kept:?} {kept}").contains(&one));
    }

    #[test]
    fn only_a_whole_hash_is_one() {
        let good = TokenHash::of("a").to_string();
        assert!(TokenHash::parse(&good).is_some());
        for wrong in [
            "",
            "sha256:",
            &good[..good.len() - 1],
            &good.replace("sha256", "md5"),
            &format!("sha256:{}", "é".repeat(32)),
            &format!("sha256:{}", "+1".repeat(32)),
        ] {
            assert!(TokenHash::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        assert!(Role::View < Role::Operate && Role::Operate < Role::Admin);
        for choice in ROLES {
            assert_eq!(Role::parse(choice.word), Ok(choice.means));
            assert_eq!(choice.means.word(), choice.word);
        }
    }
}
