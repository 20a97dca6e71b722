//! Outages: requests that cannot be connected wait for a slot that can be.

use crate::hold::hold;
use crate::hold::release;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use switchd::api::EventKind;
use tokio::task::JoinSet;

fn config(pair: &Pair, patience: &str) -> Config {
    pair.config()
        .set(&format!("service.app.hold_on_outage = {patience:?}"))
}

/// As [`config`], and traffic stays where it is.
fn staying(pair: &Pair, patience: &str) -> Config {
    config(pair, patience).set("service.app.failback.mode = \"off\"")
}

async fn waiting(daemon: &Daemon, count: u64) {
    eventually(&format!("{count} wait"), async || {
        let outage = daemon.service("app").await.outage;
        outage.map_or(0, |it| it.waiting) == count
    })
    .await;
}

#[tokio::test]
async fn a_request_waits_until_its_slot_is_back() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&staying(&pair, "5m")).await;
    daemon.healthy().await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    pair.blue.stop().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("POST /echo", "", "an order")).await;
    waiting(&daemon, 1).await;
    assert_eq!(
        daemon.slot("blue").await.in_flight.requests,
        0,
        "it is on no slot"
    );
    let ps = daemon.requests().await;
    assert_eq!(ps[0].state, "held");
    let began =
        |it: &EventKind| matches!(it, EventKind::OutageBegan { slot, .. } if slot == "blue");
    events.until(began).await;
    let words = daemon.ctl(&["status"]).await.stdout;
    assert!(
        words.contains("blue cannot be connected: 1 request waiting"),
        "{words}"
    );
    assert_eq!(
        daemon.metric(&["switchd_held_requests{", "outage"]).await,
        1.0
    );
    pair.blue.resume();
    let answer = client.answer("POST").await;
    assert_eq!((answer.backend(), &*answer.text()), ("blue", "an order"));
    events
        .until(|it| matches!(it, EventKind::OutageEnded { .. }))
        .await;
    assert_eq!(
        daemon
            .metric(&["switchd_hold_ended_total", "outage", "released"])
            .await,
        1.0
    );
}

#[tokio::test]
async fn between_the_death_of_a_slot_and_the_move_to_the_other_nobody_fails() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair, "5m")).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    let mut clients = JoinSet::new();
    for number in 0..20 {
        let address = daemon.address;
        clients.spawn(async move {
            let mut client = Wire::connect(address).await;
            let body = format!("order {number}");
            let answer = client.ask(request("POST /echo", "", &body)).await;
            (
                answer.status(),
                answer.backend().to_owned(),
                answer.text() == body,
            )
        });
    }
    while let Some(answer) = clients.join_next().await {
        assert_eq!(answer.unwrap(), (200, "green".to_owned(), true));
    }
    assert_eq!(pair.green.requests_for("/echo").len(), 20);
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn nobody_waits_longer_than_the_bound() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&staying(&pair, "300ms")).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    let late = get(daemon.address, "/late").await;
    assert_eq!(late.status(), 503);
    assert_eq!(late.head.get("x-switchd-fault"), Some("timeout-outage"));
    assert_eq!(late.head.get("retry-after"), Some("5"));
    assert_eq!(
        daemon
            .metric(&["switchd_hold_ended_total", "outage", "deadline"])
            .await,
        1.0
    );
}

#[tokio::test]
async fn without_the_key_it_is_a_502_at_once() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    let answer = get(daemon.address, "/").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.head.get("x-switchd-fault"), Some("connect"));
}

#[tokio::test]
async fn a_reload_that_takes_the_key_away_lets_nobody_wait() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&staying(&pair, "5m")).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /", "", "")).await;
    waiting(&daemon, 1).await;
    daemon.write_config(&staying(&pair, "0s"));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    assert_eq!(client.answer("GET").await.status(), 502);
}

#[tokio::test]
async fn one_that_waits_for_its_slot_is_held_where_its_service_is_held_meanwhile() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&staying(&pair, "5m")).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /", "", "")).await;
    waiting(&daemon, 1).await;
    let _events = hold(&daemon, crate::hold::LONG).await;
    pair.blue.resume();
    crate::hold::waiting(&daemon, 1).await;
    assert_eq!(pair.blue.count(), 0);
    release(&daemon).await;
    assert_eq!(client.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_waits_no_longer() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&staying(&pair, "5m")).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /left", "", "")).await;
    waiting(&daemon, 1).await;
    client.reset();
    waiting(&daemon, 0).await;
    pair.blue.resume();
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    assert_eq!(pair.blue.requests_for("/left").len(), 0);
}
