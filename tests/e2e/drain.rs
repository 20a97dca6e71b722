//! What becomes of that which is under way on the slot that was left.

use crate::flip::is_published;
use crate::support::Daemon;
use crate::support::End;
use crate::support::EventStream;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use switchd::api::CountsStatus;
use switchd::api::EventKind;
use switchd::api::Verdict;

async fn done(flip: EventStream) -> EventKind {
    flip.all().await.pop().expect("a flip ends with `done`")
}

#[tokio::test]
async fn a_request_that_outlives_its_budget_is_cut_off_and_counted() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let config = pair
        .config()
        .set("service.app.flip.drain_requests = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /never", "", "")).await;
    pair.blue.saw("/never", 1).await;
    let end = done(daemon.begin_flip("green").await).await;
    assert!(
        matches!(
            end,
            EventKind::Done {
                verdict: Verdict::Done,
                cut: 1,
                ..
            }
        ),
        "{end:?}"
    );
    let answer = client.try_answer("GET").await;
    assert!(
        answer
            .as_ref()
            .map_or(true, |answer| answer.status() >= 502),
        "{answer:?}"
    );
    let last = daemon.history().await.pop().unwrap();
    assert_eq!((last.result.as_str(), last.cut), ("done", 1));
    assert_eq!(daemon.slot("blue").await.in_flight, CountsStatus::default());
}

#[tokio::test]
async fn each_kind_has_a_budget_of_its_own() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let config = pair
        .config()
        .set("service.app.flip.drain_websockets = \"100ms\"")
        .set("service.app.flip.drain_requests = \"60s\"");
    let daemon = Daemon::start(&config).await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    assert_eq!(socket.talk("hello").await.unwrap(), "blue");
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;

    let mut flip = daemon.begin_flip("green").await;
    let cut = flip
        .until(|event| matches!(event, EventKind::CutOff { .. }))
        .await;
    assert!(
        matches!(
            cut.kind,
            EventKind::CutOff {
                cut: CountsStatus {
                    requests: 0,
                    transfers: 0,
                    websockets: 1
                },
                ..
            }
        ),
        "{cut:?}"
    );
    assert!(socket.receive().await.is_err(), "the websocket ends");
    eventually("only the request is left", async || {
        let left = CountsStatus {
            requests: 1,
            ..CountsStatus::default()
        };
        daemon.slot("blue").await.in_flight == left
    })
    .await;
    gate.open();
    assert_eq!(client.answer("GET").await.text(), "held");
    let end = done(flip).await;
    assert!(matches!(end, EventKind::Done { cut: 1, .. }), "{end:?}");
}

#[tokio::test]
async fn a_long_transfer_counts_as_a_transfer_and_is_cut_by_that_budget() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let megabytes = vec![b'x'; 2 << 20];
    pair.blue.on(
        "/download",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2097160\r\n\r\n"),
            Step::Send(megabytes),
            Step::Wait(gate.clone()),
        ]),
    );
    let config = pair
        .config()
        .set("service.app.flip.drain_requests = \"60s\"")
        .set("service.app.flip.drain_transfers = \"100ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /download", "", "")).await;
    let head = client.head().await.unwrap().unwrap();
    assert_eq!(head.status(), 200);
    client.bytes(2 << 20).await;
    eventually("it counts as a transfer", async || {
        daemon.slot("blue").await.in_flight.transfers == 1
    })
    .await;
    let end = done(daemon.begin_flip("green").await).await;
    assert!(matches!(end, EventKind::Done { cut: 1, .. }), "{end:?}");
    assert!(client.rest().await.len() < 8, "the download is visibly cut");
}

#[tokio::test]
async fn a_cut_download_is_never_a_clean_end() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/stream",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"),
            Step::Hang,
        ]),
    );
    let config = pair
        .config()
        .set("service.app.flip.drain_requests = \"100ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /stream", "", "")).await;
    pair.blue.saw("/stream", 1).await;
    let flip = daemon.begin_flip("green").await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.body.end, End::Cut);
    assert!(matches!(done(flip).await, EventKind::Done { cut: 1, .. }));
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_uncount_the_request_that_still_runs_upstream() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("POST /slow", "", "pay once")).await;
    pair.blue.saw("/slow", 1).await;
    client.reset();
    let mut flip = daemon.begin_flip("green").await;
    for _ in 0..2 {
        // Told about once a second: by the second time the client's end is long known.
        flip.until(|event| matches!(event, EventKind::Draining { left, .. } if left.requests == 1))
            .await;
    }
    gate.open();
    let end = done(flip).await;
    assert!(
        matches!(
            end,
            EventKind::Done {
                verdict: Verdict::Done,
                cut: 0,
                ..
            }
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn status_shows_what_still_drains_and_until_when() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let daemon = pair.daemon().await;
    let _client = pair.occupy(&daemon, &gate).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    let service = daemon.service("app").await;
    assert_eq!(service.phase, "settling");
    let draining = &service.draining[0];
    assert_eq!(
        (draining.slot.as_str(), draining.left.requests),
        ("blue", 1)
    );
    assert!(draining.until > draining.since, "{draining:?}");
    gate.open();
    done(flip).await;
    eventually("nothing drains", async || {
        daemon.service("app").await.draining.is_empty()
    })
    .await;
}
