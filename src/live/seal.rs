//! What tells our own cookies from made-up ones: a keyed hash over what they say.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// As long as a key is.
pub const KEY_BYTES: usize = 32;

/// Enough that nobody finds one by trying.
const KEPT: usize = 16;

/// One key, at work. It outlives restarts, and so do the cookies.
#[derive(Debug)]
pub struct Seal(hmac::Key);

impl Seal {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Of these parts in this order; no other parts have the same.
    #[must_use]
    pub fn of(&self, parts: &[&[u8]]) -> [u8; KEPT] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut kept = [0; KEPT];
        kept.copy_from_slice(&tag.as_ref()[..KEPT]);
        kept
    }

    /// The same as text, fit for cookies and addresses.
    #[must_use]
    pub fn text_of(&self, parts: &[&[u8]]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.of(parts))
    }

    /// Whether `text` is what [`Seal::text_of`] gives for these. Takes as long for any that is not.
    #[must_use]
    pub fn is_of(&self, parts: &[&[u8]], text: &[u8]) -> bool {
        is_same(self.text_of(parts).as_bytes(), text)
    }
}

/// Compares without telling by its time where two differ.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_of_its_parts_in_their_order_and_of_its_key() {
        let (seal, other) = (Seal::new(&[7; KEY_BYTES]), Seal::new(&[8; KEY_BYTES]));
        let parts: [&[u8]; 2] = [b"green", b"12"];
        let text = seal.text_of(&parts);
        assert!(seal.is_of(&parts, text.as_bytes()));
        assert!(!other.is_of(&parts, text.as_bytes()));
        for others in [
            [b"green1".as_slice(), b"2"],
            [b"12", b"green"],
            [b"green", b"13"],
        ] {
            assert!(!seal.is_of(&others, text.as_bytes()));
        }
        assert!(!seal.is_of(&parts, b"") && !seal.is_of(&parts, &text.as_bytes()[1..]));
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
    }
}
