//! What HTTP/2 lets through that HTTP/1.1 would read in another way never reaches an upstream.

use crate::support::Daemon;
use crate::support::Frames;
use crate::support::Http2;
use crate::support::Pair;
use crate::support::get;
use crate::support::h2_request;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::block;
use crate::support::http2::frame;
use crate::support::http2::get_frame;
use crate::support::http2::kind;
use h2::Reason;

type Field<'f> = (&'f str, &'f [u8]);

/// How one request of literal fields ends: its status, or why it was reset. With `body` it has DATA.
async fn outcome(
    daemon: &Daemon,
    fields: &[Field<'_>],
    body: Option<&[u8]>,
) -> Result<u16, Reason> {
    let mut client = Frames::connect(daemon.address, &[]).await;
    let flags = if body.is_some() {
        END_HEADERS
    } else {
        END_HEADERS | END_STREAM
    };
    client
        .send(&frame(kind::HEADERS, flags, 1, &block(fields)))
        .await;
    if let Some(body) = body {
        client.send(&frame(kind::DATA, END_STREAM, 1, body)).await;
    }
    loop {
        let frame = client
            .next()
            .await
            .expect("an answer, a reset or a goodbye");
        match frame.kind {
            // The status is the first field of an answer: indexed, or a literal with an indexed name.
            kind::HEADERS => return Ok(status(&frame.payload)),
            kind::RST_STREAM | kind::GOAWAY => return Err(frame.reason()),
            _ => {}
        }
    }
}

/// RFC 7541, appendix A: these have an index of their own; others are spelled out.
fn status(payload: &[u8]) -> u16 {
    match payload[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ => {
            let digits = &payload[2..];
            let digits = if payload[1] & 0x80 == 0 {
                digits[..3].to_vec()
            } else {
                unhuffman(digits)
            };
            String::from_utf8(digits).unwrap().parse().unwrap()
        }
    }
}

/// Three digits: 0, 1 and 2 are five bits, the others six (RFC 7541, appendix B).
fn unhuffman(bytes: &[u8]) -> Vec<u8> {
    let bit = |at: usize| u32::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let mut at = 0;
    let mut digits = Vec::new();
    while digits.len() < 3 {
        let five = (at..at + 5).fold(0, |code, at| code << 1 | bit(at));
        let (code, bits) = if five < 3 {
            (five, 5)
        } else {
            ((five << 1 | bit(at + 5)) - 0x19 + 3, 6)
        };
        digits.push(b'0' + u8::try_from(code).unwrap());
        at += bits;
    }
    digits
}

const GET: [Field<'static>; 4] = [
    (":method", b"GET"),
    (":scheme", b"http"),
    (":authority", b"app.test"),
    (":path", b"/"),
];

fn with<'f>(more: &[Field<'f>]) -> Vec<Field<'f>> {
    [&GET[..], more].concat()
}

fn replaced<'f>(name: &str, value: &'f [u8]) -> Vec<Field<'f>> {
    let replace = |field: &Field<'static>| {
        if field.0 == name {
            (field.0, value)
        } else {
            *field
        }
    };
    GET.iter().map(replace).collect()
}

/// Each is refused, nothing of it arrives upstream, and others are served on.
async fn refused(requests: &[Vec<Field<'_>>]) {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    assert_eq!(
        outcome(&daemon, &GET, None).await,
        Ok(200),
        "as it should be"
    );
    for request in requests {
        let ended = outcome(&daemon, request, None).await;
        let is_refused = match ended {
            Ok(status) => (400..500).contains(&status),
            Err(reason) => reason == Reason::PROTOCOL_ERROR || reason == Reason::COMPRESSION_ERROR,
        };
        assert!(is_refused, "{request:?} was answered with {ended:?}");
        assert_eq!(pair.blue.count(), 1, "{request:?} was forwarded");
    }
    assert!(!pair.blue.got_bytes("smuggled"));
    assert_eq!(get(daemon.address, "/").await.status(), 200);
}

#[tokio::test]
async fn a_line_break_in_a_name_a_value_or_a_word_of_the_first_line_is_refused() {
    refused(&[
        with(&[("x", b"a\r\nsmuggled: 1")]),
        with(&[("x", b"a\nsmuggled: 1")]),
        with(&[("x", b"a\rsmuggled: 1")]),
        with(&[("x", b"a\0smuggled")]),
        with(&[("x", b"\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")]),
        with(&[("cookie", b"a=1\r\nsmuggled: 1")]),
        with(&[("x\r\nsmuggled", b"1")]),
        with(&[("x: 1\r\nsmuggled", b"1")]),
        with(&[("smuggled ", b"1")]),
        with(&[("smuggled:", b"1")]),
        with(&[("", b"smuggled")]),
        replaced(":path", b"/ HTTP/1.1\r\nsmuggled: 1\r\nx:"),
        replaced(":path", b"/smuggled HTTP/1.1"),
        replaced(":path", b"/\tsmuggled"),
        replaced(":path", b"/\0smuggled"),
        replaced(":path", b"/\x7fsmuggled"),
        replaced(":method", b"GET /smuggled HTTP/1.1\r\nx: "),
        replaced(":method", b"GET smuggled"),
        replaced(":authority", b"app.test\r\nsmuggled: 1"),
        replaced(":authority", b"app.test smuggled"),
        replaced(":scheme", b"http\r\nsmuggled: 1"),
        replaced(":scheme", b"http://app.test/smuggled?"),
    ])
    .await;
}

#[tokio::test]
async fn fields_about_a_connection_are_refused() {
    refused(&[
        with(&[("connection", b"close")]),
        with(&[("connection", b"x-forwarded-for")]),
        with(&[("transfer-encoding", b"chunked")]),
        with(&[("transfer-encoding", b"identity")]),
        with(&[("upgrade", b"websocket")]),
        with(&[("upgrade", b"h2c")]),
        with(&[("keep-alive", b"timeout=1")]),
        with(&[("proxy-connection", b"keep-alive")]),
        with(&[("http2-settings", b"AAMAAABkAAQAAP__")]),
        with(&[("te", b"gzip")]),
        with(&[("te", b"trailers, chunked")]),
        with(&[("Upper-Case", b"1")]),
        with(&[("Transfer-Encoding", b"chunked")]),
    ])
    .await;
}

#[tokio::test]
async fn pseudo_fields_that_are_missing_doubled_or_misplaced_are_refused() {
    let without = |name: &str| {
        GET.iter()
            .copied()
            .filter(|field| field.0 != name)
            .collect()
    };
    refused(&[
        without(":method"),
        without(":scheme"),
        without(":path"),
        without(":authority"),
        replaced(":path", b""),
        replaced(":path", b"smuggled"),
        replaced(":path", b"*"),
        replaced(":authority", b""),
        replaced(":authority", b"user@app.test"),
        replaced(":authority", b"app.test/smuggled"),
        replaced(":authority", b"app.test:smuggled"),
        replaced(":scheme", b"ftp"),
        with(&[(":path", b"/smuggled")]),
        with(&[(":authority", b"app.test")]),
        with(&[(":status", b"200")]),
        with(&[(":smuggled", b"1")]),
        [&[("x", &b"1"[..])], &GET[..]].concat(),
        with(&[("host", b"smuggled.test")]),
        with(&[("host", b"app.test"), ("host", b"smuggled.test")]),
        replaced(":method", b"CONNECT"),
        vec![(":method", b"CONNECT"), (":authority", b"app.test:443")],
        replaced(":method", b"TRACE"),
        [
            &replaced(":method", b"CONNECT")[..],
            &[(":protocol", b"smuggled")],
        ]
        .concat(),
        with(&[(":protocol", b"websocket")]),
    ])
    .await;
}

#[tokio::test]
async fn a_host_may_stand_in_for_the_authority_or_repeat_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut alone: Vec<Field<'_>> = GET.to_vec();
    alone.retain(|field| field.0 != ":authority");
    alone.push(("host", b"app.test"));
    assert_eq!(outcome(&daemon, &alone, None).await, Ok(200));
    let both = with(&[("host", b"APP.test")]);
    assert_eq!(outcome(&daemon, &both, None).await, Ok(200));
    for seen in pair.blue.requests() {
        assert_eq!(seen.head.all("host"), ["app.test"]);
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_never_looks_whole() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let post = |path: &'static [u8], length: &'static [u8]| {
        let mut fields = replaced(":method", b"POST");
        fields.retain(|field| field.0 != ":path");
        fields.push((":path", path));
        fields.push(("content-length", length));
        fields
    };
    for (length, body) in [
        (&b"10"[..], &b"short"[..]),
        (b"3", b"longer GET /smuggled"),
        (b"1, 1", b"x"),
        (b"+1", b"x"),
        (b"0x1", b"x"),
        (b"99999999999999999999", b"x"),
        (b"", b"x"),
    ] {
        let ended = outcome(&daemon, &post(b"/echo", length), Some(body)).await;
        assert_ne!(ended, Ok(200), "{length:?} {body:?}");
    }
    let twice = [&post(b"/echo", b"5")[..], &[("content-length", &b"6"[..])]].concat();
    assert_ne!(outcome(&daemon, &twice, Some(b"hello")).await, Ok(200));
    let right = outcome(&daemon, &post(b"/right", b"5"), Some(b"hello")).await;
    assert_eq!(right, Ok(200), "as it should be");
    // What has no body is whole with its head; what comes then is nobody's.
    let none = outcome(
        &daemon,
        &post(b"/none", b"0"),
        Some(b"GET /smuggled HTTP/1.1"),
    )
    .await;
    assert!(
        none.is_ok() || none == Err(Reason::PROTOCOL_ERROR),
        "{none:?}"
    );
    for seen in pair.blue.requests_for("/echo") {
        let clean = |body: &crate::support::Body| body.end == crate::support::End::Clean;
        assert!(!seen.body.as_ref().is_some_and(clean), "{seen:?}");
    }
    assert!(!pair.blue.got_bytes("smuggled"));
}

#[tokio::test]
async fn what_a_client_must_not_say_of_itself_is_dropped_as_in_http1() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let client = Http2::connect(daemon.address).await;
    let request = h2_request("GET", "/spoof")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-host", "evil.test")
        .header("x_forwarded_host", "evil.test")
        .header("x-real-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6");
    assert_eq!(client.ask(request, &[]).await.unwrap().status(), 200);
    let seen = pair.blue.request_for("/spoof").head;
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-host"), ["app.test"]);
    assert_eq!(seen.all("x-real-ip"), ["127.0.0.1"]);
    assert!(!seen.has("x_forwarded_host") && !seen.has("forwarded"));
}

#[tokio::test]
async fn a_malformed_request_harms_no_other_stream_of_its_connection() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Frames::connect(daemon.address, &[]).await;
    let bad = with(&[("connection", b"close")]);
    let flags = END_HEADERS | END_STREAM;
    client
        .send(&frame(kind::HEADERS, flags, 1, &block(&bad)))
        .await;
    assert_eq!(client.end_of(1).await, Some(Reason::PROTOCOL_ERROR));
    client.send(&get_frame(3, "/")).await;
    assert_eq!(client.end_of(3).await, None);
}
