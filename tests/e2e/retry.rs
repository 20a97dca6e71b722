//! What may be sent again, and what never.

use crate::support::Backend;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;

/// The next request on a kept connection meets its end instead of an answer.
fn dies_once(backend: &Backend, path: &str, last: Step) {
    backend.once(path, Reply::steps([Step::TakeBody, last]));
}

/// One worker, so that the next request is sure to find the connection that the first one left.
async fn with_a_kept_connection(pair: &Pair) -> (Daemon, Wire) {
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("service.app.keepalive.idle = \"60s\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(client.ask(request("GET /warm", "", "")).await.status(), 200);
    (daemon, client)
}

#[tokio::test]
async fn upstream_connections_are_used_again() {
    let pair = Pair::start().await;
    let (_daemon, mut client) = with_a_kept_connection(&pair).await;
    for _ in 0..5 {
        assert_eq!(
            client.ask(request("GET /again", "", "")).await.status(),
            200
        );
        assert_eq!(
            client.ask(request("POST /echo", "", "x")).await.status(),
            200
        );
    }
    let first = pair.blue.request_for("/warm").connection;
    assert!(
        pair.blue
            .requests()
            .iter()
            .all(|seen| seen.connection == first)
    );
}

#[tokio::test]
async fn a_get_that_died_on_a_reused_connection_is_repeated_once() {
    let pair = Pair::start().await;
    let (_daemon, mut client) = with_a_kept_connection(&pair).await;
    for last in [Step::Close, Step::Reset] {
        let before = pair.blue.requests_for("/stale").len();
        dies_once(&pair.blue, "/stale", last);
        let answer = client.ask(request("GET /stale", "", "")).await;
        assert_eq!((answer.status(), answer.backend()), (200, "blue"));
        assert_eq!(pair.blue.requests_for("/stale").len(), before + 2);
    }
}

#[tokio::test]
async fn a_get_is_repeated_no_more_than_once() {
    let pair = Pair::start().await;
    let (_daemon, mut client) = with_a_kept_connection(&pair).await;
    pair.blue
        .on("/dead", Reply::steps([Step::TakeBody, Step::Close]));
    let answer = client.ask(request("GET /dead", "", "")).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(pair.blue.requests_for("/dead").len(), 2);
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let pair = Pair::start().await;
    let (daemon, mut client) = with_a_kept_connection(&pair).await;
    for (path, last) in [("/pay-close", Step::Close), ("/pay-reset", Step::Reset)] {
        client.ask(request("GET /warm", "", "")).await;
        dies_once(&pair.blue, path, last);
        let answer = client
            .ask(request(&format!("POST {path}"), "", "money"))
            .await;
        assert_eq!(answer.status(), 502);
        assert_eq!(pair.blue.requests_for(path).len(), 1);
        client = Wire::connect(daemon.address).await;
    }
    dies_once(&pair.blue, "/pay-nothing", Step::Close);
    let answer = client.ask(request("POST /pay-nothing", "", "")).await;
    assert_eq!(answer.status(), 502, "without a body neither");
    assert_eq!(pair.blue.requests_for("/pay-nothing").len(), 1);
}

#[tokio::test]
async fn nothing_is_repeated_once_an_answer_began() {
    let pair = Pair::start().await;
    let (_daemon, mut client) = with_a_kept_connection(&pair).await;
    pair.blue.once(
        "/begun",
        Reply::steps([Step::TakeBody, Step::send("HTTP/1.1 2"), Step::Close]),
    );
    assert_eq!(
        client.ask(request("GET /begun", "", "")).await.status(),
        502
    );
    assert_eq!(pair.blue.requests_for("/begun").len(), 1);
}

#[tokio::test]
async fn a_get_that_died_on_a_new_connection_is_not_repeated() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.keepalive.enabled = false");
    let daemon = Daemon::start(&config).await;
    dies_once(&pair.blue, "/fresh", Step::Close);
    assert_eq!(get(daemon.address, "/fresh").await.status(), 502);
    assert_eq!(pair.blue.requests_for("/fresh").len(), 1);
}

#[tokio::test]
async fn an_upload_whose_body_was_partly_sent_is_not_repeated() {
    let pair = Pair::start().await;
    let (_daemon, mut client) = with_a_kept_connection(&pair).await;
    dies_once(&pair.blue, "/put", Step::Close);
    let body = "x".repeat(2 << 20);
    let answer = client.ask(request("PUT /put", "", &body)).await;
    assert_eq!(answer.status(), 502, "2 MiB are not kept for a second try");
    assert_eq!(pair.blue.requests_for("/put").len(), 1);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_while_idle_fails_nothing() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let (_daemon, mut client) = with_a_kept_connection(&pair).await;
    pair.blue.once(
        "/last",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            Step::Wait(gate.clone()),
            Step::Close,
        ]),
    );
    assert_eq!(client.ask(request("GET /last", "", "")).await.text(), "ok");
    gate.open();
    // Its end is seen by the pool while idle: even a POST goes to a new connection.
    let seen = pair.blue.connections();
    pair.blue.probed(5).await;
    let answer = client.ask(request("POST /echo", "", "form")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "form"));
    assert!(pair.blue.connections() > seen);
    assert_eq!(pair.blue.requests_for("/echo").len(), 1);
}

#[tokio::test]
async fn a_request_that_was_never_written_goes_to_another_address_even_a_post() {
    let pair = Pair::start().await;
    let dead = Backend::start("dead").await;
    let config = pair
        .config()
        .slot("app", "blue", &[&dead, &pair.blue])
        .set("service.app.failback.mode = \"off\"")
        .set("service.app.health.interval = \"1h\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    dead.stop().await;
    for _ in 0..10 {
        let mut client = Wire::connect(daemon.address).await;
        let answer = client.ask(request("POST /echo", "", "order")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "order"));
    }
    assert_eq!(pair.blue.requests_for("/echo").len(), 10);
}

#[tokio::test]
async fn when_no_address_answers_it_is_a_502_that_says_so() {
    let pair = Pair::start().await;
    pair.blue.stop().await;
    let config = pair.config().set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    let answer = get(daemon.address, "/").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.head.get("x-switchd-fault"), Some("connect"));
}

#[tokio::test]
async fn without_keep_alive_each_request_has_a_connection_of_its_own_and_none_is_opened_ahead() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.keepalive.enabled = false")
        .set("service.app.health.interval = \"1h\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    for _ in 0..10 {
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    }
    let mut used: Vec<_> = pair
        .blue
        .requests()
        .iter()
        .map(|seen| seen.connection)
        .collect();
    used.dedup();
    assert_eq!(used.len(), 10);
    eventually(
        "every connection was for a request or a probe",
        async || pair.blue.connections() == 10 + pair.blue.probes().len(),
    )
    .await;
}

#[tokio::test]
async fn idle_upstream_connections_are_closed_after_their_time() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("service.app.keepalive.idle = \"100ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.ask(request("GET /warm", "", "")).await;
    let first = pair.blue.request_for("/warm").connection;
    eventually("the next request needs a new connection", async || {
        pair.blue.probed(5).await;
        client.ask(request("GET /next", "", "")).await;
        pair.blue.requests().pop().unwrap().connection != first
    })
    .await;
}

#[tokio::test]
async fn no_connection_to_a_slot_that_was_left_is_used_again() {
    let pair = Pair::start().await;
    let (daemon, mut client) = with_a_kept_connection(&pair).await;
    daemon.flip("green").await;
    client.ask(request("GET /", "", "")).await;
    daemon.flip("blue").await;
    assert_eq!(
        client.ask(request("POST /echo", "", "x")).await.backend(),
        "blue"
    );
}
