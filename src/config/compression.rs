//! Which answers are compressed on their way to the client, and how.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::table::Table;
use super::units::format_size;
use super::value::{Choice, Value, clip};

/// What a body may be encoded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As Accept-Encoding and Content-Encoding name it.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// How the answers of a service are compressed.
#[derive(Debug, Clone, PartialEq)]
pub struct Compression {
    pub enabled: bool,
    /// What is used at all, in order of preference among those that a client likes equally.
    pub codings: Vec<Coding>,
    /// Media types, lower case; one that ends in `*` is a prefix.
    pub types: Vec<String>,
    /// Bodies that are known to be smaller pass as they are.
    pub min_size: u64,
    pub zstd_level: u8,
    pub brotli_level: u8,
    pub gzip_level: u8,
    /// Bodies that one worker encodes at the same time; further ones pass as they are.
    pub at_once: usize,
}

impl Default for Compression {
    fn default() -> Self {
        let types = [
            "text/html",
            "text/css",
            "text/plain",
            "text/xml",
            "text/javascript",
            "text/csv",
            "application/javascript",
            "application/json",
            "application/manifest+json",
            "application/xml",
            "application/rss+xml",
            "application/wasm",
            "image/svg+xml",
        ];
        Self {
            enabled: false,
            codings: Coding::ALL.to_vec(),
            types: types.map(str::to_owned).to_vec(),
            // Less fits into one packet anyhow.
            min_size: 1 << 10,
            zstd_level: 3,
            brotli_level: 4,
            gzip_level: 5,
            at_once: 32,
        }
    }
}

impl Compression {
    /// Whether bodies of this type are worth it. `content_type` may have parameters.
    #[must_use]
    pub fn takes(&self, content_type: &[u8]) -> bool {
        let media = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        self.types
            .iter()
            .any(|known| match known.strip_suffix('*') {
                Some(start) => media
                    .get(..start.len())
                    .is_some_and(|media| media.eq_ignore_ascii_case(start.as_bytes())),
                None => media.eq_ignore_ascii_case(known.as_bytes()),
            })
    }

    #[must_use]
    pub fn level(&self, coding: Coding) -> u8 {
        match coding {
            Coding::Zstd => self.zstd_level,
            Coding::Brotli => self.brotli_level,
            Coding::Gzip => self.gzip_level,
        }
    }
}

pub(super) const COMPRESSION: Section = section(
    "service.NAME.compression",
    &[
        key("enabled", "true"),
        key("codings", r#"["br", "gzip"]"#),
        key("types", r#"["text/*", "application/json"]"#),
        key("min_size", r#""2KiB""#),
        key("zstd_level", "3"),
        key("brotli_level", "5"),
        key("gzip_level", "6"),
        key("at_once", "16"),
    ],
);

/// Reads `[service.NAME.compression]` over what holds without it.
pub(super) fn read(service: &Table<'_>, default: Compression) -> Compression {
    let table = service.table("compression", &COMPRESSION);
    Compression {
        enabled: table.flag("enabled", default.enabled),
        codings: table
            .get("codings")
            .and_then(|value| codings(&value))
            .unwrap_or(default.codings),
        types: table
            .get("types")
            .and_then(|value| types(&value))
            .unwrap_or(default.types),
        min_size: table
            .get("min_size")
            .and_then(|value| value.size())
            .unwrap_or(default.min_size),
        // Levels above these cost seconds for what saves percents.
        zstd_level: table.number("zstd_level", 1..=19, default.zstd_level),
        brotli_level: table.number("brotli_level", 0..=11, default.brotli_level),
        gzip_level: table.number("gzip_level", 1..=9, default.gzip_level),
        at_once: table.number("at_once", 1..=1024, default.at_once),
    }
}

fn codings(value: &Value<'_>) -> Option<Vec<Coding>> {
    let choices = Coding::ALL.map(|coding| Choice {
        word: coding.token(),
        means: coding,
    });
    let items = value.list()?;
    if items.is_empty() {
        value.wrong(
            "`codings` is empty: nothing could be compressed",
            "write enabled = false instead, or name a coding",
        );
    }
    let mut codings = Vec::new();
    for item in items {
        let Some(coding) = item.choice(&choices) else {
            continue;
        };
        if codings.contains(&coding) {
            item.wrong(
                format!("\"{}\" stands in `codings` twice", coding.token()),
                "leave it where it ranks",
            );
        }
        codings.push(coding);
    }
    Some(codings)
}

fn types(value: &Value<'_>) -> Option<Vec<String>> {
    let mut types = Vec::new();
    for item in value.list()? {
        let Some(text) = item.text() else { continue };
        let token = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        let good = match text.split_once('/') {
            Some((kind, "*")) => token(kind),
            Some((kind, media)) => token(kind) && token(media.strip_suffix('*').unwrap_or(media)),
            None => false,
        };
        if good {
            types.push(text.to_ascii_lowercase());
        } else {
            item.wrong(
                format!("\"{}\" is not a media type", clip(text)),
                "write \"text/css\", or \"text/*\" for all that begin so",
            );
        }
    }
    Some(types)
}

pub(super) fn changes(lines: &mut Differences, old: &Compression, new: &Compression) {
    let shown = |codings: &[Coding]| {
        let all: Vec<_> = codings.iter().map(|coding| coding.token()).collect();
        all.join(", ")
    };
    lines.value("compression enabled", &old.enabled, &new.enabled);
    lines.value(
        "compression codings",
        &shown(&old.codings),
        &shown(&new.codings),
    );
    lines.value(
        "compression types",
        &old.types.join(", "),
        &new.types.join(", "),
    );
    lines.value(
        "compression min_size",
        &format_size(old.min_size),
        &format_size(new.min_size),
    );
    lines.value("compression zstd_level", &old.zstd_level, &new.zstd_level);
    lines.value(
        "compression brotli_level",
        &old.brotli_level,
        &new.brotli_level,
    );
    lines.value("compression gzip_level", &old.gzip_level, &new.gzip_level);
    lines.value("compression at_once", &old.at_once, &new.at_once);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_known_in_any_case_and_with_parameters() {
        let compression = Compression {
            types: vec!["text/css".to_owned(), "application/*".to_owned()],
            ..Compression::default()
        };
        for yes in [
            &b"text/css"[..],
            b"Text/CSS ; charset=utf-8",
            b"application/json",
        ] {
            assert!(compression.takes(yes), "{}", yes.escape_ascii());
        }
        for no in [&b""[..], b"text/css2", b"text/html", b"applicatio"] {
            assert!(!compression.takes(no), "{}", no.escape_ascii());
        }
    }
}
