//! Our reading of a request against hyper's: what we accept, hyper accepts, and both see the same request.
//!
//! We may refuse more than hyper does (that is the point of reading strictly), never less.
#![allow(clippy::unwrap_used)]

use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use proptest::prelude::*;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::rc::Rc;
use switchd::proxy::Decoder;
use switchd::proxy::FieldRoom;
use switchd::proxy::Framing;
use switchd::proxy::HeadLimits;
use switchd::proxy::MOST_FIELDS;
use switchd::proxy::Piece;
use switchd::proxy::RequestHead;

/// What a reader makes of the first request in some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: String,
    path: String,
    host: Vec<u8>,
    body: Vec<u8>,
}

/// None when the request is refused or incomplete.
fn ours(bytes: &[u8]) -> Option<Seen> {
    let mut room: FieldRoom<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let limits = HeadLimits {
        bytes: 64 * 1024,
        fields: 100,
    };
    let head = RequestHead::read(bytes, &mut room, limits).ok()??;
    let rest = &bytes[head.length..];
    let body = match head.framing {
        Framing::None => Vec::new(),
        Framing::Length(length) => rest.get(..usize::try_from(length).ok()?)?.to_vec(),
        Framing::Chunked => unchunk(rest)?,
        Framing::UntilClose => unreachable!("requests never end with the connection"),
    };
    Some(Seen {
        method: head.method.to_owned(),
        path: head.path.to_owned(),
        host: head.host.into(),
        body,
    })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::default();
    let mut body = Vec::new();
    loop {
        let (taken, piece) = decoder.next(rest).ok()?;
        match piece {
            Piece::Data(data) => body.extend_from_slice(data),
            Piece::End => return Some(body),
            Piece::More => return None,
        }
        rest = &rest[taken..];
    }
}

fn hypers(bytes: &[u8]) -> Option<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(256 * 1024);
        tokio::io::AsyncWriteExt::write_all(&mut client, bytes)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut client)
            .await
            .unwrap();
        let first: Rc<RefCell<Option<Seen>>> = Rc::default();
        let service = service_fn(|request: Request<Incoming>| {
            let first = first.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes().to_vec();
                let path = head
                    .uri
                    .path_and_query()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let host = head
                    .headers
                    .get("host")
                    .map(|host| host.as_bytes().to_vec())
                    .unwrap_or_default();
                let seen = Seen {
                    method: head.method.to_string(),
                    path,
                    host,
                    body,
                };
                first.borrow_mut().get_or_insert(seen);
                Ok::<_, hyper::Error>(Response::new(Empty::<&[u8]>::new()))
            }
        });
        let io = hyper_util::rt::TokioIo::new(server);
        let _ = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(io, service)
            .await;
        first.take()
    })
}

/// Header lines around everything that frames a message, well formed and not.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "Content-Length",
        "content-length",
        "Content-Length ",
        "Content_Length",
        "Transfer-Encoding",
        "transfer-encoding",
        "Transfer-Encoding\t",
        "Connection",
        "Host",
        "X-A",
        "Expect",
        "TE",
        "Upgrade",
        "",
    ]);
    let value = prop::sample::select(vec![
        "0",
        "3",
        "5",
        "+3",
        "3, 3",
        "03",
        "0x3",
        "",
        "chunked",
        "Chunked",
        "xchunked",
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "close",
        "keep-alive",
        "upgrade",
        "a",
        "b.example:80",
        "x\ry",
        "x\0y",
        "100-continue",
        "\u{b}chunked",
    ]);
    let colon = prop::sample::select(vec![": ", ":", " : ", ":\t", ""]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n "]);
    (name, colon, value, end)
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b=c HTTP/1.1\r\n",
        "POST / HTTP/1.0\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.2\r\n",
        "GET http://a/x HTTP/1.1\r\n",
        "\r\nPUT /x HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "GET //x/..%2f HTTP/1.1\r\n",
    ]);
    let body = prop::sample::select(vec![
        "",
        "abc",
        "hello",
        "3\r\nabc\r\n0\r\n\r\n",
        "0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "abcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ]);
    let host = prop::sample::select(vec!["Host: a\r\n", "Host: a\r\n", ""]);
    (start, host, prop::collection::vec(line(), 0..4), body).prop_map(
        |(start, host, lines, body)| {
            [start, host, &lines.concat(), "\r\n", body]
                .concat()
                .into_bytes()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_accept_hyper_accepts_and_sees_as_the_same_request(bytes in message()) {
        if let Some(seen) = ours(&bytes) {
            let theirs = hypers(&bytes);
            prop_assert_eq!(Some(seen), theirs, "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn no_bytes_make_the_head_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ours(&bytes);
    }
}

#[test]
fn the_comparison_sees_requests_that_both_accept_and_such_that_only_hyper_does() {
    let plain = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(ours(plain), hypers(plain));
    assert!(ours(plain).is_some());
    let both = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(ours(both), None);
    assert!(
        hypers(both).is_some(),
        "hyper drops the Content-Length, and a service cannot see that there was one"
    );
}
