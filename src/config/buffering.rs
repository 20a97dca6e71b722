//! Which bodies are kept for the slower side, and where.

use super::change::Differences;
use super::keys::Section;
use super::keys::key;
use super::keys::section;
use super::settings::{Route, Service};
use super::table::Table;
use super::units::format_size;
use std::path::Path;
use std::path::PathBuf;

/// The folder of bodies in the state directory, where no other one is named.
const FOLDER: &str = "spool";
const LEAST_MEMORY: u64 = 1 << 10;
const MOST_MEMORY: u64 = 16 << 20;

/// Where bodies lie that are longer than what is kept in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Spooling {
    pub dir: PathBuf,
    /// Bytes on disk, of all bodies together.
    pub max_size: u64,
    /// Bytes in memory, of all bodies together; with more, each goes to disk sooner.
    pub max_memory: u64,
}

/// What a service does with bodies that one side sends faster than the other takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffering {
    /// Requests are received whole before they ask for a slot.
    pub requests: bool,
    /// Answers are taken from the upstream as fast as it gives them.
    pub responses: bool,
    /// Bytes of one body that are kept in memory.
    pub memory: usize,
    /// Bytes of one body that may lie on disk.
    pub max_disk: u64,
}

impl Spooling {
    /// The defaults below a state directory.
    #[must_use]
    pub fn below(state: &Path) -> Self {
        Self {
            dir: state.join(FOLDER),
            max_size: 4 << 30,
            max_memory: 64 << 20,
        }
    }
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            requests: false,
            responses: false,
            memory: 64 << 10,
            max_disk: 1 << 30,
        }
    }
}

pub(super) const SPOOL: Section = section(
    "spool",
    &[
        key("dir", r#""/var/lib/switchd/spool""#),
        key("max_size", r#""4GiB""#),
        key("max_memory", r#""64MiB""#),
    ],
);

pub(super) const BUFFERING: Section = section(
    "service.NAME.buffering",
    &[
        key("requests", "true"),
        key("responses", "true"),
        key("memory", r#""64KiB""#),
        key("max_disk", r#""1GiB""#),
    ],
);

pub(super) fn spooling(top: &Table<'_>, state: &Path) -> Spooling {
    let table = top.table("spool", &SPOOL);
    let default = Spooling::below(state);
    Spooling {
        dir: table.absolute_path("dir", default.dir),
        max_size: size(&table, "max_size", default.max_size),
        max_memory: size(&table, "max_memory", default.max_memory),
    }
}

pub(super) fn buffering(service: &Table<'_>) -> Buffering {
    let table = service.table("buffering", &BUFFERING);
    let default = Buffering::default();
    Buffering {
        requests: table.flag("requests", default.requests),
        responses: table.flag("responses", default.responses),
        memory: memory(&table).unwrap_or(default.memory),
        max_disk: size(&table, "max_disk", default.max_disk),
    }
}

fn size(table: &Table<'_>, key: &str, default: u64) -> u64 {
    table
        .get(key)
        .and_then(|value| value.size())
        .unwrap_or(default)
}

fn memory(table: &Table<'_>) -> Option<usize> {
    let value = table.get("memory")?;
    let size = value.size()?;
    if !(LEAST_MEMORY..=MOST_MEMORY).contains(&size) {
        value.wrong(
            "`memory` must be between 1KiB and 16MiB",
            "write memory = \"64KiB\", for example: what is longer goes to disk",
        );
    }
    usize::try_from(size).ok()
}

/// A folder is opened once; the limits hold from the reload on.
pub(super) fn dir_changes(lines: &mut Differences, old: &Spooling, new: &Spooling) {
    let (old, new) = (old.dir.display(), new.dir.display());
    lines.value("spool dir", &old.to_string(), &new.to_string());
}

pub(super) fn limit_changes(lines: &mut Differences, old: &Spooling, new: &Spooling) {
    lines.bytes("spool max_size", old.max_size, new.max_size);
    lines.bytes("spool max_memory", old.max_memory, new.max_memory);
}

pub(super) fn changes(lines: &mut Differences, old: &Service, new: &Service) {
    for route in &new.routes {
        let is_same = |before: &&Route| {
            (&before.prefix, before.upgrades_only) == (&route.prefix, route.upgrades_only)
        };
        if let Some(before) = old.routes.iter().find(is_same) {
            let pair = RoutePair {
                old: Of(before, old),
                new: Of(route, new),
            };
            route_changes(lines, &pair);
        }
    }
    let (old, new) = (&old.buffering, &new.buffering);
    lines.value("buffering requests", &old.requests, &new.requests);
    lines.value("buffering responses", &old.responses, &new.responses);
    lines.bytes("buffering memory", old.memory as u64, new.memory as u64);
    lines.bytes("buffering max_disk", old.max_disk, new.max_disk);
}

/// A route and its service.
struct Of<'a>(&'a Route, &'a Service);

struct RoutePair<'a> {
    old: Of<'a>,
    new: Of<'a>,
}

/// What a route does otherwise than before, unless it only goes along with its service.
fn route_changes(lines: &mut Differences, RoutePair { old, new }: &RoutePair<'_>) {
    let name = format!("route {} -> {}", new.0.prefix, new.0.to);
    let all = |Of(route, service): &Of<'_>| {
        let Buffering {
            requests,
            responses,
            ..
        } = service.buffering;
        [
            ("buffer_requests", route.buffer_requests, requests),
            ("buffer_responses", route.buffer_responses, responses),
        ]
    };
    for ((key, was, was_default), (_, is, default)) in all(old).into_iter().zip(all(new)) {
        if was != was_default || is != default {
            lines.value(&format!("{name}: {key}"), &was, &is);
        }
    }
}

impl Differences {
    fn bytes(&mut self, name: &str, old: u64, new: u64) {
        self.value(name, &format_size(old), &format_size(new));
    }
}
