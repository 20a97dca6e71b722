//! Which answers are encoded for the client, and what their heads say then.

use super::edits::Edits;
use super::fields::options;
use super::response::ResponseHead;
use super::wishes::Wishes;
use crate::config::Coding;
use crate::config::Compression;
use crate::content::weaken;

/// What an answer's head says of its content, in one look.
#[derive(Default)]
struct Content<'b> {
    kind: &'b [u8],
    etag: Option<&'b [u8]>,
    /// It is encoded already, a part, or must stay as it is.
    is_settled: bool,
    varies: Vec<&'b [u8]>,
}

impl<'b> Content<'b> {
    fn of(head: &ResponseHead<'b>) -> Self {
        let mut content = Self::default();
        for (name, value) in head.fields() {
            match name.len() {
                4 if name.eq_ignore_ascii_case("etag") => content.etag = Some(value),
                4 if name.eq_ignore_ascii_case("vary") => content.varies.push(value),
                12 if name.eq_ignore_ascii_case("content-type") => content.kind = value,
                13 if name.eq_ignore_ascii_case("cache-control") => {
                    content.is_settled |= options(value)
                        .any(|directive| directive.eq_ignore_ascii_case(b"no-transform"));
                }
                13 if name.eq_ignore_ascii_case("content-range") => content.is_settled = true,
                16 if name.eq_ignore_ascii_case("content-encoding") => {
                    content.is_settled |= !value.eq_ignore_ascii_case(b"identity");
                }
                _ => {}
            }
        }
        content
    }
}

/// What the answer is to be encoded with, for a client that wants that. One that would be for other
/// clients says so to caches. `length` of the body, where it is known.
pub(super) fn chosen(
    (head, length): (&ResponseHead<'_>, Option<u64>),
    (settings, wishes): (&Compression, &Wishes),
    edits: &mut Edits,
) -> Option<Coding> {
    let is_bodyless = matches!(head.status, 100..=199 | 204 | 205 | 206);
    if !settings.enabled || is_bodyless {
        return None;
    }
    let content = Content::of(head);
    if head.status == 304 {
        // It speaks of what the client has, which went through here. A weak tag claims no more than a strong one.
        if wishes.coding.is_some() && !content.is_settled {
            weaken_tag(&content, edits);
        }
        return None;
    }
    let is_small = length.is_some_and(|length| length < settings.min_size);
    if content.is_settled || is_small || !settings.takes(content.kind) {
        return None;
    }
    vary(&content, edits);
    wishes.coding
}

/// What its head says then.
pub(super) fn encoded(head: &ResponseHead<'_>, coding: Coding, edits: &mut Edits) {
    weaken_tag(&Content::of(head), edits);
    edits.set("Content-Encoding", coding.token().as_bytes());
    // An answer to HEAD says what one to GET would.
    for gone in [
        "Content-Length",
        "Accept-Ranges",
        "Content-MD5",
        "Content-Digest",
        "Repr-Digest",
        "Digest",
    ] {
        edits.remove(gone);
    }
}

/// The answer speaks of what the client got encoded.
pub(super) fn weakened(head: &ResponseHead<'_>, edits: &mut Edits) {
    weaken_tag(&Content::of(head), edits);
}

fn weaken_tag(content: &Content<'_>, edits: &mut Edits) {
    if let Some(etag) = content.etag {
        edits.set("ETag", &weaken(etag));
    }
}

/// All that it varies by in one line: there are caches that read no further.
fn vary(content: &Content<'_>, edits: &mut Edits) {
    let mut names = content.varies.iter().flat_map(|value| options(value));
    if names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")) {
        return;
    }
    let mut value = content.varies.join(&b", "[..]);
    if !value.is_empty() {
        value.extend_from_slice(b", ");
    }
    value.extend_from_slice(b"Accept-Encoding");
    edits.set("Vary", &value);
}
