//! The Prometheus page.

use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Prometheus;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::promtool;
use crate::support::request;
use crate::support::switchd;
use std::net::SocketAddr;

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

impl Pair {
    /// The daemon with the page on a TCP address too.
    async fn shown(&self) -> Shown {
        let config = self.config().set("admin.metrics = \"127.0.0.1:0\"");
        let daemon = Daemon::start(&config).await;
        let at = daemon.status().await.metrics.expect("the status shows it");
        Shown {
            at: at.parse().unwrap(),
            daemon,
        }
    }
}

struct Shown {
    daemon: Daemon,
    at: SocketAddr,
}

/// The names of all samples, in order.
fn names(page: &str) -> Vec<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect()
}

#[tokio::test]
async fn the_page_is_the_same_over_tcp() {
    let pair = Pair::start().await;
    let Shown { daemon, at } = pair.shown().await;
    daemon.healthy().await;
    assert_ne!(
        at.port(),
        0,
        "a configured port 0 is a real one in the status"
    );
    let over_tcp = get(at, "/metrics").await;
    let over_socket = daemon.call("GET /metrics", "").await;
    assert_eq!(over_tcp.status(), 200);
    assert_eq!(
        over_tcp.head.get("content-type"),
        Some(over_socket.content_type.as_str())
    );
    assert!(names(&over_socket.text).len() > 20, "{}", over_socket.text);
    assert_eq!(names(&over_tcp.text()), names(&over_socket.text));
}

#[tokio::test]
async fn without_an_address_there_is_none() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    assert_eq!(daemon.status().await.metrics, None);
}

#[tokio::test]
async fn over_tcp_nothing_can_be_done_and_nothing_else_be_seen() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.health.headers = { X-Probe = \"hunter2\" }")
        .set("admin.metrics = \"127.0.0.1:0\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let at = daemon.status().await.metrics.unwrap().parse().unwrap();
    for (line, status) in [
        ("GET /", 404),
        ("GET /v1/status", 404),
        ("GET /v1/history", 404),
        ("GET /v1/events", 404),
        ("POST /v1/reload", 404),
        ("POST /v1/services/app/flip", 404),
        ("POST /metrics", 405),
        ("HEAD /metrics", 405),
        ("DELETE /metrics", 405),
        ("GET /metrics?service=app", 400),
    ] {
        let body = if line.starts_with("POST") {
            "{\"to\":\"green\"}"
        } else {
            ""
        };
        let answer = Wire::connect(at).await.ask(request(line, "", body)).await;
        assert_eq!(answer.status(), status, "{line}");
        let allowed = (status == 405).then_some("GET");
        assert_eq!(answer.head.get("allow"), allowed, "{line}");
    }
    let page = get(at, "/metrics").await.text();
    assert!(
        page.contains("switchd_") && !page.contains("hunter"),
        "{page}"
    );
    assert_eq!(daemon.active().await, "blue");
    assert!(daemon.history().await.is_empty());
}

#[tokio::test]
async fn those_who_crowd_the_page_disturb_nobody_else() {
    let pair = Pair::start().await;
    let Shown { daemon, at } = pair.shown().await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(Wire::connect(at).await);
    }
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    daemon.flip("green").await;
    drop(crowd);
    assert_eq!(get(at, "/metrics").await.status(), 200);
}

#[tokio::test]
async fn an_address_that_is_taken_stops_the_start_and_is_named_with_its_key() {
    let pair = Pair::start().await;
    let Shown { daemon, at } = pair.shown().await;
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("switchd.toml");
    let config = pair.config().set(&format!("admin.metrics = \"{at}\""));
    std::fs::write(&path, config.text(dir.path())).unwrap();
    let second = switchd(&["run", "--config", path.to_str().unwrap()]).await;
    assert_eq!(second.code, 1, "{second:?}");
    for word in [at.to_string().as_str(), "`metrics` of [admin]", "in use"] {
        assert!(second.stderr.contains(word), "{word}: {second:?}");
    }
    assert_eq!(
        get(daemon.address, "/").await.status(),
        200,
        "the first one goes on"
    );
}

#[tokio::test]
async fn a_real_prometheus_takes_the_page() {
    let pair = Pair::start().await;
    let Shown { daemon, at } = pair.shown().await;
    for _ in 0..7 {
        assert_eq!(get(daemon.address, "/").await.status(), 200);
    }
    let prometheus = Prometheus::start(at).await;
    prometheus.shows("up{job=\"switchd\"}", 1.0).await;
    let blue = "sum(switchd_requests_total{job=\"switchd\",slot=\"blue\"})";
    prometheus.shows(blue, 7.0).await;
    daemon.flip("green").await;
    prometheus
        .shows("switchd_slot_active{slot=\"green\"}", 1.0)
        .await;
    prometheus
        .shows("switchd_slot_active{slot=\"blue\"}", 0.0)
        .await;
    let buckets = "histogram_quantile(1, switchd_request_duration_seconds_bucket{slot=\"blue\"})";
    let slowest = prometheus.value(buckets).await;
    assert!(slowest.is_some_and(|seconds| seconds > 0.0), "{slowest:?}");
}

#[tokio::test]
async fn promtool_finds_no_fault_in_the_page() {
    let pair = Pair::start().await;
    let Shown { daemon, at } = pair.shown().await;
    daemon.healthy().await;
    get(daemon.address, "/").await;
    let page = get(at, "/metrics").await.text();
    assert_eq!(promtool(&page).await, "");
}
