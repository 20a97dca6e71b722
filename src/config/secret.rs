//! Values that must not be seen: written as they are, or kept in a file or the environment.
//!
//! Nothing here puts a value into a problem.

use super::keys::SECRET;
use super::settings::Secret;
use super::value::{Value, clip};
use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longer than any token; a wrong path must not fill the memory.
const LONGEST: u64 = 64 << 10;

/// Reads `"text"`, `{ file = "/path" }` or `{ env = "NAME" }`.
///
/// One line break at the end of a file is no part of the value.
pub(super) fn read(value: &Value<'_>, name: &str) -> Option<Secret> {
    let Some(table) = value.as_table(name.to_owned(), &SECRET) else {
        if value.is_text() {
            return value.text().map(|text| Secret::new(text.to_owned()));
        }
        value.wrong(
            format!("`{name}` must be a text, or say where one is kept"),
            format!("write {name} = \"...\", {{ file = \"/path\" }} or {{ env = \"NAME\" }}"),
        );
        return None;
    };
    match (table.get("file"), table.get("env")) {
        (Some(file), None) => from_file(&file),
        (None, Some(variable)) => from_environment(&variable),
        (None, None) => {
            value.wrong(
                format!("`{name}` does not say where its value is kept"),
                "write { file = \"/path\" } or { env = \"NAME\" }",
            );
            None
        }
        (Some(_), Some(variable)) => {
            variable.wrong(
                format!("`{name}` is kept in two places"),
                "keep `file` or `env`, not both",
            );
            None
        }
    }
}

pub(super) fn from_file(value: &Value<'_>) -> Option<Secret> {
    let path = value.absolute_path()?;
    match read_file(&path) {
        Ok(mut text) => {
            let line = text.strip_suffix("\r\n").or(text.strip_suffix('\n'));
            let keep = line.map_or(text.len(), str::len);
            text.truncate(keep);
            Some(Secret::new(text))
        }
        Err(error) => {
            value.wrong(
                format!("cannot read \"{}\": {error}", clip(&path.to_string_lossy())),
                "name a file that the user of switchd may read, with the value and nothing else",
            );
            None
        }
    }
}

pub(super) fn read_file(path: &Path) -> io::Result<String> {
    // Asked first: opening a pipe would wait for somebody to write.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it is larger than 64KiB"));
    }
    Ok(text)
}

pub(super) fn from_environment(value: &Value<'_>) -> Option<Secret> {
    let name = value.text()?;
    // Asking for such a name would panic.
    let askable = !name.is_empty() && !name.contains(['=', '\0']);
    if let Some(text) = askable.then(|| env::var(name).ok()).flatten() {
        return Some(Secret::new(text));
    }
    value.wrong(
        format!("environment variable `{}` is not set to a text", clip(name)),
        "set it for the process of switchd, or keep the value in a file: { file = \"/path\" }",
    );
    None
}
