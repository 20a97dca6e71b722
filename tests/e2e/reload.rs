//! A changed config applies live, or not at all.

use crate::support::Backend;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use rustix::process::Signal;
use switchd::api::Reloaded;

async fn answers(daemon: &Daemon, name: &str) {
    eventually(&format!("{name} answers"), async || {
        get(daemon.address, "/").await.backend() == name
    })
    .await;
}

#[tokio::test]
async fn new_addresses_of_a_slot_apply_and_what_runs_is_not_touched() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    assert_eq!(socket.talk("before").await.unwrap(), "blue");
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;

    let fresh = Backend::start("fresh").await;
    daemon.write_config(&pair.config().slot("app", "blue", &[&fresh]));
    let reply = daemon.call("POST /v1/reload", "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let reloaded: Reloaded = reply.json();
    assert!(!reloaded.changes.is_empty(), "it says what changed");
    answers(&daemon, "fresh").await;
    assert_eq!(
        socket.talk("after").await.unwrap(),
        "blue",
        "an open tunnel stays"
    );
    gate.open();
    assert_eq!(client.answer("GET").await.text(), "held");
    assert_eq!(
        client.ask(request("GET /", "", "")).await.backend(),
        "fresh"
    );
}

#[tokio::test]
async fn the_file_is_watched_however_it_is_written() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let path = daemon.config_path();
    let named = [
        Backend::start("written").await,
        Backend::start("renamed").await,
        Backend::start("linked").await,
        Backend::start("swapped").await,
    ];
    let text = |backend: &Backend| {
        let config = pair.config().slot("app", "blue", &[backend]);
        config.text(path.parent().unwrap())
    };
    std::fs::write(&path, text(&named[0])).unwrap();
    answers(&daemon, "written").await;

    // As editors do.
    std::fs::write(daemon.path("switchd.toml.new"), text(&named[1])).unwrap();
    std::fs::rename(daemon.path("switchd.toml.new"), &path).unwrap();
    answers(&daemon, "renamed").await;

    // As config maps do: a link that is replaced.
    for (file, backend) in [("one.toml", &named[2]), ("two.toml", &named[3])] {
        std::fs::write(daemon.path(file), text(backend)).unwrap();
        std::os::unix::fs::symlink(daemon.path(file), daemon.path("link")).unwrap();
        std::fs::rename(daemon.path("link"), &path).unwrap();
        let name = if file == "one.toml" {
            "linked"
        } else {
            "swapped"
        };
        answers(&daemon, name).await;
    }
}

#[tokio::test]
async fn a_burst_of_writes_ends_with_the_last_one() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let last = Backend::start("last").await;
    for _ in 0..50 {
        std::fs::write(daemon.config_path(), "half a fi").unwrap();
        daemon.write_config(&pair.config());
    }
    daemon.write_config(&pair.config().slot("app", "blue", &[&last]));
    answers(&daemon, "last").await;
    eventually("no problem is left", async || {
        daemon.status().await.config.problems.is_empty()
    })
    .await;
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_shows_in_status_and_log() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let bad = pair
        .config()
        .set("service.app.initial = \"purple\"")
        .set("limits.header_count = \"many\"");
    daemon.write_config(&bad);
    eventually("status shows it", async || {
        let problems = daemon.status().await.config.problems;
        problems.len() == 2 && problems.iter().any(|problem| problem.contains("purple"))
    })
    .await;
    assert!(daemon.stderr().contains("purple"), "the log shows it");
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    let reply = daemon.call("POST /v1/reload", "").await;
    assert!((400..500).contains(&reply.status), "{reply:?}");
    assert_eq!(reply.content_type, "application/problem+json");
    let ctl = daemon.ctl(&["reload"]).await;
    assert_eq!(ctl.code, 1, "{ctl:?}");
    assert!(ctl.stderr.contains("purple"), "{ctl:?}");
    assert!(daemon.ctl(&["status"]).await.stdout.contains("purple"));

    daemon.write_config(&pair.config());
    eventually("a good file mends it", async || {
        daemon.status().await.config.problems.is_empty()
    })
    .await;
}

#[tokio::test]
async fn sighup_reloads() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let fresh = Backend::start("fresh").await;
    daemon.write_config(&pair.config().slot("app", "blue", &[&fresh]));
    daemon.signal(Signal::HUP);
    answers(&daemon, "fresh").await;
}

#[tokio::test]
async fn what_needs_a_restart_says_so_and_the_rest_applies() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let fresh = Backend::start("fresh").await;
    let config = pair
        .config()
        .slot("app", "blue", &[&fresh])
        .set("runtime.workers = 3");
    daemon.write_config(&config);
    let reloaded: Reloaded = daemon.call("POST /v1/reload", "").await.json();
    assert!(
        reloaded
            .needs_restart
            .iter()
            .any(|key| key.contains("workers")),
        "{reloaded:?}"
    );
    answers(&daemon, "fresh").await;
    let waiting = daemon.status().await.config.needs_restart;
    assert!(
        waiting.iter().any(|key| key.contains("workers")),
        "{waiting:?}"
    );
}

#[tokio::test]
async fn a_new_service_is_served_and_a_removed_one_is_not() {
    let pair = Pair::start().await;
    let shop = Pair::start().await;
    let app = pair.config().set("service.app.hosts = [\"app.test\"]");
    let daemon = Daemon::start(&app).await;
    let ask = async |host: &str| {
        let mut client = Wire::connect(daemon.address).await;
        client
            .ask(format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await
            .status()
    };
    assert_eq!(ask("app.test").await, 200);
    assert_eq!(ask("shop.test").await, 421);
    let both = app
        .clone()
        .service("shop", &shop.blue, &shop.green)
        .set("service.shop.hosts = [\"shop.test\"]");
    daemon.write_config(&both);
    eventually("the shop is open", async || ask("shop.test").await == 200).await;
    assert_eq!(ask("app.test").await, 200);
    daemon.write_config(&app);
    eventually("the shop is closed", async || ask("shop.test").await == 421).await;
    assert_eq!(ask("app.test").await, 200);
}

#[tokio::test]
async fn editing_initial_never_moves_traffic() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let before = daemon.service("app").await.generation;
    daemon.write_config(&pair.config().set("service.app.initial = \"green\""));
    let reply = daemon.call("POST /v1/reload", "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let service = daemon.service("app").await;
    assert_eq!(
        (service.active.as_str(), service.generation),
        ("blue", before)
    );
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
}

#[tokio::test]
async fn health_settings_apply_live() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let config = pair
        .config()
        .set("service.app.health.expect_body = \"never said\"")
        .set("service.app.failback.mode = \"off\"");
    daemon.write_config(&config);
    daemon.slot_becomes("green", "unhealthy").await;
}

#[tokio::test]
async fn a_reload_fails_no_request() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    for round in 0..20 {
        let config = pair
            .config()
            .set(&format!("limits.header_count = {}", 50 + round));
        daemon.write_config(&config);
        let reload = daemon.call("POST /v1/reload", "");
        let (reply, answer) = tokio::join!(reload, client.ask(request("GET /", "", "")));
        assert_eq!((reply.status, answer.status()), (200, 200), "{reply:?}");
    }
}

#[tokio::test]
async fn a_flip_works_during_and_after_reloads() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let held = Gate::closed();
    pair.green.health(Reply::held(&held));
    let mut flip = daemon.begin_flip("green").await;
    flip.until(|event| matches!(event, switchd::api::EventKind::Started { .. }))
        .await;
    daemon.write_config(&pair.config().set("limits.header_count = 77"));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    held.open();
    flip.until(crate::flip::is_published).await;
    answers(&daemon, "green").await;
}

#[tokio::test]
async fn a_reload_that_takes_the_active_slot_away_never_leaves_clients_alone() {
    let pair = Pair::start().await;
    let red = Backend::start("red").await;
    let three = pair.config().slot("app", "red", &[&red]);
    let daemon = Daemon::start(&three).await;
    daemon.flip("green").await;
    daemon.write_config(&three.unset("service.app.slots.green.http"));
    let reply = daemon.call("POST /v1/reload", "").await;
    let answer = get(daemon.address, "/").await;
    assert_eq!(answer.status(), 200, "{reply:?}");
    assert_eq!(answer.backend(), daemon.active().await, "{reply:?}");
    let history = daemon.history().await;
    let told = reply.status != 200 || history.iter().any(|record| record.command != "flip");
    assert!(
        told,
        "traffic moves with a word in the history, or not at all: {history:?}"
    );
}

#[tokio::test]
async fn a_reload_that_takes_the_idle_slot_away_makes_flips_to_it_unknown() {
    let pair = Pair::start().await;
    let red = Backend::start("red").await;
    let three = pair.config().slot("app", "red", &[&red]);
    let daemon = Daemon::start(&three).await;
    daemon.write_config(&three.unset("service.app.slots.green.http"));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    let output = daemon.ctl(&["flip", "green"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("blue, red"), "{output:?}");
    daemon.flip("red").await;
    answers(&daemon, "red").await;
}
