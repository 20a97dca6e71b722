//! Files that an upstream names and switchd sends.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::table::Table;
use std::path::PathBuf;

/// Where the files are that `X-Accel-Redirect` and `X-Sendfile` may name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sendfile {
    /// Nothing outside of it is ever sent; none means that no file is.
    pub root: Option<PathBuf>,
    /// What an X-Accel-Redirect begins with: it stands for the root.
    pub prefix: String,
}

pub(super) const SENDFILE: Section = section(
    "service.NAME.sendfile",
    &[
        key("root", r#""/var/lib/odoo/filestore""#),
        key("prefix", r#""/web/filestore""#),
    ],
);

/// Reads `[service.NAME.sendfile]` over what holds without it.
pub(super) fn read(service: &Table<'_>, default: Sendfile) -> Sendfile {
    let table = service.table("sendfile", &SENDFILE);
    let root = match table.get("root") {
        Some(value) if value.is_word("off") => None,
        Some(value) => value.absolute_path(),
        None => default.root,
    };
    let mut prefix = default.prefix;
    if let Some(value) = table.get("prefix")
        && let Some(text) = value.text()
    {
        if !text.is_empty() && !text.starts_with('/') {
            value.wrong(
                "`prefix` is no path of a URL",
                "begin it with `/`, as in prefix = \"/web/filestore\"",
            );
        }
        text.trim_end_matches('/').clone_into(&mut prefix);
    }
    Sendfile { root, prefix }
}

pub(super) fn changes(lines: &mut Differences, old: &Sendfile, new: &Sendfile) {
    let root = |sendfile: &Sendfile| match &sendfile.root {
        Some(root) => root.display().to_string(),
        None => "off".to_owned(),
    };
    lines.value("sendfile root", &root(old), &root(new));
    lines.value("sendfile prefix", &old.prefix, &new.prefix);
}
