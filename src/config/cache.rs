//! Which answers are kept for the next client, and how much room they get.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::path_pattern::{self, PathPattern, shown};
use super::table::Table;
use super::units::{format_duration, format_size};
use super::value::{Choice, Value, Zero};
use std::time::Duration;

/// How much room all kept answers have, over all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRoom {
    /// Bytes of bodies in memory.
    pub memory: u64,
    /// Bytes in files below the state directory; 0 means none are written.
    pub disk: u64,
}

impl Default for CacheRoom {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            disk: 1 << 30,
        }
    }
}

/// What of a service is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    pub enabled: bool,
    /// Every answer that says `public` and `immutable`.
    pub immutable: bool,
    /// Further paths, whose answers are kept if they may be.
    pub paths: Vec<PathPattern>,
    pub keep_on_flip: KeepOnFlip,
    /// Larger bodies are not kept.
    pub max_object: u64,
    /// How long a request waits for another one that fetches the same; then it goes upstream itself.
    pub wait: Duration,
    /// How many wait for one fetch; further ones go upstream at once.
    pub waiting: usize,
}

/// What stays good when another slot takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepOnFlip {
    /// What says `immutable`: its URL names its content, whoever serves it.
    Immutable,
    All,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            enabled: false,
            immutable: true,
            paths: Vec::new(),
            keep_on_flip: KeepOnFlip::Immutable,
            max_object: 16 << 20,
            wait: Duration::from_secs(10),
            waiting: 100,
        }
    }
}

pub(super) const CACHE_ROOM: Section = section(
    "cache",
    &[key("memory", r#""128MiB""#), key("disk", r#""4GiB""#)],
);

pub(super) const CACHE: Section = section(
    "service.NAME.cache",
    &[
        key("enabled", "true"),
        key("immutable", "true"),
        key("paths", r#"["/web/assets/", "*/static/*"]"#),
        key("keep_on_flip", r#""immutable""#),
        key("max_object", r#""8MiB""#),
        key("wait", r#""5s""#),
        key("waiting", "50"),
    ],
);

/// Reads `[cache]`.
pub(super) fn room(top: &Table<'_>) -> CacheRoom {
    let table = top.table("cache", &CACHE_ROOM);
    let default = CacheRoom::default();
    let memory = table.get("memory").and_then(|value| value.size());
    let disk = table.get("disk").and_then(|value| {
        if value.is_word("off") {
            Some(0)
        } else {
            value.size()
        }
    });
    CacheRoom {
        memory: memory.unwrap_or(default.memory),
        disk: disk.unwrap_or(default.disk),
    }
}

/// Reads `[service.NAME.cache]` over what holds without it.
pub(super) fn read(service: &Table<'_>, default: Cache) -> Cache {
    let table = service.table("cache", &CACHE);
    let keeps = [
        Choice {
            word: "immutable",
            means: KeepOnFlip::Immutable,
        },
        Choice {
            word: "all",
            means: KeepOnFlip::All,
        },
    ];
    Cache {
        enabled: table.flag("enabled", default.enabled),
        immutable: table.flag("immutable", default.immutable),
        paths: path_pattern::list(&table, "paths").unwrap_or(default.paths),
        keep_on_flip: table
            .get("keep_on_flip")
            .and_then(|value| value.choice(&keeps))
            .unwrap_or(default.keep_on_flip),
        max_object: table
            .get("max_object")
            .and_then(|value| max_object(&value))
            .unwrap_or(default.max_object),
        wait: table.duration("wait", Zero::Allowed, default.wait),
        waiting: table.number("waiting", 0..=100_000, default.waiting),
    }
}

/// A body is in memory as a whole while it is fetched.
const LARGEST_OBJECT: u64 = 256 << 20;

fn max_object(value: &Value<'_>) -> Option<u64> {
    let size = value.size()?;
    if size > LARGEST_OBJECT {
        value.wrong(
            "`max_object` is at most 256MiB: while a body is fetched it is held in memory",
            "write max_object = \"16MiB\", for example",
        );
    }
    Some(size)
}

pub(super) fn room_changes(lines: &mut Differences, old: CacheRoom, new: CacheRoom) {
    let disk = |room: CacheRoom| match room.disk {
        0 => "off".to_owned(),
        disk => format_size(disk),
    };
    lines.value(
        "cache memory",
        &format_size(old.memory),
        &format_size(new.memory),
    );
    lines.value("cache disk", &disk(old), &disk(new));
}

pub(super) fn changes(lines: &mut Differences, old: &Cache, new: &Cache) {
    let keep = |cache: &Cache| match cache.keep_on_flip {
        KeepOnFlip::Immutable => "immutable",
        KeepOnFlip::All => "all",
    };
    lines.value("cache enabled", &old.enabled, &new.enabled);
    lines.value("cache immutable", &old.immutable, &new.immutable);
    lines.value("cache paths", &shown(&old.paths), &shown(&new.paths));
    lines.value("cache keep_on_flip", &keep(old), &keep(new));
    lines.value(
        "cache max_object",
        &format_size(old.max_object),
        &format_size(new.max_object),
    );
    lines.value(
        "cache wait",
        &format_duration(old.wait),
        &format_duration(new.wait),
    );
    lines.value("cache waiting", &old.waiting, &new.waiting);
}
