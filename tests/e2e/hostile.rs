//! A message that can be read two ways is never forwarded, and nothing hides behind it.

use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;

/// What an attacker hopes the upstream takes for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// Sends each of `heads` with a smuggled request behind it: refused with one of `statuses`, closed, never forwarded.
async fn refused_with(statuses: &[u16], heads: &[&str]) {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for head in heads {
        let mut client = Wire::connect(daemon.address).await;
        client.send(format!("{head}{SMUGGLED}")).await;
        let answer = client.answer("POST").await;
        assert!(
            statuses.contains(&answer.status()),
            "{head:?} was answered with {answer:?}"
        );
        assert!(answer.head.names_token("connection", "close"), "{answer:?}");
        let rest = client.rest().await;
        assert!(rest.is_empty(), "{head:?}: {}", rest.escape_ascii());
        assert_eq!(pair.blue.count(), 0, "{head:?} was forwarded");
    }
    assert!(!pair.blue.got_bytes("smuggled"));
    assert_eq!(
        get(daemon.address, "/").await.status(),
        200,
        "others are served on"
    );
}

async fn refused(heads: &[&str]) {
    refused_with(&[400], heads).await;
}

#[tokio::test]
async fn content_length_beside_transfer_encoding_is_refused() {
    refused(&[
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn content_lengths_that_differ_or_are_no_numbers_are_refused() {
    refused(&[
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    ])
    .await;
}

/// RFC 9112 lets a recipient refuse these, or take the one value that they agree on.
#[tokio::test]
async fn equal_content_lengths_are_refused_or_become_one() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for lengths in [
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
    ] {
        let before = pair.blue.count();
        let mut client = Wire::connect(daemon.address).await;
        let answer = client
            .ask(format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\n{lengths}\r\nhello{SMUGGLED}"
            ))
            .await;
        if answer.status() == 400 {
            assert_eq!(pair.blue.count(), before, "refused means not forwarded");
        } else {
            assert_eq!(answer.text(), "hello");
            let seen = pair.blue.requests_for("/echo").pop().unwrap();
            assert_eq!(seen.head.all("content-length"), ["5"]);
        }
    }
}

#[tokio::test]
async fn transfer_codings_other_than_one_chunked_are_refused() {
    refused_with(
        &[400, 501],
        &[
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn lines_that_other_parsers_read_otherwise_are_refused() {
    refused(&[
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Folded: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Folded: a\r\n\tContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX(y): 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\rContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
    ])
    .await;
}

/// RFC 9112 lets a recipient take a bare LF for a line's end; whoever does must send CRLF on.
#[tokio::test]
async fn bare_line_feeds_are_refused_or_sent_on_as_crlf() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("GET / HTTP/1.1\nHost: a\nConnection: close\n\n")
        .await;
    let answer = client.answer("GET").await;
    match answer.status() {
        400 => assert_eq!(pair.blue.count(), 0),
        status => {
            assert_eq!(status, 200);
            let raw = pair.blue.requests()[0].head.raw.clone();
            let feeds = memchr::memchr_iter(b'\n', &raw).count();
            assert_eq!(memchr::memmem::find_iter(&raw, b"\r\n").count(), feeds);
        }
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    refused(&[
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:port\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn an_absolute_target_and_the_host_agree() {
    refused(&[
        "GET http://other.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET http://app.test:81/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET http://user@app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET ftp://app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ])
    .await;
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask("GET http://app.test/path?q HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 200);
    let seen = pair.blue.request_for("/path");
    assert_eq!(
        (seen.head.target(), seen.head.get("host")),
        ("/path?q", Some("app.test"))
    );
}

#[tokio::test]
async fn connect_and_trace_are_refused() {
    refused_with(
        &[400, 405, 501],
        &[
            "CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n\r\n",
            "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
            "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
            "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn request_lines_that_are_none_are_refused() {
    refused_with(
        &[400, 505],
        &[
            "GET /\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2.3\r\nHost: a\r\n\r\n",
            "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n",
        ],
    )
    .await;
}

/// The chunk of a body is bad only after the head was forwarded: the upstream must see a body that was cut.
async fn bad_chunk(daemon: &Daemon, pair: &Pair, chunks: &str) {
    let before = pair.blue.requests_for("/echo").len();
    let mut client = Wire::connect(daemon.address).await;
    client
        .send(format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
        ))
        .await;
    match client.try_answer("POST").await {
        Ok(answer) => assert_eq!(answer.status(), 400, "{chunks:?}: {answer:?}"),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{chunks:?}"),
    }
    let rest = client.rest().await;
    assert!(rest.is_empty(), "{chunks:?}: {}", rest.escape_ascii());
    for seen in &pair.blue.requests_for("/echo")[before..] {
        let clean = |body: &crate::support::Body| body.end == crate::support::End::Clean;
        assert!(
            !seen.body.as_ref().is_some_and(clean),
            "{chunks:?} ended cleanly upstream"
        );
    }
}

#[tokio::test]
async fn bad_chunks_are_refused() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for chunks in [
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1 1\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "g\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
        ";ext\r\nx\r\n0\r\n\r\n",
        "10000000000000000\r\nx\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\rx\r\n0\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1;a\rb\r\nx\r\n0\r\n\r\n",
        "1;a\0\r\nx\r\n0\r\n\r\n",
        "0\r\nbad trailer\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: a\0\r\n\r\n",
    ] {
        bad_chunk(&daemon, &pair, chunks).await;
    }
    assert!(pair.blue.requests_for("/smuggled").is_empty());
    assert!(!pair.blue.got_bytes("smuggled"));
    assert_eq!(get(daemon.address, "/").await.status(), 200);
}

#[tokio::test]
async fn endless_chunk_extensions_and_trailers_are_bounded() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(2 << 20));
    let trailers = format!("0\r\n{}\r\n", "X-T: 1\r\n".repeat(200_000));
    for chunks in [extension, trailers] {
        let mut client = Wire::connect(daemon.address).await;
        client
            .send(format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            ))
            .await;
        let text = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 4"),
            "{}",
            &text[..text.len().min(200)]
        );
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_request_stays_a_body() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("POST /echo", "", SMUGGLED)).await;
    assert_eq!(answer.text(), SMUGGLED);
    let answer = client.ask(request(
        "GET /with-body",
        "Content-Length: 52\r\n",
        &SMUGGLED.repeat(2)[..52],
    ));
    assert_eq!(answer.await.status(), 200);
    assert!(pair.blue.requests_for("/smuggled").is_empty());
}

#[tokio::test]
async fn the_rest_of_a_refused_upload_is_never_a_request() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/early",
        crate::support::Reply::steps([
            crate::support::Step::send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
            crate::support::Step::Hang,
        ]),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n")
        .await;
    assert_eq!(client.answer("POST").await.status(), 403);
    client.send(SMUGGLED.repeat(10)).await;
    client.finish_sending().await;
    let rest = client.rest().await;
    assert!(
        memchr::memmem::find(&rest, b"HTTP/1.1 200").is_none(),
        "{}",
        rest.escape_ascii()
    );
    assert!(pair.blue.requests_for("/smuggled").is_empty());
}

#[tokio::test]
async fn an_upstream_cannot_smuggle_an_answer_to_the_next_client() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/head",
        crate::support::Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        ),
    );
    pair.blue.on(
        "/204",
        crate::support::Reply::raw(
            "HTTP/1.1 204 None\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(
        client.ask(request("HEAD /head", "", "")).await.status(),
        200
    );
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
    assert_eq!(client.ask(request("GET /204", "", "")).await.status(), 204);
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
}
