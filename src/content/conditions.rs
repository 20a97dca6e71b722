//! What a client has already, and whether that is still good (RFC 9110, section 13).

use super::range::ByteRange;
use super::range::Ranged;
use super::range::requested;
use std::time::SystemTime;

/// What a representation is known by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// As it stands in the `ETag` field: `"x"` or `W/"x"`.
    pub etag: Option<&'a [u8]>,
    /// As it stands in the Last-Modified field.
    pub modified: Option<&'a [u8]>,
}

/// The fields of a request that make its answer conditional, or a part.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    pub if_match: Option<Box<[u8]>>,
    pub if_none_match: Option<Box<[u8]>>,
    pub if_modified_since: Option<Box<[u8]>>,
    pub if_unmodified_since: Option<Box<[u8]>>,
    pub if_range: Option<Box<[u8]>>,
    pub range: Option<Box<[u8]>>,
}

/// What a GET or HEAD gets of a representation that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Whole,
    Part(ByteRange),
    /// 304
    NotModified,
    /// 412
    Failed,
    /// 416
    Beyond,
}

impl Conditions {
    /// None of them was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none()
            && self.if_none_match.is_none()
            && self.if_modified_since.is_none()
            && self.if_unmodified_since.is_none()
            && self.range.is_none()
    }

    /// Takes the field if it is one of these. What is said twice holds together, as one list.
    pub fn take(&mut self, name: &str, value: &[u8]) {
        let place = match name.len() {
            5 if name.eq_ignore_ascii_case("range") => &mut self.range,
            8 if name.eq_ignore_ascii_case("if-match") => &mut self.if_match,
            8 if name.eq_ignore_ascii_case("if-range") => &mut self.if_range,
            13 if name.eq_ignore_ascii_case("if-none-match") => &mut self.if_none_match,
            17 if name.eq_ignore_ascii_case("if-modified-since") => &mut self.if_modified_since,
            19 if name.eq_ignore_ascii_case("if-unmodified-since") => &mut self.if_unmodified_since,
            _ => return,
        };
        *place = Some(match place.take() {
            Some(before) => [&before[..], b", ", value].concat().into(),
            None => value.into(),
        });
    }

    /// In the order of RFC 9110, section 13.2.2.
    #[must_use]
    pub fn judge(&self, validators: Validators<'_>, length: u64) -> Outcome {
        if let Some(list) = &self.if_match {
            let holds = validators
                .etag
                .is_some_and(|etag| lists(list, etag, Comparison::Strong));
            if !holds {
                return Outcome::Failed;
            }
        } else if let (Some(since), Some(modified)) = (
            self.if_unmodified_since.as_deref().and_then(date),
            validators.modified.and_then(date),
        ) && modified > since
        {
            return Outcome::Failed;
        }
        if let Some(list) = &self.if_none_match {
            let known = validators
                .etag
                .is_some_and(|etag| lists(list, etag, Comparison::Weak));
            if known || list.trim_ascii() == b"*" {
                return Outcome::NotModified;
            }
        } else if let (Some(since), Some(modified)) = (
            self.if_modified_since.as_deref().and_then(date),
            validators.modified.and_then(date),
        ) && modified <= since
        {
            return Outcome::NotModified;
        }
        self.part(validators, length)
    }

    /// Which part is asked for, if the client's other parts are of the same representation.
    fn part(&self, validators: Validators<'_>, length: u64) -> Outcome {
        if self.same_as_before(validators) {
            self.part_asked_for(length)
        } else {
            Outcome::Whole
        }
    }

    /// Which part is asked for, whatever the client has.
    #[must_use]
    pub fn part_asked_for(&self, length: u64) -> Outcome {
        let Some(range) = &self.range else {
            return Outcome::Whole;
        };
        match requested(range, length) {
            Ranged::Whole => Outcome::Whole,
            Ranged::Part(part) => Outcome::Part(part),
            Ranged::Beyond => Outcome::Beyond,
        }
    }

    /// If-Range: an entity tag by the strong comparison, or a date that is exactly ours.
    fn same_as_before(&self, validators: Validators<'_>) -> bool {
        let Some(before) = self.if_range.as_deref().map(<[u8]>::trim_ascii) else {
            return true;
        };
        if before.ends_with(b"\"") {
            return validators
                .etag
                .is_some_and(|etag| etag == before && !before.starts_with(b"W/"));
        }
        validators.modified.is_some_and(|date| date == before)
    }
}

/// The weak form of an entity tag.
#[must_use]
pub fn weaken(etag: &[u8]) -> Vec<u8> {
    if etag.starts_with(b"W/") {
        return etag.to_vec();
    }
    [b"W/", etag].concat()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether the list names this entity tag; `*` names any.
fn lists(list: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    if comparison == Comparison::Strong && etag.starts_with(b"W/") {
        return false;
    }
    let ours = opaque(etag);
    // A tag may hold commas: only its quotes end it.
    while let Some(open) = rest.iter().position(|byte| *byte == b'"') {
        let Some(length) = rest[open + 1..].iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let close = open + 1 + length;
        let is_weak = open >= 2 && &rest[open - 2..open] == b"W/";
        if &rest[open..=close] == ours && (comparison == Comparison::Weak || !is_weak) {
            return true;
        }
        rest = &rest[close + 1..];
    }
    false
}

fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// Whole seconds since 1970.
fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    const DATE: &str = "Sat, 05 Jul 2025 10:00:00 GMT";
    const EARLIER: &str = "Fri, 04 Jul 2025 10:00:00 GMT";
    const LATER: &str = "Sunday, 06-Jul-25 10:00:00 GMT";

    fn judged(etag: &str, fields: &[(&str, &str)]) -> Outcome {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            conditions.take(name, value.as_bytes());
        }
        let validators = Validators {
            etag: Some(etag.as_bytes()),
            modified: Some(DATE.as_bytes()),
        };
        conditions.judge(validators, 10)
    }

    #[test]
    fn a_client_that_has_it_gets_304_whether_it_says_so_weakly_or_strongly() {
        for (etag, list) in [
            ("\"a\"", "\"a\""),
            ("\"a\"", "W/\"a\""),
            ("W/\"a\"", "\"a\""),
            ("\"a\"", "\"b\", W/\"a\""),
            ("\"a,b\"", "\"a,b\""),
            ("\"a\"", "*"),
        ] {
            let outcome = judged(etag, &[("If-None-Match", list)]);
            assert_eq!(outcome, Outcome::NotModified, "{etag} {list}");
        }
        for list in ["\"b\"", "a", "\"a", "\"b, \"a\"", ""] {
            let outcome = judged("\"a\"", &[("If-None-Match", list)]);
            assert_eq!(outcome, Outcome::Whole, "{list}");
        }
    }

    #[test]
    fn dates_count_only_where_there_is_no_entity_tag_to_compare() {
        let since = |date| ("If-Modified-Since", date);
        assert_eq!(judged("\"a\"", &[since(DATE)]), Outcome::NotModified);
        assert_eq!(judged("\"a\"", &[since(LATER)]), Outcome::NotModified);
        assert_eq!(judged("\"a\"", &[since(EARLIER)]), Outcome::Whole);
        assert_eq!(judged("\"a\"", &[since("yesterday")]), Outcome::Whole);
        let other = ("If-None-Match", "\"b\"");
        assert_eq!(judged("\"a\"", &[other, since(DATE)]), Outcome::Whole);
    }

    #[test]
    fn a_precondition_that_fails_is_told() {
        for (fields, outcome) in [
            (("If-Match", "\"b\""), Outcome::Failed),
            (("If-Match", "W/\"a\""), Outcome::Failed),
            (("If-Match", "\"b\", \"a\""), Outcome::Whole),
            (("If-Match", "*"), Outcome::Whole),
            (("If-Unmodified-Since", EARLIER), Outcome::Failed),
            (("If-Unmodified-Since", DATE), Outcome::Whole),
        ] {
            assert_eq!(judged("\"a\"", &[fields]), outcome, "{fields:?}");
        }
    }

    #[test]
    fn a_range_is_cut_only_from_what_the_client_has_seen_before() {
        let range = ("Range", "bytes=2-3");
        let part = Outcome::Part(ByteRange { start: 2, end: 4 });
        for (etag, before, outcome) in [
            ("\"a\"", "\"a\"", part),
            ("\"a\"", "\"b\"", Outcome::Whole),
            ("\"a\"", "W/\"a\"", Outcome::Whole),
            ("W/\"a\"", "W/\"a\"", Outcome::Whole),
            ("\"a\"", DATE, part),
            ("\"a\"", EARLIER, Outcome::Whole),
        ] {
            assert_eq!(
                judged(etag, &[range, ("If-Range", before)]),
                outcome,
                "{before}"
            );
        }
        assert_eq!(judged("\"a\"", &[range]), part);
        assert_eq!(judged("\"a\"", &[("Range", "bytes=10-")]), Outcome::Beyond);
        assert_eq!(
            judged("\"a\"", &[range, ("If-None-Match", "\"a\"")]),
            Outcome::NotModified
        );
    }

    #[test]
    fn a_tag_is_weakened_once() {
        assert_eq!(weaken(b"\"a\""), b"W/\"a\"");
        assert_eq!(weaken(b"W/\"a\""), b"W/\"a\"");
    }

    proptest! {
        #[test]
        fn the_own_tag_is_found_in_any_list(before in vec("[a-z,]{0,4}", 0..4), own in "[a-z,]{1,6}", junk in vec(any::<u8>(), 0..20)) {
            let mut conditions = Conditions::default();
            for tag in &before {
                conditions.take("if-none-match", format!("W/\"{tag}\"").as_bytes());
            }
            conditions.take("if-none-match", format!("\"{own}\"").as_bytes());
            let etag = format!("\"{own}\"");
            let validators = Validators { etag: Some(etag.as_bytes()), modified: None };
            prop_assert_eq!(conditions.judge(validators, 1), Outcome::NotModified);
            let odd = Conditions { if_none_match: Some(junk.into()), ..Conditions::default() };
            let _ = odd.judge(validators, 1);
        }
    }
}
