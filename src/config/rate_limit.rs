//! How often clients may ask: the zones of a service.

use super::change::{Differences, Lists};
use super::keys::{Key, Section, key, repeated};
use super::prefixes;
use super::problem::At;
use super::sections::networks;
use super::settings::Network;
use super::table::Table;
use super::units::format_duration;
use super::value::{Value, clip};
use std::fmt;
use std::time::Duration;

/// One zone: whose requests are counted together, which count, and how many may come.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    pub name: String,
    pub key: RateKey,
    /// Empty means every method.
    pub methods: Vec<String>,
    /// Prefixes of whole segments; empty means every path.
    pub paths: Vec<String>,
    /// Clients that are never limited.
    pub except: Vec<Network>,
    pub rate: Rate,
    /// How many more may come at once after a pause.
    pub burst: u32,
    /// Clients whose addresses have this much in common are one, for IPv4 and IPv6.
    pub ipv4_prefix: u8,
    pub ipv6_prefix: u8,
    /// How many keys are told apart at a time.
    pub buckets: usize,
}

/// What requests have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    /// The client's network.
    Client,
    /// The value of a header; without one the client's network.
    Header(String),
    /// The value of a cookie; without one the client's network.
    Cookie(String),
    Path,
    /// All requests of the zone together.
    Service,
}

/// So many requests in that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    pub requests: u32,
    pub per: Duration,
}

impl Rate {
    /// Between two requests that come evenly.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per / self.requests
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|unit| unit.per == self.per);
        write!(
            f,
            "{}r/{}",
            self.requests,
            unit.map_or("?", |unit| unit.name)
        )
    }
}

impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Path => f.write_str("path"),
            Self::Service => f.write_str("service"),
        }
    }
}

struct Unit {
    name: &'static str,
    per: Duration,
}

const UNITS: &[Unit] = &[
    Unit {
        name: "s",
        per: Duration::from_secs(1),
    },
    Unit {
        name: "m",
        per: Duration::from_mins(1),
    },
    Unit {
        name: "h",
        per: Duration::from_hours(1),
    },
    Unit {
        name: "d",
        per: Duration::from_hours(24),
    },
];

const KEYS: &[Key] = &[
    key("name", r#""login""#),
    key("rate", r#""1000r/m""#),
    key("burst", "20"),
    key("key", r#""client""#),
    key("methods", r#"["POST"]"#),
    key("paths", r#"["/web/login"]"#),
    key("except", r#"["10.0.0.0/8"]"#),
    key("ipv4_prefix", "24"),
    key("ipv6_prefix", "56"),
    key("buckets", "65536"),
];

pub(super) const RATE_LIMIT: Section = repeated("service.NAME.rate_limit", KEYS);

/// One word for each: half a megabyte.
const BUCKETS: usize = 1 << 16;
/// A bucket that takes longer to be full again serves nobody.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// Reads every `[[service.NAME.rate_limit]]`. A zone replaces one of the same name in `before`; `rate = "off"` only
/// takes that one away.
pub(super) fn read(service: &Table<'_>, before: Vec<RateLimit>) -> Vec<RateLimit> {
    let mut zones = before;
    let mut names: Vec<(String, At)> = Vec::new();
    for table in service.tables("rate_limit", &RATE_LIMIT) {
        let zone = zone(&table);
        let Some((name, at)) = name(&table) else {
            continue;
        };
        if let Some((_, first)) = names.iter().find(|(known, _)| *known == name) {
            let line = table.report().line(first);
            table.report().add(
                &at,
                format!("two rate limits are called \"{}\"", clip(&name)),
                format!("give this one or the one on line {line} another name"),
            );
        }
        zones.retain(|zone| zone.name != name);
        names.push((name.clone(), at));
        zones.extend(zone.map(|zone| RateLimit { name, ..zone }));
    }
    zones
}

fn name(table: &Table<'_>) -> Option<(String, At)> {
    let Some(value) = table.get("name") else {
        table.missing("name");
        return None;
    };
    let text = value.text()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        value.wrong(
            format!("\"{}\" cannot be the name of a rate limit", clip(text)),
            "use 1 to 64 of a-z, 0-9, - and _",
        );
        return None;
    }
    Some((text.to_owned(), value.at))
}

/// Without its name; none when it is off or wrong.
fn zone(table: &Table<'_>) -> Option<RateLimit> {
    let burst = table.number("burst", 0..=1_000_000, 0);
    let zone = RateLimit {
        name: String::new(),
        key: table
            .get("key")
            .and_then(|value| rate_key(&value))
            .unwrap_or(RateKey::Client),
        methods: methods(table),
        paths: prefixes::read(table, "paths", Vec::new()),
        except: networks(table, "except", Vec::new()),
        rate: Rate {
            requests: 1,
            per: LONGEST,
        },
        burst,
        ipv4_prefix: table.number("ipv4_prefix", 0..=32, 32),
        ipv6_prefix: table.number("ipv6_prefix", 0..=128, 64),
        buckets: table.number("buckets", 1024..=1 << 24, BUCKETS),
    };
    let Some(value) = table.get("rate") else {
        table.missing("rate");
        return None;
    };
    if value.is_word("off") {
        return None;
    }
    let rate = rate(&value)?;
    if rate.interval().saturating_mul(burst) > LONGEST {
        value.wrong(
            format!("with {rate} a burst of {burst} takes more than 30 days to be there again"),
            "write a higher `rate` or a smaller `burst`",
        );
        return None;
    }
    Some(RateLimit { rate, ..zone })
}

fn rate_key(value: &Value<'_>) -> Option<RateKey> {
    let text = value.text()?;
    let token = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b);
        !name.is_empty() && name.bytes().all(plain)
    };
    let found = match text.split_once(':') {
        None if text == "client" => Some(RateKey::Client),
        None if text == "path" => Some(RateKey::Path),
        None if text == "service" => Some(RateKey::Service),
        Some(("header", name)) if token(name) => Some(RateKey::Header(name.to_owned())),
        Some(("cookie", name)) if token(name) => Some(RateKey::Cookie(name.to_owned())),
        _ => None,
    };
    if found.is_none() {
        value.wrong(
            format!("`key` cannot be \"{}\"", clip(text)),
            "write \"client\", \"header:NAME\", \"cookie:NAME\", \"path\" or \"service\"",
        );
    }
    found
}

fn methods(table: &Table<'_>) -> Vec<String> {
    let items = table.get("methods").and_then(|value| value.list());
    let mut methods = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase()) {
            methods.push(text.to_owned());
            continue;
        }
        item.wrong(
            format!("\"{}\" is no method", clip(text)),
            match text.to_ascii_uppercase() {
                upper if upper.bytes().all(|b| b.is_ascii_uppercase()) && !upper.is_empty() => {
                    format!("write \"{upper}\": methods are in capitals")
                }
                _ => "write methods in capitals, as in [\"POST\", \"PATCH\"]".to_owned(),
            },
        );
    }
    methods
}

/// Reads `10r/s`, `1000r/m`, `100r/h`, `5r/d`.
pub(super) fn rate(value: &Value<'_>) -> Option<Rate> {
    let text = value.text()?;
    let rate = text.split_once("r/").and_then(|(number, unit)| {
        let plain = number.bytes().all(|b| b.is_ascii_digit());
        let requests = number.parse().ok().filter(|_| plain)?;
        let unit = UNITS.iter().find(|known| known.name == unit)?;
        Some(Rate {
            requests,
            per: unit.per,
        })
    });
    // More cannot be told apart in microseconds.
    let rate =
        rate.filter(|rate| rate.requests > 0 && rate.interval() >= Duration::from_micros(10));
    if rate.is_none() {
        value.wrong(
            format!("`{}` is no rate: \"{}\"", value.name(), clip(text)),
            "write a number of requests per second, minute, hour or day, as in \"10r/s\", \"1000r/m\" or \"100r/h\", at most \"100000r/s\"",
        );
    }
    rate
}

pub(super) fn changes(lines: &mut Differences, old: &[RateLimit], new: &[RateLimit]) {
    let find = |all: &[RateLimit], name: &str| all.iter().find(|zone| zone.name == name).cloned();
    for zone in new {
        match find(old, &zone.name) {
            None => lines.told(format_args!(
                "rate limit {} added: {}",
                zone.name,
                shown(zone)
            )),
            Some(before) => one_zone(lines, &before, zone),
        }
    }
    for zone in old {
        if find(new, &zone.name).is_none() {
            lines.told(format_args!("rate limit {} removed", zone.name));
        }
    }
}

fn shown(zone: &RateLimit) -> String {
    let RateLimit { rate, burst, .. } = zone;
    let every = format_duration(zone.rate.interval());
    format!("{rate} (one every {every}), burst {burst}")
}

fn one_zone(lines: &mut Differences, old: &RateLimit, new: &RateLimit) {
    let outer = lines.prefix.clone();
    lines.prefix = format!("{outer}rate limit {}: ", new.name);
    lines.value("rate", &old.rate, &new.rate);
    lines.value("burst", &old.burst, &new.burst);
    lines.value("key", &old.key, &new.key);
    let lists = |old, new| Lists { old, new };
    lines.list("method", &lists(&old.methods, &new.methods), String::clone);
    lines.list("path", &lists(&old.paths, &new.paths), String::clone);
    let lists = |old, new| Lists { old, new };
    lines.list(
        "except",
        &lists(&old.except, &new.except),
        ToString::to_string,
    );
    lines.value("ipv4_prefix", &old.ipv4_prefix, &new.ipv4_prefix);
    lines.value("ipv6_prefix", &old.ipv6_prefix, &new.ipv6_prefix);
    lines.value("buckets", &old.buckets, &new.buckets);
    lines.prefix = outer;
}

#[cfg(test)]
mod tests {
    use super::super::{parse, summary};
    use super::*;
    use std::path::Path;

    fn zones(text: &str) -> Result<Vec<RateLimit>, String> {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:8080\"\n[service.a.slots.x]\nhttp = [\"127.0.0.1:1\"]\n[service.a.slots.y]\nhttp = [\"127.0.0.1:2\"]\n{text}"
        );
        parse(&text, Path::new("switchd.toml"))
            .map(|mut settings| settings.services.remove(0).rate_limits)
            .map_err(|problems| summary(&problems))
    }

    #[test]
    fn the_zones_of_limit_req_can_be_written() {
        let zones = zones(
            r#"
[[service.a.rate_limit]]
name = "api_read"
methods = ["GET"]
rate = "1000r/m"
burst = 20
[[service.a.rate_limit]]
name = "api_write"
methods = ["POST", "PATCH", "DELETE"]
rate = "100r/m"
burst = 10
"#,
        )
        .unwrap();
        assert_eq!(zones[0].rate.interval(), Duration::from_millis(60));
        assert_eq!(zones[1].rate.interval(), Duration::from_millis(600));
        assert_eq!(zones[1].methods, ["POST", "PATCH", "DELETE"]);
        assert_eq!((zones[0].burst, zones[1].burst), (20, 10));
        assert_eq!(zones[0].key, RateKey::Client);
        assert_eq!(zones[0].rate.to_string(), "1000r/m");
    }

    #[test]
    fn rates_are_read_and_others_told() {
        let one = |rate: &str| {
            let text = format!("[[service.a.rate_limit]]\nname = \"n\"\nrate = \"{rate}\"\n");
            zones(&text).map(|zones| zones.first().map(|zone| zone.rate.interval()))
        };
        for (text, micros) in [("10r/s", 100_000), ("5r/h", 720_000_000), ("100000r/s", 10)] {
            assert_eq!(one(text), Ok(Some(Duration::from_micros(micros))), "{text}");
        }
        assert_eq!(one("off"), Ok(None));
        for text in [
            "",
            "10",
            "10/s",
            "r/s",
            "+1r/s",
            "0r/s",
            "1r/w",
            "10 r/s",
            "1000000r/s",
            "1.5r/s",
        ] {
            assert!(one(text).unwrap_err().contains("is no rate"), "{text}");
        }
    }
}
