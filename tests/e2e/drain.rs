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
use rustix::process::Signal;
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

/// As a program that got no answer reads what it was told.
async fn is_told_to_look(client: &mut Wire, fault: &str) {
    let answer = client.answer("POST").await;
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert_eq!(answer.head.get("x-switchd-fault"), Some(fault));
    assert!(!answer.head.has("retry-after"), "{answer:?}");
    let text = answer.text();
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(error["error"]["data"]["retry_after"].is_null(), "{text}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.ends_with("may have been done: look before you repeat it"),
        "{message}"
    );
}

async fn call(daemon: &Daemon, host: &str) -> Wire {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"call","params":{}}"#;
    let mut client = Wire::connect(daemon.address).await;
    let head = format!(
        "POST /jsonrpc HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        call.len()
    );
    client.send(head + call).await;
    client
}

#[tokio::test]
async fn a_request_may_end_on_the_old_slot_as_long_as_the_timeouts_let_it_run() {
    let (pair, other) = (Pair::start().await, Pair::start().await);
    let gate = Gate::closed();
    pair.blue.on("/jsonrpc", Reply::held(&gate));
    other.blue.on("/jsonrpc", Reply::held(&gate));
    let config = pair
        .config()
        .set("service.app.hosts = [\"app.test\"]")
        .set("service.app.timeouts.first_byte = \"50s\"")
        .service("short", &other.blue, &other.green)
        .set("service.short.hosts = [\"short.test\"]")
        .set("service.short.timeouts.first_byte = \"50s\"")
        .set("service.short.flip.drain_timeout = \"300ms\"");
    let daemon = Daemon::start(&config).await;
    let mut client = call(&daemon, "app.test").await;
    let mut cut = call(&daemon, "short.test").await;
    pair.blue.saw("/jsonrpc", 1).await;
    other.blue.saw("/jsonrpc", 1).await;
    let flip = |service: &'static str| {
        let mut command = daemon.ctl_command(&["--service", service, "flip", "green"]);
        tokio::spawn(async move { command.output().await.unwrap() })
    };
    let patient = flip("app");
    let short = flip("short").await.unwrap();
    let told = String::from_utf8(short.stderr).unwrap();
    assert_eq!(short.status.code(), Some(6), "{told}");
    assert!(told.contains("green is active"), "{told}");
    let lost = "1 request was cut off: the application may have done it";
    assert!(told.contains(lost), "{told}");
    is_told_to_look(&mut cut, "cut-off").await;
    assert!(!patient.is_finished(), "the other one is waited for");
    gate.open();
    assert_eq!(client.answer("POST").await.text(), "held");
    let patient = patient.await.unwrap();
    assert_eq!(patient.status.code(), Some(0), "{patient:?}");
}

#[tokio::test]
async fn whatever_ends_a_request_that_was_sent_asks_nobody_to_repeat_it() {
    let pair = Pair::start().await;
    pair.blue.on("/jsonrpc", Reply::never());
    let config = pair.config().set("stop.timeout = \"200ms\"");
    let mut daemon = Daemon::start(&config).await;
    let mut killed = call(&daemon, "app.test").await;
    pair.blue.saw("/jsonrpc", 1).await;
    let id = daemon.requests().await[0].id;
    assert_eq!(daemon.ctl(&["kill", &id.to_string()]).await.code, 0);
    is_told_to_look(&mut killed, "killed").await;
    let mut stopped = call(&daemon, "app.test").await;
    pair.blue.saw("/jsonrpc", 2).await;
    daemon.signal(Signal::TERM);
    is_told_to_look(&mut stopped, "stopping").await;
    daemon.ended().await;
}

#[tokio::test]
async fn an_upstream_that_goes_or_stays_silent_leaves_nobody_to_repeat_it_unseen() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.timeouts.first_byte = \"200ms\"")
        .set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    for (reply, fault, status) in [
        (Reply::never(), "timeout-first-byte", 504),
        (
            Reply::steps([Step::TakeBody, Step::Reset]),
            "no-answer",
            502,
        ),
        (Reply::raw_then_close("nonsense\r\n\r\n"), "bad-answer", 502),
    ] {
        pair.blue.on("/jsonrpc", reply);
        let mut client = call(&daemon, "app.test").await;
        let answer = client.answer("POST").await;
        assert_eq!(answer.status(), status, "{answer:?}");
        assert_eq!(answer.head.get("x-switchd-fault"), Some(fault));
        assert!(!answer.head.has("retry-after"), "{answer:?}");
        assert!(
            answer.text().contains("look before you repeat it"),
            "{answer:?}"
        );
    }
    // What nobody has seen may be repeated.
    pair.blue.stop().await;
    let answer = call(&daemon, "app.test").await.answer("POST").await;
    assert_eq!(answer.head.get("x-switchd-fault"), Some("connect"));
    assert!(answer.head.has("retry-after"), "{answer:?}");
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
