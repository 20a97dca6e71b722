//! Reads a parsed tree by hand, so that one mistake does not hide the next.
//!
//! A reader that meets a mistake reports it and goes on with the default: any problem voids the
//! settings as a whole, so a default in the wrong place never comes into force.

use super::keys::{Names, Section, home_of};
use super::problem::{At, Report, nearest};
use super::units;
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// May a time or a number be zero?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    Allowed,
    Refused,
}

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

/// A value with what is needed to complain about it.
#[derive(Clone)]
pub(super) struct Value<'t> {
    /// As shown in problems.
    name: Cow<'t, str>,
    example: &'static str,
    pub(super) at: At,
    value: &'t DeValue<'t>,
    pub(super) report: &'t Report<'t>,
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
            at: value.span(),
            value: value.get_ref(),
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
        let DeValue::Table(entries) = value.value else {
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
        let DeValue::Array(items) = value.value else {
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
        let DeValue::Table(entries) = value.value else {
            let help = format!("write {} instead, with a name you choose", value.example);
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
        let header = &self.header;
        self.report.add(
            &self.at,
            format!("[{header}] has no `{key}`"),
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
                let inside = match self.header.as_str() {
                    "" => self.section.shown(),
                    header => format!("[{header}]"),
                };
                self.report.add(
                    &key.span(),
                    format!("unknown key `{}` in {inside}", clip(name)),
                    self.instead_of(name),
                );
            }
        }
    }

    fn instead_of(&self, name: &str) -> String {
        if let Some(meant) = nearest(name, self.section.keys.iter().map(|key| key.name)) {
            return format!("did you mean `{meant}`?");
        }
        match home_of(name) {
            Some(home) => format!("`{name}` belongs in {}", home.shown()),
            None => {
                let known: Vec<_> = self.section.keys.iter().map(|key| key.name).collect();
                format!("leave it out; the keys here are {}", known.join(", "))
            }
        }
    }
}

impl<'t> Value<'t> {
    pub(super) fn wrong(&self, what: impl Into<String>, help: impl Into<String>) {
        self.report.add(&self.at, what, help);
    }

    /// The name under which it is shown.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Shows it under another name, with another example.
    pub(super) fn called(mut self, name: impl Into<Cow<'t, str>>, example: &'static str) -> Self {
        self.name = name.into();
        self.example = example;
        self
    }

    pub(super) fn text(&self) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => {
                self.expected("a text in quotes");
                None
            }
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.value, DeValue::Integer(_))
    }

    /// Whether it is that very text.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.value, DeValue::String(text) if text == word)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.value else {
            self.expected("a whole number");
            return None;
        };
        let number = u64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = range.into_inner();
            self.wrong(
                format!("`{}` must be between {low} and {high}", self.name),
                format!("write {} = {}, for example", self.name, self.example),
            );
        }
        number
    }

    pub(super) fn duration(&self, zero: Zero) -> Option<Duration> {
        self.with_unit("time", &TIME)?;
        let text = self.text()?;
        match units::parse_duration(text) {
            Ok(Duration::ZERO) if zero == Zero::Refused => {
                self.must_not_be_zero();
                None
            }
            Ok(time) => Some(time),
            Err(error) => {
                self.bad_unit("time", &error, &TIME);
                None
            }
        }
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.with_unit("size", &SIZE)?;
        let text = self.text()?;
        match units::parse_size(text) {
            Ok(0) => {
                self.must_not_be_zero();
                None
            }
            Ok(size) => Some(size),
            Err(error) => {
                self.bad_unit("size", &error, &SIZE);
                None
            }
        }
    }

    pub(super) fn absolute_path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.starts_with('/') && !text.contains('\0') {
            return Some(text.into());
        }
        self.wrong(
            format!("`{}` is not an absolute path", self.name),
            format!(
                "begin it with `/`, as in {} = {}: a daemon has no folder of its own to start from",
                self.name, self.example
            ),
        );
        None
    }

    /// One of a few words.
    pub(super) fn choice<C: Copy>(&self, choices: &[Choice<C>]) -> Option<C> {
        let text = self.text()?;
        if let Some(choice) = choices.iter().find(|choice| choice.word == text) {
            return Some(choice.means);
        }
        let words: Vec<_> = choices
            .iter()
            .map(|choice| format!("\"{}\"", choice.word))
            .collect();
        let help = match nearest(text, choices.iter().map(|choice| choice.word)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write one of {}", words.join(", ")),
        };
        self.wrong(
            format!("`{}` cannot be \"{}\"", self.name, clip(text)),
            help,
        );
        None
    }

    /// The items of a list, each under the name of the list.
    pub(super) fn list(&self) -> Option<Vec<Value<'t>>> {
        match self.value {
            DeValue::Array(items) => Some(items.iter().map(|item| self.item(item)).collect()),
            DeValue::String(text) => {
                self.is_not(
                    "a list",
                    format!("put it in brackets: {} = [\"{}\"]", self.name, clip(text)),
                );
                None
            }
            _ => {
                self.expected("a list");
                None
            }
        }
    }

    /// It as a table, if it is one.
    pub(super) fn as_table(&self, header: String, section: &'static Section) -> Option<Table<'t>> {
        let DeValue::Table(entries) = self.value else {
            return None;
        };
        let table = Table {
            section,
            header,
            at: self.at.clone(),
            entries: Some(entries),
            report: self.report,
        };
        table.refuse_unknown();
        Some(table)
    }

    /// Reports that it is of another kind than `kind`.
    pub(super) fn expected(&self, kind: &str) {
        let help = format!("write {} = {}, for example", self.name, self.example);
        self.is_not(kind, help);
    }

    pub(super) fn is_not(&self, kind: &str, help: String) {
        self.wrong(
            format!("`{}` must be {kind}, not {}", self.name, self.kind()),
            help,
        );
    }

    fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    fn item(&self, item: &'t Spanned<DeValue<'t>>) -> Value<'t> {
        Value {
            at: item.span(),
            value: item.get_ref(),
            name: self.name.clone(),
            example: self.example,
            report: self.report,
        }
    }

    /// Bare numbers are the mistake that deserves its own words: which unit would be a guess.
    fn with_unit(&self, kind: &str, unit: &UnitWords) -> Option<()> {
        let number = match self.value {
            DeValue::Integer(number) => number.as_str().replace('_', ""),
            DeValue::Float(number) => number.as_str().replace('_', ""),
            _ => return Some(()),
        };
        let help = match (unit.guess)(&number) {
            Some(guess) => format!(
                "write {} = \"{guess}\", if {} were meant",
                self.name, unit.plain
            ),
            None => format!("write {} = {}, for example", self.name, self.example),
        };
        self.wrong(
            format!("`{}` is a {kind} and needs a unit", self.name),
            help,
        );
        None
    }

    fn bad_unit(&self, kind: &str, error: &units::UnitError, unit: &UnitWords) {
        let text = self.text().unwrap_or_default();
        let help = match (unit.guess)(text) {
            Some(guess) => format!("write \"{guess}\"; {}", unit.form),
            None => format!(
                "write {} = {}, for example; {}",
                self.name, self.example, unit.form
            ),
        };
        self.wrong(
            format!("`{}` is no {kind}: \"{}\" {error}", self.name, clip(text)),
            help,
        );
    }

    fn must_not_be_zero(&self) {
        self.wrong(
            format!("`{}` must not be zero", self.name),
            format!("write {} = {}, for example", self.name, self.example),
        );
    }
}

/// A word that may be written, and what it means.
pub(super) struct Choice<C> {
    pub(super) word: &'static str,
    pub(super) means: C,
}

/// How to speak about a kind of unit.
struct UnitWords {
    plain: &'static str,
    form: &'static str,
    guess: fn(&str) -> Option<String>,
}

const TIME: UnitWords = UnitWords {
    plain: "seconds",
    form: "times are whole numbers with ms, s, m, h or d, the larger unit first, at most 365d",
    guess: units::guess_duration,
};

const SIZE: UnitWords = UnitWords {
    plain: "bytes",
    form: "sizes are whole numbers with B, KiB, MiB, GiB, TiB, KB, MB, GB or TB",
    guess: units::guess_size,
};

/// As much of what was written as fits a line, and nothing that could move the cursor.
pub(super) fn clip(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(80)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
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
                at: value.span(),
                value: value.get_ref(),
                report,
            },
        })
        .collect();
    // The parser sorts by name; what the operator wrote first comes first.
    names.sort_by_key(|named| named.at.start);
    names
}
