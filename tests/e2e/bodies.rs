//! Where an answer ends, and what becomes of one that does not.

use crate::support::Backend;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;

#[tokio::test]
async fn http_1_0_clients_get_no_1xx() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/hints",
        Reply::raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask("GET /hints HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.text(), "ok");
    assert!(answer.interim.is_empty());
}

#[tokio::test]
async fn answers_without_a_body_have_none_whatever_their_headers_say() {
    let pair = Pair::start().await;
    pair.blue
        .on("/204", Reply::raw("HTTP/1.1 204 None\r\n\r\n"));
    pair.blue.on(
        "/304",
        Reply::raw("HTTP/1.1 304 Same\r\nContent-Length: 500\r\nETag: x\r\n\r\n"),
    );
    pair.blue.on(
        "/head",
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
    );
    pair.blue.on(
        "/chunked-head",
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let none = client.ask(request("GET /204", "", "")).await;
    assert!(
        !none.head.has("content-length") && !none.head.has("transfer-encoding"),
        "{none:?}"
    );
    let same = client.ask(request("GET /304", "", "")).await;
    assert_eq!((same.status(), same.head.get("etag")), (304, Some("x")));
    let head = client.ask(request("HEAD /head", "", "")).await;
    assert_eq!(head.head.get("content-length"), Some("5000"));
    assert_eq!(
        client
            .ask(request("HEAD /chunked-head", "", ""))
            .await
            .status(),
        200
    );
    // No stray byte is left on the connection.
    assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
}

#[tokio::test]
async fn our_own_answers_to_head_have_no_body_either() {
    let pair = Pair::start().await;
    pair.blue.stop().await;
    let config = pair.config().set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send(request("HEAD /", "Connection: close\r\n", ""))
        .await;
    let bytes = client.rest().await;
    assert!(
        bytes.starts_with(b"HTTP/1.1 50"),
        "{}",
        bytes.escape_ascii()
    );
    assert!(bytes.ends_with(b"\r\n\r\n"), "{}", bytes.escape_ascii());
}

fn close_delimited(backend: &Backend, version: &str) {
    backend.on(
        "/until-close",
        Reply::raw_then_close(format!(
            "{version} 200 OK\r\nX-Backend: blue\r\n\r\nto the end"
        )),
    );
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_chunked_for_1_1_clients() {
    let pair = Pair::start().await;
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        close_delimited(&pair.blue, version);
        let daemon = pair.daemon().await;
        let mut client = Wire::connect(daemon.address).await;
        let answer = client.ask(request("GET /until-close", "", "")).await;
        assert_eq!(answer.text(), "to the end");
        assert_eq!(answer.head.get("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.head.version(), "HTTP/1.1");
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    }
}

#[tokio::test]
async fn an_answer_of_unknown_length_ends_with_the_connection_for_1_0_clients() {
    let pair = Pair::start().await;
    close_delimited(&pair.blue, "HTTP/1.1");
    pair.blue.on(
        "/chunks",
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    );
    let daemon = pair.daemon().await;
    for (path, body) in [("/until-close", "to the end"), ("/chunks", "hello")] {
        let mut client = Wire::connect(daemon.address).await;
        client
            .send(format!(
                "GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
            ))
            .await;
        let head = client.head().await.unwrap().unwrap();
        assert!(!head.has("transfer-encoding"), "{head:?}");
        assert_eq!(client.rest().await, body.as_bytes());
    }
}

async fn cut_short(daemon: &Daemon, upstream: &Backend, start: &str, last: Step) {
    upstream.on(
        "/cut",
        Reply::steps([Step::TakeBody, Step::send(start), last]),
    );
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /cut", "", "")).await;
    // Our own reset may overtake the beginning of the answer, and so may the upstream's.
    match client.try_answer("GET").await {
        Ok(answer) if answer.status() == 200 => assert_eq!(answer.body.end, End::Cut, "{start:?}"),
        Ok(answer) => assert_eq!(answer.status(), 502, "{start:?}"),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{start:?}"),
    }
}

#[tokio::test]
async fn an_answer_cut_short_by_the_upstream_is_never_a_clean_end() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let counted = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let in_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello";
    for start in [counted, chunked, in_chunk] {
        cut_short(&daemon, &pair.blue, start, Step::Close).await;
        cut_short(&daemon, &pair.blue, start, Step::Reset).await;
    }
    let garbage = format!("{chunked}zz\r\nhello\r\n0\r\n\r\n");
    cut_short(&daemon, &pair.blue, &garbage, Step::Close).await;
    let until_reset = "HTTP/1.1 200 OK\r\n\r\nno length at all";
    cut_short(&daemon, &pair.blue, until_reset, Step::Reset).await;
}

#[tokio::test]
async fn an_upload_cut_short_by_the_client_never_ends_cleanly_upstream() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for head in [
        "Content-Length: 100\r\n\r\nonly this",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut client = Wire::connect(daemon.address).await;
        client
            .send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{head}"))
            .await;
        let before = pair.blue.count();
        pair.blue.saw("/echo", before.max(1)).await;
        client.finish_sending().await;
        client.rest().await;
    }
    pair.blue.saw("/echo", 2).await;
    crate::support::eventually("both uploads end", async || {
        pair.blue
            .requests_for("/echo")
            .iter()
            .all(|seen| seen.body.as_ref().is_some_and(|body| body.end == End::Cut))
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_understood_is_a_502() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for bad in [
        "this is no http\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200",
        "",
    ] {
        pair.blue.on("/bad", Reply::raw_then_close(bad));
        let answer = get(daemon.address, "/bad").await;
        assert_eq!(answer.status(), 502, "{bad:?} became {answer:?}");
    }
}

#[tokio::test]
async fn an_answer_with_a_huge_head_is_a_502() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let huge = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
        "y".repeat(4 << 20)
    );
    pair.blue.on("/bad", Reply::raw_then_close(huge));
    assert_eq!(get(daemon.address, "/bad").await.status(), 502);
}

#[tokio::test]
async fn bytes_after_an_answer_are_never_taken_for_the_next_one() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/tail",
        Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
             HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(client.ask(request("GET /tail", "", "")).await.text(), "ok");
    for _ in 0..5 {
        assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
    }
}

#[tokio::test]
async fn a_body_that_is_malformed_from_its_first_byte_is_a_502() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/bad",
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"),
    );
    let daemon = pair.daemon().await;
    let answer = get(daemon.address, "/bad").await;
    assert_eq!(
        (answer.status(), answer.head.get("x-switchd-fault")),
        (502, Some("bad-answer"))
    );
}

#[tokio::test]
async fn an_answer_to_a_1_0_client_names_no_transfer_coding_not_even_to_head() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/",
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask("HEAD / HTTP/1.0\r\nHost: app.test\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.head.has("transfer-encoding"), "{answer:?}");
}
