//! Presets: settings that an operator could have written, put where nothing was written.
//!
//! A preset is a config of its own, laid under the operator's before anything is read. So it can do nothing
//! that the operator could not, every key of it can be overridden, and the readers need not know of it.

use super::keys::ODOO;
use super::problem::{At, Report, nearest};
use super::slots::MAIN;
use super::units::parse_duration;
use super::value::{Value, clip};
use crate::switch::ServiceName;
use std::borrow::Cow;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

const ODOO_SETTINGS: &str = include_str!("odoo.toml");
/// The name that stands for the service in a preset.
const PLACEHOLDER: &str = "NAME";
/// The line that the number of workers changes.
const LIMIT: &str = "max_in_flight = 16";
/// That of the warm-up.
const PARALLEL: &str = "parallel = 4";
/// Requests under way for each worker: one that it serves, and one that is there when it has finished.
const IN_FLIGHT_FACTOR: u64 = 2;

/// A service that names a preset.
struct Wish {
    service: String,
    at: At,
    members: Vec<String>,
    max_in_flight: Option<u64>,
    /// Of each Odoo; none where there are threads instead.
    workers: Option<u64>,
}

/// One preset for one service.
pub(super) struct Preset {
    /// A config with that service alone.
    text: String,
    /// Where the preset is named: there its settings stand, as far as problems are told.
    at: At,
}

/// The presets that services name, in the order of the file.
pub(super) fn named(tree: &DeTable<'_>, report: &Report<'_>) -> Vec<Preset> {
    let Some(DeValue::Table(services)) = tree.get("service").map(Spanned::get_ref) else {
        return Vec::new();
    };
    let mut wishes: Vec<Wish> = services
        .iter()
        .filter_map(|(name, service)| wish(name.get_ref(), service, report))
        .collect();
    wishes.sort_by_key(|wish| wish.at.start);
    wishes
        .into_iter()
        .map(|wish| Preset {
            text: settings(&wish),
            at: wish.at,
        })
        .collect()
}

fn wish(name: &str, service: &Spanned<DeValue<'_>>, report: &Report<'_>) -> Option<Wish> {
    let DeValue::Table(entries) = service.get_ref() else {
        return None;
    };
    let value = |key: &str| entries.get(key).map(|value| of(key, value, report));
    let knobs = value("odoo").and_then(|odoo| knobs(&odoo, &clip(name)));
    let Some(preset) = value("preset") else {
        if let Some(odoo) = value("odoo") {
            odoo.wrong(
                format!("[service.{}.odoo] is read for a preset only", clip(name)),
                "add preset = \"odoo\" to the service, or leave this table out",
            );
        }
        return None;
    };
    let text = preset.text().filter(|text| *text != "none")?;
    if text != "odoo" {
        preset.wrong(
            format!("there is no preset \"{}\"", clip(text)),
            match nearest(text, ["odoo"]) {
                Some(_) => "did you mean \"odoo\"?".to_owned(),
                None => "write preset = \"odoo\", or \"none\"".to_owned(),
            },
        );
        return None;
    }
    // A name that cannot be one is told of by its reader.
    name.parse::<ServiceName>().ok()?;
    Some(Wish {
        service: name.to_owned(),
        at: preset.at,
        members: members(entries),
        max_in_flight: knobs.and_then(|knobs| knobs.max_in_flight(servers(entries))),
        workers: knobs
            .and_then(|knobs| knobs.workers)
            .filter(|workers| *workers > 0),
    })
}

fn of<'t>(key: &str, value: &'t Spanned<DeValue<'t>>, report: &'t Report<'t>) -> Value<'t> {
    Value {
        name: Cow::Owned(key.to_owned()),
        example: "\"odoo\"",
        is_item: false,
        at: value.span(),
        node: value.get_ref(),
        report,
    }
}

/// `[service.NAME.odoo]`: what the preset cannot know.
#[derive(Clone, Copy)]
struct Knobs {
    /// As Odoo's own `workers`: 0 is its threaded server.
    workers: Option<u64>,
    in_flight_factor: u64,
}

fn knobs(value: &Value<'_>, service: &str) -> Option<Knobs> {
    let Some(table) = value.as_table(format!("service.{service}.odoo"), &ODOO) else {
        value.is_not(
            "a table",
            format!("write [service.{service}.odoo] on a line of its own, and its keys below"),
        );
        return None;
    };
    Some(Knobs {
        workers: table
            .get("workers")
            .filter(|value| !value.is_word("unknown"))
            .and_then(|value| value.number(0..=1000)),
        in_flight_factor: table.number("in_flight_factor", 1..=64, IN_FLIGHT_FACTOR),
    })
}

impl Knobs {
    /// For so many Odoos in a slot. None where the number of workers says nothing: it is not told, or there are
    /// threads instead.
    fn max_in_flight(self, servers: u64) -> Option<u64> {
        let workers = self.workers.filter(|workers| *workers > 0)?;
        Some(workers * self.in_flight_factor * servers)
    }
}

/// How many addresses the main member has in the slot that has the fewest.
fn servers(service: &DeTable<'_>) -> u64 {
    let slots = table(service, "slots")
        .into_iter()
        .flat_map(DeTable::values);
    let mains = slots.filter_map(|slot| slot.get_ref().as_table()?.get(MAIN));
    let counts = mains.filter_map(|main| Some(main.get_ref().as_array()?.len()));
    counts.min().map_or(1, |count| count.max(1) as u64)
}

/// The members of all slots; the main one is always among them.
fn members(service: &DeTable<'_>) -> Vec<String> {
    let mut members = vec![MAIN.to_owned()];
    if let Some(DeValue::Table(slots)) = service.get("slots").map(Spanned::get_ref) {
        for slot in slots.values() {
            if let DeValue::Table(slot) = slot.get_ref() {
                members.extend(slot.keys().map(|name| name.get_ref().to_string()));
            }
        }
    }
    members
}

/// The text of the preset for one service, without what its slots have no member for.
fn settings(wish: &Wish) -> String {
    let is_there = |name: &str| wish.members.iter().any(|member| member == name);
    let blocks = ODOO_SETTINGS.split("\n\n");
    let mut text = blocks
        .filter(|block| member_of(block).is_none_or(is_there))
        .collect::<Vec<_>>()
        .join("\n\n")
        .replace(PLACEHOLDER, &wish.service);
    if let Some(limit) = wish.max_in_flight {
        text = text.replace(LIMIT, &format!("max_in_flight = {limit}"));
    }
    if let Some(workers) = wish.workers {
        text = text.replace(PARALLEL, &format!("parallel = {workers}"));
    }
    text
}

/// The member that a block of a preset is about; none where it is about all.
fn member_of(block: &str) -> Option<&str> {
    block.lines().find_map(|line| {
        let route = line.strip_prefix("to = \"");
        let table = line
            .strip_prefix("[service.NAME.health.")
            .or(line.strip_prefix("[service.NAME.keepalive."));
        route.or(table)?.split(['"', ']']).next()
    })
}

impl Preset {
    /// Where it is named; no other value stands there.
    pub(super) fn at(&self) -> usize {
        self.at.start
    }

    /// Lays it under `tree`: what is written there stays.
    pub(super) fn lay_under<'t>(&'t self, tree: &mut DeTable<'t>) {
        let preset = DeTable::parse(&self.text).expect("a test reads every preset");
        let mut preset = moved_table(preset.into_inner(), &self.at);
        if let Some(DeValue::Table(services)) = preset.get_mut("service").map(Spanned::get_mut) {
            for (name, service) in &mut *services {
                if let (DeValue::Table(service), Some(written)) = (
                    service.get_mut(),
                    table(tree, "service").and_then(|all| table(all, name.get_ref())),
                ) {
                    give_way(service, written, table(tree, "limits"));
                }
            }
        }
        lay_under(tree, preset);
    }
}

fn table<'v, 't>(entries: &'v DeTable<'t>, key: &str) -> Option<&'v DeTable<'t>> {
    entries.get(key)?.get_ref().as_table()
}

fn table_mut<'v, 't>(entries: &'v mut DeTable<'t>, key: &str) -> Option<&'v mut DeTable<'t>> {
    match entries.get_mut(key)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// What an operator wrote for several things holds for each of them, also where the preset has its own word.
fn give_way(preset: &mut DeTable<'_>, written: &DeTable<'_>, common: Option<&DeTable<'_>>) {
    if let (Some(limits), Some(common)) = (table_mut(preset, "limits"), common) {
        remove(limits, |key| common.contains_key(key));
    }
    if let (Some(flip), Some(written)) = (table_mut(preset, "flip"), table(written, "flip"))
        && written.contains_key("drain_timeout")
    {
        remove(flip, |key| key.starts_with("drain_"));
    }
    for part in ["health", "keepalive"] {
        let (Some(part), Some(written)) = (table_mut(preset, part), table(written, part)) else {
            continue;
        };
        for (_, member) in part {
            if let DeValue::Table(member) = member.get_mut() {
                // Another path for one member says nothing of the others.
                remove(member, |key| {
                    !matches!(key, "path" | "expect_body") && written.contains_key(key)
                });
            }
        }
    }
    let total = table(written, "timeouts").and_then(|timeouts| time(timeouts, "total"));
    if let (Some(timeouts), Some(total)) = (table_mut(preset, "timeouts"), total)
        && time(timeouts, "first_byte").is_some_and(|time| time > total)
    {
        timeouts.remove("first_byte");
    }
}

fn remove(table: &mut DeTable<'_>, what: impl Fn(&str) -> bool) {
    let names = table.keys().map(|name| name.get_ref().to_string());
    for name in names.filter(|name| what(name)).collect::<Vec<_>>() {
        table.remove(&*name);
    }
}

fn time(table: &DeTable<'_>, key: &str) -> Option<Duration> {
    parse_duration(table.get(key)?.get_ref().as_str()?).ok()
}

/// Problems with a preset's values are told where it is named.
fn moved_table<'p>(table: DeTable<'p>, at: &At) -> DeTable<'p> {
    let moved = |(key, value): (Spanned<_>, _)| {
        let key = Spanned::new(at.clone(), key.into_inner());
        (key, moved(value, at))
    };
    table.into_iter().map(moved).collect()
}

fn moved<'p>(value: Spanned<DeValue<'p>>, at: &At) -> Spanned<DeValue<'p>> {
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved_table(table, at)),
        DeValue::Array(items) => {
            let mut all = DeArray::new();
            for item in items {
                all.push(moved(item, at));
            }
            DeValue::Array(all)
        }
        plain => plain,
    };
    Spanned::new(at.clone(), value)
}

fn lay_under<'t>(written: &mut DeTable<'t>, preset: DeTable<'t>) {
    for (key, value) in preset {
        let Some(there) = written.get_mut(&**key.get_ref()) else {
            written.insert(key, value);
            continue;
        };
        match (there.get_mut(), value.into_inner()) {
            (DeValue::Table(there), DeValue::Table(preset)) => lay_under(there, preset),
            (DeValue::Array(there), DeValue::Array(preset)) => add_items(there, preset),
            _ => {}
        }
    }
}

/// Of tables in a list those are added that are about something else than all that are there.
fn add_items<'t>(there: &mut DeArray<'t>, preset: DeArray<'t>) {
    let are_tables = |items: &DeArray<'_>| items.iter().all(|item| item.get_ref().is_table());
    if !are_tables(there) || !are_tables(&preset) {
        return;
    }
    for item in preset {
        let same = |other: &Spanned<DeValue<'_>>| about(other.get_ref()) == about(item.get_ref());
        if !there.iter().any(same) {
            there.push(item);
        }
    }
}

/// What a table in a list is known by.
#[derive(PartialEq)]
struct About<'v> {
    name: Option<&'v str>,
    prefix: Option<&'v str>,
    upgrades_only: bool,
}

fn about<'v>(item: &'v DeValue<'_>) -> About<'v> {
    let text = |key: &str| item.as_table()?.get(key)?.get_ref().as_str();
    let flag = |key: &str| item.as_table()?.get(key)?.get_ref().as_bool();
    About {
        // A gate without a name is called as its kind.
        name: text("name").or_else(|| text("kind")),
        prefix: text("prefix"),
        upgrades_only: flag("upgrades_only").unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Problem, Settings, parse, summary};
    use super::*;
    use crate::config::Service;
    use std::path::Path;

    const ODOO: &str = r#"
[[listener]]
address = "127.0.0.1:0"
[service.erp]
preset = "odoo"
[service.erp.slots.blue]
http = ["127.0.0.1:8069"]
websocket = ["127.0.0.1:8072"]
[service.erp.slots.green]
http = ["127.0.0.1:8169"]
websocket = ["127.0.0.1:8172"]
"#;

    fn try_read(text: &str) -> Result<Settings, Vec<Problem>> {
        parse(text, Path::new("switchd.toml"))
    }

    fn read(more: &str) -> Settings {
        try_read(&format!("{ODOO}{more}"))
            .unwrap_or_else(|problems| panic!("{}", summary(&problems)))
    }

    fn service(more: &str) -> Service {
        read(more).services.remove(0)
    }

    #[test]
    fn a_preset_sets_what_an_operator_could_have_written() {
        let service = service("");
        let [http, websocket] = &service.slots[0].members[..] else {
            panic!("two members")
        };
        assert_eq!(
            (&*http.health.path, &*websocket.health.path),
            ("/web/health", "/websocket/health")
        );
        assert!(!service.keepalive.of(None).enabled);
        assert!(service.keepalive.of(Some(&websocket.name)).enabled);
        let routes: Vec<_> = service.routes.iter().map(|route| &*route.prefix).collect();
        assert_eq!(routes, ["/websocket", "/longpolling", "/"]);
        assert!(service.routes[2].upgrades_only);
    }

    #[test]
    fn what_is_written_wins() {
        let service = service(
            r#"
[service.erp.health]
path = "/mine"
[service.erp.timeouts]
first_byte = "5s"
[service.erp.keepalive.websocket]
enabled = false
[[service.erp.route]]
prefix = "/longpolling"
to = "http"
[[service.erp.route]]
prefix = "/"
upgrades_only = true
to = "http"
"#,
        );
        let [http, websocket] = &service.slots[0].members[..] else {
            panic!("two members")
        };
        assert_eq!(
            (&*http.health.path, &*websocket.health.path),
            ("/mine", "/websocket/health")
        );
        assert_eq!(service.timeouts.first_byte, Duration::from_secs(5));
        assert!(!service.keepalive.of(Some(&websocket.name)).enabled);
        let routes = service
            .routes
            .iter()
            .map(|route| (&*route.prefix, route.to.as_str()));
        let wanted = [
            ("/longpolling", "http"),
            ("/", "http"),
            ("/websocket", "websocket"),
        ];
        assert_eq!(routes.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn one_time_for_all_kinds_beats_the_presets_time_for_each() {
        let service = service(
            r#"
[service.erp.flip]
drain_timeout = "7s"
[service.erp.health]
interval = "1s"
[service.erp.timeouts]
total = "3m"
"#,
        );
        let drains = [service.flip.drain_requests, service.flip.drain_transfers];
        assert_eq!(drains, [Duration::from_secs(7); 2]);
        let text = ODOO.replace(
            "[service.erp]",
            "[limits]\nbody_size = \"3GiB\"\n[service.erp]",
        );
        let limits = try_read(&text).unwrap().services.remove(0).limits;
        assert_eq!(limits.most_body(3 << 30), 3 << 30);
        let intervals = service.slots[0]
            .members
            .iter()
            .map(|member| member.health.interval);
        assert!(intervals.eq([Duration::from_secs(1); 2]));
        assert!(service.timeouts.first_byte < Duration::from_mins(3));
    }

    #[test]
    fn a_flip_waits_as_long_as_an_odoo_may_be_silent() {
        for (keys, seconds) in [
            ("", 720),
            ("[service.erp.timeouts]\nfirst_byte = \"20m\"", 1200),
            ("[service.erp.timeouts]\ntotal = \"1h\"", 3600),
            ("[service.erp.flip]\ndrain_timeout = \"auto\"", 720),
        ] {
            let flip = service(keys).flip;
            let drains = [flip.drain_requests, flip.drain_transfers];
            assert_eq!(drains, [Duration::from_secs(seconds); 2], "{keys}");
        }
    }

    #[test]
    fn an_odoo_without_a_websocket_member_gets_no_route_to_one() {
        let text = ODOO.replace("websocket = [", "# [");
        let settings = try_read(&text).unwrap_or_else(|problems| panic!("{}", summary(&problems)));
        let service = &settings.services[0];
        assert!(service.routes.is_empty());
        assert_eq!(service.slots[0].members.len(), 1);
        assert_eq!(service.slots[0].members[0].health.path, "/web/health");
    }

    #[test]
    fn the_number_of_workers_makes_the_limit() {
        let limit = |knobs: &str| {
            service(&format!("[service.erp.odoo]\n{knobs}\n"))
                .queue
                .max_in_flight
        };
        assert_eq!(service("").queue.max_in_flight, 16);
        assert_eq!(limit("workers = 6"), 12);
        assert_eq!(limit("workers = 6\nin_flight_factor = 1"), 6);
        assert_eq!(limit("workers = 0"), 16, "threads, not workers");
        let own =
            service("[service.erp.odoo]\nworkers = 6\n[service.erp.queue]\nmax_in_flight = 3\n");
        assert_eq!(own.queue.max_in_flight, 3);
    }

    #[test]
    fn as_many_odoos_as_a_slot_has_make_it_too() {
        let text = ODOO
            .replace("http = [", "http = [\"10.0.0.1:8069\", ")
            .replacen("10.0.0.1", "10.0.0.2", 1);
        let text = format!("{text}[service.erp.odoo]\nworkers = 6\n");
        let settings = try_read(&text).unwrap_or_else(|problems| panic!("{}", summary(&problems)));
        assert_eq!(settings.services[0].queue.max_in_flight, 24);
    }

    #[test]
    fn mistakes_are_told_where_they_stand() {
        let words = |text: &str| summary(&try_read(text).unwrap_err());
        let told = words(&ODOO.replace("\"odoo\"", "\"odo\""));
        assert!(
            told.contains("5:10: there is no preset \"odo\"\n  help: did you mean"),
            "{told}"
        );
        let told = words(&format!(
            "{ODOO}[service.erp.flip]\ngate_timeout = \"5s\"\n"
        ));
        assert!(
            told.contains("switchd.toml:5:10: the `timeout` of a check"),
            "{told}"
        );
        let alone = ODOO.replace("preset = \"odoo\"", "");
        let told = words(&format!("{alone}[service.erp.odoo]\nworkers = 2\n"));
        assert!(
            told.contains("[service.erp.odoo] is read for a preset only"),
            "{told}"
        );
        let told = words(&format!("{ODOO}[service.erp.odoo]\nworker = 2\n"));
        assert!(told.contains("did you mean `workers`?"), "{told}");
    }

    #[test]
    fn presets_of_two_services_do_not_meet() {
        let more = ODOO.split_once("[service.erp]").unwrap().1;
        let more = format!("[service.erp]{more}")
            .replace("erp", "shop")
            .replace(":8", ":9");
        let text = format!("{ODOO}{more}").replacen("preset", "hosts = [\"a.example\"]\npreset", 1);
        let settings = try_read(&text).unwrap_or_else(|problems| panic!("{}", summary(&problems)));
        assert_eq!(settings.services.len(), 2);
        assert_eq!(settings.services[0].routes, settings.services[1].routes);
    }
}
