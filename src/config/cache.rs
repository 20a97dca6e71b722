//! Which answers are kept for the next client, and how much room they get.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::table::Table;
use super::units::{format_duration, format_size};
use super::value::{Choice, Value, Zero, clip};
use std::fmt;
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

/// A prefix such as `/web/assets/`, or a pattern whose `*` stand for any text: `*/static/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// `path` without its query. Costs at most their lengths multiplied, and mostly much less.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = path.strip_prefix(first) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            // A prefix: whole segments, as routes compare them.
            return first.ends_with('/') || rest.is_empty() || rest.starts_with('/');
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        false
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        paths: table
            .get("paths")
            .and_then(|value| paths(&value))
            .unwrap_or(default.paths),
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

fn paths(value: &Value<'_>) -> Option<Vec<PathPattern>> {
    let mut paths = Vec::new();
    for item in value.list()? {
        let Some(text) = item.text() else { continue };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if text.starts_with(['/', '*']) && text.bytes().all(plain) {
            paths.push(PathPattern(text.to_owned()));
        } else {
            item.wrong(
                format!("\"{}\" is no path of a URL", clip(text)),
                "write a prefix that begins with `/`, or a pattern such as \"*/static/*\"; the query is not looked at",
            );
        }
    }
    Some(paths)
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
    let paths = |cache: &Cache| {
        let all: Vec<_> = cache.paths.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    let keep = |cache: &Cache| match cache.keep_on_flip {
        KeepOnFlip::Immutable => "immutable",
        KeepOnFlip::All => "all",
    };
    lines.value("cache enabled", &old.enabled, &new.enabled);
    lines.value("cache immutable", &old.immutable, &new.immutable);
    lines.value("cache paths", &paths(old), &paths(new));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_prefix_of_whole_segments_or_a_pattern() {
        let matches = |pattern: &str, path: &str| PathPattern(pattern.to_owned()).matches(path);
        for (pattern, path) in [
            ("/web/assets/", "/web/assets/1-abc/web.js"),
            ("/web/assets", "/web/assets"),
            ("/web/assets", "/web/assets/x"),
            ("*/static/*", "/web/static/x.js"),
            ("*/static/*", "/static/"),
            ("*.js", "/a/b.js"),
            ("/a*b*c", "/a-b-b-c"),
            ("*", "/"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/web/assets/", "/web/assets"),
            ("/web/assets", "/web/assetsx"),
            ("/web/assets", "/x/web/assets"),
            ("*/static/*", "/web/static"),
            ("*.js", "/a.js/b"),
            ("/a*b*c", "/a-c-b"),
            ("/ab*bc", "/abc"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
