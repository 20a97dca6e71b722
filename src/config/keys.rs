//! Every key there is, in one table: what is not here is unknown.
//!
//! The readers ask for keys by name, suggestions come from here, and a test holds
//! `config/switchd.toml` to it.

use super::access::{ACCESS, BASIC_AUTH};
use super::acme::ACME;
use super::admin_api::{ADMIN_TCP, ADMIN_TOKEN};
use super::buffering::{BUFFERING, SPOOL};
use super::canary::CANARY;
use super::cookies::COOKIES;
use super::cors::CORS;
use super::errors::ERRORS;
use super::gates::{GATE, STEP};
use super::headers::{REQUEST_HEADERS, RESPONSE_HEADERS, SERVICE_HEADERS};
use super::hold::HOLD;
use super::hooks::{HOOK, HOOK_HEADERS};
use super::keepalive::{KEEPALIVE, MEMBER_KEEPALIVE};
use super::listeners::{CERTIFICATE, LISTENER};
use super::maintenance::MAINTENANCE;
use super::preview::PREVIEW;
use super::queue::QUEUE;
use super::rate_limit::RATE_LIMIT;
use super::read_only::READ_ONLY;
use super::resolver::RESOLVER;
use super::service_limits::SERVICE_LIMITS;
use super::upstream_tls::UPSTREAM_TLS;
use super::websocket::WEBSOCKET;

/// One key, with a value as an example for those who wrote something else.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) example: &'static str,
}

/// The keys of one kind of table.
pub(super) struct Section {
    /// How its header is written; capitals stand for names the operator chooses. Empty for the top.
    pub(super) header: &'static str,
    pub(super) keys: &'static [Key],
    pub(super) names: Names,
    /// Written as `[[header]]`, any number of times.
    pub(super) is_repeated: bool,
}

/// What a section holds besides its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    No,
    /// Tables named by the operator, which the section's reader judges.
    Tables,
    /// Values named by the operator, which the section's reader judges.
    Values,
}

impl Section {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(super) fn where_to_write(&self, key: &str) -> String {
        match (self.header, self.is_repeated) {
            ("", _) => format!("`{key}` belongs at the top of the file, before the first [table]"),
            (header, true) => format!("`{key}` belongs in [[{header}]]"),
            (header, false) => format!("`{key}` belongs in [{header}]"),
        }
    }
}

/// Elsewhere: the section that a misplaced key belongs to, when there is exactly one.
pub(super) fn home_of(name: &str) -> Option<&'static Section> {
    let mut homes = SECTIONS
        .iter()
        .filter(|section| section.key(name).is_some());
    match (homes.next(), homes.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

pub(super) const fn key(name: &'static str, example: &'static str) -> Key {
    Key { name, example }
}

pub(super) const fn section(header: &'static str, keys: &'static [Key]) -> Section {
    Section {
        header,
        keys,
        names: Names::No,
        is_repeated: false,
    }
}

pub(super) const fn repeated(header: &'static str, keys: &'static [Key]) -> Section {
    Section {
        is_repeated: true,
        ..section(header, keys)
    }
}

pub(super) const TOP: Section = section(
    "",
    &[
        key("trusted_proxies", r#"["10.0.0.0/8"]"#),
        key("runtime", "[runtime]"),
        key("admin", "[admin]"),
        key("state", "[state]"),
        key("listener", "[[listener]]"),
        key("limits", "[limits]"),
        key("stop", "[stop]"),
        key("log", "[log]"),
        key("cache", "[cache]"),
        key("access_log", "[access_log]"),
        key("acme", "[acme]"),
        key("spool", "[spool]"),
        key("resolver", "[resolver]"),
        key("hook", "[[hook]]"),
        key("service", "[service.NAME]"),
    ],
);

pub(super) const RUNTIME: Section = section("runtime", &[key("workers", "2")]);

pub(super) const ADMIN: Section = section(
    "admin",
    &[
        key("socket", r#""/run/switchd/admin.sock""#),
        key("metrics", r#""127.0.0.1:9145""#),
        key("tcp", "[admin.tcp]"),
        key("token", "[[admin.token]]"),
    ],
);

pub(super) const STATE: Section = section("state", &[key("dir", r#""/var/lib/switchd""#)]);

pub(super) const LIMITS: Section = section(
    "limits",
    &[
        key("header_size", r#""64KiB""#),
        key("header_count", "100"),
        key("header_timeout", r#""10s""#),
        key("idle_timeout", r#""75s""#),
        key("body_size", r#""1GiB""#),
        key("connections", "20000"),
        key("http2_streams", "100"),
        key("connections_per_client", "200"),
        key("min_rate", r#""500B/s""#),
        key("min_rate_grace", r#""1m""#),
    ],
);

pub(super) const STOP: Section = section(
    "stop",
    &[key("grace", r#""1s""#), key("timeout", r#""30s""#)],
);

pub(super) const LOG: Section = section(
    "log",
    &[key("format", r#""text""#), key("filter", r#""info""#)],
);

pub(super) const ACCESS_LOG: Section = section(
    "access_log",
    &[
        key("target", r#""/var/log/switchd/access.log""#),
        key("format", r#""json""#),
    ],
);

pub(super) const SERVICE: Section = section(
    "service.NAME",
    &[
        key("hosts", r#"["erp.example.com"]"#),
        key("initial", r#""blue""#),
        key("preset", r#""odoo""#),
        key("odoo", "[service.NAME.odoo]"),
        key("slots", "[service.NAME.slots.SLOT]"),
        key("route", "[[service.NAME.route]]"),
        key("health", "[service.NAME.health]"),
        key("gate", "[[service.NAME.gate]]"),
        key("flip", "[service.NAME.flip]"),
        key("failback", "[service.NAME.failback]"),
        key("watch", "[service.NAME.watch]"),
        key("shared", "[service.NAME.shared]"),
        key("limits", "[service.NAME.limits]"),
        key("keepalive", "[service.NAME.keepalive]"),
        key("timeouts", "[service.NAME.timeouts]"),
        key("queue", "[service.NAME.queue]"),
        key("hold", "[service.NAME.hold]"),
        key("hold_on_outage", r#""5s""#),
        key("maintenance", "[service.NAME.maintenance]"),
        key("read_only", "[service.NAME.read_only]"),
        key("errors", "[service.NAME.errors]"),
        key("headers", "[service.NAME.headers]"),
        key("cors", "[service.NAME.cors]"),
        key("cookies", "[service.NAME.cookies]"),
        key("canary", "[service.NAME.canary]"),
        key("preview", "[service.NAME.preview]"),
        key("buffering", "[service.NAME.buffering]"),
        key("upstream_tls", "[service.NAME.upstream_tls]"),
        key("websocket", "[service.NAME.websocket]"),
        key("upstream_proxy_protocol", r#""v2""#),
        key("access", "[service.NAME.access]"),
        key("rate_limit", "[[service.NAME.rate_limit]]"),
        key("compression", "[service.NAME.compression]"),
        key("cache", "[service.NAME.cache]"),
        key("sendfile", "[service.NAME.sendfile]"),
        key("deploy", "[service.NAME.deploy]"),
        key("shadow", "[service.NAME.shadow]"),
    ],
);

pub(super) const ODOO: Section = section(
    "service.NAME.odoo",
    &[key("workers", "8"), key("in_flight_factor", "2")],
);

pub(super) const SLOT: Section = Section {
    header: "service.NAME.slots.SLOT",
    keys: &[key("owner", "1000")],
    names: Names::Values,
    is_repeated: false,
};

pub(super) const ROUTE: Section = repeated(
    "service.NAME.route",
    &[
        key("prefix", r#""/websocket""#),
        key("to", r#""websocket""#),
        key("upgrades_only", "true"),
        key("buffer_requests", "true"),
        key("buffer_responses", "true"),
    ],
);

const HEALTH_KEYS: &[Key] = &[
    key("path", r#""/web/health""#),
    key("interval", r#""2s""#),
    key("fast_interval", r#""250ms""#),
    key("timeout", r#""2s""#),
    key("rise", "2"),
    key("fall", "3"),
    key("min_healthy", "1"),
    key("busy_timeout", r#""2m""#),
    key("expect_status", r#"["200-299"]"#),
    key("expect_body", r#""pass""#),
    key("host", r#""erp.example.com""#),
    key("headers", r#"{ X-Probe = "switchd" }"#),
];

pub(super) const HEALTH: Section = Section {
    header: "service.NAME.health",
    keys: HEALTH_KEYS,
    names: Names::Tables,
    is_repeated: false,
};

/// The same keys for one member: not a section of its own, so that [`home_of`] stays certain.
pub(super) const MEMBER_HEALTH: Section = section("service.NAME.health.MEMBER", HEALTH_KEYS);

pub(super) const HEADERS: Section = Section {
    header: "service.NAME.health.headers",
    keys: &[],
    names: Names::Values,
    is_repeated: false,
};

pub(super) const SECRET: Section = section(
    "",
    &[
        key("file", r#""/run/secrets/probe-token""#),
        key("env", r#""PROBE_TOKEN""#),
    ],
);

pub(super) const FLIP: Section = section(
    "service.NAME.flip",
    &[
        key("drain_timeout", r#""30s""#),
        key("drain_requests", r#""30s""#),
        key("drain_transfers", r#""5m""#),
        key("drain_websockets", r#""30s""#),
        key("gate_timeout", r#""30s""#),
    ],
);

pub(super) const FAILBACK: Section = section(
    "service.NAME.failback",
    &[
        key("mode", r#""always""#),
        key("quarantine", r#""5m""#),
        key("acknowledge", "true"),
        key("start_grace", r#""30s""#),
        key("shared_grace", r#""30s""#),
        key("max_moves", "3"),
        key("window", r#""1h""#),
    ],
);

pub(super) const SHARED: Section = section(
    "service.NAME.shared",
    &[
        key("tcp", r#""127.0.0.1:5432""#),
        key("interval", r#""2s""#),
        key("timeout", r#""2s""#),
    ],
);

pub(super) const TIMEOUTS: Section = section(
    "service.NAME.timeouts",
    &[
        key("connect", r#""5s""#),
        key("first_byte", r#""60s""#),
        key("idle", r#""60s""#),
        key("total", r#""10m""#),
        key("tunnel_idle", r#""10m""#),
    ],
);

/// Every section with keys of its own.
pub(super) const SECTIONS: &[&Section] = &[
    &TOP,
    &RUNTIME,
    &ADMIN,
    &ADMIN_TCP,
    &ADMIN_TOKEN,
    &STATE,
    &ACME,
    &LISTENER,
    &CERTIFICATE,
    &LIMITS,
    &STOP,
    &LOG,
    &ACCESS_LOG,
    &SPOOL,
    &RESOLVER,
    &HOOK,
    &SERVICE,
    &ODOO,
    &ROUTE,
    &HEALTH,
    &GATE,
    &STEP,
    &FLIP,
    &FAILBACK,
    &SHARED,
    &SERVICE_LIMITS,
    &KEEPALIVE,
    &TIMEOUTS,
    &QUEUE,
    &HOLD,
    &MAINTENANCE,
    &READ_ONLY,
    &ERRORS,
    &SERVICE_HEADERS,
    &REQUEST_HEADERS,
    &RESPONSE_HEADERS,
    &CORS,
    &COOKIES,
    &CANARY,
    &PREVIEW,
    &BUFFERING,
    &UPSTREAM_TLS,
    &WEBSOCKET,
    &ACCESS,
    &BASIC_AUTH,
    &RATE_LIMIT,
    &super::compression::COMPRESSION,
    &super::cache::CACHE_ROOM,
    &super::cache::CACHE,
    &super::sendfile::SENDFILE,
    &super::watch::WATCH,
    &super::watch::CRITICAL,
    &super::watch::WARNING,
    &super::deploy::DEPLOY,
    &super::deploy_steps::DEPLOY_STEP,
    &super::shadow::SHADOW,
];

/// The tables of names that the operator chose, which are no home for a misplaced key.
pub(super) const NAMED_SECTIONS: &[&Section] = &[
    &SLOT,
    &MEMBER_HEALTH,
    &HEADERS,
    &MEMBER_KEEPALIVE,
    &HOOK_HEADERS,
    &super::deploy_steps::DEPLOY_ENV,
];

#[cfg(test)]
mod tests {
    use super::super::documented::{uncommented, with_examples};
    use super::super::{Settings, parse, summary};
    use super::*;
    use std::path::Path;
    use toml::Value;

    const DOCUMENTED: &str = include_str!("../../config/switchd.toml");

    fn read(text: &str) -> Settings {
        parse(text, Path::new("config/switchd.toml"))
            .unwrap_or_else(|problems| panic!("{}", summary(&problems)))
    }

    #[test]
    fn every_documented_default_is_the_default() {
        let text = uncommented();
        assert_ne!(text, DOCUMENTED, "nothing was uncommented");
        assert_eq!(read(&text), read(DOCUMENTED));
    }

    #[test]
    fn every_key_is_documented() {
        let tree = Value::Table(toml::from_str(&with_examples()).unwrap());
        let mut found = 0;
        for section in SECTIONS.iter().chain([&&MEMBER_HEALTH, &&MEMBER_KEEPALIVE]) {
            let parts = section.header.split('.').filter(|part| !part.is_empty());
            let places = parts.fold(tables(&tree), |places, part| {
                let inside = |place| within(place, part);
                places
                    .into_iter()
                    .filter_map(inside)
                    .flat_map(tables)
                    .collect()
            });
            for key in section.keys {
                let header = section.header;
                let documented = places.iter().any(|place| place.contains_key(key.name));
                assert!(documented, "{} in [{header}] is not documented", key.name);
                found += 1;
            }
        }
        assert!(found > 60, "found only {found} keys");
    }

    fn within<'v>(place: &'v toml::Table, part: &str) -> Option<&'v Value> {
        match part {
            "MEMBER" => place.get("websocket"),
            name if name.chars().all(|c| c.is_ascii_uppercase()) => place.values().next(),
            name => place.get(name),
        }
    }

    /// It, or each of the list.
    fn tables(value: &Value) -> Vec<&toml::Table> {
        match value {
            Value::Array(items) => items.iter().map(|item| item.as_table().unwrap()).collect(),
            other => vec![other.as_table().unwrap()],
        }
    }

    /// A file that is read must be there.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as `filter` calls it")]
    fn is_no_file(key: &&Key) -> bool {
        let files = ["users", "page", "password", "url_file", "secret_file"];
        !files.contains(&key.name) && !key.name.ends_with("_env")
    }

    /// Each kind of gate has keys of its own.
    fn is_kind_of_gate(section: &Section, key: &Key) -> bool {
        section.header == GATE.header && key.name == "kind"
    }

    #[test]
    fn every_example_that_help_shows_can_be_written() {
        let text = with_examples();
        let mut tried = 0;
        for section in SECTIONS {
            let header = section.header.replace("NAME", "odoo");
            for key in section.keys.iter().filter(is_no_file) {
                // Of these two one asks for the other.
                let text = match (section.header, key.name) {
                    _ if is_kind_of_gate(section, key) => continue,
                    ("acme", "hosts") => text.replace("acme = false", "acme = true"),
                    ("listener", "acme") => {
                        text.replacen("hosts = []", "hosts = [\"a.example\"]", 1)
                    }
                    _ => text.clone(),
                };
                let mut inside = header.is_empty();
                let mut replaced = false;
                let mut changed = String::new();
                for line in text.lines() {
                    if line.starts_with('[') {
                        inside = line.trim_matches(['[', ']']) == header;
                    }
                    match line.split_once(" = ") {
                        Some((name, _)) if inside && name == key.name => {
                            replaced = true;
                            changed += &[name, " = ", key.example].concat();
                        }
                        _ => changed += line,
                    }
                    changed += "\n";
                }
                tried += usize::from(replaced);
                read(&changed);
            }
        }
        assert!(tried > 50, "tried only {tried} examples");
    }
}
