//! Hostile heads and bodies: nothing panics, and what passes is read by the next parser as one message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::mem::MaybeUninit;
use switchd::proxy::Asked;
use switchd::proxy::Decoder;
use switchd::proxy::FieldRoom;
use switchd::proxy::HeadLimits;
use switchd::proxy::MOST_FIELDS;
use switchd::proxy::Piece;
use switchd::proxy::RequestHead;
use switchd::proxy::ResponseHead;

const ENDS_HERE: [&str; 8] = [
    "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "content-length", "upgrade", "host",
];

fuzz_target!(|bytes: &[u8]| {
    request(bytes);
    response(bytes);
    body(bytes);
});

fn request(bytes: &[u8]) {
    let mut room: FieldRoom<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let limits = HeadLimits { bytes: 64 * 1024, fields: 100 };
    let Ok(Some(head)) = RequestHead::read(bytes, &mut room, limits) else { return };
    let mut out = b"GET / HTTP/1.1\r\n".to_vec();
    head.write_passing(bytes, &mut out, false);
    out.extend_from_slice(b"\r\n");
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut again = httparse::Request::new(&mut fields);
    assert_eq!(again.parse(&out), Ok(httparse::Status::Complete(out.len())), "one head, and nothing behind it");
    for field in again.headers.iter() {
        assert!(!ENDS_HERE.iter().any(|name| field.name.eq_ignore_ascii_case(name)), "{} passed", field.name);
        assert!(!field.name.contains('_'), "{} passed", field.name);
    }
}

fn response(bytes: &[u8]) {
    let mut room: FieldRoom<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let asked = Asked { is_head: false, is_http11: true, upgrade: true, expects_continue: true, keep_alive: true };
    let Ok(Some(head)) = ResponseHead::read(bytes, &mut room, asked) else { return };
    let mut out = Vec::new();
    head.write(bytes, asked, &mut out);
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut again = httparse::Response::new(&mut fields);
    assert_eq!(again.parse(&out), Ok(httparse::Status::Complete(out.len())), "one head, and nothing behind it");
    assert_eq!(again.code, Some(head.status));
    let framings = again.headers.iter().filter(|field| {
        field.name.eq_ignore_ascii_case("content-length") || field.name.eq_ignore_ascii_case("transfer-encoding")
    });
    assert!(framings.count() <= 1, "a body ends in one way");
}

/// The same data, whole or byte by byte.
fn body(bytes: &[u8]) {
    assert_eq!(decode(bytes, bytes.len().max(1)), decode(bytes, 1));
}

fn decode(bytes: &[u8], cut: usize) -> Option<(Vec<u8>, bool)> {
    let mut decoder = Decoder::default();
    let mut data = Vec::new();
    for mut part in bytes.chunks(cut) {
        loop {
            let (taken, piece) = decoder.next(part).ok()?;
            part = &part[taken..];
            match piece {
                Piece::More => break,
                Piece::Data(bytes) => data.extend_from_slice(bytes),
                Piece::End => return Some((data, true)),
            }
        }
    }
    Some((data, false))
}
