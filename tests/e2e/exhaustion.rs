//! Too few file descriptors: nobody blames a slot for that, and what must go on goes on.

use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use crate::support::switchd;
use rustix::process::Resource;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Hard and soft: it cannot be raised.
const LIMITED: &[&str] = &["sh", "-c", "ulimit -n 256 && exec \"$0\" \"$@\""];

/// This process has both ends of much.
fn many_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn config(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.failback.start_grace = \"100ms\"")
        .set("limits.header_timeout = \"1h\"")
}

/// Asks until it is let in and answered.
async fn is_served(address: SocketAddr) {
    eventually("a visitor is served", async || {
        let mut client = Wire::connect(address).await;
        client
            .send(request("GET /", "Connection: close\r\n", ""))
            .await;
        let answer = client.try_answer("GET").await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

/// So many connections; those that say something say a whole request.
async fn horde(address: SocketAddr, count: usize, said: &str) -> Vec<Wire> {
    let mut horde = Vec::new();
    for _ in 0..count {
        let mut one = Wire::over(TcpStream::connect(address).await.unwrap());
        // Whoever is turned away may be gone already.
        let _ = one.try_send(said).await;
        horde.push(one);
    }
    horde
}

/// Nobody was blamed, and an operator is answered.
async fn nothing_has_moved(daemon: &Daemon) {
    let history = daemon.history().await;
    assert!(
        !history.iter().any(|it| it.command == "failback"),
        "{history:?}"
    );
    for slot in ["blue", "green"] {
        let slot = daemon.slot(slot).await;
        assert_eq!((slot.health.as_str(), slot.quarantine), ("healthy", None));
    }
}

#[tokio::test]
async fn two_thousand_connections_at_256_descriptors_move_nothing_and_lock_nobody_out() {
    many_descriptors();
    let pair = Pair::start().await;
    let daemon = Daemon::start_through(&config(&pair), LIMITED).await;
    daemon.healthy().await;
    let mut honest = Wire::connect(daemon.address).await;
    assert_eq!(honest.ask(request("GET /", "", "")).await.status(), 200);
    let silent = horde(daemon.address, 2000, "").await;
    // Whole rounds of probes pass.
    tokio::join!(pair.blue.probed(10), pair.green.probed(10));
    nothing_has_moved(&daemon).await;
    assert_eq!(honest.ask(request("GET /", "", "")).await.status(), 200);
    daemon.flip("green").await;
    assert_eq!(daemon.active().await, "green");
    let answer = honest.ask(request("GET /", "", "")).await;
    assert_eq!((answer.status(), answer.backend()), (200, "green"));
    is_served(daemon.address).await;
    drop(silent);
    nothing_has_moved(&daemon).await;
    let said = daemon.stderr();
    assert!(!said.contains("cannot accept"), "{said}");
}

#[tokio::test]
async fn connections_that_were_served_and_are_idle_now_give_way() {
    many_descriptors();
    let pair = Pair::start().await;
    let daemon = Daemon::start_through(&config(&pair), LIMITED).await;
    daemon.healthy().await;
    let kept = horde(daemon.address, 600, &request("GET /", "", "")).await;
    for _ in 0..20 {
        is_served(daemon.address).await;
    }
    nothing_has_moved(&daemon).await;
    drop(kept);
}

#[tokio::test]
async fn a_daemon_with_next_to_no_descriptors_starts_serves_and_says_so() {
    let pair = Pair::start().await;
    let tiny = ["sh", "-c", "ulimit -n 64 && exec \"$0\" \"$@\""];
    let daemon = Daemon::start_through(&config(&pair), &tiny).await;
    daemon.healthy().await;
    is_served(daemon.address).await;
    let status = daemon.status().await.descriptors;
    assert_eq!(status.limit, 64);
    assert!(status.connections < 64, "{status:?}");
    let problem = status.problem.unwrap();
    assert!(problem.contains("LimitNOFILE="), "{problem}");
    let said = daemon.stderr();
    assert!(said.contains("too few file descriptors"), "{said}");
    let shown = daemon.ctl(&["status"]).await.stdout;
    assert!(shown.contains("file descriptors: at most 8"), "{shown}");
    daemon
        .counts(&[
            "switchd_file_descriptors_limit 64.0",
            "switchd_connections_limit 8.0",
        ])
        .await;
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let pair = Pair::start().await;
    let soft = [
        "sh",
        "-c",
        "ulimit -Sn 128 && ulimit -Hn 4096 && exec \"$0\" \"$@\"",
    ];
    let daemon = Daemon::start_through(&config(&pair), &soft).await;
    assert_eq!(daemon.status().await.descriptors.limit, 4096);
    let file = daemon.config_path();
    let checked = tokio::process::Command::new("sh")
        .args(["-c", "ulimit -n 4096 && exec \"$0\" check --config \"$1\""])
        .arg(env!("CARGO_BIN_EXE_switchd"))
        .arg(&file)
        .output()
        .await
        .unwrap();
    let warned = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{warned}");
    assert!(
        warned.contains("not 20000 (limits.connections)"),
        "{warned}"
    );
    let unlimited = switchd(&["check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(unlimited.code, 0, "{unlimited:?}");
}

#[tokio::test]
async fn places_held_by_one_who_was_served_once_are_given_to_others() {
    let pair = Pair::start().await;
    let config = config(&pair)
        .set("runtime.workers = 1")
        .set("limits.connections = 30");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut kept = Vec::new();
    for _ in 0..30 {
        let mut one = Wire::connect(daemon.address).await;
        assert_eq!(one.ask(request("GET /", "", "")).await.status(), 200);
        kept.push(one);
    }
    for _ in 0..5 {
        is_served(daemon.address).await;
    }
    drop(kept);
}
