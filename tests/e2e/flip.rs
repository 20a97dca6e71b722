//! What a flip promises.

use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use switchd::api::EventKind;
use switchd::api::Verdict;

pub(crate) fn is_published(event: &EventKind) -> bool {
    matches!(event, EventKind::Published { .. })
}

pub(crate) fn is_gating(event: &EventKind) -> bool {
    matches!(event, EventKind::Started { .. })
}

#[tokio::test]
async fn after_a_flip_requests_go_to_the_new_slot() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    daemon.flip("green").await;
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn a_connection_that_was_open_before_the_flip_reaches_the_new_slot_with_its_next_request() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    assert_eq!(client.ask(request("GET /", "", "")).await.backend(), "blue");
    daemon.flip("green").await;
    assert_eq!(
        client.ask(request("GET /", "", "")).await.backend(),
        "green"
    );
}

#[tokio::test]
async fn the_command_returns_when_the_old_slot_is_drained() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let daemon = pair.daemon().await;
    let mut client = pair.occupy(&daemon, &gate).await;

    let mut child = daemon.ctl_command(&["flip", "green"]).spawn().unwrap();
    daemon.becomes_active("green").await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    events
        .until(|event| matches!(event, EventKind::Draining { left, .. } if left.requests == 1))
        .await;
    assert!(
        child.try_wait().unwrap().is_none(),
        "it waits for the drain"
    );
    gate.open();
    assert_eq!(client.answer("GET").await.text(), "held");
    let code = child.wait().await.unwrap().code();
    assert_eq!(code, Some(0));
    assert_eq!(daemon.slot("blue").await.in_flight.requests, 0);
}

#[tokio::test]
async fn no_wait_returns_once_the_new_slot_is_published() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let daemon = pair.daemon().await;
    let mut client = pair.occupy(&daemon, &gate).await;

    let output = daemon.ctl(&["flip", "green", "--no-wait"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
    assert_eq!(daemon.slot("blue").await.in_flight.requests, 1);
    gate.open();
    assert_eq!(client.answer("GET").await.text(), "held");
}

#[tokio::test]
async fn requests_in_flight_finish_on_the_old_slot() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on(
        "/slow",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"),
            Step::Wait(gate.clone()),
            Step::send("rest"),
        ]),
    );
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    gate.open();
    assert_eq!(client.answer("GET").await.text(), "halfrest");
    let done = flip.all().await.pop();
    assert!(
        matches!(
            done,
            Some(EventKind::Done {
                verdict: Verdict::Done,
                cut: 0,
                ..
            })
        ),
        "{done:?}"
    );
}

#[tokio::test]
async fn an_upload_in_flight_finishes_on_the_old_slot() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")
        .await;
    pair.blue.saw("/echo", 1).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    client.send("rest").await;
    let answer = client.answer("POST").await;
    assert_eq!(
        (answer.text().as_str(), answer.backend()),
        ("halfrest", "blue")
    );
    flip.until(|event| matches!(event, EventKind::Done { .. }))
        .await;
}

#[tokio::test]
async fn new_requests_never_wait_for_a_flip() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let held = Gate::closed();
    pair.green.health(Reply::held(&held));
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_gating).await;
    assert_eq!(
        get(daemon.address, "/").await.backend(),
        "blue",
        "while it gates"
    );

    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    held.open();
    flip.until(is_published).await;
    assert_eq!(
        get(daemon.address, "/").await.backend(),
        "green",
        "while it drains"
    );
    gate.open();
}

#[tokio::test]
async fn a_flip_tells_its_story_in_order() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let events = daemon.begin_flip("green").await.all().await;
    let story: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Started { .. } => Some("started"),
            EventKind::GatePassed { .. } => Some("gate passed"),
            EventKind::Journalled { .. } => Some("journalled"),
            EventKind::Published { .. } => Some("published"),
            EventKind::Drained { .. } => Some("drained"),
            EventKind::Done { .. } => Some("done"),
            _ => None,
        })
        .collect();
    let wanted = [
        "started",
        "gate passed",
        "journalled",
        "published",
        "drained",
        "done",
    ];
    assert_eq!(story, wanted, "{events:?}");
}

/// A flip to a slot with this health is refused, in time, in these words, while every request succeeds.
#[tokio::test]
async fn a_flip_to_the_active_slot_succeeds_and_changes_nothing() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let before = daemon.service("app").await;
    let output = daemon.flip("blue").await;
    let after = daemon.service("app").await;
    assert_eq!(before.generation, after.generation, "{output:?}");
    assert_eq!(before.epoch, after.epoch);
    assert_eq!(after.active, "blue");
}

#[tokio::test]
async fn while_one_flip_drains_the_next_starts_at_once_and_both_drain_side_by_side() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    pair.green.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    let mut on_blue = Wire::connect(daemon.address).await;
    on_blue.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut there = daemon.begin_flip("green").await;
    there.until(is_published).await;

    let mut on_green = Wire::connect(daemon.address).await;
    on_green.send(request("GET /slow", "", "")).await;
    pair.green.saw("/slow", 1).await;
    let mut back = daemon.begin_flip("blue").await;
    back.until(is_published).await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    let draining = daemon.service("app").await.draining;
    assert_eq!(draining.len(), 2, "{draining:?}");
    assert_ne!(draining[0].generation, draining[1].generation);

    gate.open();
    assert_eq!(on_blue.answer("GET").await.text(), "held");
    assert_eq!(on_green.answer("GET").await.text(), "held");
    eventually("both are drained", async || {
        daemon.service("app").await.draining.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_rollback_goes_to_the_slot_before_and_never_waits_for_a_drain() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let daemon = pair.daemon().await;
    let mut client = pair.occupy(&daemon, &gate).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    // Green is empty, so the rollback is done although blue's first generation still drains.
    let rollback = daemon.ctl(&["rollback"]).await;
    assert_eq!(rollback.code, 0, "{rollback:?}");
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    gate.open();
    assert_eq!(client.answer("GET").await.text(), "held");
    let commands: Vec<String> = daemon
        .history()
        .await
        .into_iter()
        .map(|r| r.command)
        .collect();
    assert!(commands.contains(&"rollback".to_owned()), "{commands:?}");
}

#[tokio::test]
async fn a_rollback_with_nothing_to_go_back_to_is_refused() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let output = daemon.ctl(&["rollback"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("blue"), "{output:?}");
}

#[tokio::test]
async fn a_flip_that_expects_another_generation_is_refused() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let seen = daemon.service("app").await.generation;
    daemon.flip("green").await;
    let body = format!("{{\"to\":\"blue\",\"expect_generation\":{seen}}}");
    let reply = daemon.call("POST /v1/services/app/flip", &body).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn all_members_of_a_slot_flip_in_one_step() {
    let pair = Pair::start().await;
    let sockets = (
        Backend::start("blue-ws").await,
        Backend::start("green-ws").await,
    );
    let config = pair
        .config()
        .websocket_member("blue", &sockets.0)
        .websocket_member("green", &sockets.1)
        .route("/ws", "websocket")
        .set("service.app.websocket.on_flip = \"keep\"");
    let daemon = Daemon::start(&config).await;
    let mut before = Websocket::connect(daemon.address, "/ws").await.unwrap();
    assert_eq!(before.talk("hello").await.unwrap(), "blue-ws");
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    let mut after = Websocket::connect(daemon.address, "/ws").await.unwrap();
    assert_eq!(after.talk("hello").await.unwrap(), "green-ws");
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
    assert_eq!(before.talk("still here").await.unwrap(), "blue-ws");
}

#[tokio::test]
async fn a_service_may_have_more_than_two_slots() {
    let pair = Pair::start().await;
    let red = Backend::start("red").await;
    let config: Config = pair.config().slot("app", "red", &[&red]);
    let daemon = Daemon::start(&config).await;
    for slot in ["red", "green", "blue"] {
        daemon.flip(slot).await;
        assert_eq!(get(daemon.address, "/").await.backend(), slot);
    }
}
