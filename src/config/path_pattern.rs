//! Paths of requests, as lists of the config name them.

use super::table::Table;
use super::value::{Value, clip};
use std::fmt;

/// A path, or a pattern whose `*` stand for any text: `*/static/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Whether `path`, without its query, is this path or lies below it (by whole segments, as routes compare), or
    /// fits the pattern. For what does no harm where a path means another one to the upstream.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        if self.is_pattern() {
            return self.fits(path);
        }
        let rest = path.strip_prefix(&*self.0);
        rest.is_some_and(|rest| self.0.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether `path`, without its query, is this very path, or fits the pattern and can only be read in one way.
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        if self.is_pattern() {
            return is_unambiguous(path) && self.fits(path);
        }
        self.0 == path
    }

    /// The last segment of a `path` that is this one segment by segment: a `*` stands for no more than one of them.
    #[must_use]
    pub fn last_segment_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
        let fits = is_unambiguous(path) && self.fits(path) && slashes(path) == slashes(&self.0);
        path.rsplit('/').next().filter(|_| fits)
    }

    fn is_pattern(&self) -> bool {
        self.0.contains('*')
    }

    /// Costs at most their lengths multiplied, and mostly much less.
    fn fits(&self, path: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = path.strip_prefix(first) else {
            return false;
        };
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        false
    }
}

/// Whether every server takes this for the same path: no empty, `.` or `..` segment, and nothing that some take for
/// the end of a path or of a segment, encoded or not.
fn is_unambiguous(path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !is_last) || is_odd(segment) {
            return false;
        }
    }
    true
}

fn is_odd(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let meant = if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return true;
            };
            // A dot has no need to be encoded.
            match high * 16 + low {
                0x2e => return true,
                meant => meant,
            }
        } else {
            u32::from(byte)
        };
        let ends_something = matches!(meant, 0x25 | 0x2f | 0x3b | 0x3f | 0x23 | 0x2a | 0x5c);
        if meant < 0x20 || meant == 0x7f || (ends_something && !(byte == b'*' && meant == 0x2a)) {
            return true;
        }
    }
    false
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The paths and patterns behind `key`, as clients write them, without queries; none where it is absent.
pub(super) fn list(table: &Table<'_>, key: &str) -> Option<Vec<PathPattern>> {
    let items = table.get(key)?.list()?;
    Some(items.iter().filter_map(read).collect())
}

fn read(value: &Value<'_>) -> Option<PathPattern> {
    let text = value.text()?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
    if text.starts_with(['/', '*']) && text.bytes().all(is_plain) {
        return Some(PathPattern(text.to_owned()));
    }
    value.wrong(
        format!("\"{}\" is no path that a client asks for", clip(text)),
        "write it as clients ask for it, without a query, as in \"/web/health\", or a pattern such as \"*/static/*\"",
    );
    None
}

/// As changes tell a list.
pub(super) fn shown(paths: &[PathPattern]) -> String {
    match paths {
        [] => "none".to_owned(),
        some => {
            let texts: Vec<_> = some.iter().map(ToString::to_string).collect();
            texts.join(", ")
        }
    }
}

#[cfg(test)]
impl From<&str> for PathPattern {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_whole_segments_and_a_pattern_any_text() {
        let covers = |pattern: &str, path: &str| PathPattern::from(pattern).covers(path);
        for (pattern, path) in [
            ("/web/assets/", "/web/assets/1-abc/web.js"),
            ("/web/assets", "/web/assets"),
            ("/web/assets", "/web/assets/x"),
            ("*/static/*", "/web/static/x.js"),
            ("*/static/*", "/static/"),
            ("*.js", "/a/b.js"),
            ("/a*b*c", "/a-b-b-c"),
            ("*", "/"),
        ] {
            assert!(covers(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/web/assets/", "/web/assets"),
            ("/web/assets", "/web/assetsx"),
            ("/web/assets", "/x/web/assets"),
            ("*/static/*", "/web/static"),
            ("*.js", "/a.js/b"),
            ("/a*b*c", "/a-c-b"),
            ("/ab*bc", "/abc"),
        ] {
            assert!(!covers(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_path_is_the_very_path_and_a_pattern_only_what_has_one_reading() {
        let is = |pattern: &str, path: &str| PathPattern::from(pattern).is(path);
        for (pattern, path) in [
            ("/web/health", "/web/health"),
            ("/a/../b", "/a/../b"),
            ("*/static/*", "/web/static/lib/x.js"),
            ("/web/image*", "/web/image/website/1/logo/My%20Site"),
            ("/web/image*", "/web/image/caf%C3%A9.png"),
            ("/json/2/*/read", "/json/2/res.partner/read"),
            ("/a/*", "/a/"),
        ] {
            assert!(is(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/web/health", "/web/health/"),
            ("/web/health", "/web/health/x"),
            ("/web/health", "/web/healthy"),
            ("/json/2/*/read", "/json/2/res.partner/READ"),
            ("/json/2/*/read", "/json/2/res.partner/unlink/../read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%2f..%2fread"),
            ("/json/2/*/read", "/json/2/res.partner/unlink;/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%3b/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%3f/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%23/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%00/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%0d/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink\\/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%5c/read"),
            ("/json/2/*/read", "/json/2/res.partner/unlink%252f/read"),
            ("/json/2/*/read", "/json/2/res.partner/%2e%2e/read"),
            ("/json/2/*/read", "/json/2/res.partner//read"),
            ("/json/2/*/read", "/json/2/res.partner/r%65ad"),
            ("/json/2/*/read", "/json/2/x%2/read"),
            ("*/static/*", "x/static/y"),
            ("*/static/*", "/web/./static/x"),
        ] {
            assert!(!is(pattern, path), "{pattern} {path}");
        }
    }
}
