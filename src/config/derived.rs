//! Defaults that hang on something else in the config: the counterpart of the readers that say so.

use super::toml_text::{in_order, quoted, shown};
use super::units::{format_duration, parse_duration};
use super::watch;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// One table, as it is written or preset, and as it is documented.
pub(super) struct Layers<'v, 't> {
    pub(super) tree: &'v DeTable<'t>,
    /// None where nothing has a default of its own.
    pub(super) documented: Option<&'v DeTable<'t>>,
    /// The whole config.
    pub(super) top: &'v DeTable<'t>,
    /// The service that the table belongs to.
    pub(super) service: Option<&'v DeTable<'t>>,
}

impl<'v, 't> Layers<'v, 't> {
    /// A table of kind `pattern` in this one.
    pub(super) fn below<'w>(
        &self,
        tree: &'w DeTable<'t>,
        documented: Option<&'w DeTable<'t>>,
        pattern: &str,
    ) -> Layers<'w, 't>
    where
        'v: 'w,
    {
        Layers {
            tree,
            documented,
            top: self.top,
            service: if pattern == "service.NAME" {
                Some(tree)
            } else {
                self.service
            },
        }
    }
}

/// A value and where it comes from.
pub(super) struct Derived {
    pub(super) value: String,
    pub(super) words: String,
}

/// What `name` is in a table of kind `pattern` that does not say so; none where it is as documented.
pub(super) fn derived(pattern: &str, name: &str, layers: &Layers<'_, '_>) -> Option<Derived> {
    let there = |name: &str| value(layers.tree, name);
    let service = |table: &str, name: &str| inside(layers.service?, table, name);
    let (value, words) = match (pattern, name) {
        ("spool", "dir") => {
            let state = inside(layers.top, "state", "dir")?.as_str()?;
            let dir = format!("{}/spool", state.trim_end_matches('/'));
            (quoted(&dir), "in the dir of [state]")
        }
        ("service.NAME", "initial") => {
            let first = in_order(there("slots")?.as_table()?).into_iter().next()?;
            (quoted(&first), "the first slot")
        }
        ("service.NAME.route", "buffer_requests") => (
            shown(service("buffering", "requests")?),
            "as buffering requests",
        ),
        ("service.NAME.route", "buffer_responses") => (
            shown(service("buffering", "responses")?),
            "as buffering responses",
        ),
        ("service.NAME.flip", "drain_requests" | "drain_transfers" | "drain_websockets") => {
            (shown(there("drain_timeout")?), "as drain_timeout")
        }
        ("service.NAME.health", "fast_interval") => {
            let interval = there("interval")?;
            let documented = time(value(layers.documented?, name)?)?;
            if time(interval)? >= documented {
                return None;
            }
            (shown(interval), "as interval")
        }
        ("service.NAME.limits", "body_size") => (
            shown(inside(layers.top, "limits", "body_size")?),
            "as in [limits]",
        ),
        ("service.NAME.deploy", "hold") => {
            let usual = time(value(layers.documented?, name)?)?;
            let most = longest_wait(layers.service?).filter(|most| *most < usual)?;
            (
                quoted(&format_duration(most)),
                "as long as clients may wait",
            )
        }
        ("service.NAME.upstream_tls", "enabled") => {
            value(layers.service?, "upstream_tls")?;
            ("true".to_owned(), "as the table is there")
        }
        ("service.NAME.websocket", "spread") => {
            let drain =
                service("flip", "drain_websockets").or_else(|| service("flip", "drain_timeout"));
            let half = time(drain?)? / 2;
            if half >= time(value(layers.documented?, name)?)? {
                return None;
            }
            (quoted(&format_duration(half)), "half of drain_websockets")
        }
        (_, name) if pattern.starts_with("service.NAME.watch") => {
            let thresholds = service("watch", "thresholds")?;
            let classic = thresholds.as_str().filter(|name| *name == "classic");
            let words = watch::classic_words(pattern, name).filter(|_| classic.is_some())?;
            (words.to_owned(), "classic")
        }
        _ => return None,
    };
    Some(Derived {
        value,
        words: words.to_owned(),
    })
}

/// For how long a hold of this service may keep a request, where anything is written of it.
fn longest_wait(service: &DeTable<'_>) -> Option<Duration> {
    let most = ["max_wait", "max_for"].map(|name| time(inside(service, "hold", name)?));
    most.into_iter().flatten().min()
}

fn value<'v, 't>(table: &'v DeTable<'t>, name: &str) -> Option<&'v DeValue<'t>> {
    table.get(name).map(toml::Spanned::get_ref)
}

fn inside<'v, 't>(outer: &'v DeTable<'t>, table: &str, name: &str) -> Option<&'v DeValue<'t>> {
    value(value(outer, table)?.as_table()?, name)
}

fn time(value: &DeValue<'_>) -> Option<Duration> {
    parse_duration(value.as_str()?).ok()
}
