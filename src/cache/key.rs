//! What two requests must have in common to get the same answer.

use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use std::sync::LazyLock;

/// Chosen anew by each process: nobody can aim at one place.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The parts of a key. The upstream sees all of them: what it cannot see cannot change its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyParts<'a> {
    pub service: &'a str,
    pub scheme: &'a [u8],
    /// As the upstream is told it: one Odoo serves many databases by it.
    pub host: &'a [u8],
    /// Another host that a trusted proxy tells; empty when it is the same.
    pub forwarded: &'a [u8],
    /// Path and query, byte for byte.
    pub target: &'a [u8],
}

/// A key and its hash, which holds within one process only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub(super) text: Box<[u8]>,
    pub(super) hash: u64,
}

/// None of the parts may hold it: a head that does is refused.
const BETWEEN: u8 = 0;

impl Key {
    #[must_use]
    pub fn new(parts: KeyParts<'_>) -> Self {
        let length = parts.service.len()
            + parts.scheme.len()
            + parts.host.len()
            + parts.forwarded.len()
            + parts.target.len()
            + 4;
        let mut text = Vec::with_capacity(length);
        text.extend_from_slice(parts.service.as_bytes());
        text.push(BETWEEN);
        text.extend(parts.scheme.iter().map(u8::to_ascii_lowercase));
        text.push(BETWEEN);
        text.extend(parts.host.iter().map(u8::to_ascii_lowercase));
        text.push(BETWEEN);
        text.extend(parts.forwarded.iter().map(u8::to_ascii_lowercase));
        text.push(BETWEEN);
        text.extend_from_slice(parts.target);
        Self::of(text.into())
    }

    /// A key from its text, as it was kept in a file.
    pub(super) fn of(text: Box<[u8]>) -> Self {
        let mut state = HASHER.build_hasher();
        state.write(&text);
        let hash = state.finish();
        Self { text, hash }
    }

    /// None when the text is no key.
    #[must_use]
    pub fn parts(&self) -> Option<KeyParts<'_>> {
        let mut parts = self.text.splitn(5, |byte| *byte == BETWEEN);
        let mut next = || parts.next();
        Some(KeyParts {
            service: std::str::from_utf8(next()?).ok()?,
            scheme: next()?,
            host: next()?,
            forwarded: next()?,
            target: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: KeyParts<'_> = KeyParts {
        service: "odoo",
        scheme: b"https",
        host: b"shop.example",
        forwarded: b"",
        target: b"/web/assets/1/x.js?debug=1",
    };

    #[test]
    fn keys_are_the_same_when_all_parts_are() {
        let key = Key::new(PARTS);
        assert_eq!(key.parts(), Some(PARTS));
        assert_eq!(Key::of(key.text.clone()), key);
        let upper = KeyParts {
            host: b"SHOP.example",
            ..PARTS
        };
        assert_eq!(Key::new(upper), key);
        for other in [
            KeyParts {
                service: "odo",
                scheme: b"ohttps",
                ..PARTS
            },
            KeyParts {
                scheme: b"http",
                ..PARTS
            },
            KeyParts {
                host: b"other.example",
                ..PARTS
            },
            KeyParts {
                forwarded: b"other.example",
                ..PARTS
            },
            KeyParts {
                target: b"/WEB/assets/1/x.js?debug=1",
                ..PARTS
            },
        ] {
            assert_ne!(Key::new(other), key);
        }
    }
}
