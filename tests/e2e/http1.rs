//! Messages pass as they are, and bodies end as they should.

use crate::support::Backend;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;

#[tokio::test]
async fn a_request_arrives_whole_and_its_answer_comes_back_whole() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/a/b",
        Reply::raw(
            "HTTP/1.1 404 Not Here\r\nContent-Length: 4\r\nX-Two: 1\r\nX-Two: 2\r\n\r\nnope",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(request(
            "PATCH /a/b?q=1&r=%20",
            "X-Thing: a b\r\nX-Two: 1\r\nX-Two: 2\r\n",
            "body",
        ))
        .await;
    assert_eq!((answer.status(), answer.text().as_str()), (404, "nope"));
    assert_eq!(answer.head.all("x-two"), ["1", "2"]);
    let seen = pair.blue.request_for("/a/b");
    assert_eq!(seen.head.first_line, "PATCH /a/b?q=1&r=%20 HTTP/1.1");
    assert_eq!(seen.head.get("host"), Some("app.test"));
    assert_eq!(seen.head.get("x-thing"), Some("a b"));
    assert_eq!(seen.head.all("x-two"), ["1", "2"]);
    assert_eq!(seen.body.unwrap().data, b"body");
}

#[tokio::test]
async fn the_target_is_never_rewritten() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for target in [
        "/a//b/../c",
        "/%2e%2e/x",
        "/?",
        "/a;b=c",
        "/ü".escape_debug().to_string().as_str(),
    ] {
        let mut client = Wire::connect(daemon.address).await;
        let answer = client.ask(request(&format!("GET {target}"), "", "")).await;
        if answer.status() == 200 {
            let last = pair.blue.requests().pop().unwrap();
            assert_eq!(last.head.target(), target);
        } else {
            assert_eq!(answer.status(), 400, "{target}");
        }
    }
    assert!(pair.blue.count() >= 4);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    for _ in 0..10 {
        assert_eq!(client.ask(request("GET /", "", "")).await.text(), "blue");
        assert_eq!(
            client.ask(request("POST /echo", "", "form")).await.text(),
            "form"
        );
    }
    assert_eq!(pair.blue.count(), 20);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/first", Reply::held(&gate));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let all = [
        request("GET /first", "", ""),
        request("POST /echo", "", "second"),
        request("GET /third", "", ""),
    ];
    client.send(all.concat()).await;
    pair.blue.saw("/first", 1).await;
    gate.open();
    assert_eq!(client.answer("GET").await.text(), "held");
    assert_eq!(client.answer("POST").await.text(), "second");
    assert_eq!(client.answer("GET").await.text(), "blue");
}

#[tokio::test]
async fn empty_lines_before_a_request_do_no_harm() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(format!("\r\n{}", request("GET /", "", "")))
        .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_chunked_request_body_arrives_with_its_trailers_but_without_framing_in_them() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
             Trailer: X-Sum\r\n\r\n3;ext=\"1\"\r\nabc\r\n4\r\ndefg\r\n0\r\n\
             X-Sum: 7\r\nContent-Length: 99\r\nTransfer-Encoding: gzip\r\nHost: evil\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer("POST").await.text(), "abcdefg");
    let body = pair.blue.request_for("/echo").body.unwrap();
    assert_eq!(body.data, b"abcdefg");
    for (name, _) in &body.trailers {
        assert!(name.eq_ignore_ascii_case("x-sum"), "{:?}", body.trailers);
    }
    assert_eq!(body.trailers.len(), 1, "{:?}", body.trailers);
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
}

#[tokio::test]
async fn a_chunked_answer_arrives_with_its_trailers_but_without_framing_in_them() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/chunks",
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\nContent-Length: 5\r\n\r\n",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(request("GET /chunks", "TE: trailers\r\n", ""))
        .await;
    assert_eq!(answer.text(), "hello world");
    assert_eq!(
        answer.body.trailers,
        [("X-Sum".to_owned(), "11".to_owned())]
    );
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_the_same_time() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on(
        "/talk",
        Reply::steps([
            Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n"),
            Step::TakeBody,
            Step::Wait(gate.clone()),
            Step::send("4\r\nlate\r\n0\r\n\r\n"),
        ]),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /talk HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")
        .await;
    let head = client
        .head()
        .await
        .unwrap()
        .expect("the answer begins before the upload ends");
    assert_eq!(head.status(), 200);
    assert!(client.bytes(10).await.starts_with(b"5\r\nearly\r\n"));
    client.send("rest").await;
    gate.open();
    assert!(
        client
            .bytes(14)
            .await
            .starts_with(b"4\r\nlate\r\n0\r\n\r\n")
    );
    assert_eq!(
        pair.blue.request_for("/talk").body.unwrap().data,
        b"halfrest"
    );
}

#[tokio::test]
async fn an_early_answer_to_an_upload_arrives() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/upload",
        Reply::steps([
            Step::send("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"),
            Step::Close,
        ]),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nfirst bytes")
        .await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "no"));
}

#[tokio::test]
async fn a_large_upload_and_a_large_download_arrive_whole() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let body: String = "0123456789abcdef".repeat(512 * 1024);
    let mut client = Wire::connect(daemon.address).await;
    let asked = request("POST /echo", "", &body);
    let answer = client.ask(asked).await;
    assert!(answer.body.data == body.as_bytes(), "8 MiB there and back");
    assert_eq!(answer.body.end, End::Clean);
}

#[tokio::test]
async fn expect_100_continue_is_answered_when_the_upstream_wants_the_body() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/careful",
        Reply::steps([
            Step::send("HTTP/1.1 100 Continue\r\n\r\n"),
            Step::TakeBody,
            Step::SendBodyBack,
        ]),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /careful HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let interim = client.head().await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    client.send("body").await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "body"));
    assert!(answer.interim.is_empty(), "one 100 and no more: {answer:?}");
}

#[tokio::test]
async fn expect_100_continue_works_before_an_upstream_that_never_heard_of_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    // Such an upstream waits for the body, so only we can ask for it.
    let interim = client.head().await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    client.send("body").await;
    assert_eq!(client.answer("POST").await.text(), "body");
}

#[tokio::test]
async fn expect_100_continue_may_be_refused_by_the_upstream() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/careful",
        Reply::steps([
            Step::send("HTTP/1.1 401 Who\r\nContent-Length: 3\r\nConnection: close\r\n\r\nwho"),
            Step::Close,
        ]),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /careful HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "who"));
}

#[tokio::test]
async fn hints_in_1xx_answers_pass() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/hints",
        Reply::raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nLink: </more.css>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client.ask(request("GET /hints", "", "")).await;
    assert_eq!(answer.text(), "ok");
    let links: Vec<_> = answer
        .interim
        .iter()
        .filter_map(|head| head.get("link"))
        .collect();
    assert_eq!(links, ["</style.css>", "</more.css>"]);
}

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
    let daemon = pair.daemon().await;
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

/// An answer that ends with its connection.
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

#[tokio::test]
async fn http_1_0_clients_are_served_with_and_without_keep_alive() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut once = Wire::connect(daemon.address).await;
    once.send("GET / HTTP/1.0\r\n\r\n").await;
    let all = once.rest().await;
    assert!(all.ends_with(b"\r\n\r\nblue"), "{}", all.escape_ascii());

    let mut kept = Wire::connect(daemon.address).await;
    for _ in 0..2 {
        let answer = kept
            .ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .await;
        assert_eq!(answer.text(), "blue");
    }
}

#[tokio::test]
async fn connection_close_is_kept() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(request("GET /", "Connection: close\r\n", ""))
        .await;
    assert!(answer.head.names_token("connection", "close"), "{answer:?}");
    assert_eq!(client.rest().await, b"");
}

/// What a client sees of an answer that its upstream cuts short.
async fn cut_short(daemon: &Daemon, upstream: &Backend, start: &str, last: Step) {
    upstream.on(
        "/cut",
        Reply::steps([Step::TakeBody, Step::send(start), last]),
    );
    let answer = get(daemon.address, "/cut").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body.end, End::Cut, "{start:?}");
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
async fn an_upstream_on_a_unix_socket_is_served() {
    let pair = Pair::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("upstream.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let behind = pair.blue.address();
    let relay = tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(behind).await.unwrap();
                tokio::io::copy_bidirectional(&mut near, &mut far)
                    .await
                    .ok();
            });
        }
    });
    let address = format!("unix:{}", path.display());
    let config = pair
        .config()
        .set(&format!("service.app.slots.blue.http = [{address:?}]"));
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("blue", "healthy").await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    relay.abort();
}

#[tokio::test]
async fn an_upstream_that_closes_after_each_answer_is_served() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/last",
        Reply::raw_then_close(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        ),
    );
    pair.blue.on(
        "/old",
        Reply::raw_then_close("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    for path in ["/last", "/old"] {
        for _ in 0..10 {
            let answer = client
                .ask(request(&format!("POST {path}"), "", "form"))
                .await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
            assert!(
                !answer.head.names_token("connection", "close"),
                "that was for us"
            );
        }
    }
}
