//! Messages pass as they are, and bodies end as they should.

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
             X-Sum: 7\r\nContent-Length: 99\r\nTransfer-Encoding: gzip\r\nHost: evil\r\n\
             X-Real-IP: 192.0.2.1\r\n\r\n",
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
async fn a_client_that_does_not_wait_for_the_100_is_served_too() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let head =
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head).await;
    // This upstream never heard of it; clients lose their patience after a while.
    pair.blue.saw("/echo", 1).await;
    client.send("body").await;
    assert_eq!(client.answer("POST").await.text(), "body");
    let answer = client.ask(format!("{head}body")).await;
    assert_eq!(answer.text(), "body");
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
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

/// An answer that ends with its connection.
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

#[tokio::test]
async fn an_early_answer_says_that_the_connection_ends() {
    let pair = Pair::start().await;
    let early = "HTTP/1.1 401 Who\r\nContent-Length: 3\r\n\r\nwho";
    pair.blue
        .on("/upload", Reply::steps([Step::send(early), Step::Hang]));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "who"));
    assert!(answer.head.names_token("connection", "close"), "{answer:?}");
}
