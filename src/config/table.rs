//! Reads a parsed tree by hand, so that one mistake does not hide the next.
//!
//! A reader that meets a mistake reports it and goes on with the default: any problem voids the
//! settings as a whole, so a default in the wrong place never comes into force.

use super::keys::{Names, Section, home_of};
use super::problem::{At, Report, nearest};
use super::value::{Value, Zero, clip};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// A table that may be absent; then every key has its default.
pub(super) struct Table<'t> {
    section: &'static Section,
    /// Its header as the operator would write it.
    header: String,
    /// The header, or where it would belong.
    pub(super) at: At,
    entries: Option<&'t DeTable<'t>>,
    report: &'t Report<'t>,
}

/// A name that the operator chose, and what stands behind it.
pub(super) struct Named<'t> {
    pub(super) name: &'t str,
    pub(super) at: At,
    pub(super) value: Value<'t>,
}

impl<'t> Table<'t> {
    pub(super) fn top(
        section: &'static Section,
        entries: &'t DeTable<'t>,
        report: &'t Report<'t>,
    ) -> Self {
        let table = Self {
            section,
            header: String::new(),
            at: 0..0,
            entries: Some(entries),
            report,
        };
        table.refuse_unknown();
        table
    }

    /// The table that `value` holds.
    pub(super) fn of(
        section: &'static Section,
        header: String,
        entries: &'t DeTable<'t>,
        value: &Value<'t>,
    ) -> Self {
        let table = Self {
            section,
            header,
            at: value.at.clone(),
            entries: Some(entries),
            report: value.report,
        };
        table.refuse_unknown();
        table
    }

    pub(super) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    pub(super) fn report(&self) -> &'t Report<'t> {
        self.report
    }

    pub(super) fn header(&self) -> &str {
        &self.header
    }

    /// Whether `key` holds a table, rather than something to complain about.
    pub(super) fn is_table(&self, key: &str) -> bool {
        let value = self.entries.and_then(|entries| entries.get(key));
        value.is_some_and(|value| matches!(value.get_ref(), DeValue::Table(_)))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(key))
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        let known = self.section.key(key);
        debug_assert!(
            known.is_some(),
            "{key} is missing in {}",
            self.section.header
        );
        let value = self.entries?.get(key)?;
        Some(Value {
            name: Cow::Owned(key.to_owned()),
            example: known.map_or("", |key| key.example),
            is_item: false,
            at: value.span(),
            node: value.get_ref(),
            report: self.report,
        })
    }

    /// The table behind `key`; an absent one reads as all defaults.
    pub(super) fn table(&self, key: &str, section: &'static Section) -> Table<'t> {
        let absent = Table {
            section,
            header: self.header_of(key),
            at: self.at.clone(),
            entries: None,
            report: self.report,
        };
        let Some(value) = self.get(key) else {
            return absent;
        };
        let DeValue::Table(entries) = value.node else {
            let help = format!(
                "write [{}] on a line of its own, and its keys below",
                absent.header
            );
            value.is_not("a table", help);
            return absent;
        };
        let table = Table {
            at: value.at,
            entries: Some(entries),
            ..absent
        };
        table.refuse_unknown();
        table
    }

    /// The tables written as `[[key]]`, in the order of the file.
    pub(super) fn tables(&self, key: &str, section: &'static Section) -> Vec<Table<'t>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let header = self.header_of(key);
        let help = format!("write [[{header}]] with two brackets, once for each");
        let DeValue::Array(items) = value.node else {
            value.is_not("a list of tables", help);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::Table(entries) => {
                    let table = Table {
                        section,
                        header: header.clone(),
                        at: item.span(),
                        entries: Some(entries),
                        report: self.report,
                    };
                    table.refuse_unknown();
                    tables.push(table);
                }
                _ => value.item(item).is_not("a table", help.clone()),
            }
        }
        tables
    }

    /// The entries of a table whose keys are names, in the order of the file.
    pub(super) fn named(&self, key: &str) -> Vec<Named<'t>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Table(entries) = value.node else {
            let header = self.header_of(key);
            let help = format!("write [{header}.NAME] instead, with a name you choose");
            value.is_not("a table of names", help);
            return Vec::new();
        };
        names(entries, self.report)
    }

    /// The entries besides the section's own keys, in the order of the file.
    pub(super) fn others(&self) -> Vec<Named<'t>> {
        let mut others = self
            .entries
            .map(|entries| names(entries, self.report))
            .unwrap_or_default();
        others.retain(|named| self.section.key(named.name).is_none());
        others
    }

    pub(super) fn missing(&self, key: &str) {
        let example = self.section.key(key).map_or("", |key| key.example);
        self.report.add(
            &self.at,
            format!("{} has no `{key}`", self.shown()),
            format!("add {key} = {example}, with your own value"),
        );
    }

    pub(super) fn number<N: TryFrom<u64> + Copy>(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        default: N,
    ) -> N {
        self.get(key)
            .and_then(|value| value.number(range))
            .and_then(|number| N::try_from(number).ok())
            .unwrap_or(default)
    }

    pub(super) fn duration(&self, key: &str, zero: Zero, default: Duration) -> Duration {
        self.get(key)
            .and_then(|value| value.duration(zero))
            .unwrap_or(default)
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key)
            .and_then(|value| value.flag())
            .unwrap_or(default)
    }

    pub(super) fn absolute_path(&self, key: &str, default: PathBuf) -> PathBuf {
        self.get(key)
            .and_then(|value| value.absolute_path())
            .unwrap_or(default)
    }

    fn header_of(&self, key: &str) -> String {
        match self.header.as_str() {
            "" => key.to_owned(),
            header => format!("{header}.{key}"),
        }
    }

    /// Its header, in brackets.
    pub(super) fn shown(&self) -> String {
        if self.section.is_repeated {
            format!("[[{}]]", self.header)
        } else {
            format!("[{}]", self.header)
        }
    }

    fn inside(&self) -> String {
        if self.header.is_empty() {
            return "at the top of the file".to_owned();
        }
        format!("in {}", self.shown())
    }

    fn refuse_unknown(&self) {
        let Some(entries) = self.entries else { return };
        for (key, value) in entries {
            let name: &str = key.get_ref();
            let chosen = match self.section.names {
                Names::No => false,
                Names::Values => true,
                Names::Tables => matches!(value.get_ref(), DeValue::Table(_)),
            };
            if self.section.key(name).is_none() && !chosen {
                self.report.add(
                    &key.span(),
                    format!("unknown key `{}` {}", clip(name), self.inside()),
                    self.instead_of(name),
                );
            }
        }
    }

    fn instead_of(&self, name: &str) -> String {
        if let Some(meant) = nearest(name, self.section.keys.iter().map(|key| key.name)) {
            return format!("did you mean `{meant}`?");
        }
        if let Some(home) = home_of(name) {
            return home.where_to_write(name);
        }
        let known: Vec<_> = self.section.keys.iter().map(|key| key.name).collect();
        format!("leave it out; known here: {}", known.join(", "))
    }
}

fn names<'t>(entries: &'t DeTable<'t>, report: &'t Report<'t>) -> Vec<Named<'t>> {
    let mut names: Vec<_> = entries
        .iter()
        .map(|(key, value)| Named {
            name: key.get_ref(),
            at: key.span(),
            value: Value {
                name: Cow::Borrowed(key.get_ref()),
                example: "",
                is_item: false,
                at: value.span(),
                node: value.get_ref(),
                report,
            },
        })
        .collect();
    // The parser sorts by name; what the operator wrote first comes first.
    names.sort_by_key(|named| named.at.start);
    names
}
