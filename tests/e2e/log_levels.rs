//! What an operator sees who looks at warnings and errors alone.

use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::eventually;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::process::Command;

/// The level of the first line that holds all of `words`; lines are `TIME LEVEL message`.
async fn level_of(daemon: &Daemon, words: &[&str]) -> String {
    let found = || {
        let log = daemon.stderr();
        let line = log
            .lines()
            .find(|line| words.iter().all(|it| line.contains(it)));
        line.map(|line| {
            line.split_whitespace()
                .nth(1)
                .unwrap_or_default()
                .to_owned()
        })
    };
    eventually(&format!("the log tells of {words:?}"), async || {
        found().is_some()
    })
    .await;
    found().unwrap_or_default()
}

#[tokio::test]
async fn a_bad_active_slot_and_a_move_by_itself_are_loud_and_a_bad_idle_slot_is_a_warning() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    pair.blue.health(Reply::status(503, "no database"));
    daemon.becomes_active("green").await;
    let bad = ["slot health changed", "slot=blue", "health=\"unhealthy\""];
    assert_eq!(level_of(&daemon, &bad).await, "ERROR");
    for message in ["operation started", "traffic moved", "slot quarantined"] {
        assert_eq!(level_of(&daemon, &[message]).await, "WARN", "{message}");
    }
    assert_eq!(
        level_of(&daemon, &["slot health changed", "health=\"healthy\""]).await,
        "INFO"
    );
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    pair.green.health(Reply::status(503, "no database"));
    let bad = ["slot health changed", "slot=green", "health=\"unhealthy\""];
    assert_eq!(level_of(&daemon, &bad).await, "WARN");
}

#[tokio::test]
async fn a_slot_that_starts_together_with_the_daemon_alarms_nobody() {
    let pair = Pair::start().await;
    let receiver = Backend::start("receiver").await;
    pair.blue.health(Reply::status(503, "starting"));
    let hook = format!(
        "[[hook]]\nname = \"team\"\nurl = \"http://{}/told\"\n",
        receiver.address()
    );
    let config = pair
        .config()
        .set("service.app.failback.start_grace = \"1h\"")
        .block(&hook);
    let daemon = Daemon::start(&config).await;
    assert_eq!(
        level_of(&daemon, &["traffic stays on a bad slot"]).await,
        "INFO"
    );
    let bad = ["slot health changed", "slot=blue", "health=\"unhealthy\""];
    assert_eq!(level_of(&daemon, &bad).await, "INFO");
    pair.blue.healthy();
    daemon.healthy().await;
    // Whatever comes later is heard: nothing that was told before is under way any more.
    daemon.flip("green").await;
    receiver.saw("/told", 2).await;
    for seen in receiver.requests_for("/told") {
        let name = seen.head.get("switchd-event").unwrap().to_owned();
        assert!(name.starts_with("flip_"), "{name}");
    }
}

fn run(folder: &Path, journal: &Path) -> Child {
    let stderr = std::fs::File::create(folder.join("stderr")).unwrap();
    let journal = std::fs::metadata(journal).unwrap();
    Command::new(env!("CARGO_BIN_EXE_switchd"))
        .args(["run", "--config"])
        .arg(folder.join("switchd.toml"))
        .env(
            "JOURNAL_STREAM",
            format!("{}:{}", journal.dev(), journal.ino()),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn pair_in(folder: &TempDir) -> Pair {
    let pair = Pair::start().await;
    std::fs::create_dir(folder.path().join("state")).unwrap();
    let text = Config::pair(&pair.blue, &pair.green).text(folder.path());
    std::fs::write(folder.path().join("switchd.toml"), text).unwrap();
    std::fs::write(folder.path().join("stderr"), "").unwrap();
    pair
}

async fn lines_of(folder: &TempDir, message: &str) -> Vec<String> {
    let read = || std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    eventually(&format!("the log says {message:?}"), async || {
        read().contains(message)
    })
    .await;
    read().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_journal_is_told_how_urgent_each_line_is() {
    let folder = TempDir::new().unwrap();
    let pair = pair_in(&folder).await;
    pair.green.health(Reply::status(503, "tired"));
    let _child = run(folder.path(), &folder.path().join("stderr"));
    let lines = lines_of(
        &folder,
        "slot health changed service=app slot=green health=\"unhealthy\"",
    )
    .await;
    let line = |message: &str| lines.iter().find(|it| it.contains(message)).unwrap();
    assert!(line("switchd started").starts_with("<6>"), "{lines:#?}");
    assert!(
        line("slot health changed service=app slot=green").starts_with("<4>"),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_an_error_in_the_journal() {
    let folder = TempDir::new().unwrap();
    let _pair = pair_in(&folder).await;
    let config = folder.path().join("switchd.toml");
    std::fs::write(&config, "nonsense = 1\n").unwrap();
    let mut child = run(folder.path(), &folder.path().join("stderr"));
    assert!(!child.wait().await.unwrap().success());
    let lines = lines_of(&folder, "nonsense").await;
    assert!(
        lines.iter().all(|line| line.starts_with("<3>")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_file_that_is_not_the_journal_gets_plain_lines() {
    let folder = TempDir::new().unwrap();
    let _pair = pair_in(&folder).await;
    let _child = run(folder.path(), &folder.path().join("switchd.toml"));
    let lines = lines_of(&folder, "switchd started").await;
    assert!(
        lines.iter().all(|line| !line.starts_with('<')),
        "{lines:#?}"
    );
}
