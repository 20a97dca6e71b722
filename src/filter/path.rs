//! How a path may be read by those behind us.
//!
//! We pass the bytes of a target on untouched, and every server reads them in its own way: Odoo decodes
//! percents once and merges slashes, others resolve dot segments before or after that, take `\` for `/`,
//! cut `;params` off, or decode twice because a proxy in between has decoded already. So a path is judged
//! by all of these readings: [`Path::may_be_below`] when one of them leads there, [`Path::is_below`] when all do.
//! Letters keep their case in every reading.

use percent_encoding::percent_decode;
use std::borrow::Cow;

/// A path that is not plain is not read in every way beyond this length: it may be anything.
const LONGEST: usize = 8 * 1024;
/// Nobody writes a path that is still encoded after so many decodings: it may be anything.
const MOST_DECODINGS: usize = 4;

/// The beginning of paths, by whole segments; a segment `*` stands for any one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(Box<[Box<[u8]>]>);

impl Prefix {
    /// `/` is the beginning of every path.
    #[must_use]
    pub(super) fn new(text: &str) -> Self {
        Self(segments(text.as_bytes()).map(Into::into).collect())
    }

    fn holds<'s>(&self, path: impl IntoIterator<Item = &'s [u8]>) -> bool {
        let mut path = path.into_iter();
        self.0
            .iter()
            .all(|wanted| match (path.next(), wanted.as_ref()) {
                (Some(segment), wanted) => wanted == b"*" || segment == wanted,
                (None, _) => false,
            })
    }
}

/// The path of one request, without its query.
#[derive(Debug, Clone, Copy)]
pub struct Path<'p> {
    raw: &'p [u8],
    /// There is only one way to read it.
    is_plain: bool,
}

impl<'p> Path<'p> {
    /// Of a target in origin form, with or without a query.
    #[must_use]
    pub fn of(target: &'p str) -> Self {
        let raw = target.split('?').next().unwrap_or(target).as_bytes();
        Self {
            raw,
            is_plain: is_plain(raw),
        }
    }

    /// In at least one reading it lies below one of these, or it cannot be told.
    #[must_use]
    pub(super) fn may_be_below(&self, prefixes: &[Prefix]) -> bool {
        if prefixes.is_empty() {
            return false;
        }
        if self.is_plain {
            return self.leads_below(prefixes);
        }
        let mut found = false;
        let told = self.each_reading(|reading| {
            found |= holds(prefixes, reading);
            !found
        });
        found || told == Told::NotAll
    }

    /// In all readings it lies below one of these.
    #[must_use]
    pub(super) fn is_below(&self, prefixes: &[Prefix]) -> bool {
        if prefixes.is_empty() {
            return false;
        }
        if self.is_plain {
            return self.leads_below(prefixes);
        }
        let mut missed = false;
        let told = self.each_reading(|reading| {
            missed |= !holds(prefixes, reading);
            !missed
        });
        !missed && told == Told::All
    }

    /// Of a plain path.
    fn leads_below(&self, prefixes: &[Prefix]) -> bool {
        let mut prefixes = prefixes.iter();
        prefixes.any(|prefix| prefix.holds(segments(self.raw)))
    }

    /// One spelling for all paths that most servers take for the same: decoded, merged, resolved.
    #[must_use]
    pub(super) fn canonical(&self) -> Cow<'p, [u8]> {
        if self.is_plain || self.raw.len() > LONGEST {
            return Cow::Borrowed(self.raw);
        }
        let mut text = Cow::Borrowed(self.raw);
        for _ in 0..MOST_DECODINGS {
            text = Cow::Owned(decoded(&text));
        }
        let way = Way {
            cut: Cut::Nowhere,
            slash: Slash::Both,
            params: Params::Dropped,
            dots: Dots::AfterMerging,
        };
        let mut canonical = Vec::with_capacity(text.len());
        for segment in read(&text, way) {
            canonical.push(b'/');
            canonical.extend_from_slice(segment);
        }
        Cow::Owned(canonical)
    }

    /// Shows every reading to `look`, until it has seen enough and answers false.
    fn each_reading(&self, mut look: impl FnMut(&[&[u8]]) -> bool) -> Told {
        if self.raw.len() > LONGEST {
            return Told::NotAll;
        }
        let mut text = self.raw.to_vec();
        for _ in 0..=MOST_DECODINGS {
            // Whoever is written in C takes it for the end.
            if text.contains(&0) {
                return Told::NotAll;
            }
            for way in ways(&text) {
                if !look(&read(&text, way)) {
                    return Told::All;
                }
            }
            let next = decoded(&text);
            if next == text {
                return Told::All;
            }
            text = next;
        }
        Told::NotAll
    }
}

/// Were there readings that could not be shown?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    All,
    NotAll,
}

/// One way to read a path, at one depth of decoding.
#[derive(Debug, Clone, Copy)]
struct Way {
    cut: Cut,
    slash: Slash,
    params: Params,
    dots: Dots,
}

/// Where the path ends for who looks for a query in it once more.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Nowhere,
    AtQuery,
}

#[derive(Debug, Clone, Copy)]
enum Slash {
    Forward,
    Both,
}

/// `;name=value` behind a segment.
#[derive(Debug, Clone, Copy)]
enum Params {
    Kept,
    Dropped,
}

/// When `.` and `..` are resolved: `/a//../b` is `/a/b` before slashes are merged, and `/b` after.
#[derive(Debug, Clone, Copy)]
enum Dots {
    Kept,
    BeforeMerging,
    AfterMerging,
}

/// The ways that can make a difference for this text.
fn ways(text: &[u8]) -> impl Iterator<Item = Way> {
    let has = |byte| memchr::memchr(byte, text).is_some();
    let cuts: &[Cut] = if has(b'?') || has(b'#') {
        &[Cut::Nowhere, Cut::AtQuery]
    } else {
        &[Cut::Nowhere]
    };
    let slashes: &[Slash] = if has(b'\\') {
        &[Slash::Forward, Slash::Both]
    } else {
        &[Slash::Forward]
    };
    let params: &[Params] = if has(b';') {
        &[Params::Kept, Params::Dropped]
    } else {
        &[Params::Kept]
    };
    let dots: &[Dots] = if has(b'.') {
        &[Dots::Kept, Dots::BeforeMerging, Dots::AfterMerging]
    } else {
        &[Dots::Kept]
    };
    cuts.iter().flat_map(move |cut| {
        slashes.iter().flat_map(move |slash| {
            params.iter().flat_map(move |params| {
                dots.iter().map(move |dots| Way {
                    cut: *cut,
                    slash: *slash,
                    params: *params,
                    dots: *dots,
                })
            })
        })
    })
}

/// The segments of `text` in one way of reading it.
fn read(text: &[u8], way: Way) -> Vec<&[u8]> {
    let end = match way.cut {
        Cut::Nowhere => None,
        Cut::AtQuery => memchr::memchr2(b'?', b'#', text),
    };
    let text = &text[..end.unwrap_or(text.len())];
    let is_slash =
        |byte: &u8| *byte == b'/' || (*byte == b'\\' && matches!(way.slash, Slash::Both));
    let mut found: Vec<&[u8]> = Vec::new();
    // What stands before the first slash is no segment.
    for segment in text.split(is_slash).skip(1) {
        let end = match way.params {
            Params::Kept => None,
            Params::Dropped => memchr::memchr(b';', segment),
        };
        let segment = &segment[..end.unwrap_or(segment.len())];
        match (way.dots, segment) {
            (Dots::Kept | Dots::AfterMerging, b"")
            | (Dots::BeforeMerging | Dots::AfterMerging, b".") => {}
            (Dots::BeforeMerging | Dots::AfterMerging, b"..") => {
                found.pop();
            }
            _ => found.push(segment),
        }
    }
    found.retain(|segment| !segment.is_empty());
    found
}

fn decoded(text: &[u8]) -> Vec<u8> {
    percent_decode(text).collect()
}

fn is_plain(raw: &[u8]) -> bool {
    let is_odd = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    raw.first() == Some(&b'/')
        && !raw
            .iter()
            .any(|byte| matches!(byte, b'%' | b'\\' | b';' | b'#' | 0))
        && !raw.windows(2).any(is_odd)
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty())
}

fn holds(prefixes: &[Prefix], path: &[&[u8]]) -> bool {
    let mut prefixes = prefixes.iter();
    prefixes.any(|prefix| prefix.holds(path.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};
    use std::collections::HashSet;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| Prefix::new(text)).collect()
    }

    fn may(path: &str, prefix: &str) -> bool {
        Path::of(path).may_be_below(&prefixes(&[prefix]))
    }

    fn is(path: &str, prefix: &str) -> bool {
        Path::of(path).is_below(&prefixes(&[prefix]))
    }

    #[test]
    fn every_spelling_that_leads_to_the_database_manager_is_seen() {
        for path in [
            "/web/database",
            "/web/database/",
            "/web/database/manager",
            "/web/database/manager/",
            "/web/database/manager?debug=1",
            "//web/database/manager",
            "/web//database/manager",
            "///web///database///manager",
            "/web/%64atabase/manager",
            "/%77%65%62/%64%61%74%61%62%61%73%65",
            "/web%2fdatabase%2fmanager",
            "/web%2Fdatabase",
            "/%2fweb/database",
            "/web/%2564atabase/manager",
            "/web%252fdatabase",
            "/web/./database",
            "/web/%2e/database",
            "/./web/database",
            "/x/../web/database",
            "/x/%2e%2e/web/database",
            "/x/..%2fweb/database",
            "/web//../database",
            "/web/database/../login",
            "/web/database;x/manager",
            "/web;a=1/database;b=2",
            "/x/..;/web/database",
            "/web\\database\\manager",
            "/web%5cdatabase",
            "/x\\y/../web/database",
            "/web/database%3fx",
            "/web/database%23x",
            "/web/database%00.png",
            "/web/x%00",
            "/a/%252525252525252564",
        ] {
            assert!(may(path, "/web/database"), "{path}");
        }
    }

    #[test]
    fn what_leads_elsewhere_in_every_reading_passes() {
        for path in [
            "/",
            "*",
            "/web",
            "/web/databases",
            "/web/database_x/y",
            "/web/login?redirect=/web/database",
            "/WEB/database",
            "/web/Database/manager",
            "/xweb/database",
            "/web%20/database",
            "/web/data%62ases",
            "/web/content/1/%D0%BE%D1%82%D1%87.pdf",
            "/a;b=c/d.e/..f",
            "/shop/caf\u{e9}%C3%A9",
            "/web/d%zztabase/%",
        ] {
            assert!(!may(path, "/web/database"), "{path}");
        }
    }

    #[test]
    fn a_star_is_any_one_segment() {
        for path in ["/fr/web/database", "/pt%5fBR/web//database/drop"] {
            assert!(may(path, "/*/web/database"), "{path}");
        }
        for path in ["/web/database", "/a/b/web/database", "/fr/web"] {
            assert!(!may(path, "/*/web/database"), "{path}");
        }
        assert!(may("/", "/") && may("/x", "/") && !may("/", "/*"));
    }

    #[test]
    fn only_what_every_reader_takes_for_it_is_surely_below() {
        for path in ["/api/1", "//api/%31", "/api", "/api/x.y%20z"] {
            assert!(is(path, "/api"), "{path}");
        }
        for path in [
            "/api/../admin",
            "/api/..%2f..",
            "/%61pi",
            "/api%00",
            "/x/../api",
        ] {
            assert!(!is(path, "/api"), "{path}");
        }
    }

    #[test]
    fn a_path_has_one_canonical_spelling() {
        for path in ["/a/b", "//a/./b", "/a/c/../b", "/%61/b;x", "/a\\b", "/a/b/"] {
            let canonical = Path::of(path).canonical().into_owned();
            let text = String::from_utf8(canonical).unwrap();
            assert_eq!(text.trim_end_matches('/'), "/a/b", "{path}");
        }
    }

    #[test]
    fn the_longest_and_most_encoded_path_costs_little_and_is_not_trusted() {
        let long = format!("/{}", "%2e%2e;\\/".repeat(LONGEST));
        assert!(may(&long, "/x") && !is(&long, "/x"));
        let deep = format!("/%{}41", "25".repeat(4000));
        assert!(may(&deep, "/x") && !is(&deep, "/x"));
    }

    /// What Odoo sees: percents decoded once, slashes merged.
    fn odoo(path: &[u8]) -> Vec<Vec<u8>> {
        let digit = |at: usize| char::from(*path.get(at)?).to_digit(16);
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < path.len() {
            match (path[at], digit(at + 1), digit(at + 2)) {
                (b'%', Some(high), Some(low)) => {
                    decoded.push(u8::try_from(high * 16 + low).unwrap());
                    at += 3;
                }
                (byte, ..) => {
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        let parts = decoded.split(|byte| *byte == b'/');
        parts
            .filter(|part| !part.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Every text that some reader could make of `path` by rewriting any part of it in any order.
    fn rewritten(path: &str) -> HashSet<String> {
        let mut found = HashSet::from([path.to_owned()]);
        let mut left = vec![path.to_owned()];
        while let Some(text) = left.pop() {
            for next in rewrites(&text) {
                if found.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        found
    }

    fn rewrites(text: &str) -> Vec<String> {
        let mut all = vec![String::from_utf8_lossy(&decoded(text.as_bytes())).into_owned()];
        for (at, byte) in text.bytes().enumerate() {
            let (before, rest) = text.split_at(at);
            match byte {
                b'\\' => all.push(format!("{before}/{}", &rest[1..])),
                b';' => {
                    let end = rest.find(['/', '\\']).unwrap_or(rest.len());
                    all.push(format!("{before}{}", &rest[end..]));
                }
                b'?' | b'#' => all.push(before.to_owned()),
                b'/' => {
                    let segment = rest[1..].split('/').next().unwrap();
                    let behind = &rest[1 + segment.len()..];
                    if segment.is_empty() || segment == "." {
                        all.push(format!("{before}{behind}"));
                    }
                    if segment == ".." {
                        let parent = before.rfind('/').unwrap_or(0);
                        all.push(format!("{}{behind}", &before[..parent]));
                    }
                }
                _ => {}
            }
        }
        all
    }

    fn leads_to_ab(text: &str) -> bool {
        let rest = text.strip_prefix("/a/b");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Writes a path anew without changing where it leads for one kind of server.
    fn spelled(segments: &[&str], noise: &[u8], depth: usize) -> String {
        let mut noise = noise.iter().copied().cycle();
        let mut path = String::new();
        for segment in segments {
            path += match noise.next().unwrap() % 6 {
                0 => "//",
                1 => "/./",
                2 => "/x/../",
                3 => "/x//.././../",
                _ => "/",
            };
            path += segment;
        }
        for _ in 0..depth {
            let letters: Vec<String> = path
                .char_indices()
                .map(|(at, letter)| match noise.next().unwrap() % 3 {
                    _ if at == 0 => letter.to_string(),
                    0 => format!("%{:02x}", u32::from(letter)),
                    1 => format!("%{:02X}", u32::from(letter)),
                    _ => letter.to_string(),
                })
                .collect();
            path = letters.concat();
        }
        path
    }

    proptest! {
        #[test]
        fn however_it_is_spelled_it_is_seen(noise in prop::collection::vec(any::<u8>(), 1..40), depth in 0_usize..5) {
            let path = spelled(&["web", "database", "drop"], &noise, depth);
            prop_assert!(may(&path, "/web/database"), "{}", path);
        }

        #[test]
        fn whatever_reaches_odoo_is_seen(path in "/[ab/%2561f.;x]{0,14}") {
            let is_there = odoo(path.as_bytes()).starts_with(&[b"a".to_vec(), b"b".to_vec()]);
            prop_assert!(!is_there || may(&path, "/a/b"), "{}", path);
        }

        #[test]
        fn nothing_is_seen_that_no_reader_could_see(path in "/([ab.;?/\\\\]|%2f|%5c|%61|%2e|%252f|\\.\\.){0,9}") {
            let reachable = rewritten(path.split('?').next().unwrap()).iter().any(|text| leads_to_ab(text));
            prop_assert!(reachable || !may(&path, "/a/b"), "{}", path);
        }

        #[test]
        fn what_is_surely_below_may_be_below(path in "/([ab.;?/\\\\]|%2f|%5c|%61|%2e|%252f|\\.\\.){0,12}") {
            prop_assert!(!is(&path, "/a/b") || may(&path, "/a/b"), "{}", path);
            prop_assert!(!is(&path, "/a/b") || odoo(path.split('?').next().unwrap().as_bytes()).len() >= 2);
        }

        #[test]
        fn no_path_breaks_a_reader(path in prop_oneof![Just(String::new()), "\\PC*".prop_map(|text| format!("/{text}"))]) {
            let path = Path::of(&path);
            let all = prefixes(&["/a", "/*/b"]);
            let _ = (path.may_be_below(&all), path.is_below(&all), path.canonical());
        }
    }
}
