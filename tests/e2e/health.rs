//! How slots are probed, and what status tells of it.

use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;

/// The reason that `status` gives for green, once it has one.
async fn reason_for_green(config: &Config) -> String {
    let daemon = Daemon::start(config).await;
    daemon.slot_becomes("green", "unhealthy").await;
    let green = daemon.slot("green").await;
    let last = green.members[0].endpoints[0].last.clone().unwrap();
    assert!(!last.passed);
    assert!(green.since.is_some());
    let reason = green.reason.unwrap();
    assert!(reason.contains(&last.result), "{reason} / {last:?}");
    reason
}

#[tokio::test]
async fn both_slots_are_probed_all_the_time() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    tokio::join!(pair.blue.probed(5), pair.green.probed(5));
    let green = daemon.slot("green").await;
    let last = green.members[0].endpoints[0].last.clone().unwrap();
    assert!(last.passed);
    assert_eq!(last.result, "HTTP 200");
}

#[tokio::test]
async fn a_slot_that_refuses_says_so() {
    let pair = Pair::start().await;
    pair.green.stop().await;
    let reason = reason_for_green(&pair.config()).await;
    assert!(reason.contains("connection refused"), "{reason}");
}

#[tokio::test]
async fn a_slot_that_hangs_says_after_how_long() {
    let pair = Pair::start().await;
    pair.green.health(Reply::never());
    let config = pair.config().set("service.app.health.timeout = \"200ms\"");
    let reason = reason_for_green(&config).await;
    assert!(reason.contains("timeout after 200ms"), "{reason}");
}

#[tokio::test]
async fn a_slot_that_answers_500_says_the_first_200_bytes() {
    let pair = Pair::start().await;
    let body = format!("{}{}", "y".repeat(200), "z".repeat(200));
    pair.green.health(Reply::status(500, &body));
    let reason = reason_for_green(&pair.config()).await;
    assert!(reason.contains("HTTP 500"), "{reason}");
    assert!(reason.contains(&"y".repeat(190)), "{reason}");
    assert!(!reason.contains("zz"), "no more than 200 bytes: {reason}");
}

#[tokio::test]
async fn a_slot_that_does_not_speak_http_is_unhealthy() {
    let pair = Pair::start().await;
    pair.green
        .health(Reply::raw_then_close("SSH-2.0-OpenSSH\r\n\r\n"));
    let reason = reason_for_green(&pair.config()).await;
    assert!(!reason.is_empty());
}

#[tokio::test]
async fn the_status_and_the_body_that_are_expected_can_be_chosen() {
    let pair = Pair::start().await;
    pair.blue.health(Reply::status(418, "all is well here"));
    pair.green.health(Reply::status(418, "all is lost"));
    let config = pair
        .config()
        .set("service.app.health.expect_status = [\"418\"]")
        .set("service.app.health.expect_body = \"well\"");
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("blue", "healthy").await;
    daemon.slot_becomes("green", "unhealthy").await;
    let reason = daemon.slot("green").await.reason.unwrap();
    assert!(reason.contains("well"), "{reason}");
}

#[tokio::test]
async fn it_takes_fall_failures_to_be_unhealthy_and_rise_passes_to_be_healthy_again() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.health.rise = 4")
        .set("service.app.health.fall = 3");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    for _ in 0..2 {
        pair.green.once("/health", Reply::status(500, "a hiccup"));
    }
    pair.green.probed(8).await;
    assert_eq!(
        daemon.slot("green").await.health,
        "healthy",
        "two are not three"
    );

    pair.green.health(Reply::status(500, "really"));
    daemon.slot_becomes("green", "unhealthy").await;
    let before = pair.green.probes().len();
    pair.green.healthy();
    daemon.slot_becomes("green", "healthy").await;
    assert!(pair.green.probes().len() >= before + 4);
}

#[tokio::test]
async fn a_probe_carries_the_host_and_headers_of_the_config() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.health.host = \"probe.example.com\"")
        .set("service.app.health.headers = { X-Probe = \"open sesame\" }");
    let _daemon = Daemon::start(&config).await;
    pair.green.probed(1).await;
    let probe = &pair.green.probes()[0];
    assert_eq!(probe.get("host"), Some("probe.example.com"));
    assert_eq!(probe.get("x-probe"), Some("open sesame"));
}

#[tokio::test]
async fn a_member_may_have_a_check_of_its_own() {
    let pair = Pair::start().await;
    let sockets = Pair::start().await;
    sockets
        .green
        .on("/websocket/health", Reply::status(500, "no bus"));
    let config = pair
        .config()
        .websocket_member("blue", &sockets.blue)
        .websocket_member("green", &sockets.green)
        .route("/websocket", "websocket")
        .set("service.app.health.websocket.path = \"/websocket/health\"");
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("green", "unhealthy").await;
    eventually("one member is well, the other is not", async || {
        let members = daemon.slot("green").await.members;
        let health = |member: usize| members[member].endpoints[0].health.clone();
        [health(0), health(1)] == ["healthy", "unhealthy"]
    })
    .await;
    let green = daemon.slot("green").await;
    assert!(green.reason.unwrap().contains("no bus"));
}

#[tokio::test]
async fn trouble_met_by_traffic_hastens_the_next_probe() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.health.interval = \"1h\"")
        .set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    assert_eq!(get(daemon.address, "/").await.status(), 502);
    daemon.slot_becomes("blue", "unhealthy").await;
}

#[tokio::test]
async fn an_unhealthy_endpoint_of_the_active_slot_gets_no_traffic_while_another_is_well() {
    let pair = Pair::start().await;
    let second = Backend::start("second").await;
    let config = pair.config().slot("app", "blue", &[&pair.blue, &second]);
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    second.health(Reply::status(500, "tired"));
    eventually("the second is known to be ill", async || {
        daemon.slot("blue").await.members[0]
            .endpoints
            .iter()
            .any(|endpoint| endpoint.health == "unhealthy")
    })
    .await;
    let before = second.count();
    let mut client = Wire::connect(daemon.address).await;
    if daemon.active().await == "blue" {
        for _ in 0..10 {
            client.ask(request("GET /", "", "")).await;
        }
    }
    assert_eq!(second.count(), before);
}

#[tokio::test]
async fn several_addresses_share_the_requests() {
    let pair = Pair::start().await;
    let second = Backend::start("second").await;
    let config = pair.config().slot("app", "blue", &[&pair.blue, &second]);
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    for _ in 0..20 {
        assert_eq!(get(daemon.address, "/").await.status(), 200);
    }
    assert!(pair.blue.count() > 0 && second.count() > 0);
    assert_eq!(pair.blue.count() + second.count(), 20);
}

#[tokio::test]
async fn the_address_with_the_fewest_requests_in_flight_gets_the_next_one() {
    let pair = Pair::start().await;
    let second = Backend::start("second").await;
    let gate = crate::support::Gate::closed();
    for backend in [&pair.blue, &second] {
        backend.on("/slow", Reply::held(&gate));
    }
    let config = pair.config().slot("app", "blue", &[&pair.blue, &second]);
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut clients = Vec::new();
    for sent in 1..=6 {
        let mut client = Wire::connect(daemon.address).await;
        client.send(request("GET /slow", "", "")).await;
        clients.push(client);
        eventually("it arrives", async || {
            pair.blue.count() + second.count() == sent
        })
        .await;
    }
    assert_eq!((pair.blue.count(), second.count()), (3, 3));
    gate.open();
    for mut client in clients {
        assert_eq!(client.answer("GET").await.status(), 200);
    }
}
