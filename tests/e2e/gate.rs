//! What stands before a flip.

use crate::flip::is_gating;
use crate::flip::is_published;
use crate::support::Backend;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;

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
