//! What survives, and what a broken state does.

use crate::flip::is_published;
use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use crate::support::switchd;
use rustix::process::Signal;
use std::path::Path;
use switchd::api::EventKind;
use switchd::journal::Journal;
use switchd::journal::Recover;
use switchd::switch::ServiceName;

/// Which slot the state on disk names for `app`; reads a copy, for opening a journal may mend it.
fn journalled(daemon: &Daemon) -> Option<String> {
    let copy = tempfile::TempDir::new().unwrap();
    for entry in std::fs::read_dir(daemon.path("state")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let journal = Journal::open(copy.path(), Recover::Refuse).unwrap();
    let app = ServiceName::new("app").unwrap();
    journal.state(&app).map(|state| state.active.to_string())
}

/// The only file in the state folder that holds the state.
fn state_file(daemon: &Daemon) -> std::path::PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(daemon.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| is_state(path))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn is_state(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    name.starts_with("state") && !name.contains("tmp")
}

#[tokio::test]
async fn the_active_slot_survives_an_orderly_restart() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.flip("green").await;
    let before = daemon.service("app").await;
    daemon.stop_and_restart().await;
    let after = daemon.service("app").await;
    assert_eq!(
        (after.active.as_str(), after.generation),
        ("green", before.generation)
    );
    assert_eq!(after.previous.as_deref(), Some("blue"));
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
}

#[tokio::test]
async fn the_active_slot_survives_kill_9() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.flip("green").await;
    daemon.kill_and_restart().await;
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
    let rollback = daemon.ctl(&["rollback"]).await;
    assert_eq!(rollback.code, 0, "{rollback:?}");
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
}

#[tokio::test]
async fn kill_9_while_a_flip_gates_leaves_traffic_where_it_was_and_history_tells() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let held = Gate::closed();
    pair.green.health(Reply::held(&held));
    let mut flip = daemon.begin_flip("green").await;
    flip.until(|event| matches!(event, EventKind::Started { .. }))
        .await;
    daemon.kill_and_restart().await;
    assert_eq!(daemon.active().await, "blue");
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    let last = daemon
        .history()
        .await
        .pop()
        .expect("history tells the story");
    assert_eq!(
        (last.command.as_str(), last.result.as_str()),
        ("flip", "interrupted")
    );
    assert!(
        last.details.join(" ").contains("blue"),
        "on which slot traffic is: {last:?}"
    );
    held.open();
    assert_eq!(daemon.service("app").await.phase, "steady");
    daemon.flip("green").await;
}

#[tokio::test]
async fn kill_9_while_the_old_slot_drains_keeps_the_new_slot_and_history_tells() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let mut daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut flip = daemon.begin_flip("green").await;
    flip.until(|event| matches!(event, EventKind::Draining { .. }))
        .await;
    daemon.kill_and_restart().await;
    assert_eq!(daemon.active().await, "green");
    assert_eq!(get(daemon.address, "/").await.backend(), "green");
    let last = daemon
        .history()
        .await
        .pop()
        .expect("history tells the story");
    assert_eq!(last.result, "interrupted", "{last:?}");
    assert!(last.details.join(" ").contains("green"), "{last:?}");
}

#[tokio::test]
async fn kill_9_at_every_word_of_a_flip_comes_back_on_the_slot_the_journal_names() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let mut to = "green";
    for word in [
        "started",
        "probe",
        "gate_passed",
        "journalled",
        "published",
        "drained",
        "done",
    ] {
        let mut flip = daemon.begin_flip(to).await;
        flip.until(|event| serde_json::to_value(event).unwrap()["event"] == word)
            .await;
        daemon.signal(Signal::KILL);
        daemon.ended().await;
        let named = journalled(&daemon);
        daemon = Daemon::start_in(daemon.dir(), &[]).await;
        let active = daemon.active().await;
        assert_eq!(
            named.as_deref().unwrap_or("blue"),
            active,
            "killed at {word}"
        );
        if ["journalled", "published", "drained", "done"].contains(&word) {
            assert_eq!(active, to, "killed at {word}");
        }
        let last = daemon
            .history()
            .await
            .pop()
            .expect("history tells the story");
        assert_eq!(
            (last.command.as_str(), last.to.as_deref()),
            ("flip", Some(to)),
            "{word}"
        );
        assert!(
            ["done", "interrupted"].contains(&last.result.as_str()),
            "{word}: {last:?}"
        );
        assert_eq!(get(daemon.address, "/").await.backend(), active);
        to = if active == "green" { "blue" } else { "green" };
    }
}

#[tokio::test]
async fn kill_9_at_random_instants_never_breaks_the_state() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    for round in 0..8 {
        let body = if round % 2 == 0 { "green" } else { "blue" };
        let mut flip = daemon.begin_flip(body).await;
        // One event more each time: somewhere else each time.
        for _ in 0..round {
            flip.next().await;
        }
        daemon.kill_and_restart().await;
        assert_eq!(
            get(daemon.address, "/").await.backend(),
            daemon.active().await
        );
    }
}

#[tokio::test]
async fn a_broken_state_file_is_refused_with_a_clear_message_and_recover_says_so() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.flip("green").await;
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    let state = state_file(&daemon);
    let mut bytes = std::fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    std::fs::write(&state, &bytes).unwrap();

    let config = daemon.config_path();
    let refused = switchd(&["run", "--config", config.to_str().unwrap()]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(
        refused.stderr.contains(state.to_str().unwrap()),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("--recover"), "{refused:?}");

    let recovered = Daemon::start_in(daemon.dir(), &["--recover"]).await;
    assert_eq!(recovered.active().await, "blue", "as the config says");
    assert!(
        recovered.stderr().contains("set aside"),
        "{}",
        recovered.stderr()
    );
    let last = recovered.history().await.pop().unwrap();
    assert_eq!(last.command, "recover", "{last:?}");
    assert!(last.details[0].contains("set aside"), "{last:?}");
}

#[tokio::test]
async fn a_state_file_cut_short_is_refused() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.flip("green").await;
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    let state = state_file(&daemon);
    for length in [0, 1, 40] {
        let bytes = std::fs::read(&state).unwrap();
        std::fs::write(&state, &bytes[..length.min(bytes.len())]).unwrap();
        let config = daemon.config_path();
        let refused = switchd(&["run", "--config", config.to_str().unwrap()]).await;
        assert_ne!(refused.code, 0, "{length} bytes: {refused:?}");
        std::fs::write(&state, &bytes).unwrap();
    }
    let daemon = Daemon::start_in(daemon.dir(), &[]).await;
    assert_eq!(daemon.active().await, "green", "the whole file is fine");
}

#[tokio::test]
async fn a_slot_that_the_config_no_longer_has_is_not_brought_back() {
    let pair = Pair::start().await;
    let red = Backend::start("red").await;
    let mut daemon = pair.daemon().await;
    daemon.flip("green").await;
    daemon.signal(Signal::TERM);
    daemon.ended().await;
    let config: Config =
        pair.config()
            .unset("service.app.slots.green.http")
            .slot("app", "red", &[&red]);
    daemon.write_config(&config);
    let daemon = Daemon::start_in(daemon.dir(), &[]).await;
    assert_eq!(daemon.active().await, "blue");
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
}

#[tokio::test]
async fn another_initial_slot_in_the_config_never_moves_traffic() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.flip("green").await;
    daemon.flip("blue").await;
    daemon.write_config(&pair.config().set("service.app.initial = \"green\""));
    daemon.stop_and_restart().await;
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn a_quarantine_survives_a_restart() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.healthy().await;
    pair.blue.health(Reply::status(500, "ill"));
    daemon.becomes_active("green").await;
    daemon.kill_and_restart().await;
    assert_eq!(daemon.active().await, "green");
    let quarantine = daemon.slot("blue").await.quarantine.unwrap();
    assert!(quarantine.reason.contains("ill"), "{quarantine:?}");
    assert!(!quarantine.acknowledged);
}

#[tokio::test]
async fn history_survives_a_restart_and_ids_go_on() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.flip("green").await;
    let before = daemon.history().await;
    daemon.kill_and_restart().await;
    daemon.flip("blue").await;
    let after = daemon.history().await;
    assert_eq!(after[..before.len()], before[..]);
    let ids: Vec<u64> = after.iter().filter_map(|record| record.flip).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[tokio::test]
async fn a_client_of_the_flip_that_went_away_does_not_stop_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let held = Gate::closed();
    pair.green.health(Reply::held(&held));
    let mut flip = daemon.begin_flip("green").await;
    flip.until(|event| matches!(event, EventKind::Started { .. }))
        .await;
    drop(flip);
    let mut events = daemon.stream("GET /v1/events", "").await;
    held.open();
    events.until(is_published).await;
    eventually("it is in the history", async || {
        daemon
            .history()
            .await
            .iter()
            .any(|record| record.result == "done")
    })
    .await;
}

#[tokio::test]
async fn a_second_daemon_on_the_same_socket_or_state_is_refused() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let config = daemon.config_path();
    let second = switchd(&["run", "--config", config.to_str().unwrap()]).await;
    assert_ne!(second.code, 0, "{second:?}");
    assert!(!second.stderr.is_empty());
    assert_eq!(daemon.active().await, "blue", "the first one still answers");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_port_is_refused_and_takes_no_request() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("switchd.toml");
    let text = pair.config().text(dir.path());
    let port = format!("127.0.0.1:{}", daemon.address.port());
    std::fs::write(&file, text.replace("127.0.0.1:0", &port)).unwrap();
    let second = switchd(&["run", "--config", file.to_str().unwrap()]).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains(&port), "{second:?}");
    assert!(
        second
            .stderr
            .contains("help: another process listens there"),
        "{second:?}"
    );
    for _ in 0..20 {
        assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    }
}
