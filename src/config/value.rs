//! Reads one value: of the right kind, in the right range, with the right unit, or a problem.

use super::keys::Section;
use super::problem::{At, Report, nearest};
use super::table::Table;
use super::units;
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// May a time or a number be zero?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    Allowed,
    Refused,
}

/// A value with what is needed to complain about it.
#[derive(Clone)]
pub(super) struct Value<'t> {
    /// As shown in problems.
    pub(super) name: Cow<'t, str>,
    pub(super) example: &'static str,
    /// One of several in a list that has the name.
    pub(super) is_item: bool,
    pub(super) at: At,
    pub(super) node: &'t DeValue<'t>,
    pub(super) report: &'t Report<'t>,
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
        if let DeValue::String(text) = self.node {
            return Some(text);
        }
        self.expected("a text in quotes");
        None
    }

    /// Where the value of `key` stands, if this is a table that has it.
    pub(super) fn key(&self, key: &str) -> Option<At> {
        match self.node {
            DeValue::Table(entries) => entries.get(key).map(Spanned::span),
            _ => None,
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.node, DeValue::String(_))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.node, DeValue::Integer(_))
    }

    /// Whether it is that very text.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.node, DeValue::String(text) if text == word)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        if let DeValue::Boolean(flag) = self.node {
            return Some(*flag);
        }
        self.expected("true or false");
        None
    }

    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.node else {
            self.expected("a whole number");
            return None;
        };
        let number = u64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = range.into_inner();
            self.wrong(
                format!("{} must be between {low} and {high}", self.subject()),
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
        match self.node {
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
        let DeValue::Table(entries) = self.node else {
            return None;
        };
        Some(Table::of(section, header, entries, self))
    }

    /// Reports that it is of another kind than `kind`.
    pub(super) fn expected(&self, kind: &str) {
        let help = format!("write {} = {}, for example", self.name, self.example);
        self.is_not(kind, help);
    }

    pub(super) fn is_not(&self, kind: &str, help: String) {
        self.wrong(
            format!("{} must be {kind}, not {}", self.subject(), self.kind()),
            help,
        );
    }

    fn subject(&self) -> String {
        let each = if self.is_item { "each of " } else { "" };
        format!("{each}`{}`", self.name)
    }

    fn kind(&self) -> &'static str {
        match self.node {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    pub(super) fn item(&self, item: &'t Spanned<DeValue<'t>>) -> Value<'t> {
        Value {
            at: item.span(),
            node: item.get_ref(),
            name: self.name.clone(),
            is_item: true,
            example: self.example,
            report: self.report,
        }
    }

    /// Bare numbers are the mistake that deserves its own words: which unit would be a guess.
    fn with_unit(&self, kind: &str, unit: &UnitWords) -> Option<()> {
        let number = match self.node {
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
