//! Writes what was read: values and keys of TOML as text.

use std::fmt::Write;
use toml::de::{DeTable, DeValue};

/// The names in a table in the order of the file.
pub(super) fn in_order(table: &DeTable<'_>) -> Vec<String> {
    let mut names: Vec<_> = table.keys().collect();
    names.sort_by_key(|name| name.span().start);
    names
        .iter()
        .map(|name| name.get_ref().to_string())
        .collect()
}

/// As a key of TOML.
pub(super) fn bare(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.is_empty() && name.bytes().all(plain) {
        return name.to_owned();
    }
    quoted(name)
}

pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// As a value of TOML, on one line.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let entry = |name: String| {
                let value = table.get(&*name).map(|value| shown(value.get_ref()));
                format!("{} = {}", bare(&name), value.unwrap_or_default())
            };
            let entries: Vec<_> = in_order(table).into_iter().map(entry).collect();
            if entries.is_empty() {
                return "{}".to_owned();
            }
            format!("{{ {} }}", entries.join(", "))
        }
    }
}
