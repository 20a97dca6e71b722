//! What may be asked of a service that is read only.

use super::change::{Differences, Lists};
use super::keys::{Section, key, section};
use super::path_pattern::{PathPattern, list};
use super::table::Table;
use super::value::{Choice, Value, clip};

/// What reads, besides GET, HEAD and OPTIONS; everything else writes.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadOnly {
    pub writes: Writes,
    /// Paths whose requests read, whatever their method.
    pub paths: Vec<PathPattern>,
    /// Paths, and all below them, that JSON-RPC calls are posted to: what a call is, its body tells.
    pub calls: Vec<PathPattern>,
    /// Paths whose last segment is the method of a call, which is posted to them.
    pub method_paths: Vec<PathPattern>,
    /// The methods of such calls that read.
    pub methods: Vec<String>,
}

/// What becomes of requests that write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    Refuse,
    /// They wait until the service may be written again, within the bounds of a hold.
    Hold,
}

const WRITES: [Choice<Writes>; 2] = [
    Choice {
        word: "refuse",
        means: Writes::Refuse,
    },
    Choice {
        word: "hold",
        means: Writes::Hold,
    },
];

impl Default for ReadOnly {
    fn default() -> Self {
        Self {
            writes: Writes::Refuse,
            paths: Vec::new(),
            calls: Vec::new(),
            method_paths: Vec::new(),
            methods: Vec::new(),
        }
    }
}

impl ReadOnly {
    /// Whether a path names a method that reads.
    #[must_use]
    pub fn is_named_read(&self, path: &str) -> bool {
        let mut named = self.method_paths.iter();
        let method = named.find_map(|known| known.last_segment_of(path));
        method.is_some_and(|method| self.methods.iter().any(|known| known == method))
    }
}

pub(super) const READ_ONLY: Section = section(
    "service.NAME.read_only",
    &[
        key("writes", r#""refuse""#),
        key("paths", r#"["/web/action/load"]"#),
        key("calls", r#"["/web/dataset/call_kw"]"#),
        key("method_paths", r#"["/json/2/*/*"]"#),
        key("methods", r#"["read", "search_read"]"#),
    ],
);

pub(super) fn read(service: &Table<'_>) -> ReadOnly {
    let table = service.table("read_only", &READ_ONLY);
    let default = ReadOnly::default();
    ReadOnly {
        writes: table
            .get("writes")
            .and_then(|value| value.choice(&WRITES))
            .unwrap_or(default.writes),
        paths: list(&table, "paths").unwrap_or(default.paths),
        calls: list(&table, "calls").unwrap_or(default.calls),
        method_paths: list(&table, "method_paths").unwrap_or(default.method_paths),
        methods: methods(&table).unwrap_or(default.methods),
    }
}

fn methods(table: &Table<'_>) -> Option<Vec<String>> {
    let items = table.get("methods")?.list()?;
    Some(items.iter().filter_map(method).collect())
}

fn method(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.is_empty() && text.bytes().all(is_name) {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("\"{}\" is no name of a method", clip(text)),
        "write it as calls name it: \"search_read\"",
    );
    None
}

pub(super) fn changes(lines: &mut Differences, old: &ReadOnly, new: &ReadOnly) {
    let words = |writes| match writes {
        Writes::Refuse => "refuse",
        Writes::Hold => "hold",
    };
    lines.value("read_only writes", &words(old.writes), &words(new.writes));
    for (what, old, new) in [
        ("read_only paths", &old.paths, &new.paths),
        ("read_only calls", &old.calls, &new.calls),
        (
            "read_only method_paths",
            &old.method_paths,
            &new.method_paths,
        ),
    ] {
        lines.list(what, &Lists { old, new }, ToString::to_string);
    }
    let (old, new) = (&old.methods, &new.methods);
    lines.list("read_only methods", &Lists { old, new }, String::clone);
}
