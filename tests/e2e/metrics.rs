//! The Prometheus page.

use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;

/// The sum of all samples whose line holds every one of `words`.
async fn sum(daemon: &Daemon, words: &[&str]) -> f64 {
    let reply = daemon.call("GET /metrics", "").await;
    assert_eq!(reply.status, 200);
    reply
        .text
        .lines()
        .filter(|line| !line.starts_with('#') && words.iter().all(|word| line.contains(word)))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[tokio::test]
async fn requests_and_errors_are_counted_by_slot() {
    let pair = Pair::start().await;
    pair.green.on("/broken", Reply::status(500, "oh"));
    let daemon = pair.daemon().await;
    for _ in 0..3 {
        get(daemon.address, "/").await;
    }
    daemon.flip("green").await;
    for path in ["/", "/broken"] {
        get(daemon.address, path).await;
    }
    let is = async |words: &[&str], wanted: f64| {
        eventually(&format!("{words:?} is {wanted}"), async || {
            (sum(&daemon, words).await - wanted).abs() < 0.1
        })
        .await;
    };
    is(&["requests_total", "slot=\"blue\""], 3.0).await;
    is(&["requests_total", "slot=\"green\""], 2.0).await;
    is(&["requests_total", "slot=\"green\"", "5xx"], 1.0).await;
    is(&["seconds_count", "slot=\"blue\""], 3.0).await;
}

#[tokio::test]
async fn what_is_in_flight_and_who_is_healthy_shows() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    pair.green.stop().await;
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    daemon.slot_becomes("blue", "healthy").await;
    daemon.slot_becomes("green", "unhealthy").await;
    assert!((sum(&daemon, &["in_flight", "slot=\"blue\""]).await - 1.0).abs() < 0.1);
    assert!(sum(&daemon, &["health", "slot=\"blue\""]).await > 0.9);
    assert!(sum(&daemon, &["health", "slot=\"green\""]).await < 0.1);
    assert!(sum(&daemon, &["active", "slot=\"blue\""]).await > 0.9);
    gate.open();
}

#[tokio::test]
async fn the_page_is_prometheus_text() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    get(daemon.address, "/").await;
    let reply = daemon.call("GET /metrics", "").await;
    let text_format = reply.content_type.starts_with("text/plain")
        || reply
            .content_type
            .starts_with("application/openmetrics-text");
    assert!(text_format, "{}", reply.content_type);
    let samples = reply
        .text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut count = 0;
    for line in samples {
        assert!(line.starts_with("switchd_"), "{line}");
        count += 1;
    }
    assert!(count > 20, "{}", reply.text);
    assert!(reply.text.contains("# TYPE switchd_"), "{}", reply.text);
}
