//! How host names are looked up.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::table::Table;
use super::units::format_duration;
use super::value::{Value, Zero, clip};
use crate::net::ResolverSettings;
use std::net::{IpAddr, SocketAddr};

/// More are not asked, as with the C library.
const MOST_SERVERS: usize = 3;
const PORT: u16 = 53;

pub(super) const RESOLVER: Section = section(
    "resolver",
    &[
        key("servers", r#"["10.0.0.53"]"#),
        key("timeout", r#""2s""#),
        key("min_ttl", r#""1s""#),
        key("max_ttl", r#""30s""#),
        key("stale", r#""1d""#),
    ],
);

pub(super) fn read(top: &Table<'_>) -> ResolverSettings {
    let table = top.table("resolver", &RESOLVER);
    let default = ResolverSettings::default();
    let settings = ResolverSettings {
        servers: servers(&table),
        timeout: table
            .get("timeout")
            .filter(|value| !value.is_word("system"))
            .and_then(|value| value.duration(Zero::Refused)),
        min_ttl: table.duration("min_ttl", Zero::Refused, default.min_ttl),
        max_ttl: table.duration("max_ttl", Zero::Refused, default.max_ttl),
        stale: table.duration("stale", Zero::Allowed, default.stale),
    };
    if settings.min_ttl > settings.max_ttl
        && let Some(value) = table.get("min_ttl").or_else(|| table.get("max_ttl"))
    {
        value.wrong(
            format!(
                "`min_ttl` ({}) is longer than `max_ttl` ({})",
                format_duration(settings.min_ttl),
                format_duration(settings.max_ttl)
            ),
            "make `min_ttl` shorter, or `max_ttl` longer",
        );
    }
    settings
}

fn servers(table: &Table<'_>) -> Vec<SocketAddr> {
    let Some(list) = table.get("servers") else {
        return Vec::new();
    };
    let items = list.list().unwrap_or_default();
    if items.len() > MOST_SERVERS {
        list.wrong(
            format!("`servers` names {} name servers", items.len()),
            "name 3 at most: they are asked one after the other",
        );
    }
    let servers = items.iter().filter_map(server);
    servers.collect()
}

fn server(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    let address = text
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, PORT))
        .or_else(|_| text.parse::<SocketAddr>());
    match address {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Some(address),
        _ => {
            value.wrong(
                format!("\"{}\" is no name server", clip(text)),
                "write its IP address, with a port where it is not 53: \"10.0.0.53\", \"127.0.0.1:5353\", \"[::1]:5353\"",
            );
            None
        }
    }
}

pub(super) fn changes(lines: &mut Differences, old: &ResolverSettings, new: &ResolverSettings) {
    let servers = |settings: &ResolverSettings| {
        let servers: Vec<_> = settings.servers.iter().map(ToString::to_string).collect();
        if servers.is_empty() {
            return "of the system".to_owned();
        }
        servers.join(", ")
    };
    lines.value("resolver servers", &servers(old), &servers(new));
    let timeout = |settings: &ResolverSettings| {
        let timeout = settings.timeout.map(format_duration);
        timeout.unwrap_or_else(|| "of the system".to_owned())
    };
    lines.value("resolver timeout", &timeout(old), &timeout(new));
    lines.time("resolver min_ttl", old.min_ttl, new.min_ttl);
    lines.time("resolver max_ttl", old.max_ttl, new.max_ttl);
    lines.time("resolver stale", old.stale, new.stale);
}
