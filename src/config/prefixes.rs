//! Lists of paths that stand for all below them, as they are judged: decoded.

use super::table::Table;
use super::value::{Value, clip};

/// The list behind `key`; `before` where it is absent.
pub(super) fn read(table: &Table<'_>, key: &str, before: Vec<String>) -> Vec<String> {
    let Some(value) = table.get(key) else {
        return before;
    };
    let items = value.list().unwrap_or_default();
    items.iter().filter_map(prefix).collect()
}

fn prefix(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let wrong = |what: &str, help: String| {
        value.wrong(format!("path \"{}\" {what}", clip(text)), help);
        None
    };
    if !text.starts_with('/') {
        return wrong(
            "does not begin with `/`",
            format!("write \"/{}\"", clip(text)),
        );
    }
    if text.contains('%') {
        return wrong(
            "is encoded",
            "write it decoded: every spelling of it is meant".to_owned(),
        );
    }
    if text.contains(['?', '#', ';', '\\']) || text.contains(char::is_control) {
        return wrong(
            "holds more than a path",
            "write whole segments, as in \"/web/database\"; all below them is meant".to_owned(),
        );
    }
    let odd = |segment: &str| {
        matches!(segment, "" | "." | "..") || (segment.contains('*') && segment != "*")
    };
    if text != "/" && text[1..].split('/').any(odd) {
        return wrong(
            "is not a plain path",
            "leave out `//`, `.`, `..` and a `/` at its end; a `*` stands for a whole segment, as in \"/*/web\"".to_owned(),
        );
    }
    Some(text.to_owned())
}
