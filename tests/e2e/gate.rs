//! What stands before a flip.

use crate::flip::is_gating;
use crate::flip::is_published;
use crate::support::Authority;
use crate::support::Backend;
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
use switchd::api::EventKind;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn the_gate_asks_for_fresh_passes_in_a_row_from_every_member() {
    let pair = Pair::start().await;
    let sockets = Pair::start().await;
    let config = pair
        .config()
        .websocket_member("blue", &sockets.blue)
        .websocket_member("green", &sockets.green)
        .route("/websocket", "websocket")
        .set("service.app.health.interval = \"60s\"")
        .set("service.app.health.rise = 3");
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("green", "healthy").await;
    let before = (pair.green.probes().len(), sockets.green.probes().len());
    daemon.flip("green").await;
    assert!(pair.green.probes().len() >= before.0 + 3);
    assert!(sockets.green.probes().len() >= before.1 + 3);
}

async fn refused_for(prepare: impl AsyncFn(&Backend), words: &[&str]) {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.health.timeout = \"300ms\"")
        .set("service.app.flip.gate_timeout = \"2s\"");
    let daemon = Daemon::start(&config).await;
    prepare(&pair.green).await;
    let mut client = Wire::connect(daemon.address).await;
    let started = std::time::Instant::now();
    let flip = daemon.ctl(&["flip", "green"]);
    let mut flip = std::pin::pin!(flip);
    let mut served = 0;
    let output = loop {
        tokio::select! {
            output = &mut flip => break output,
            answer = client.ask(request("GET /", "", "")) => {
                assert_eq!((answer.status(), answer.backend()), (200, "blue"));
                served += 1;
            }
        }
    };
    println!(
        "refused after {:?}, {served} requests served",
        started.elapsed()
    );
    assert_eq!(output.code, 1, "{output:?}");
    for word in words {
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains(word), "{word:?} is missing: {output:?}");
    }
    assert!(
        started.elapsed().as_secs() < 10,
        "within the gate's timeout"
    );
    assert!(served > 0);
    assert_eq!(pair.green.count(), 0);
    assert_eq!(daemon.active().await, "blue");
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(
        (last.command.as_str(), last.result.as_str()),
        ("flip", "refused")
    );
}

#[tokio::test]
async fn a_flip_to_a_slot_that_refuses_is_refused_with_that_reason() {
    refused_for(
        async |green| green.stop().await,
        &["connection refused", "--force"],
    )
    .await;
}

#[tokio::test]
async fn a_flip_to_a_slot_that_hangs_is_refused_with_that_reason() {
    refused_for(
        async |green| green.health(Reply::never()),
        &["timeout after 300ms"],
    )
    .await;
}

#[tokio::test]
async fn a_flip_to_a_slot_that_answers_500_is_refused_with_its_words() {
    refused_for(
        async |green| green.health(Reply::status(500, "no database today")),
        &["500", "no database today"],
    )
    .await;
}

#[tokio::test]
async fn a_flip_to_an_unknown_slot_is_refused_and_names_the_slots() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let output = daemon.ctl(&["flip", "purple"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("purple"), "{output:?}");
    assert!(output.stderr.contains("blue, green"), "{output:?}");
}

#[tokio::test]
async fn force_moves_to_a_bad_slot_and_keeps_its_reason() {
    let pair = Pair::start().await;
    pair.green.health(Reply::status(500, "warming up"));
    let config = pair.config().set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    let without = daemon.ctl(&["flip", "green", "--force"]).await;
    assert!([1, 2].contains(&without.code), "{without:?}");
    assert!(without.stderr.contains("--reason"), "{without:?}");
    assert_eq!(daemon.active().await, "blue");

    let arguments = ["flip", "green", "--force", "--reason", "the check is wrong"];
    let with = daemon.ctl(&arguments).await;
    assert_eq!(with.code, 0, "{with:?}");
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(last.reason.as_deref(), Some("the check is wrong"));
    assert!(last.forced, "{last:?}");
    assert!(last.took_ms >= last.published_ms, "{last:?}");
    assert!(last.took_ms.is_some(), "{last:?}");
    let history = daemon.ctl(&["history"]).await;
    assert!(
        history.stdout.contains("blue > green, forced"),
        "{history:?}"
    );
}

#[tokio::test]
async fn a_second_flip_while_the_first_gates_is_refused_with_who_started_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let held = Gate::closed();
    pair.green.health(Reply::held(&held));
    let mut first = daemon.begin_flip("green").await;
    first.until(is_gating).await;
    let second = daemon.ctl(&["flip", "green"]).await;
    assert_eq!(second.code, 1, "{second:?}");
    let uid = rustix::process::getuid().as_raw();
    assert!(second.stderr.contains(&format!("uid {uid}")), "{second:?}");
    held.open();
    first.until(is_published).await;
}

/// For so long nothing may wait in these tests: what does, waits for more than a test has.
fn patient(config: Config) -> Config {
    config.set("service.app.flip.gate_timeout = \"2h\"")
}

/// What the address that is waited for last said.
fn waits_for(event: &EventKind, said: &str) -> bool {
    matches!(event, EventKind::GateWaiting(waiting) if waiting.endpoints.iter().any(|it| it.said.contains(said)))
}

#[tokio::test]
async fn a_flip_waits_for_a_slot_that_is_starting() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&patient(pair.config())).await;
    pair.green.stop().await;
    daemon.slot_becomes("green", "unhealthy").await;
    let mut flip = daemon.begin_flip("green").await;
    let event = flip
        .until(|event| waits_for(event, "connection refused"))
        .await;
    let EventKind::GateWaiting(waiting) = event.kind else {
        unreachable!()
    };
    assert_eq!(
        (waiting.slot.as_str(), waiting.limit_ms),
        ("green", 7_200_000)
    );
    assert_eq!(waiting.endpoints[0].member, "http");
    assert_eq!(
        waiting.endpoints[0].endpoint,
        pair.green.address().to_string()
    );
    pair.green.resume();
    flip.until(is_published).await;
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
}

/// All the ways in which programs are not ready yet.
#[tokio::test]
async fn whatever_a_program_says_that_is_not_ready_yet_is_waited_for() {
    let pair = Pair::start().await;
    let config = patient(pair.config())
        .set("service.app.health.timeout = \"100ms\"")
        .set("service.app.health.expect_body = \"fine\"");
    pair.blue.healthy();
    pair.green.healthy();
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let starts = [
        (Reply::status(404, "no database"), "HTTP 404"),
        (Reply::status(401, "who?"), "HTTP 401"),
        (Reply::status(302, ""), "HTTP 302"),
        (Reply::status(502, ""), "HTTP 502"),
        (Reply::status(503, "starting"), "HTTP 503"),
        (Reply::status(200, "loading"), "body lacks"),
        (Reply::steps([Step::Close]), "broken answer"),
        (Reply::steps([Step::Reset]), "broken answer"),
        (Reply::raw_then_close("SSH-2.0-x\r\n\r\n"), "broken answer"),
        (Reply::never(), "timeout after 100ms"),
    ];
    let mut to = "green";
    for (start, said) in starts {
        let backend = if to == "green" {
            &pair.green
        } else {
            &pair.blue
        };
        backend.health(start);
        let mut flip = daemon.begin_flip(to).await;
        flip.until(|event| waits_for(event, said)).await;
        backend.healthy();
        flip.until(is_published).await;
        to = if to == "green" { "blue" } else { "green" };
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_yet_is_waited_for() {
    let pair = Pair::start().await;
    let config =
        patient(pair.config()).set("service.app.slots.green.http = [\"unix:DIR/green.sock\"]");
    let daemon = Daemon::start(&config).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(|event| waits_for(event, "no such socket")).await;
    let listener = tokio::net::UnixListener::bind(daemon.path("green.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            tokio::spawn(async move {
                if let Ok(1..) = stream.read(&mut [0; 4096]).await {
                    stream.write_all(answer).await.ok();
                }
            });
        }
    });
    flip.until(is_published).await;
}

#[tokio::test]
async fn a_slot_that_never_comes_is_refused_with_its_last_words_and_counted_down() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.flip.gate_timeout = \"2s\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    pair.green.stop().await;
    let output = daemon.ctl(&["flip", "green"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let address = pair.green.address();
    for words in [
        format!("waiting for green: http {address} connection refused ("),
        " of 2 s)".to_owned(),
        format!("http {address}: connection refused, and still after 2s (flip.gate_timeout)"),
        "--force".to_owned(),
    ] {
        assert!(output.stderr.contains(&words), "{words}: {output:?}");
    }
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(last.result, "refused");
    assert!(last.details[0].contains("connection refused"), "{last:?}");
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_refused_at_once() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&patient(pair.config())).await;
    daemon.healthy().await;
    pair.green.stop().await;
    for command in [
        &["flip", "green"][..],
        &["flip", "green", "--rehearse"],
        &["gate", "green"],
        &["canary", "green", "5%"],
    ] {
        let output = daemon
            .ctl(&[command, &["--no-wait-for-start"]].concat())
            .await;
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains("connection refused"), "{output:?}");
    }
    assert_eq!(daemon.active().await, "blue");
}

/// Going back is for emergencies, and the slot has served before: one that is down is not starting.
#[tokio::test]
async fn a_rollback_to_a_slot_that_is_down_is_refused_at_once_unless_it_shall_wait() {
    let pair = Pair::start().await;
    let config = patient(pair.config()).set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    pair.blue.stop().await;
    daemon.slot_becomes("blue", "unhealthy").await;
    let output = daemon.ctl(&["rollback"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("connection refused"), "{output:?}");
    let body = "{\"wait_for_start\":true}";
    let mut back = daemon.stream("POST /v1/services/app/rollback", body).await;
    back.until(|event| waits_for(event, "connection refused"))
        .await;
    pair.blue.resume();
    back.until(is_published).await;
    assert_eq!(daemon.active().await, "blue");
}

/// No waiting mends these.
#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_refused_at_once() {
    let pair = Pair::start().await;
    let ca = Authority::new("the CA of this test");
    pair.blue.speak_tls(&ca.issue(&["127.0.0.1"]));
    pair.green.speak_tls(&ca.issue(&["127.0.0.1"]));
    let config = patient(pair.config())
        .file("ca.pem", &ca.pem)
        .set("service.app.upstream_tls.ca = \"DIR/ca.pem\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    for (leaf, words) in [
        (ca.issue(&["elsewhere.test"]), "not for 127.0.0.1"),
        (ca.issue_for_days(&["127.0.0.1"], -30, -3), "expired"),
        (
            Authority::new("a stranger").issue(&["127.0.0.1"]),
            "issued by nobody we trust",
        ),
    ] {
        pair.green.speak_tls(&leaf);
        let output = daemon.ctl(&["flip", "green"]).await;
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains(words), "{words}: {output:?}");
    }
}

#[tokio::test]
async fn a_canary_and_the_gates_by_hand_wait_as_well() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&patient(pair.config())).await;
    daemon.healthy().await;
    pair.green.stop().await;
    let path = "POST /v1/services/app/gate";
    let mut gates = daemon.stream(path, "{\"slot\":\"green\"}").await;
    gates
        .until(|event| waits_for(event, "connection refused"))
        .await;
    let body = "{\"slot\":\"green\",\"percent\":5}";
    let mut canary = daemon.stream("POST /v1/services/app/canary", body).await;
    canary
        .until(|event| waits_for(event, "connection refused"))
        .await;
    pair.green.resume();
    gates
        .until(|event| matches!(event, EventKind::GatesDone(done) if done.passed))
        .await;
    canary
        .until(|event| matches!(event, EventKind::Canary { .. }))
        .await;
}

/// Else the next deploy would find them being tried by somebody who is gone.
#[tokio::test]
async fn gates_by_hand_wait_for_no_slot_when_nobody_waits_for_them() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&patient(pair.config())).await;
    daemon.healthy().await;
    pair.green.stop().await;
    let path = "POST /v1/services/app/gate";
    let mut gates = daemon.stream(path, "{\"slot\":\"green\"}").await;
    gates
        .until(|event| waits_for(event, "connection refused"))
        .await;
    drop(gates);
    eventually("the gates end", async || {
        let last = daemon.history().await.pop();
        last.is_some_and(|it| it.command == "gate" && it.details[0].contains("no longer waits"))
    })
    .await;
}

/// Two addresses: the first one is ready, and gone again by the time that the second one comes.
#[tokio::test]
async fn all_addresses_must_be_ready_at_the_same_time() {
    let (pair, second) = (Pair::start().await, Backend::start("green2").await);
    let config = patient(pair.config())
        .slot("app", "green", &[&pair.green, &second])
        .set("service.app.health.fast_interval = \"20ms\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    second.stop().await;
    let mut flip = daemon.begin_flip("green").await;
    let first = pair.green.address().to_string();
    flip.until(|event| {
        matches!(event, EventKind::Probe { endpoint, streak, needed, .. }
            if *endpoint == first && streak == needed)
    })
    .await;
    flip.until(|event| waits_for(event, "connection refused"))
        .await;
    pair.green.health(Reply::status(503, "gone again"));
    second.resume();
    flip.until(|event| waits_for(event, "gone again")).await;
    assert_eq!(daemon.active().await, "blue");
    pair.green.healthy();
    flip.until(is_published).await;
}

/// However long it waits, and however the slot changes its words meanwhile.
#[tokio::test]
async fn a_wait_tells_a_bounded_number_of_events() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.health.fast_interval = \"1ms\"")
        .set("service.app.health.rise = 100")
        .set("service.app.flip.gate_timeout = \"3s\"");
    let daemon = Daemon::start(&config).await;
    let flapping = Reply::steps([
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::Close,
    ]);
    for _ in 0..3000 {
        pair.green.once("/health", flapping.clone());
        pair.green.once("/health", Reply::status(503, ""));
    }
    let events = daemon.begin_flip("green").await.all().await;
    let count = |wanted: fn(&EventKind) -> bool| events.iter().filter(|it| wanted(it)).count();
    assert!(count(|it| matches!(it, EventKind::Probe { .. })) <= 20);
    assert!(count(|it| matches!(it, EventKind::GateWaiting(_))) <= 5);
}
