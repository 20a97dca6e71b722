//! The disk of the state is full: traffic leaves a dead slot all the same, and nothing is forgotten.

use crate::support::ChildUpstream;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::SmallDisk;
use crate::support::eventually;
use crate::support::get;
use crate::support::serve_if_child;
use std::sync::Arc;
use tempfile::TempDir;

const CHILD: &str = "full_disk::a_child_upstream_of_a_full_disk";

#[tokio::test]
async fn a_child_upstream_of_a_full_disk() {
    if serve_if_child().await {
        return;
    }
    let child = ChildUpstream::start("child", CHILD).await;
    assert_eq!(get(child.address, "/").await.backend(), "child");
    child.kill();
}

/// A folder with a config, its state on a disk of its own.
struct Place {
    dir: Arc<TempDir>,
    disk: SmallDisk,
}

impl Place {
    async fn with(config: &Config) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        std::fs::create_dir(dir.path().join("state")).unwrap();
        config.write_files(dir.path());
        let text = config.text(dir.path());
        std::fs::write(dir.path().join("switchd.toml"), text).unwrap();
        let disk = SmallDisk::at(&dir.path().join("state"), "256k").await;
        Self { dir, disk }
    }

    async fn daemon(&self) -> Daemon {
        let wrapper = self.disk.wrapper();
        let wrapper = wrapper.each_ref().map(String::as_str);
        Daemon::start_through_in(Arc::clone(&self.dir), &wrapper).await
    }
}

fn quick(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.failback.start_grace = \"100ms\"")
}

async fn is_told(daemon: &Daemon) {
    eventually("the full disk is told before it matters", async || {
        let state = daemon.status().await.state;
        !state.writable && state.problem.is_some_and(|it| it.contains("make "))
    })
    .await;
    daemon.counts(&["switchd_state_writable 0.0"]).await;
    let shown = daemon.ctl(&["status"]).await.stdout;
    assert!(shown.contains("the state cannot be written"), "{shown}");
}

#[tokio::test]
async fn traffic_leaves_a_dead_slot_and_a_crash_comes_back_on_the_one_that_serves() {
    let child = ChildUpstream::start("child", CHILD).await;
    let pair = Pair::start().await;
    let config = quick(&pair).set(&format!(
        "service.app.slots.blue.http = [\"{}\"]",
        child.address
    ));
    let place = Place::with(&config).await;
    let mut daemon = place.daemon().await;
    daemon.healthy().await;
    place.disk.fill();
    is_told(&daemon).await;
    child.kill();
    daemon.becomes_active("green").await;
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
    // The history has it already, from memory.
    eventually("the history tells it", async || {
        let history = daemon.history().await;
        history.iter().any(|it| it.command == "failback")
    })
    .await;
    daemon.signal(rustix::process::Signal::KILL);
    daemon.ended().await;
    let daemon = place.daemon().await;
    assert_eq!(daemon.active().await, "green");
    place.disk.make_room();
    eventually("the journal catches up", async || {
        daemon.status().await.state.writable
    })
    .await;
    daemon.counts(&["switchd_state_writable 1.0"]).await;
    let state = std::fs::read_to_string(place.disk.path("state.json")).unwrap();
    assert!(state.starts_with("{\"version\":1,"), "{state}");
    assert!(state.contains("\"active\":\"green\""), "{state}");
    let history = std::fs::read_to_string(place.disk.path("audit.jsonl")).unwrap();
    assert!(history.contains("\"command\":\"failback\""), "{history}");
}

#[tokio::test]
async fn operators_are_not_hindered_by_a_full_disk() {
    let pair = Pair::start().await;
    let place = Place::with(&quick(&pair)).await;
    let daemon = place.daemon().await;
    daemon.healthy().await;
    place.disk.fill();
    is_told(&daemon).await;
    daemon.flip("green").await;
    let rollback = daemon.ctl(&["rollback"]).await;
    assert_eq!(rollback.code, 0, "{rollback:?}");
    let forced = daemon
        .ctl(&["flip", "green", "--force", "--reason", "drill"])
        .await;
    assert_eq!(forced.code, 0, "{forced:?}");
    let maintenance = daemon.ctl(&["maintenance", "on"]).await;
    assert_eq!(maintenance.code, 0, "{maintenance:?}");
    place.disk.make_room();
    eventually("the journal catches up", async || {
        let state = daemon.status().await.state;
        state.writable && state.waiting_lines == 0
    })
    .await;
    let lines = std::fs::read_to_string(place.disk.path("audit.jsonl")).unwrap();
    for command in ["flip", "rollback", "maintenance"] {
        let command = format!("\"command\":\"{command}\"");
        assert!(lines.contains(&command), "no {command} in {lines}");
    }
    let mut daemon = daemon;
    daemon.signal(rustix::process::Signal::KILL);
    daemon.ended().await;
    let daemon = place.daemon().await;
    let service = daemon.service("app").await;
    assert_eq!(service.active, "green");
    assert!(service.maintenance.is_some());
}

#[tokio::test]
async fn a_start_needs_no_free_disk() {
    let pair = Pair::start().await;
    let config = quick(&pair).set("service.app.buffering.requests = true");
    let place = Place::with(&config).await;
    place.disk.fill();
    let daemon = place.daemon().await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    daemon.healthy().await;
    is_told(&daemon).await;
}

#[tokio::test]
async fn a_state_that_no_disk_takes_keeps_nobody_on_a_dead_slot() {
    let child = ChildUpstream::start("child", CHILD).await;
    let pair = Pair::start().await;
    let config = quick(&pair).set(&format!(
        "service.app.slots.blue.http = [\"{}\"]",
        child.address
    ));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let state = daemon.path("state");
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    // What can wait is refused: nothing of it would survive.
    let refused = daemon.ctl(&["flip", "green"]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    assert_eq!(daemon.active().await, "blue");
    child.kill();
    daemon.becomes_active("green").await;
    let said = daemon.stderr();
    assert!(
        said.contains("traffic moves although the state cannot be written"),
        "{said}"
    );
    is_told(&daemon).await;
}

#[tokio::test]
async fn bodies_leave_room_for_the_state() {
    let pair = Pair::start().await;
    let config = quick(&pair)
        .set("service.app.buffering.requests = true")
        .set("service.app.buffering.memory = \"1KiB\"");
    let place = Place::with(&config).await;
    let daemon = place.daemon().await;
    daemon.healthy().await;
    let body = "x".repeat(1 << 20);
    let mut client = crate::support::Wire::connect(daemon.address).await;
    let answer = client
        .ask(crate::support::request("POST /echo", "", &body))
        .await;
    assert_eq!(answer.status(), 507, "{answer:?}");
    let words = answer.text();
    assert!(!words.contains("spool/") && !words.contains('/'), "{words}");
    let problem = daemon.status().await.spool_problem.unwrap();
    assert!(problem.contains("make room"), "{problem}");
    // There is room for the state still.
    let state = daemon.status().await.state;
    assert!(state.writable, "{state:?}");
    daemon.flip("green").await;
}
