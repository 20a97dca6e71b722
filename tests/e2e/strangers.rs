//! On a shared host anybody may bind the port of a slot that is stopped. Whoever does gets no visitors by itself.

use crate::support::Backend;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::eventually;
use switchd::api::EventKind;
use switchd::api::StrangerStatus;

const NEIGHBOUR: u32 = 65534;

/// Only root may be somebody else; the suite runs as root where it counts.
fn may_be_somebody_else() -> bool {
    rustix::process::geteuid().is_root()
}

async fn stranger(daemon: &Daemon, slot: &str) -> Option<StrangerStatus> {
    daemon.slot(slot).await.stranger
}

async fn is_seen(daemon: &Daemon) {
    eventually("the stranger is seen", async || {
        stranger(daemon, "green").await.is_some()
    })
    .await;
}

/// Requests besides health checks.
fn visitors(backend: &Backend) -> usize {
    backend.count()
}

#[tokio::test]
async fn a_neighbour_on_the_port_of_a_stopped_slot_gets_nothing_until_he_is_accepted() {
    if !may_be_somebody_else() {
        return;
    }
    let (pair, receiver) = (Pair::start().await, Backend::start("receiver").await);
    let hook = format!(
        "[[hook]]\nname = \"team\"\nurl = \"http://{}/told\"\nevents = [\"owner_changed\", \"owner_restored\"]\n",
        receiver.address()
    );
    let config = pair
        .config()
        .set("service.app.failback.start_grace = \"1ms\"")
        .set("service.app.flip.gate_timeout = \"5s\"")
        .block(&hook);
    let mut daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    // The first of them has been taken into account when the second one comes.
    pair.green.probed(2).await;
    daemon.flip("blue").await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    pair.green.stop().await;
    daemon.slot_becomes("green", "unhealthy").await;
    let served = visitors(&pair.green);

    pair.green.resume_as(NEIGHBOUR);
    let changed =
        |it: &EventKind| matches!(it, EventKind::OwnerChanged { slot, .. } if slot == "green");
    events.until(changed).await;
    let seen = stranger(&daemon, "green").await.unwrap();
    assert!(seen.listening.starts_with("uid 65534"), "{seen:?}");
    assert!(seen.expected.starts_with("uid 0"), "{seen:?}");
    assert!(daemon.metric(&["switchd_slot_stranger", "green"]).await > 0.9);
    let words = daemon.ctl(&["status"]).await.stdout;
    assert!(words.contains("switchctl ack green"), "{words}");
    let shadow = daemon.ctl(&["shadow", "green"]).await;
    assert_ne!(shadow.code, 0, "{shadow:?}");
    let flip = daemon.ctl(&["flip", "green"]).await;
    assert!(
        flip.code != 0 && flip.stderr.contains("uid 65534"),
        "{flip:?}"
    );

    // The other one dies: visitors are not handed to a stranger.
    pair.blue.stop().await;
    daemon.slot_becomes("blue", "unhealthy").await;
    pair.green.probed(10).await;
    assert_eq!(daemon.active().await, "blue");
    // Nor after a restart.
    daemon.kill_and_restart().await;
    is_seen(&daemon).await;
    daemon.slot_becomes("blue", "unhealthy").await;
    pair.green.probed(10).await;
    assert_eq!(daemon.active().await, "blue");
    assert_eq!(visitors(&pair.green), served);

    let accepted = daemon.ctl(&["ack", "green"]).await;
    assert!(
        accepted.code == 0 && accepted.stdout.contains("uid 65534"),
        "{accepted:?}"
    );
    daemon.becomes_active("green").await;
    assert_eq!(stranger(&daemon, "green").await, None);
    receiver.saw("/told", 3).await;
}

#[tokio::test]
async fn the_configured_owner_is_the_only_one_and_no_acknowledgement_replaces_him() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.slots.green.owner = 4000007");
    let daemon = Daemon::start(&config).await;
    is_seen(&daemon).await;
    let seen = stranger(&daemon, "green").await.unwrap();
    assert_eq!(seen.expected, "uid 4000007");
    assert!(seen.remedy.contains("change `owner` of green"), "{seen:?}");
    let refused = daemon.ctl(&["ack", "green"]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    assert_eq!(daemon.slot("green").await.health, "unhealthy");
    // A reload with who is right mends it.
    let ourselves = rustix::process::geteuid().as_raw();
    let right = format!("service.app.slots.green.owner = {ourselves}");
    daemon.write_config(&pair.config().set(&right));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    daemon.slot_becomes("green", "healthy").await;
    assert_eq!(stranger(&daemon, "green").await, None);
}

#[tokio::test]
async fn a_forced_flip_accepts_whoever_listens() {
    if !may_be_somebody_else() {
        return;
    }
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    daemon.flip("green").await;
    pair.green.probed(2).await;
    daemon.flip("blue").await;
    pair.green.stop().await;
    daemon.slot_becomes("green", "unhealthy").await;
    pair.green.resume_as(NEIGHBOUR);
    is_seen(&daemon).await;
    let forced = [
        "flip",
        "green",
        "--force",
        "--reason",
        "another user from now on",
    ];
    let flip = daemon.ctl(&forced).await;
    assert_eq!(flip.code, 0, "{flip:?}");
    daemon.slot_becomes("green", "healthy").await;
    assert_eq!(stranger(&daemon, "green").await, None);
}
