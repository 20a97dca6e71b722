//! What a client may send, and how long it may take.

use crate::support::Daemon;
use crate::support::End;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;

#[tokio::test]
async fn a_huge_head_is_a_431() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.header_size = \"8KiB\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    let fits = format!("X-Big: {}\r\n", "y".repeat(6_000));
    assert_eq!(client.ask(request("GET /", &fits, "")).await.status(), 200);
    let before = pair.blue.count();
    for huge in [
        request("GET /", &format!("X-Big: {}\r\n", "y".repeat(9_000)), ""),
        request(&format!("GET /{}", "y".repeat(9_000)), "", ""),
        request("GET /", &"X-Small: 1\r\n".repeat(800), ""),
    ] {
        let mut client = Wire::connect(daemon.address).await;
        let answer = client.ask(huge).await;
        assert!([431, 414].contains(&answer.status()), "{answer:?}");
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(pair.blue.count(), before);
}

#[tokio::test]
async fn a_head_that_never_ends_is_a_431_before_it_fills_memory() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Big: ").await;
    let piece = "y".repeat(64 * 1024);
    for _ in 0..64 {
        if client.try_send(&piece).await.is_err() {
            break;
        }
    }
    // It may be gone before all was sent: then the answer may be lost to the reset.
    let bytes = client.rest().await;
    assert!(
        bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 431"),
        "{}",
        bytes.escape_ascii()
    );
    assert_eq!(pair.blue.count(), 0);
}

#[tokio::test]
async fn too_many_headers_are_a_431() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.header_count = 20");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(request("GET /", &"X-N: 1\r\n".repeat(15), ""))
        .await;
    assert_eq!(answer.status(), 200);
    let answer = client
        .ask(request("GET /", &"X-N: 1\r\n".repeat(30), ""))
        .await;
    assert_eq!(answer.status(), 431);
    assert_eq!(client.rest().await, b"");
    assert_eq!(pair.blue.count(), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_however_it_is_framed() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.body_size = \"1KiB\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    let fits = "x".repeat(1024);
    assert_eq!(
        client.ask(request("POST /echo", "", &fits)).await.text(),
        fits
    );

    let counted = client
        .ask(request("POST /counted", "", &"x".repeat(1025)))
        .await;
    assert_eq!(counted.status(), 413);
    assert_eq!(
        pair.blue.requests_for("/counted").len(),
        0,
        "known from its head"
    );

    let mut client = Wire::connect(daemon.address).await;
    let head = "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = format!("200\r\n{}\r\n", "x".repeat(0x200)).repeat(3);
    client.send(format!("{head}{chunks}0\r\n\r\n")).await;
    assert_eq!(client.answer("POST").await.status(), 413);
    for seen in pair.blue.requests_for("/chunked") {
        let whole = seen.body.is_some_and(|body| body.end == End::Clean);
        assert!(!whole, "the upstream must not take it for the whole");
    }
}

#[tokio::test]
async fn expect_100_continue_over_the_limit_is_refused_before_the_body() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.body_size = \"1KiB\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
        .await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.status(), 413);
    assert!(answer.interim.is_empty());
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_a_408() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.header_timeout = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.status(), 408);
    assert_eq!(client.rest().await, b"");
    assert_eq!(pair.blue.count(), 0);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_without_an_answer() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("limits.header_timeout = \"200ms\"")
        .set("limits.idle_timeout = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let mut silent = Wire::connect(daemon.address).await;
    assert_eq!(silent.rest().await, b"");
    let mut idle = Wire::connect(daemon.address).await;
    assert_eq!(idle.ask(request("GET /", "", "")).await.status(), 200);
    assert_eq!(idle.rest().await, b"");
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_others_up() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/big",
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
            16 << 20,
            "x".repeat(16 << 20)
        )),
    );
    let config = pair.config().set("runtime.workers = 1");
    let daemon = Daemon::start(&config).await;
    let mut lazy = Wire::connect(daemon.address).await;
    lazy.send(request("GET /big", "", "")).await;
    pair.blue.saw("/big", 1).await;
    for _ in 0..10 {
        assert_eq!(get(daemon.address, "/").await.status(), 200);
    }
    let answer = lazy.answer("GET").await;
    assert_eq!(
        (answer.body.data.len(), answer.body.end),
        (16 << 20, End::Clean)
    );
}

#[tokio::test]
async fn connections_over_the_limit_are_not_served_and_the_others_are() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.connections = 4");
    let daemon = Daemon::start(&config).await;
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut client = Wire::connect(daemon.address).await;
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
        kept.push(client);
    }
    let mut fifth = Wire::connect(daemon.address).await;
    fifth.send(request("GET /fifth", "", "")).await;
    for client in &mut kept {
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    }
    assert_eq!(pair.blue.requests_for("/fifth").len(), 0);
    drop(kept);
    eventually("there is room again", async || {
        let mut client = Wire::connect(daemon.address).await;
        client.send(request("GET /", "", "")).await;
        client
            .try_answer("GET")
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn a_limit_applies_to_a_connection_that_is_open_when_it_changes() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    daemon.write_config(&pair.config().set("limits.body_size = \"10B\""));
    let reloaded = daemon.ctl(&["reload"]).await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    let answer = client
        .ask(request("POST /echo", "", "more than ten bytes"))
        .await;
    assert_eq!(answer.status(), 413);
}
