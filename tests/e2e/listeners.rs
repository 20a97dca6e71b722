//! Listeners that redirect, and what a listener does with too many or too slow clients.

use crate::support::Answer;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use std::time::Duration;

fn redirecting(pair: &Pair) -> Config {
    pair.config().listener_key("kind = \"redirect\"")
}

async fn ask(daemon: &Daemon, raw: &str) -> Answer {
    Wire::connect(daemon.address).await.ask(raw).await
}

#[tokio::test]
async fn every_request_is_sent_to_the_same_place_over_https() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&redirecting(&pair)).await;
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for (target, host, location) in [
        ("/", "app.test", "https://app.test/"),
        (
            "/web?debug=1&x=%2F",
            "app.test:8080",
            "https://app.test/web?debug=1&x=%2F",
        ),
        ("//evil.test/x", "app.test", "https://app.test//evil.test/x"),
        ("/a;b/../c", "[::1]:80", "https://[::1]/a;b/../c"),
        ("http://app.test/x", "app.test", "https://app.test/x"),
        ("/caf\u{e9}", "app.test", "https://app.test/caf%C3%A9"),
    ] {
        let answer = ask(&daemon, &get(target, host)).await;
        assert_eq!(answer.status(), 308, "{target}");
        assert_eq!(answer.head.get("location"), Some(location));
    }
    let mut client = Wire::connect(daemon.address).await;
    for line in ["HEAD /x", "GET /y"] {
        let answer = client.ask(request(line, "", "")).await;
        assert_eq!(
            answer.status(),
            308,
            "{line} on the connection of the one before"
        );
    }
    let upload = client
        .ask(request("POST /upload", "", "GET /z HTTP/1.1\r\n\r\n"))
        .await;
    assert_eq!(upload.head.get("location"), Some("https://app.test/upload"));
    assert_eq!(client.rest().await, b"", "its body is no request");
    let nobody = ask(&daemon, "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(nobody.status(), 400, "there is no host to send it to");
    assert_eq!(pair.blue.count(), 0);
}

#[tokio::test]
async fn only_hosts_of_a_service_are_redirected_and_the_port_is_told_where_it_is_another() {
    let pair = Pair::start().await;
    let config = redirecting(&pair)
        .listener_key("redirect_port = 8443")
        .set("service.app.hosts = [\"app.test\"]");
    let daemon = Daemon::start(&config).await;
    let answer = ask(&daemon, "GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(answer.head.get("location"), Some("https://app.test:8443/x"));
    let other = ask(&daemon, "GET /x HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert_eq!(other.status(), 421);
}

#[tokio::test]
async fn a_certificate_can_be_had_and_what_came_over_tls_already_is_served() {
    let pair = Pair::start().await;
    let config = redirecting(&pair).set("trusted_proxies = [\"127.0.0.1\"]");
    let daemon = Daemon::start(&config).await;
    let proof = get(daemon.address, "/.well-known/acme-challenge/token").await;
    assert_eq!(proof.status(), 200);
    assert_eq!(
        get(daemon.address, "/.well-known/acme-challenge-not")
            .await
            .status(),
        308
    );
    let https = ask(
        &daemon,
        &request("GET /", "X-Forwarded-Proto: https\r\n", ""),
    )
    .await;
    assert_eq!(https.status(), 200);
    let http = ask(
        &daemon,
        &request("GET /", "X-Forwarded-Proto: http\r\n", ""),
    )
    .await;
    assert_eq!(http.status(), 308);
    daemon.write_config(&redirecting(&pair));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    let spoofed = ask(
        &daemon,
        &request("GET /", "X-Forwarded-Proto: https\r\n", ""),
    )
    .await;
    assert_eq!(spoofed.status(), 308, "anybody may say so");
}

#[tokio::test]
async fn what_a_listener_does_changes_with_a_reload() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    daemon.write_config(&redirecting(&pair));
    let reloaded = daemon.ctl(&["reload"]).await;
    assert!(
        reloaded.stdout.contains("kind serve -> redirect"),
        "{reloaded:?}"
    );
    assert_eq!(get(daemon.address, "/").await.status(), 308);
}

#[tokio::test]
async fn a_client_has_as_many_connections_as_it_may_and_others_are_unharmed() {
    let pair = Pair::start().await;
    let config = pair.config().set("limits.connections_per_client = 3");
    let daemon = Daemon::start(&config).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut client = Wire::connect(daemon.address).await;
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
        kept.push(client);
    }
    let turned_away = Wire::connect(daemon.address).await.answer("GET").await;
    assert_eq!(turned_away.status(), 429);
    assert_eq!(
        turned_away.head.get("x-switchd-fault"),
        Some("connections-per-client")
    );
    for client in &mut kept {
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
    }
    kept.pop();
    eventually("there is room for another one", async || {
        let mut client = Wire::connect(daemon.address).await;
        client.send(request("GET /", "", "")).await;
        let answer = client.try_answer("GET").await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let page = daemon.call("GET /metrics", "").await.text;
    assert!(
        page.contains("switchd_connections_unwelcome_total{reason=\"per-client\"}"),
        "{page}"
    );
    // Whoever brings many clients has many connections.
    daemon.write_config(&config.set("trusted_proxies = [\"127.0.0.1\"]"));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    let mut many = Vec::new();
    for _ in 0..10 {
        let mut client = Wire::connect(daemon.address).await;
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
        many.push(client);
    }
}

#[tokio::test]
async fn those_who_ask_come_in_where_those_who_ask_for_nothing_fill_the_place() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("limits.connections = 20")
        .set("limits.header_timeout = \"1h\"");
    let daemon = Daemon::start(&config).await;
    let mut honest = Wire::connect(daemon.address).await;
    assert_eq!(honest.ask(request("GET /", "", "")).await.status(), 200);
    let mut horde = Vec::new();
    for number in 0..19 {
        let mut idler = Wire::connect(daemon.address).await;
        if number % 2 == 0 {
            idler
                .send("GET / HTTP/1.1\r\nHost: app.test\r\nX-Slow: ")
                .await;
        }
        horde.push(idler);
    }
    for _ in 0..15 {
        eventually("a further one is served", async || {
            let mut client = Wire::connect(daemon.address).await;
            client
                .send(request("GET /", "Connection: close\r\n", ""))
                .await;
            let answer = client.try_answer("GET").await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }
    let answer = honest.ask(request("GET /", "", "")).await;
    assert_eq!(
        answer.status(),
        200,
        "who was served before keeps its place"
    );
    let page = daemon.call("GET /metrics", "").await.text;
    let line = "switchd_connections_unwelcome_total{reason=\"idler\"} ";
    let count = page.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    assert!(count.parse::<f64>().unwrap() > 0.5, "{count}");
}

/// A client that moves less than it must is given up after two tenths of a second.
async fn demanding(pair: &Pair, rate: &str) -> Daemon {
    let config = pair
        .config()
        .set(&format!("limits.min_rate = \"{rate}\""))
        .set("limits.min_rate_grace = \"200ms\"");
    Daemon::start(&config).await
}

#[tokio::test]
async fn an_upload_that_trickles_is_given_up() {
    let pair = Pair::start().await;
    let daemon = demanding(&pair, "64KiB/s").await;
    let mut slow = Wire::connect(daemon.address).await;
    slow.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    let answer = loop {
        // It always moves: no single wait is ever over.
        slow.send("x").await;
        let answer = tokio::time::timeout(Duration::from_millis(20), slow.answer("POST"));
        if let Ok(answer) = answer.await {
            break answer;
        }
    };
    assert_eq!(answer.status(), 408);
    assert_eq!(
        answer.head.get("x-switchd-fault"),
        Some("timeout-client-rate")
    );
    let body = "x".repeat(300_000);
    let fast = Wire::connect(daemon.address)
        .await
        .ask(request("POST /echo", "", &body))
        .await;
    assert_eq!(fast.text(), body);
}

#[tokio::test]
async fn a_download_that_trickles_is_given_up_and_one_that_waits_for_its_upstream_is_not() {
    let pair = Pair::start().await;
    let length = 32 << 20;
    pair.blue.on(
        "/big",
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )),
    );
    // More than the kernel takes for a client that reads nothing.
    let daemon = demanding(&pair, "1GiB/s").await;
    let gate = crate::support::Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    let mut waiting = Wire::connect(daemon.address).await;
    waiting.send(request("GET /held", "", "")).await;
    let mut lazy = Wire::connect(daemon.address).await;
    lazy.send(request("GET /big", "", "")).await;
    eventually("it is given up", async || {
        let log = daemon.ctl(&["ps", "--json"]).await.stdout;
        !log.contains("/big") && pair.blue.requests_for("/big").len() == 1
    })
    .await;
    assert_eq!(lazy.answer("GET").await.body.end, End::Cut);
    gate.open();
    assert_eq!(waiting.answer("GET").await.text(), "held");
}
