//! What stands in a file in front of a body: enough to find it again after a restart.

use super::body::Form;
use super::entry::Entry;
use super::entry::Parts;
use super::entry::Variance;
use super::key::Key;
use super::rules::Terms;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Serialize;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Changes when older files cannot be read any more: then they are removed.
const MAGIC: &[u8; 8] = b"swdkept1";
/// No head is near this.
pub(super) const LONGEST: usize = 1 << 20;
/// Magic, length and checksum.
pub(super) const FIXED: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    id: u64,
    form: String,
    length: u64,
    key: String,
    head: String,
    vary: Vec<(String, String)>,
    made_ms: u64,
    fresh_ms: u64,
    immutable: bool,
    public: bool,
    generation: u64,
}

/// One form of one entry, as a file tells it.
pub(super) struct Read {
    pub(super) parts: Parts,
    pub(super) form: Form,
    pub(super) length: u64,
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The bytes that stand in front of the body.
pub(super) fn written(entry: &Entry, form: Form, length: u64) -> Vec<u8> {
    let made = entry.terms.made.duration_since(UNIX_EPOCH);
    let vary = entry.vary.iter();
    let meta = Meta {
        id: entry.id,
        form: form.name().to_owned(),
        length,
        key: STANDARD.encode(&entry.key.text),
        head: STANDARD.encode(&entry.head),
        vary: vary
            .map(|one| (one.name.to_string(), STANDARD.encode(&one.value)))
            .collect(),
        made_ms: millis(made.unwrap_or_default()),
        fresh_ms: millis(entry.terms.fresh_for),
        immutable: entry.terms.immutable,
        public: entry.terms.public,
        generation: entry.generation,
    };
    let text = serde_json::to_vec(&meta).unwrap_or_default();
    let length = u32::try_from(text.len()).unwrap_or(0);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&text).to_le_bytes());
    bytes.extend_from_slice(&text);
    bytes
}

/// How long the text behind the fixed part is. None when this is no file of ours.
pub(super) fn text_length(fixed: &[u8; FIXED]) -> Option<usize> {
    let length = u32::from_le_bytes(fixed[8..12].try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    (fixed.starts_with(MAGIC) && length <= LONGEST).then_some(length)
}

/// None when it is damaged.
pub(super) fn read(fixed: &[u8; FIXED], text: &[u8]) -> Option<Read> {
    if fixed[12..] != crc32fast::hash(text).to_le_bytes() {
        return None;
    }
    let meta: Meta = serde_json::from_slice(text).ok()?;
    let bytes = |text: &str| STANDARD.decode(text).ok().map(Vec::into_boxed_slice);
    let key = Key::of(bytes(&meta.key)?);
    key.parts()?;
    let mut vary = Vec::new();
    for (name, value) in meta.vary {
        vary.push(Variance {
            name: name.into(),
            value: bytes(&value)?,
        });
    }
    let made: SystemTime = UNIX_EPOCH.checked_add(Duration::from_millis(meta.made_ms))?;
    Some(Read {
        form: Form::named(&meta.form)?,
        length: meta.length,
        parts: Parts {
            id: meta.id,
            key,
            head: bytes(&meta.head)?,
            vary,
            terms: Terms {
                made,
                fresh_for: Duration::from_millis(meta.fresh_ms),
                immutable: meta.immutable,
                public: meta.public,
                vary: Vec::new(),
            },
            generation: meta.generation,
        },
    })
}
