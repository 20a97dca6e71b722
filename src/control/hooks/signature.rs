//! Signs what is sent, so that its receiver knows from whom it comes and that nobody changed it.

use aws_lc_rs::hmac;
use std::fmt::Write;

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 of the seconds since 1970, a point, and the body as it is sent.
pub(super) fn signature(secret: &str, seconds: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut text = format!("t={seconds},v1=");
    for byte in context.sign().as_ref() {
        // A String takes whatever is written.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_others_compute() {
        // printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac hunter2
        assert_eq!(
            signature("hunter2", 1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=56b25cbf563812b38800e5f4dd1febfde087d36841155e70b3aa285517e1570a"
        );
    }
}
