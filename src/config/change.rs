//! What a reload changes, in words for the operator.

use super::access;
use super::acme;
use super::admin_api;
use super::buffering;
use super::cache;
use super::canary;
use super::compression;
use super::cookies;
use super::cors;
use super::deploy;
use super::errors;
use super::gates;
use super::headers;
use super::hold;
use super::hooks;
use super::keepalive;
use super::listeners;
use super::maintenance;
use super::preview;
use super::queue;
use super::rate_limit;
use super::read_only;
use super::resolver;
use super::sendfile;
use super::service_limits;
use super::settings::{AccessLog, AccessLogTarget, HostPattern, Route, Service, Settings};
use super::shadow;
use super::slot_changes;
use super::units::{format_duration, format_size};
use super::upstream_tls;
use super::watch;
use super::websocket;
use super::welcome;
use crate::switch::FailbackMode;
use std::fmt;
use std::time::Duration;

/// The difference between two configs, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Holds from the reload on.
    pub applied: Vec<String>,
    /// Holds after the next start only; until then the old value does.
    pub needs_restart: Vec<String>,
}

impl Change {
    /// What differs in `new`. No secret is ever told, only that it changed.
    #[must_use]
    pub fn between(old: &Settings, new: &Settings) -> Self {
        let mut change = Self {
            needs_restart: process(old, new).lines,
            ..Self::default()
        };
        let mut live = Differences::default();
        limits(&mut live, old, new);
        listeners::applied(&mut live, &old.listeners, &new.listeners);
        admin_api::changes(&mut live, &old.admin_api, &new.admin_api);
        resolver::changes(&mut live, &old.resolver, &new.resolver);
        hooks::changes(&mut live, &old.hooks, &new.hooks);
        services(&mut live, &old.services, &new.services);
        change.applied = live.lines;
        change
    }

    /// Nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.needs_restart.is_empty()
    }
}

/// Lines gathered under a prefix such as `service odoo: `.
#[derive(Default)]
pub(super) struct Differences {
    pub(super) prefix: String,
    pub(super) lines: Vec<String>,
}

impl Differences {
    pub(super) fn told(&mut self, line: impl fmt::Display) {
        self.lines.push(format!("{}{line}", self.prefix));
    }

    pub(super) fn value<T: PartialEq + fmt::Display>(&mut self, name: &str, old: &T, new: &T) {
        if old != new {
            self.told(format_args!("{name} {old} -> {new}"));
        }
    }

    pub(super) fn time(&mut self, name: &str, old: Duration, new: Duration) {
        if old != new {
            let (old, new) = (format_duration(old), format_duration(new));
            self.told(format_args!("{name} {old} -> {new}"));
        }
    }

    /// Additions and removals of things that are what they are called.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        kind: &str,
        lists: &Lists<'_, T>,
        show: fn(&T) -> String,
    ) {
        for gone in lists.old.iter().filter(|one| !lists.new.contains(one)) {
            self.told(format_args!("{kind} {} removed", show(gone)));
        }
        for added in lists.new.iter().filter(|one| !lists.old.contains(one)) {
            self.told(format_args!("{kind} {} added", show(added)));
        }
    }
}

pub(super) struct Lists<'l, T> {
    pub(super) old: &'l [T],
    pub(super) new: &'l [T],
}

fn process(old: &Settings, new: &Settings) -> Differences {
    let mut lines = Differences::default();
    listeners::needs_restart(&mut lines, &old.listeners, &new.listeners);
    lines.value("workers", &old.runtime.workers, &new.runtime.workers);
    lines.value(
        "admin socket",
        &old.admin.socket.display().to_string(),
        &new.admin.socket.display().to_string(),
    );
    let metrics = |settings: &Settings| match settings.admin.metrics {
        Some(address) => address.to_string(),
        None => "off".to_owned(),
    };
    lines.value("admin metrics", &metrics(old), &metrics(new));
    admin_api::needs_restart(&mut lines, &old.admin_api, &new.admin_api);
    lines.value(
        "state dir",
        &old.state.dir.display().to_string(),
        &new.state.dir.display().to_string(),
    );
    buffering::dir_changes(&mut lines, &old.spool, &new.spool);
    lines.value(
        "access log",
        &shown_log(&old.access_log),
        &shown_log(&new.access_log),
    );
    lines.value(
        "log format",
        &format!("{:?}", old.log.format).to_lowercase(),
        &format!("{:?}", new.log.format).to_lowercase(),
    );
    lines
        .lines
        .extend(acme::difference(&old.acme, &new.acme).map(str::to_owned));
    lines.value("log filter", &old.log.filter, &new.log.filter);
    lines
}

fn shown_log(log: &AccessLog) -> String {
    let format = format!("{:?}", log.format).to_lowercase();
    match &log.target {
        AccessLogTarget::Off => "off".to_owned(),
        AccessLogTarget::Stdout => format!("stdout ({format})"),
        AccessLogTarget::File(path) => format!("{} ({format})", path.display()),
    }
}

fn limits(lines: &mut Differences, old: &Settings, new: &Settings) {
    let (a, b) = (&old.limits, &new.limits);
    let size = |bytes: usize| format_size(bytes as u64);
    let body = |bytes: u64| match bytes {
        0 => "none".to_owned(),
        bytes => format_size(bytes),
    };
    lines.value("header_size", &size(a.header_bytes), &size(b.header_bytes));
    lines.value("header_count", &a.header_count, &b.header_count);
    lines.time("header_timeout", a.header_timeout, b.header_timeout);
    lines.time("idle_timeout", a.idle_timeout, b.idle_timeout);
    lines.value("body_size", &body(a.body_bytes), &body(b.body_bytes));
    lines.value("connections", &a.connections, &b.connections);
    cache::room_changes(lines, old.cache, new.cache);
    lines.value("http2_streams", &a.http2_streams, &b.http2_streams);
    lines.value(
        "connections_per_client",
        &a.connections_per_client,
        &b.connections_per_client,
    );
    let rate = |bytes: u64| match bytes {
        0 => "off".to_owned(),
        bytes => format!("{}/s", format_size(bytes)),
    };
    lines.value("min_rate", &rate(a.min_rate), &rate(b.min_rate));
    lines.time("min_rate_grace", a.min_rate_grace, b.min_rate_grace);
    lines.time("stop grace", old.stop.grace, new.stop.grace);
    lines.time("stop timeout", old.stop.timeout, new.stop.timeout);
    buffering::limit_changes(lines, &old.spool, &new.spool);
    lines.list(
        "trusted proxy",
        &Lists {
            old: &old.trusted_proxies,
            new: &new.trusted_proxies,
        },
        ToString::to_string,
    );
}

fn services(lines: &mut Differences, old: &[Service], new: &[Service]) {
    for service in new {
        match old.iter().find(|other| other.name == service.name) {
            Some(before) => {
                lines.prefix = format!("service {}: ", service.name);
                one_service(lines, before, service);
                lines.prefix.clear();
            }
            None => lines.told(format_args!("service {} added", service.name)),
        }
    }
    for service in old {
        if !new.iter().any(|other| other.name == service.name) {
            lines.told(format_args!("service {} removed", service.name));
        }
    }
}

fn one_service(lines: &mut Differences, old: &Service, new: &Service) {
    let before = lines.lines.len();
    lines.list(
        "host",
        &Lists {
            old: &old.hosts,
            new: &new.hosts,
        },
        HostPattern::to_string,
    );
    if old.initial != new.initial {
        lines.told(format_args!(
            "initial {} -> {} (for a start without state; moves no traffic)",
            old.initial, new.initial
        ));
    }
    slot_changes::slots(lines, &old.slots, &new.slots);
    let routes = |service: &Service| -> Vec<String> {
        let routes = service.routes.iter();
        routes.map(shown_route).collect()
    };
    lines.list(
        "route",
        &Lists {
            old: &routes(old),
            new: &routes(new),
        },
        String::clone,
    );
    rules(lines, old, new);
    welcome::upstream_changes(
        lines,
        old.upstream_proxy_protocol,
        new.upstream_proxy_protocol,
    );
    access::changes(lines, &old.access, &new.access);
    rate_limit::changes(lines, &old.rate_limits, &new.rate_limits);
    // The order of routes, hosts or slots alone: nothing above has words for it.
    if lines.lines.len() == before && old != new {
        lines.told("order changed");
    }
}

fn shown_route(route: &Route) -> String {
    let only = if route.upgrades_only {
        " (upgrades only)"
    } else {
        ""
    };
    format!("{} -> {}{only}", route.prefix, route.to)
}

fn rules(lines: &mut Differences, old: &Service, new: &Service) {
    service_limits::changes(lines, &old.limits, &new.limits);
    keepalive::changes(lines, &old.keepalive, &new.keepalive);
    let (a, b) = (&old.timeouts, &new.timeouts);
    lines.time("timeouts connect", a.connect, b.connect);
    lines.time("timeouts first_byte", a.first_byte, b.first_byte);
    lines.time("timeouts idle", a.idle, b.idle);
    let total = |total: Option<Duration>| total.map_or("none".to_owned(), format_duration);
    lines.value("timeouts total", &total(a.total), &total(b.total));
    lines.time("timeouts tunnel_idle", a.tunnel_idle, b.tunnel_idle);
    queue::changes(lines, &old.queue, &new.queue);
    hold::changes(lines, &old.hold, &new.hold);
    shadow::changes(lines, &old.shadow, &new.shadow);
    maintenance::changes(lines, &old.maintenance, &new.maintenance);
    read_only::changes(lines, &old.read_only, &new.read_only);
    errors::changes(lines, &old.errors, &new.errors);
    headers::changes(lines, &old.headers, &new.headers);
    cors::changes(lines, &old.cors, &new.cors);
    cookies::changes(lines, &old.cookies, &new.cookies);
    canary::changes(lines, &old.canary, &new.canary);
    preview::changes(lines, &old.preview, &new.preview);
    buffering::changes(lines, old, new);
    compression::changes(lines, &old.compression, &new.compression);
    cache::changes(lines, &old.cache, &new.cache);
    sendfile::changes(lines, &old.sendfile, &new.sendfile);
    deploy::changes(lines, &old.deploy, &new.deploy);
    gates::changes(lines, &old.gates, &new.gates);
    let (a, b) = (&old.flip, &new.flip);
    lines.time("flip drain_requests", a.drain_requests, b.drain_requests);
    lines.time("flip drain_transfers", a.drain_transfers, b.drain_transfers);
    lines.time(
        "flip drain_websockets",
        a.drain_websockets,
        b.drain_websockets,
    );
    lines.time("flip gate_timeout", a.gate_timeout, b.gate_timeout);
    let (a, b) = (&old.failback, &new.failback);
    let mode = |mode| match mode {
        FailbackMode::Always => "always",
        FailbackMode::AfterFlip => "after-flip",
        FailbackMode::Off => "off",
    };
    lines.value("failback mode", &mode(a.mode), &mode(b.mode));
    lines.time("failback quarantine", a.quarantine, b.quarantine);
    lines.value("failback acknowledge", &a.acknowledge, &b.acknowledge);
    lines.time("failback start_grace", a.start_grace, b.start_grace);
    lines.time("failback shared_grace", a.shared_grace, b.shared_grace);
    lines.value("failback max_moves", &a.max_moves, &b.max_moves);
    lines.time("failback window", a.window, b.window);
    watch::changes(lines, &old.watch, &new.watch);
    upstream_tls::changes(lines, old.upstream_tls.as_ref(), new.upstream_tls.as_ref());
    lines.value("shared", &shown_shared(old), &shown_shared(new));
    websocket::changes(lines, &old.websocket, &new.websocket);
}

fn shown_shared(service: &Service) -> String {
    let none = if service.shares_nothing {
        "nothing"
    } else {
        "off"
    };
    service.shared.as_ref().map_or(none.to_owned(), |shared| {
        format!(
            "{} every {} within {}",
            shared.tcp,
            format_duration(shared.interval),
            format_duration(shared.timeout)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::{parse, summary};
    use super::*;
    use std::path::Path;

    const BASE: &str = r#"
trusted_proxies = ["10.0.0.0/8"]
[runtime]
workers = 2
[[listener]]
address = "127.0.0.1:8080"
[service.web]
hosts = ["a.example"]
[service.web.slots.blue]
http = ["127.0.0.1:3000"]
ws = ["127.0.0.1:3001"]
[service.web.slots.green]
http = ["127.0.0.1:4000"]
ws = ["127.0.0.1:4001"]
[[service.web.route]]
prefix = "/ws"
to = "ws"
[service.web.health.headers]
X-Token = "hunter2"
[service.web.timeouts]
total = "90s"
"#;

    /// What becomes what, and what is said of it.
    struct Edit {
        old: &'static str,
        new: &'static str,
        words: &'static str,
    }

    const fn edit(old: &'static str, new: &'static str, words: &'static str) -> Edit {
        Edit { old, new, words }
    }

    fn read(text: &str) -> Settings {
        parse(text, Path::new("switchd.toml"))
            .unwrap_or_else(|problems| panic!("{}", summary(&problems)))
    }

    fn told(edit: &Edit) -> Change {
        assert!(BASE.contains(edit.old), "{}", edit.old);
        Change::between(&read(BASE), &read(&BASE.replace(edit.old, edit.new)))
    }

    #[test]
    fn the_same_config_is_no_change() {
        assert!(Change::between(&read(BASE), &read(BASE)).is_empty());
    }

    #[test]
    fn how_names_are_looked_up_applies_at_once() {
        let edit = edit(
            "[runtime]",
            "[resolver]\nservers = [\"127.0.0.1:5353\", \"::1\"]\nmax_ttl = \"1m\"\n[runtime]",
            "resolver servers of the system -> 127.0.0.1:5353, [::1]:53\nresolver max_ttl 30s -> 1m",
        );
        assert_eq!(told(&edit).applied.join("\n"), edit.words);
    }

    #[test]
    fn what_applies_at_once_is_told_with_old_and_new() {
        for edit in [
            edit(
                r#"["127.0.0.1:3000"]"#,
                r#"["127.0.0.1:3000", "127.0.0.1:3009"]"#,
                "service web: slot blue http 127.0.0.1:3000 -> 127.0.0.1:3000, 127.0.0.1:3009",
            ),
            edit(
                r#"total = "90s""#,
                r#"total = "none""#,
                "service web: timeouts total 1m30s -> none\n\
                 service web: flip drain_requests 1m30s -> 1m\nservice web: flip drain_transfers 1m30s -> 1m",
            ),
            edit(
                r#"["a.example"]"#,
                r#"["a.example", "b.example"]"#,
                "service web: host b.example added",
            ),
            edit(
                "to = \"ws\"",
                "to = \"ws\"\nupgrades_only = true",
                "service web: route /ws -> ws removed\nservice web: route /ws -> ws (upgrades only) added",
            ),
            edit(
                "hosts = ",
                "initial = \"green\"\nhosts = ",
                "service web: initial blue -> green (for a start without state; moves no traffic)",
            ),
            edit(
                "[service.web.health.headers]",
                "[service.web.health.ws]\nrise = 5\n[service.web.health.headers]",
                "service web: health of ws: rise 2 -> 5",
            ),
            edit(
                r#"["10.0.0.0/8"]"#,
                "[]",
                "trusted proxy 10.0.0.0/8 removed",
            ),
            edit(
                "[runtime]",
                "[limits]\nbody_size = \"none\"\n[runtime]",
                "body_size 1GiB -> none",
            ),
            edit(
                "[runtime]",
                "[spool]\nmax_size = \"9GiB\"\n[runtime]",
                "spool max_size 4GiB -> 9GiB",
            ),
            edit(
                "[service.web.timeouts]",
                "[service.web.buffering]\nrequests = true\n[service.web.timeouts]",
                "service web: buffering requests false -> true",
            ),
            edit(
                "to = \"ws\"",
                "to = \"ws\"\nbuffer_responses = true",
                "service web: route /ws -> ws: buffer_responses false -> true",
            ),
            edit(
                "[service.web.timeouts]",
                "[service.web.shared]\ntcp = \"db:5432\"\n[service.web.timeouts]",
                "service web: shared off -> db:5432 every 2s within 2s",
            ),
        ] {
            let change = told(&edit);
            assert_eq!(change.applied.join("\n"), edit.words);
            assert_eq!(change.needs_restart, Vec::<String>::new());
        }
    }

    #[test]
    fn what_needs_a_restart_is_told_apart() {
        for edit in [
            edit("workers = 2", "workers = 3", "workers 2 -> 3"),
            edit(
                "127.0.0.1:8080",
                "127.0.0.1:8081",
                "listener 127.0.0.1:8080 removed\nlistener 127.0.0.1:8081 added",
            ),
            edit(
                "[runtime]",
                "[admin]\nsocket = \"/tmp/s\"\n[runtime]",
                "admin socket /run/switchd/admin.sock -> /tmp/s",
            ),
            edit(
                "[runtime]",
                "[admin]\nmetrics = \"127.0.0.1:9145\"\n[runtime]",
                "admin metrics off -> 127.0.0.1:9145",
            ),
            edit(
                "[runtime]",
                "[state]\ndir = \"/tmp\"\n[runtime]",
                "state dir /var/lib/switchd -> /tmp\nspool dir /var/lib/switchd/spool -> /tmp/spool",
            ),
            edit(
                "[runtime]",
                "[spool]\ndir = \"/big/spool\"\n[runtime]",
                "spool dir /var/lib/switchd/spool -> /big/spool",
            ),
            edit(
                "[runtime]",
                "[access_log]\ntarget = \"stdout\"\n[runtime]",
                "access log off -> stdout (json)",
            ),
            edit(
                "[runtime]",
                "[log]\nformat = \"json\"\nfilter = \"debug\"\n[runtime]",
                "log format text -> json\nlog filter info -> debug",
            ),
        ] {
            let change = told(&edit);
            assert_eq!(change.needs_restart.join("\n"), edit.words);
            assert_eq!(change.applied, Vec::<String>::new());
        }
    }

    #[test]
    fn services_and_slots_come_and_go() {
        let more = BASE.to_owned()
            + r#"
[service.web.slots.red]
http = ["127.0.0.1:5000"]
ws = ["127.0.0.1:5001"]
[service.api.slots.a]
http = ["127.0.0.1:6000"]
[service.api.slots.b]
http = ["127.0.0.1:6001"]
"#;
        let forth = Change::between(&read(BASE), &read(&more));
        assert_eq!(
            forth.applied,
            ["service web: slot red added", "service api added"]
        );
        let back = Change::between(&read(&more), &read(BASE));
        assert_eq!(
            back.applied,
            ["service web: slot red removed", "service api removed"]
        );
    }

    #[test]
    fn a_changed_secret_is_told_without_its_value() {
        let change = told(&edit("hunter2", "hunter3", ""));
        assert_eq!(
            change.applied,
            [
                "service web: health of http: headers changed",
                "service web: health of ws: headers changed"
            ]
        );
    }

    #[test]
    fn no_difference_goes_untold() {
        let documented = super::super::documented::with_examples().replace("\"off\"", "\"/dev/x\"");
        let text = documented
            .replace("client_auth = \"/dev/x\"", "client_auth = \"optional\"")
            .replace("client_ca = \"\"", "client_ca = \"/dev/x\"")
            .replace(
                "upstream_tls]\nenabled = false",
                "upstream_tls]\nenabled = true",
            )
            .replace("tcp = \"unknown\"", "tcp = \"db:5432\"")
            .replace("metrics = \"/dev/x\"", "metrics = \"127.0.0.1:9145\"")
            .replace("p99 = \"/dev/x\"", "p99 = \"9s\"")
            .replace("latency_rise = \"/dev/x\"", "latency_rise = \"9%\"")
            .replace("address = \"/dev/x\"", "address = \"127.0.0.1:9146\"")
            .replace("busy_timeout = \"/dev/x\"", "busy_timeout = \"50s\"")
            // Read for a preset only, and this is none.
            .replace("[service.odoo.odoo]\n", "")
            .replace("workers = \"unknown\"\n", "")
            .replace("in_flight_factor = 2\n", "")
            .replace(
                "upstream_proxy_protocol = \"/dev/x\"",
                "upstream_proxy_protocol = \"off\"",
            )
            .replace("smoke_test = \"/dev/x\"", "smoke_test = \"off\"")
            .replace("hsts = \"/dev/x\"", "hsts = \"365d\"")
            .replace("rate = \"/dev/x\"", "rate = \"10r/m\"")
            .replace("secret = \"/dev/x\"", "secret = \"tell nobody\"")
            .replace("\nhost = \"/dev/x\"", "\nhost = \"preview.example.com\"")
            .replace("slot_header = \"/dev/x\"", "slot_header = \"X-Slot\"")
            .replace("users = \"/dev/x\"", &format!("users = \"{USERS}\""));
        let before = read(&text);
        let lines: Vec<&str> = text.lines().collect();
        let mut tried = 0;
        for (number, line) in lines.iter().enumerate() {
            let Some(other) = another(line).filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let mut changed = lines.clone();
            changed[number] = &other;
            let Ok(after) = parse(&changed.join("\n"), Path::new("switchd.toml")) else {
                continue;
            };
            if before == after {
                // Each kind has its own budget here; any other key must matter.
                assert!(line.starts_with("drain_timeout"), "never read: {other}");
                continue;
            }
            tried += 1;
            let change = Change::between(&before, &after);
            assert!(!change.is_empty(), "untold: {other}");
            assert!(
                !change.applied.iter().any(|line| line.contains("order")),
                "no words for: {other}"
            );
        }
        assert!(tried > 60, "only {tried} lines made a difference");
    }

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/error.html");
    const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/users");

    const LISTS_OF_PATHS: [&str; 8] = [
        "blocked",
        "paths",
        "open_paths",
        "pass",
        "pass_while_draining",
        "method_paths",
        "exclude",
        "calls",
    ];

    /// The same key with another value of its kind.
    fn another(line: &str) -> Option<String> {
        let (key, value) = line.split_once(" = ")?;
        let other = match (key, value) {
            ("workers", _) => "200".to_owned(),
            ("origin", _) => r#""https://b.example""#.to_owned(),
            ("method", _) => r#""POST""#.to_owned(),
            ("member", _) => r#""http""#.to_owned(),
            ("smoke_test", _) => r#""always""#.to_owned(),
            ("servers", _) => r#"["10.0.0.53"]"#.to_owned(),
            ("timeout", r#""system""#) => r#""7s""#.to_owned(),
            ("modules" | "models", _) => r#"["sale"]"#.to_owned(),
            ("expect_headers", _) => r#"{ x-version = "1" }"#.to_owned(),
            ("expect_json", _) => r#"{ "/a" = 1 }"#.to_owned(),
            ("expect_json_exists", _) => r#"["/a"]"#.to_owned(),
            ("capture", _) => r#"{ a = "cookie:b" }"#.to_owned(),
            ("hosts", _) => r#"["a.example"]"#.to_owned(),
            ("initial", _) => r#""green""#.to_owned(),
            ("on_flip", _) => r#""keep""#.to_owned(),
            ("close_code", _) => "4002".to_owned(),
            ("spread", _) => r#""5s""#.to_owned(),
            ("mode" | "metrics", _) => r#""off""#.to_owned(),
            ("severity" | "filter", _) => r#""warn""#.to_owned(),
            ("format", r#""text""#) => r#""json""#.to_owned(),
            ("format", _) => r#""combined""#.to_owned(),
            ("total", _) => r#""10m""#.to_owned(),
            ("fast_interval", _) => r#""200ms""#.to_owned(),
            ("steps", _) => r#"["5% 10m"]"#.to_owned(),
            ("trusted_proxies", _) => r#"["::1"]"#.to_owned(),
            ("expect_status", _) => "[204]".to_owned(),
            ("expect_body" | "host" | "close_reason", _) => r#""other""#.to_owned(),
            ("min_rate", _) => r#""1KiB/s""#.to_owned(),
            ("kind", r#""json""#) => r#""slack""#.to_owned(),
            ("url", _) => r#""https://other.example""#.to_owned(),
            ("events", _) => r#"["failback"]"#.to_owned(),
            ("services", _) => r#"["odoo"]"#.to_owned(),
            ("role", _) => r#""operate""#.to_owned(),
            ("kind", _) => r#""redirect""#.to_owned(),
            ("redirect_port", _) => "8443".to_owned(),
            ("upstream_proxy_protocol", _) => r#""v2""#.to_owned(),
            ("page", _) => format!("\"{PAGE}\""),
            ("users", _) => format!("\"{USERS}.more\""),
            ("rate" | "attempts", _) => r#""20r/m""#.to_owned(),
            ("key", _) => r#""path""#.to_owned(),
            ("ipv4_prefix", _) => "24".to_owned(),
            ("methods", _) => r#"["GET"]"#.to_owned(),
            (key, _) if LISTS_OF_PATHS.contains(&key) => r#"["/x"]"#.to_owned(),
            ("proxy_protocol" | "allow" | "deny" | "blocked_allow" | "open_to" | "except", _) => {
                r#"["10.0.0.0/8"]"#.to_owned()
            }
            ("headers" | "exposed" | "remove", "[]") => r#"["X-Other"]"#.to_owned(),
            (
                "names" | "ignored_errors" | "shared_errors" | "known_cookies" | "hash_headers",
                _,
            ) => r#"["other"]"#.to_owned(),
            ("origins", _) => r#"["https://a.example"]"#.to_owned(),
            ("same_site", _) => r#""strict""#.to_owned(),
            ("headers" | "set" | "add", _) => r#"{ X-Other = "1" }"#.to_owned(),
            ("header_size" | "body_size", _) => r#""128KiB""#.to_owned(),
            ("client_auth", _) => r#""required""#.to_owned(),
            ("tls_min", _) => r#""1.3""#.to_owned(),
            ("ca", _) => r#""/other.pem""#.to_owned(),
            ("server_name", _) => r#""other.example""#.to_owned(),
            ("tcp", _) => r#""db:5433""#.to_owned(),
            ("members", _) => r#"["http"]"#.to_owned(),
            ("address", _) => r#""0.0.0.0:8081""#.to_owned(),
            ("codings", _) => r#"["br", "zstd"]"#.to_owned(),
            ("types", _) => r#"["text/*"]"#.to_owned(),
            ("run" | "undo", _) => r#"["/bin/other"]"#.to_owned(),
            ("env", _) => r#"{ OTHER = "1" }"#.to_owned(),
            ("keep_on_flip", _) => r#""all""#.to_owned(),
            ("zstd_level" | "brotli_level" | "gzip_level", _) => "7".to_owned(),
            ("prefix", r#""""#) => r#""/other""#.to_owned(),
            (_, "true") => "false".to_owned(),
            (_, "false") => "true".to_owned(),
            (_, path) if path.starts_with("\"/") => path.replacen("\"/", "\"/other/", 1),
            (_, list) if list.starts_with('[') => list.replace("127.0.0.1", "127.0.0.2"),
            (_, number) if number.parse::<u32>().is_ok() => format!("{number}1"),
            (_, time) => time.replacen('"', "\"1", 1),
        };
        Some(format!("{key} = {other}"))
    }
}
