//! Ending what is still being proven: by hand, and because traffic has to leave the active slot.

use crate::deploy::signal;
use crate::flip::is_published;
use crate::support::Backend;
use crate::support::Config;
use crate::support::CtlOutput;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Pair;
use rustix::process::Signal;
use std::process::Stdio;
use switchd::api::EventKind;
use switchd::api::Verdict;
use tokio::process::Child;

/// Nothing here ends because its time is over.
fn patient(config: Config) -> Config {
    config.set("service.app.flip.gate_timeout = \"2h\"")
}

fn is_waiting(event: &EventKind) -> bool {
    matches!(event, EventKind::GateWaiting(_))
}

/// A command that waits for a slot that is down.
async fn waiting(daemon: &Daemon, arguments: &[&str]) -> Child {
    let mut events = daemon.stream("GET /v1/events", "").await;
    let child = daemon
        .ctl_command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    events.until(is_waiting).await;
    child
}

async fn output(child: Child) -> CtlOutput {
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output());
    let output = output.await.expect("it ends").unwrap();
    CtlOutput {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[tokio::test]
async fn a_flip_that_is_still_being_proven_can_be_cancelled() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&patient(pair.config())).await;
    daemon.healthy().await;
    pair.green.stop().await;
    let flip = waiting(&daemon, &["flip", "green"]).await;
    let busy = daemon.ctl(&["flip", "green"]).await;
    assert!(busy.stderr.contains("switchctl cancel"), "{busy:?}");
    let cancel = daemon.ctl(&["cancel", "--reason", "the wrong slot"]).await;
    assert_eq!(cancel.code, 0, "{cancel:?}");
    assert!(
        cancel.stdout.contains("from blue to green is cancelled"),
        "{cancel:?}"
    );
    let flip = output(flip).await;
    assert_eq!(flip.code, 1, "{flip:?}");
    let uid = rustix::process::getuid().as_raw();
    for words in [
        "cancelled before traffic moved",
        &format!("cancelled by uid {uid}"),
        "the wrong slot",
    ] {
        assert!(flip.stderr.contains(words), "{words}: {flip:?}");
    }
    let history = daemon.history().await;
    let of = |command: &str| history.iter().find(|it| it.command == command).unwrap();
    let flip = history.iter().find(|it| it.result == "cancelled").unwrap();
    assert_eq!(flip.command, "flip");
    assert!(flip.details[0].contains("the wrong slot"));
    assert_eq!(
        (of("cancel").result.as_str(), of("cancel").to.as_deref()),
        ("done", Some("green"))
    );
    let words = ["switchd_flips_total{", "result=\"cancelled\""];
    assert!((daemon.metric(&words).await - 1.0).abs() < f64::EPSILON);
    assert_eq!(daemon.service("app").await.phase, "steady");
    pair.green.resume();
    daemon.flip("green").await;
}

#[tokio::test]
async fn a_rollback_and_a_canary_can_be_cancelled_too() {
    let pair = Pair::start().await;
    let config = patient(pair.config()).set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    pair.blue.stop().await;
    for command in [
        &["rollback", "--wait-for-start"][..],
        &["canary", "blue", "5%"],
    ] {
        let waits = waiting(&daemon, command).await;
        assert_eq!(daemon.ctl(&["cancel"]).await.code, 0);
        let ended = output(waits).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("cancelled by"), "{ended:?}");
    }
    assert_eq!(daemon.active().await, "green");
    assert!(daemon.service("app").await.canary.is_none());
}

#[tokio::test]
async fn where_nothing_is_being_proven_there_is_nothing_to_cancel() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.flip("green").await;
    let output = daemon.ctl(&["cancel"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("nothing is being proven"),
        "{output:?}"
    );
    assert!(output.stderr.contains("switchctl rollback"), "{output:?}");
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn who_stops_watching_is_told_how_to_end_it() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&patient(pair.config())).await;
    daemon.healthy().await;
    pair.green.stop().await;
    let flip = waiting(&daemon, &["flip", "green"]).await;
    signal(&flip, Signal::INT);
    let left = output(flip).await;
    assert_eq!(left.code, 4, "{left:?}");
    assert!(left.stderr.contains("switchctl cancel"), "{left:?}");
    assert_eq!(daemon.service("app").await.phase, "gating");
}

/// A flip that waits for a slot to start must not keep traffic on a slot that has died meanwhile.
#[tokio::test]
async fn a_flip_that_waits_gives_way_when_the_active_slot_dies() {
    let (pair, red) = (Pair::start().await, Backend::start("red").await);
    let config = patient(pair.config()).slot("app", "red", &[&red]);
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.slot_becomes("red", "healthy").await;
    pair.green.stop().await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_waiting).await;
    pair.blue.stop().await;
    let done = flip
        .until(|event| matches!(event, EventKind::Done { .. }))
        .await;
    let EventKind::Done {
        verdict, reasons, ..
    } = done.kind
    else {
        unreachable!()
    };
    assert_eq!(verdict, Verdict::Cancelled);
    assert!(
        reasons[0].contains("traffic leaves blue for red by itself"),
        "{reasons:?}"
    );
    daemon.becomes_active("red").await;
}

/// It may be what saves the site.
#[tokio::test]
async fn a_flip_that_waits_goes_on_when_there_is_no_other_slot_to_go_to() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&patient(pair.config())).await;
    daemon.healthy().await;
    pair.green.stop().await;
    daemon.slot_becomes("green", "unhealthy").await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_waiting).await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    pair.blue.stop().await;
    events
        .until(|event| matches!(event, EventKind::Staying { .. }))
        .await;
    assert_eq!(daemon.service("app").await.phase, "gating");
    drop(flip);
    pair.green.resume();
    // By the flip itself or, where the probes are faster, by failback.
    events.until(is_published).await;
    daemon.becomes_active("green").await;
}
