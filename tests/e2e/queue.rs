//! Requests in flight per slot, and the line of those who wait.

use crate::flip::is_published;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;

pub(crate) fn one_at_a_time(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.queue.max_in_flight = 1")
        .set("service.app.queue.length = 10")
        .set("service.app.queue.timeout = \"20s\"")
}

pub(crate) async fn queued(daemon: &Daemon, count: u64) {
    eventually(&format!("{count} wait"), async || {
        daemon.slot("blue").await.queued == count
    })
    .await;
}

#[tokio::test]
async fn more_requests_than_places_wait_in_line_over_all_workers() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair)).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        let mut client = Wire::connect(daemon.address).await;
        client
            .send(request(&format!("GET /number-{number}"), "", ""))
            .await;
        waiting.push(client);
        queued(&daemon, number + 1).await;
    }
    assert_eq!(pair.blue.count(), 1, "one at a time");
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    for client in &mut waiting {
        assert_eq!(client.answer("GET").await.status(), 200);
    }
    let order: Vec<String> = pair.blue.requests()[1..]
        .iter()
        .map(|seen| seen.head.path().to_owned())
        .collect();
    let wanted: Vec<String> = (0..5).map(|number| format!("/number-{number}")).collect();
    assert_eq!(order, wanted, "first come, first served");
}

#[tokio::test]
async fn when_the_line_is_full_the_next_one_gets_a_503_at_once() {
    let pair = Pair::start().await;
    let config = one_at_a_time(&pair).set("service.app.queue.length = 1");
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    let _first = pair.occupy(&daemon, &gate).await;
    let mut second = Wire::connect(daemon.address).await;
    second.send(request("GET /second", "", "")).await;
    queued(&daemon, 1).await;
    let third = get(daemon.address, "/third").await;
    assert_eq!(third.status(), 503);
    assert_eq!(third.head.get("x-switchd-fault"), Some("queue-full"));
    gate.open();
    assert_eq!(second.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_deadline() {
    let pair = Pair::start().await;
    let config = one_at_a_time(&pair).set("service.app.queue.timeout = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let second = get(daemon.address, "/second").await;
    assert_eq!(second.status(), 503);
    assert_eq!(second.head.get("x-switchd-fault"), Some("timeout-queue"));
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    assert_eq!(pair.blue.requests_for("/second").len(), 0);
}

#[tokio::test]
async fn those_who_wait_go_to_the_new_slot_after_a_flip() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair)).await;
    daemon.healthy().await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut waiting = Wire::connect(daemon.address).await;
    waiting.send(request("POST /echo", "", "form")).await;
    queued(&daemon, 1).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    let answer = waiting.answer("POST").await;
    assert_eq!(
        (answer.backend(), answer.text().as_str()),
        ("green", "form")
    );
    assert_eq!(pair.blue.requests_for("/echo").len(), 0);
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
}

#[tokio::test]
async fn a_client_that_leaves_the_line_is_never_sent_on() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair)).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut second = Wire::connect(daemon.address).await;
    second.send(request("GET /left", "", "")).await;
    queued(&daemon, 1).await;
    second.reset();
    queued(&daemon, 0).await;
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    assert_eq!(pair.blue.requests_for("/left").len(), 0);
}

#[tokio::test]
async fn a_place_is_free_again_however_its_request_ended() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair)).await;
    daemon.slot_becomes("blue", "healthy").await;
    pair.blue
        .on("/reset", Reply::steps([Step::TakeBody, Step::Reset]));
    pair.blue.on(
        "/cut",
        Reply::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"),
    );
    for path in ["/reset", "/cut", "/", "/reset", "/cut", "/"] {
        get(daemon.address, path).await;
    }
    let mut rude = Wire::connect(daemon.address).await;
    rude.send(request("GET /", "", "")).await;
    rude.reset();
    assert_eq!(get(daemon.address, "/").await.status(), 200);
}

#[tokio::test]
async fn ps_shows_who_waits() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair)).await;
    let gate = Gate::closed();
    let _first = pair.occupy(&daemon, &gate).await;
    let mut second = Wire::connect(daemon.address).await;
    second.send(request("GET /second", "", "")).await;
    queued(&daemon, 1).await;
    let list: switchd::api::RequestList = daemon.call("GET /v1/ps", "").await.json();
    let waiting = list.requests.iter().find(|r| r.path == "/second").unwrap();
    assert_eq!((waiting.state.as_str(), &waiting.slot), ("queued", &None));
    gate.open();
}

#[tokio::test]
async fn a_request_that_got_no_place_is_over_and_the_connection_serves_the_next_one() {
    let pair = Pair::start().await;
    let config = one_at_a_time(&pair).set("service.app.queue.timeout = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut second = Wire::connect(daemon.address).await;
    let late = second.ask(request("POST /late", "", "")).await;
    assert_eq!(late.head.get("x-switchd-fault"), Some("timeout-queue"));
    assert!(!late.head.names_token("connection", "close"), "{late:?}");
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    assert_eq!(first.ask(request("GET /", "", "")).await.text(), "blue");
    let next = second.ask(request("POST /echo", "", "next")).await;
    assert_eq!((next.status(), next.text().as_str()), (200, "next"));
    assert_eq!(
        pair.blue.requests_for("/late").len(),
        0,
        "told 503, then sent"
    );
}

#[tokio::test]
async fn a_request_killed_in_the_line_is_never_sent() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair)).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut second = Wire::connect(daemon.address).await;
    second.send(request("POST /doomed", "", "")).await;
    queued(&daemon, 1).await;
    let list: switchd::api::RequestList = daemon.call("GET /v1/ps", "").await.json();
    let doomed = list.requests.iter().find(|r| r.path == "/doomed").unwrap();
    daemon.ctl(&["kill", &doomed.id.to_string()]).await;
    let answer = second.answer("POST").await;
    assert_eq!(answer.head.get("x-switchd-fault"), Some("killed"));
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    let next = second.ask(request("POST /echo", "", "next")).await;
    assert_eq!((next.status(), next.text().as_str()), (200, "next"));
    assert_eq!(pair.blue.requests_for("/doomed").len(), 0);
}
