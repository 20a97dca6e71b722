//! When traffic moves by itself, and when it must not.

use crate::flip::is_published;
use crate::support::Backend;
use crate::support::ChildUpstream;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use crate::support::serve_if_child;
use std::time::Duration;
use std::time::Instant;
use switchd::api::EventKind;

fn sick(backend: &Backend, words: &str) {
    backend.health(Reply::status(503, words));
}

/// What must not happen is not waited for: whole rounds of probes of both slots pass instead.
async fn rounds_pass(pair: &Pair) {
    tokio::join!(pair.blue.probed(10), pair.green.probed(10));
}

#[tokio::test]
async fn a_child_upstream_answers_until_it_is_killed() {
    if serve_if_child().await {
        return;
    }
    let child = ChildUpstream::start(
        "child",
        "failback::a_child_upstream_answers_until_it_is_killed",
    )
    .await;
    assert_eq!(get(child.address, "/").await.backend(), "child");
    child.kill();
    eventually("the child is gone", async || {
        tokio::net::TcpStream::connect(child.address).await.is_err()
    })
    .await;
}

/// One client's way through a failback.
struct Journey {
    failed: u64,
    at_green: Instant,
}

/// Asks all the time, until green answers.
async fn until_green(proxy: std::net::SocketAddr) -> Journey {
    let mut client = Wire::connect(proxy).await;
    let mut failed = 0;
    loop {
        let answer = client.ask(request("GET /", "", "")).await;
        match answer.backend() {
            "child" => {}
            "green" => {
                let at_green = Instant::now();
                return Journey { failed, at_green };
            }
            _ => {
                assert!([502, 503, 504].contains(&answer.status()), "{answer:?}");
                failed += 1;
            }
        }
        if answer.head.names_token("connection", "close") {
            client = Wire::connect(proxy).await;
        }
    }
}

#[tokio::test]
async fn after_kill_9_of_the_active_upstream_traffic_is_soon_on_the_other_slot() {
    let child = ChildUpstream::start(
        "child",
        "failback::a_child_upstream_answers_until_it_is_killed",
    )
    .await;
    let pair = Pair::start().await;
    let (interval, fall) = (Duration::from_millis(200), 3);
    let config = pair
        .config()
        .set(&format!(
            "service.app.slots.blue.http = [\"{}\"]",
            child.address
        ))
        .set("service.app.health.interval = \"200ms\"")
        .set("service.app.health.fast_interval = \"200ms\"")
        .set("service.app.health.fall = 3");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(until_green(daemon.address));
    }
    eventually("traffic runs", async || {
        daemon.slot("blue").await.requests >= 100
    })
    .await;
    child.kill();
    let killed = Instant::now();
    let (mut moved, mut failed) = (Duration::ZERO, 0);
    while let Some(client) = clients.join_next().await {
        let client = client.unwrap();
        moved = moved.max(client.at_green - killed);
        failed += client.failed;
    }
    let promised = interval * fall + Duration::from_millis(100);
    println!("moved {moved:?} after the kill (promised: {promised:?}), {failed} failed meanwhile");
    assert!(moved < promised * 3, "{moved:?}, promised: {promised:?}");

    let service = daemon.service("app").await;
    assert_eq!(service.active, "green");
    let blue = daemon.slot("blue").await;
    assert!(blue.quarantine.is_some(), "{blue:?}");
    eventually("history tells it", async || {
        let history = daemon.history().await;
        history.iter().any(|record| {
            record.command == "failback"
                && record.actor == "switchd"
                && record.to.as_deref() == Some("green")
                && record
                    .reason
                    .as_ref()
                    .is_some_and(|r| r.contains("connection refused"))
        })
    })
    .await;
}

#[tokio::test]
async fn a_quarantined_slot_comes_back_only_after_time_and_acknowledgement() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.failback.quarantine = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    sick(&pair.blue, "out of memory");
    daemon.becomes_active("green").await;
    pair.blue.healthy();
    daemon.slot_becomes("blue", "healthy").await;
    eventually("only the operator's word is missing", async || {
        rounds_pass(&pair).await;
        let quarantine = daemon.slot("blue").await.quarantine;
        let quarantine = quarantine.expect("no quarantine ends unacknowledged");
        assert!(
            quarantine.reason.contains("out of memory"),
            "{quarantine:?}"
        );
        quarantine.ends.contains("ack")
    })
    .await;

    sick(&pair.green, "me too");
    daemon.slot_becomes("green", "unhealthy").await;
    rounds_pass(&pair).await;
    let service = daemon.service("app").await;
    assert_eq!(service.active, "green", "not into quarantine by itself");
    assert!(service.staying.is_some(), "{service:?}");

    let ack = daemon.ctl(&["ack", "blue"]).await;
    assert_eq!(ack.code, 0, "{ack:?}");
    daemon.becomes_active("blue").await;
}

#[tokio::test]
async fn without_the_need_to_acknowledge_time_alone_ends_a_quarantine() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.failback.quarantine = \"100ms\"")
        .set("service.app.failback.acknowledge = false");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    sick(&pair.blue, "a moment please");
    daemon.becomes_active("green").await;
    pair.blue.healthy();
    eventually("the quarantine ends", async || {
        daemon.slot("blue").await.quarantine.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_move_by_hand_to_a_quarantined_slot_asks_first() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    sick(&pair.blue, "gone");
    daemon.becomes_active("green").await;
    pair.blue.healthy();
    daemon.slot_becomes("blue", "healthy").await;
    for command in [
        &["flip", "blue"][..],
        &["flip", "blue", "--rehearse"],
        &["rollback"],
        &["canary", "blue", "5%"],
    ] {
        let refused = daemon.ctl(command).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        for words in [
            "blue has been in quarantine for ",
            "HTTP 503: gone",
            "switchctl ack blue",
            "to do it all the same: --ack",
        ] {
            assert!(refused.stderr.contains(words), "{words}: {refused:?}");
        }
    }
    let meant = daemon.ctl(&["flip", "blue", "--ack"]).await;
    assert_eq!(meant.code, 0, "{meant:?}");
    assert!(
        meant.stderr.contains("; blue is in quarantine: "),
        "{meant:?}"
    );
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    assert!(daemon.slot("blue").await.quarantine.is_none());
    let history = daemon.history().await;
    let flip = history.iter().rfind(|it| it.command == "flip").unwrap();
    assert!(
        flip.details[0].starts_with("blue was in quarantine: "),
        "{flip:?}"
    );
}

#[tokio::test]
async fn an_acknowledged_slot_may_be_moved_to_as_any_other() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    sick(&pair.blue, "gone");
    daemon.becomes_active("green").await;
    pair.blue.healthy();
    daemon.slot_becomes("blue", "healthy").await;
    assert_eq!(daemon.ctl(&["ack", "blue"]).await.code, 0);
    assert!(daemon.slot("blue").await.quarantine.is_some());
    daemon.flip("blue").await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
}

#[tokio::test]
async fn when_both_slots_are_bad_nothing_moves_and_status_says_why() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let before = daemon.service("app").await.generation;
    sick(&pair.green, "green is ill");
    daemon.slot_becomes("green", "unhealthy").await;
    sick(&pair.blue, "blue is ill");
    daemon.slot_becomes("blue", "unhealthy").await;
    rounds_pass(&pair).await;
    let service = daemon.service("app").await;
    assert_eq!(
        (service.active.as_str(), service.generation),
        ("blue", before)
    );
    let why = service.staying.expect("status says why");
    assert!(why.contains("green"), "{why}");
    let shown = daemon.ctl(&["status"]).await;
    assert!(shown.stdout.contains("blue is ill"), "{shown:?}");
    assert!(shown.stdout.contains("green is ill"), "{shown:?}");
    assert_eq!(
        get(daemon.address, "/").await.backend(),
        "blue",
        "and it still serves"
    );
}

#[tokio::test]
async fn both_slots_dying_in_one_instant_moves_nothing() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    tokio::join!(pair.blue.stop(), pair.green.stop());
    daemon.slot_becomes("blue", "unhealthy").await;
    daemon.slot_becomes("green", "unhealthy").await;
    eventually("status says why", async || {
        daemon.service("app").await.staying.is_some()
    })
    .await;
    let history = daemon.history().await;
    assert!(
        history.iter().filter(|r| r.command == "failback").count() <= 1,
        "never back and forth between two bad slots: {history:?}"
    );
}

#[tokio::test]
async fn when_what_the_slots_share_fails_nothing_moves_and_status_says_why() {
    let pair = Pair::start().await;
    let database = Backend::start("database").await;
    let config = pair
        .config()
        .set(&format!(
            "service.app.shared.tcp = \"{}\"",
            database.address()
        ))
        .set("service.app.shared.interval = \"50ms\"")
        .set("service.app.shared.timeout = \"1s\"")
        .set("service.app.failback.shared_grace = \"1s\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let shared = async || daemon.service("app").await.shared.unwrap();
    eventually("the database answers", async || {
        shared().await.health == "healthy"
    })
    .await;
    database.stop().await;
    eventually("the database is gone", async || {
        shared().await.health == "unhealthy"
    })
    .await;
    sick(&pair.blue, "no database");
    daemon.slot_becomes("blue", "unhealthy").await;
    rounds_pass(&pair).await;
    let service = daemon.service("app").await;
    assert_eq!(service.active, "blue");
    let why = service.staying.expect("status says why");
    assert!(
        why.contains(&database.address().to_string()) || why.contains("share"),
        "{why}"
    );

    database.resume();
    daemon.becomes_active("green").await;
}

#[tokio::test]
async fn no_more_than_the_allowed_moves_happen_by_themselves() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.failback.max_moves = 1")
        .set("service.app.failback.quarantine = \"1ms\"")
        .set("service.app.failback.acknowledge = false");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    sick(&pair.blue, "first");
    daemon.becomes_active("green").await;
    pair.blue.healthy();
    eventually("blue could be moved to", async || {
        let blue = daemon.slot("blue").await;
        blue.quarantine.is_none() && blue.health == "healthy"
    })
    .await;
    sick(&pair.green, "second");
    daemon.slot_becomes("green", "unhealthy").await;
    rounds_pass(&pair).await;
    let service = daemon.service("app").await;
    assert_eq!(service.active, "green");
    assert_eq!(service.failback.moves_in_window, 1);
    assert!(service.staying.is_some(), "{service:?}");
}

#[tokio::test]
async fn after_flip_mode_moves_back_within_the_watch() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.failback.mode = \"after-flip\"")
        .set("service.app.watch.time = \"60s\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    sick(&pair.green, "the release is broken");
    daemon.becomes_active("blue").await;
}

#[tokio::test]
async fn after_flip_mode_leaves_traffic_alone_outside_the_watch() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.failback.mode = \"after-flip\"")
        .set("service.app.watch.time = \"50ms\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    eventually("the watch is over", async || {
        daemon.service("app").await.phase == "steady"
    })
    .await;
    sick(&pair.green, "much later");
    daemon.slot_becomes("green", "unhealthy").await;
    rounds_pass(&pair).await;
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn failback_that_is_off_moves_nothing() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    sick(&pair.blue, "alone");
    daemon.slot_becomes("blue", "unhealthy").await;
    rounds_pass(&pair).await;
    let service = daemon.service("app").await;
    assert_eq!(service.active, "blue");
    assert!(service.staying.is_some(), "{service:?}");
}

#[tokio::test]
async fn a_flip_that_moved_back_by_itself_ends_with_5() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    let flip = daemon.ctl(&["flip", "green"]);
    let story = async {
        events.until(is_published).await;
        sick(&pair.green, "broken release");
        events
            .until(|event| matches!(event, EventKind::Published { to, .. } if to == "blue"))
            .await;
        gate.open();
    };
    let (output, ()) = tokio::join!(flip, story);
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(daemon.active().await, "blue");
    assert_eq!(client.answer("GET").await.text(), "held");
}

#[tokio::test]
async fn an_answer_of_500_to_a_user_moves_nothing_while_the_checks_pass() {
    let pair = Pair::start().await;
    pair.blue
        .on("/broken", Reply::status(502, "a user's trouble"));
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    for _ in 0..20 {
        assert_eq!(get(daemon.address, "/broken").await.status(), 502);
    }
    rounds_pass(&pair).await;
    assert_eq!(daemon.active().await, "blue");
    assert_eq!(daemon.slot("blue").await.health, "healthy");
}

#[tokio::test]
async fn a_bad_member_makes_the_whole_slot_bad() {
    let pair = Pair::start().await;
    let sockets = Pair::start().await;
    let config: Config = pair
        .config()
        .websocket_member("blue", &sockets.blue)
        .websocket_member("green", &sockets.green)
        .route("/websocket", "websocket");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    sick(&sockets.blue, "no notifications today");
    daemon.becomes_active("green").await;
    let blue = daemon.slot("blue").await;
    assert!(
        blue.reason
            .is_some_and(|reason| reason.contains("no notifications today")),
        "status says which member"
    );
}
