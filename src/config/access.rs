//! Who may come in: networks, blocked paths, passwords.

use super::change::{Differences, Lists};
use super::keys::{Key, Section, key, section};
use super::prefixes;
use super::rate_limit::{Rate, rate};
use super::sections::networks;
use super::settings::{Network, Secret};
use super::table::Table;
use super::users;
use super::value::clip;
use std::net::IpAddr;
use std::time::Duration;

/// Who may ask a service, and for what.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Access {
    /// The smallest network of both lists that holds a client decides about it.
    pub allow: Vec<Network>,
    pub deny: Vec<Network>,
    /// Prefixes of whole segments, decoded; `*` stands for any one segment.
    pub blocked: Vec<String>,
    /// Clients for whom nothing is blocked.
    pub blocked_allow: Vec<Network>,
    /// None asks nobody for a password.
    pub basic_auth: Option<BasicAuth>,
}

impl Access {
    /// Whether a client may come in at all.
    #[must_use]
    pub fn lets_in(&self, client: IpAddr) -> bool {
        let nearest = |networks: &[Network]| {
            let holding = networks.iter().filter(|network| network.contains(client));
            holding.map(|network| network.prefix).max()
        };
        match (nearest(&self.allow), nearest(&self.deny)) {
            (None, None) => self.allow.is_empty(),
            (allowed, denied) => allowed > denied,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct BasicAuth {
    /// One or more.
    pub users: Vec<User>,
    pub realm: String,
    /// How many wrong passwords one client may send.
    pub attempts: Rate,
    /// Clients who need no password.
    pub open_to: Vec<Network>,
    /// What needs no password: prefixes as in `blocked`.
    pub open_paths: Vec<String>,
}

/// One line of a file of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// As bcrypt writes it.
    pub hash: Secret,
}

const KEYS: &[Key] = &[
    key("allow", r#"["10.0.0.0/8"]"#),
    key("deny", r#"["192.0.2.7"]"#),
    key("blocked", r#"["/web/database"]"#),
    key("blocked_allow", r#"["10.0.0.0/8"]"#),
    key("basic_auth", "[service.NAME.access.basic_auth]"),
];

pub(super) const ACCESS: Section = section("service.NAME.access", KEYS);

const BASIC_AUTH_KEYS: &[Key] = &[
    key("users", r#""/etc/switchd/staging.users""#),
    key("realm", r#""staging""#),
    key("attempts", r#""10r/m""#),
    key("open_to", r#"["10.0.0.0/8"]"#),
    key("open_paths", r#"["/payment"]"#),
];

pub(super) const BASIC_AUTH: Section = section("service.NAME.access.basic_auth", BASIC_AUTH_KEYS);

const ATTEMPTS: Rate = Rate {
    requests: 10,
    per: Duration::from_mins(1),
};

/// Reads `[service.NAME.access]`; what is not written is as `before`.
pub(super) fn read(service: &Table<'_>, before: Access) -> Access {
    let table = service.table("access", &ACCESS);
    let access = Access {
        allow: networks(&table, "allow", before.allow),
        deny: networks(&table, "deny", before.deny),
        blocked: prefixes::read(&table, "blocked", before.blocked),
        blocked_allow: networks(&table, "blocked_allow", before.blocked_allow),
        basic_auth: basic_auth(&table).or(before.basic_auth),
    };
    if let Some(both) = access
        .allow
        .iter()
        .find(|network| access.deny.contains(network))
        && let Some(value) = table.get("deny").or_else(|| table.get("allow"))
    {
        value.wrong(
            format!("{both} is allowed and denied"),
            "keep it in one of `allow` and `deny`; the smallest network that holds a client decides",
        );
    }
    access
}

fn basic_auth(access: &Table<'_>) -> Option<BasicAuth> {
    let table = access.table("basic_auth", &BASIC_AUTH);
    let realm = table.get("realm").and_then(|value| {
        let text = value.text()?;
        let plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
        if text.chars().all(plain) {
            return Some(text.to_owned());
        }
        value.wrong(
            format!("`realm` cannot be \"{}\"", clip(text)),
            "leave out quotes, backslashes and control characters",
        );
        None
    });
    let attempts = table.get("attempts").and_then(|value| rate(&value));
    let open_to = networks(&table, "open_to", Vec::new());
    let open_paths = prefixes::read(&table, "open_paths", Vec::new());
    let Some(value) = table.get("users") else {
        if table.is_present() {
            table.missing("users");
        }
        return None;
    };
    if value.is_word("off") {
        return None;
    }
    Some(BasicAuth {
        users: users::read(&value)?,
        realm: realm.unwrap_or_else(|| "restricted".to_owned()),
        attempts: attempts.unwrap_or(ATTEMPTS),
        open_to,
        open_paths,
    })
}

pub(super) fn changes(lines: &mut Differences, old: &Access, new: &Access) {
    let networks = |old, new| Lists { old, new };
    let show = ToString::to_string;
    lines.list("access allow", &networks(&old.allow, &new.allow), show);
    lines.list("access deny", &networks(&old.deny, &new.deny), show);
    let paths = |old, new| Lists { old, new };
    lines.list(
        "access blocked",
        &paths(&old.blocked, &new.blocked),
        String::clone,
    );
    lines.list(
        "access blocked_allow",
        &networks(&old.blocked_allow, &new.blocked_allow),
        show,
    );
    match (&old.basic_auth, &new.basic_auth) {
        (None, None) => {}
        (None, Some(_)) => lines.told("access asks for a password"),
        (Some(_), None) => lines.told("access asks for no password any more"),
        (Some(old), Some(new)) => passwords(lines, old, new),
    }
}

fn passwords(lines: &mut Differences, old: &BasicAuth, new: &BasicAuth) {
    let known = |all: &[User], name: &str| all.iter().any(|user| user.name == name);
    let mut changed = false;
    for user in &new.users {
        if known(&old.users, &user.name) {
            changed |= !old.users.contains(user);
        } else {
            lines.told(format_args!("basic_auth user {} added", user.name));
        }
    }
    for user in old
        .users
        .iter()
        .filter(|user| !known(&new.users, &user.name))
    {
        lines.told(format_args!("basic_auth user {} removed", user.name));
    }
    if changed {
        lines.told("basic_auth passwords changed");
    }
    lines.value("basic_auth realm", &old.realm, &new.realm);
    lines.value("basic_auth attempts", &old.attempts, &new.attempts);
    let networks = Lists {
        old: &old.open_to,
        new: &new.open_to,
    };
    lines.list("basic_auth open_to", &networks, ToString::to_string);
    let paths = Lists {
        old: &old.open_paths,
        new: &new.open_paths,
    };
    lines.list("basic_auth open_paths", &paths, String::clone);
}
