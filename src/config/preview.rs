//! Ways to a slot that is not active, for those who are to look at it first.

use super::canary::header;
use super::change::{Differences, Lists};
use super::cookies::name;
use super::keys::{Section, key, section};
use super::problem::At;
use super::secret;
use super::sections::networks;
use super::settings::{HostPattern, Network, Secret};
use super::table::Table;
use super::value::{Value, Zero, clip};
use super::words;
use std::time::Duration;

/// Who gets to see a slot that is not active, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub enabled: bool,
    /// The request header that names the secret.
    pub header: String,
    /// None means that no header leads there.
    pub secret: Option<Secret>,
    /// All that is asked of this host goes to the idle slot.
    pub host: Option<String>,
    /// Nobody else gets there.
    pub allow: Vec<Network>,
    /// The name of the cookie that a link sets.
    pub cookie: String,
    /// For how long the cookie is good.
    pub cookie_age: Duration,
    /// For how long a link is good that nobody has followed.
    pub link_age: Duration,
    /// The answer's header that names the slot it came from; none adds no such header.
    pub slot_header: Option<String>,
}

impl Default for Preview {
    fn default() -> Self {
        Self {
            enabled: false,
            header: "X-Switchd-Preview".to_owned(),
            secret: None,
            host: None,
            allow: private(),
            cookie: "switchd_preview".to_owned(),
            cookie_age: Duration::from_hours(8),
            link_age: Duration::from_mins(10),
            slot_header: None,
        }
    }
}

const PRIVATE: [&str; 7] = [
    "127.0.0.0/8",
    "::1",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

fn private() -> Vec<Network> {
    let networks = PRIVATE.iter().filter_map(|text| words::network(text).ok());
    networks.collect()
}

pub(super) const PREVIEW: Section = section(
    "service.NAME.preview",
    &[
        key("enabled", "true"),
        key("header", r#""X-Switchd-Preview""#),
        key("secret", r#""tell nobody""#),
        key("host", r#""preview.example.com""#),
        key("allow", r#"["10.0.0.0/8"]"#),
        key("cookie", r#""switchd_preview""#),
        key("cookie_age", r#""8h""#),
        key("link_age", r#""10m""#),
        key("slot_header", r#""X-Switchd-Slot""#),
    ],
);

/// Shorter ones can be guessed.
const SHORTEST_SECRET: usize = 8;

/// What was read, and where the host was written.
pub(super) fn read(service: &Table<'_>) -> (Preview, Option<At>) {
    let table = service.table("preview", &PREVIEW);
    let default = Preview::default();
    let host = table.get("host");
    let at = host.as_ref().map(|value| value.at.clone());
    let slot_header = table.get("slot_header");
    let preview = Preview {
        enabled: table.flag("enabled", default.enabled),
        header: table
            .get("header")
            .and_then(|value| header(&value))
            .unwrap_or(default.header),
        secret: table.get("secret").and_then(|value| kept(&value)),
        host: host.and_then(|value| exact(&value)),
        allow: networks(&table, "allow", default.allow),
        cookie: table
            .get("cookie")
            .and_then(|value| name(&value))
            .unwrap_or(default.cookie),
        cookie_age: table.duration("cookie_age", Zero::Refused, default.cookie_age),
        link_age: table.duration("link_age", Zero::Refused, default.link_age),
        slot_header: slot_header
            .filter(|value| !value.is_word("off"))
            .and_then(|value| header(&value)),
    };
    (preview, at)
}

fn kept(value: &Value<'_>) -> Option<Secret> {
    if value.is_word("off") {
        return None;
    }
    let secret = secret::read(value, "secret")?;
    if secret.reveal().len() < SHORTEST_SECRET {
        value.wrong(
            format!("the secret of a preview has at least {SHORTEST_SECRET} characters"),
            "take a long random one: `openssl rand -hex 16` makes one",
        );
        return None;
    }
    Some(secret)
}

fn exact(value: &Value<'_>) -> Option<String> {
    let text = value.text().filter(|text| *text != "off")?;
    match words::host_pattern(text) {
        Ok(HostPattern::Exact(host)) => return Some(host),
        Ok(_) => value.wrong(
            "the host of a preview is one name",
            "write host = \"preview.example.com\", for example",
        ),
        Err(fault) => value.wrong(
            format!("host \"{}\" {}", clip(text), fault.what),
            fault.help,
        ),
    }
    None
}

pub(super) fn changes(lines: &mut Differences, old: &Preview, new: &Preview) {
    let or_off = |text: &Option<String>| text.clone().unwrap_or("off".to_owned());
    lines.value("preview enabled", &old.enabled, &new.enabled);
    lines.value("preview header", &old.header, &new.header);
    match (&old.secret, &new.secret) {
        (Some(_), None) => lines.told("preview secret removed"),
        (None, Some(_)) => lines.told("preview secret added"),
        (old, new) if old != new => lines.told("preview secret changed"),
        _ => {}
    }
    lines.value("preview host", &or_off(&old.host), &or_off(&new.host));
    let networks = Lists {
        old: &old.allow,
        new: &new.allow,
    };
    lines.list("preview network", &networks, ToString::to_string);
    lines.value("preview cookie", &old.cookie, &new.cookie);
    lines.time("preview cookie_age", old.cookie_age, new.cookie_age);
    lines.time("preview link_age", old.link_age, new.link_age);
    lines.value(
        "preview slot_header",
        &or_off(&old.slot_header),
        &or_off(&new.slot_header),
    );
}
