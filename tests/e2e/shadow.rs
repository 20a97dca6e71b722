//! Copies of safe requests for an idle slot: what is copied, what is told, and that nobody notices.

use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::in_turns;
use crate::support::p99;
use crate::support::request;
use rustix::process::Signal;
use std::time::Duration;
use switchd::api::EventKind;
use switchd::api::Reloaded;
use switchd::api::ShadowPattern;
use switchd::api::ShadowReport;

const PATH: &str = "/v1/services/app/shadow";

/// One worker, so that what comes first is done first.
fn config(pair: &Pair) -> Config {
    pair.config().set("runtime.workers = 1")
}

async fn shadowing(config: &Config) -> Daemon {
    let daemon = Daemon::start(config).await;
    daemon.healthy().await;
    let on = daemon.ctl(&["shadow", "green", "100%"]).await;
    assert_eq!(on.code, 0, "{on:?}");
    daemon
}

async fn report(daemon: &Daemon) -> ShadowReport {
    daemon.call(&format!("GET {PATH}"), "").await.json()
}

/// What is known once so many copies have come to an end.
async fn settled(daemon: &Daemon, copies: u64) -> ShadowReport {
    eventually(&format!("{copies} copies end"), async || {
        let report = report(daemon).await;
        report.in_flight == 0 && report.compared + report.failed >= copies
    })
    .await;
    let report = report(daemon).await;
    assert_eq!(report.compared + report.failed, copies, "{report:#?}");
    report
}

fn row<'r>(report: &'r ShadowReport, pattern: &str) -> &'r ShadowPattern {
    let found = report.patterns.iter().find(|it| it.pattern == pattern);
    found.unwrap_or_else(|| panic!("no {pattern} in {report:#?}"))
}

#[tokio::test]
async fn safe_requests_are_copied_with_their_heads_and_nothing_else_is() {
    let pair = Pair::start().await;
    let config = config(&pair).set("service.app.shadow.exclude = [\"/logout\"]");
    let daemon = shadowing(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    for raw in [
        request("POST /echo", "", "written"),
        request("PUT /a", "", "written"),
        request("DELETE /a", "", ""),
        request("OPTIONS /a", "", ""),
        request("PATCH /a", "", ""),
        request("GET /body", "", "read"),
        request("GET /body", "Transfer-Encoding: chunked\r\n", "") + "0\r\n\r\n",
        request("GET /logout", "", ""),
        request("GET /logout/now", "", ""),
        request("GET //%6cogout?x", "", ""),
        request(
            "GET /a?b=c",
            "Cookie: session_id=s\r\nAccept: text/x\r\n",
            "",
        ),
        request("HEAD /a", "X-Switchd-Shadow: 0\r\n", ""),
    ] {
        assert_eq!(client.ask(raw).await.backend(), "blue");
    }
    let told = settled(&daemon, 2).await;
    assert_eq!(told.size_differs + told.status_differs + told.failed, 0);
    let copies = pair.green.requests();
    let lines: Vec<_> = copies
        .iter()
        .map(|it| it.head.first_line.as_str())
        .collect();
    assert_eq!(lines, ["GET /a?b=c HTTP/1.1", "HEAD /a HTTP/1.1"]);
    let (copy, other) = (&copies[0].head, &copies[1].head);
    assert_eq!(copy.all("x-switchd-shadow"), ["1"]);
    assert_eq!(
        other.all("x-switchd-shadow"),
        ["1"],
        "a client's word for it"
    );
    let original = &pair.blue.requests_for("/a")[4].head;
    assert_eq!(original.first_line, copy.first_line);
    assert!(!original.has("x-switchd-shadow"));
    for line in &original.headers {
        assert!(copy.headers.contains(line), "{line:?} is not in {copy:?}");
    }
    assert_eq!(copy.headers.len(), original.headers.len() + 1);
}

#[tokio::test]
async fn websockets_are_not_copied() {
    let pair = Pair::start().await;
    let daemon = shadowing(&config(&pair)).await;
    let mut socket = crate::support::Websocket::connect(daemon.address, "/ws")
        .await
        .unwrap();
    assert_eq!(socket.talk("hello").await.unwrap(), "blue");
    socket.close().await.unwrap();
    assert_eq!(get(daemon.address, "/last").await.backend(), "blue");
    settled(&daemon, 1).await;
    assert_eq!(pair.green.requests_for("/ws").len(), 0);
}

#[tokio::test]
async fn what_differs_is_told_by_path_with_examples_and_reaches_no_client() {
    let pair = Pair::start().await;
    let daemon = shadowing(&config(&pair)).await;
    let large = "x".repeat(5000);
    for path in ["/same", "/other-size", "/order/17", "/order/18", "/gone"] {
        pair.blue.on(path, Reply::status(200, &large));
        pair.green.on(path, Reply::status(200, &large));
    }
    pair.green.on("/other-size", Reply::status(201, "less"));
    pair.green.on("/order/18", Reply::status(500, "Traceback"));
    pair.green
        .on("/gone", Reply::steps([Step::TakeBody, Step::Close]));
    let mut client = Wire::connect(daemon.address).await;
    for path in [
        "/same",
        "/other-size",
        "/order/17",
        "/order/18?token=secret",
        "/gone",
    ] {
        let extra = format!("X-Request-ID: id{}\r\n", path.len());
        let answer = client
            .ask(request(&format!("GET {path}"), &extra, ""))
            .await;
        assert_eq!(
            (answer.status(), answer.text().len()),
            (200, 5000),
            "{path}"
        );
    }
    let told = settled(&daemon, 5).await;
    assert_eq!((told.compared, told.failed), (4, 1));
    assert_eq!((told.status_differs, told.size_differs), (1, 1));
    let orders = row(&told, "/order/*");
    assert_eq!((orders.compared, orders.status_differs), (2, 1));
    let example = &orders.examples[0];
    assert_eq!(example.path, "/order/18", "its query is nobody's business");
    let id = pair
        .blue
        .request_for("/order/18")
        .head
        .get("x-request-id")
        .unwrap()
        .to_owned();
    assert_eq!(example.request_id, id);
    assert_eq!(
        (example.active_status, example.shadow_status),
        (200, Some(500))
    );
    let sizes = row(&told, "/other-size");
    assert_eq!(
        (sizes.active.mean_bytes, sizes.shadow.mean_bytes),
        (5000, 4)
    );
    let gone = row(&told, "/gone");
    assert_eq!((gone.compared, gone.failed), (0, 1));
    let why = gone.examples[0].error.as_deref();
    assert_eq!(why, Some("the connection was closed without an answer"));

    let shown = daemon.ctl(&["shadow"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for words in [
        "green gets copies of 100% of the safe requests that blue answers",
        "4 answers compared, 1 of another status, 1 of another size, 1 failed",
        "/order/18: 200, but 500 on green (request ",
        "/other-size: 4.8 KiB, but 4 B on green (request ",
        "/gone: 200, but on green: the connection was closed without an answer (request ",
    ] {
        assert!(
            shown.stdout.contains(words),
            "no {words:?} in\n{}",
            shown.stdout
        );
    }
    assert!(!shown.stdout.contains("secret"), "{}", shown.stdout);
    let document = daemon.ctl(&["--json", "shadow"]).await.json();
    assert_eq!(document["compared"], 4);
}

#[tokio::test]
async fn the_clients_connection_is_served_on_while_the_idle_slot_never_answers() {
    const MANY: u64 = 50;
    let pair = Pair::start().await;
    pair.green.on("/page", Reply::never());
    let config = config(&pair)
        .set("service.app.shadow.max_in_flight = 3")
        .set("service.app.shadow.timeout = \"10m\"");
    let daemon = shadowing(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    for _ in 0..MANY {
        let answer = client.ask(request("GET /page", "", "")).await;
        assert_eq!(answer.backend(), "blue");
    }
    pair.green.saw("/page", 3).await;
    let told = report(&daemon).await;
    assert_eq!(
        (told.in_flight, told.dropped, told.compared),
        (3, MANY - 3, 0)
    );
    assert_eq!(pair.green.requests_for("/page").len(), 3);
    let copies = daemon
        .metric(&["switchd_shadow_copies_total", "dropped"])
        .await;
    assert!((copies - 47.0).abs() < 0.1, "{copies}");
    let in_flight = daemon.metric(&["switchd_shadow_in_flight", "green"]).await;
    assert!((in_flight - 3.0).abs() < 0.1, "{in_flight}");
    let slot = daemon.slot("green").await;
    assert_eq!(
        (slot.in_flight.requests, slot.requests),
        (0, 0),
        "they are no requests"
    );
    assert_eq!(daemon.requests().await.len(), 0, "nobody's requests");
}

#[tokio::test]
async fn a_copy_has_a_time_of_its_own() {
    let pair = Pair::start().await;
    pair.green.on("/page", Reply::never());
    let config = config(&pair).set("service.app.shadow.timeout = \"300ms\"");
    let daemon = shadowing(&config).await;
    assert_eq!(get(daemon.address, "/page").await.backend(), "blue");
    let told = settled(&daemon, 1).await;
    let why = row(&told, "/page").examples[0].error.as_deref();
    assert_eq!(why, Some("no answer within 300ms"));
}

#[tokio::test]
async fn a_flip_ends_it_and_waits_for_no_copy() {
    let pair = Pair::start().await;
    pair.green.on("/page", Reply::never());
    let config = config(&pair).set("service.app.shadow.timeout = \"10m\"");
    let daemon = shadowing(&config).await;
    assert_eq!(get(daemon.address, "/page").await.backend(), "blue");
    pair.green.saw("/page", 1).await;
    let told = daemon.service("app").await.shadow.unwrap();
    assert_eq!((told.slot.as_str(), told.in_flight), ("green", 1));
    let mut events = daemon.stream("GET /v1/events", "").await;
    daemon.flip("green").await;
    let flip = daemon.history().await.pop().unwrap();
    assert_eq!((flip.command.as_str(), flip.cut), ("flip", 0));
    let off = events
        .until(|it| matches!(it, EventKind::ShadowOff { .. }))
        .await;
    let EventKind::ShadowOff { slot, reason, .. } = off.kind else {
        unreachable!()
    };
    assert_eq!(
        (slot.as_str(), reason.as_str()),
        ("green", "traffic moved to green")
    );
    assert_eq!(daemon.service("app").await.shadow, None);
    let told = report(&daemon).await;
    assert_eq!(
        (told.on, told.end_reason.as_deref()),
        (false, Some("traffic moved to green"))
    );
    eventually("the copy is given up", async || {
        report(&daemon).await.in_flight == 0
    })
    .await;
    let told = report(&daemon).await;
    assert_eq!(
        (told.compared, told.failed),
        (0, 0),
        "it says nothing of the slot"
    );
    let before = pair.blue.count();
    assert_eq!(get(daemon.address, "/later").await.backend(), "green");
    assert_eq!(get(daemon.address, "/later").await.backend(), "green");
    assert_eq!(pair.green.requests_for("/later").len(), 2);
    assert_eq!(pair.blue.count(), before);
}

#[tokio::test]
async fn a_stop_waits_for_no_copy() {
    let pair = Pair::start().await;
    pair.green.on("/page", Reply::never());
    let config = config(&pair)
        .set("service.app.shadow.timeout = \"10m\"")
        .set("stop.timeout = \"10m\"");
    let mut daemon = shadowing(&config).await;
    assert_eq!(get(daemon.address, "/page").await.backend(), "blue");
    pair.green.saw("/page", 1).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_share_is_copied() {
    const MANY: u64 = 400;
    let pair = Pair::start().await;
    let config = config(&pair).set("service.app.shadow.percent = \"50%\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    assert_eq!(daemon.ctl(&["shadow", "green"]).await.code, 0);
    let mut client = Wire::connect(daemon.address).await;
    for _ in 0..MANY {
        client.ask(request("GET /", "", "")).await;
    }
    eventually("all copies end", async || {
        report(&daemon).await.in_flight == 0
    })
    .await;
    let told = report(&daemon).await;
    let copied = told.compared + told.dropped;
    // Seven standard deviations.
    assert!((130..=270).contains(&copied), "{copied} of {MANY}");
    assert_eq!(told.percent, Some(50.0));
}

#[tokio::test]
async fn only_an_idle_slot_that_is_there_gets_copies() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair)).await;
    for (body, status, words) in [
        ("{\"slot\":\"blue\"}", 409, "blue is active"),
        ("{\"slot\":\"teal\"}", 404, "there is no slot \\\"teal\\\""),
        (
            "{\"slot\":\"green\",\"percent\":101}",
            400,
            "between 0.01 and 100",
        ),
        ("{\"slott\":\"green\"}", 400, "slott"),
    ] {
        let answer = daemon.call(&format!("POST {PATH}"), body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.text.contains(words), "{answer:?}");
    }
    let refused = daemon.ctl(&["shadow", "blue"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(daemon.ctl(&["shadow", "off", "5%"]).await.code, 2);
    assert_eq!(daemon.ctl(&["shadow", "green", "5"]).await.code, 2);
    let none = daemon.ctl(&["shadow"]).await;
    assert!(none.stdout.starts_with("no copies were sent"), "{none:?}");
    assert_eq!(daemon.history().await.last().unwrap().result, "refused");
}

#[tokio::test]
async fn it_is_turned_up_and_off_and_the_history_tells() {
    let pair = Pair::start().await;
    let daemon = shadowing(&config(&pair)).await;
    get(daemon.address, "/").await;
    settled(&daemon, 1).await;
    let status = daemon.ctl(&["status"]).await.stdout;
    let line = "green gets copies of 100% of the safe requests: 1 compared, 0 differ or failed";
    assert!(status.contains(line), "{status}");
    let more: ShadowReport = daemon
        .call(
            &format!("POST {PATH}"),
            "{\"slot\":\"green\",\"percent\":0.5}",
        )
        .await
        .json();
    assert_eq!((more.on, more.percent, more.compared), (true, Some(0.5), 1));
    let off = daemon.ctl(&["shadow", "off"]).await;
    assert!(
        off.stdout.contains("1 answer compared, all alike"),
        "{off:?}"
    );
    assert_eq!(daemon.ctl(&["shadow", "off"]).await.code, 0);
    let before = pair.green.count();
    get(daemon.address, "/").await;
    get(daemon.address, "/").await;
    assert_eq!(pair.green.count(), before);
    let history = daemon.history().await;
    let orders = history.iter().filter(|it| it.command == "shadow");
    let told: Vec<_> = orders
        .map(|it| (it.result.as_str(), it.details.join(" ")))
        .collect();
    let wanted = [
        ("done", "100% of the safe requests"),
        ("done", "0.5% of the safe requests"),
        ("done", "off"),
        ("unchanged", ""),
    ];
    assert_eq!(
        told,
        wanted.map(|(result, words)| (result, words.to_owned()))
    );
}

#[tokio::test]
async fn connections_are_kept_where_the_members_are() {
    for (enabled, connections) in [(true, 1), (false, 4)] {
        let pair = Pair::start().await;
        let config = config(&pair).set(&format!("service.app.keepalive.enabled = {enabled}"));
        let daemon = shadowing(&config).await;
        let mut client = Wire::connect(daemon.address).await;
        for copy in 1..=4 {
            client.ask(request("GET /", "", "")).await;
            settled(&daemon, copy).await;
        }
        let copies = pair.green.requests();
        let mut used: Vec<_> = copies.iter().map(|it| it.connection).collect();
        used.dedup();
        assert_eq!(used.len(), connections, "{enabled}");
        let closes = copies
            .iter()
            .filter(|it| it.head.names_token("connection", "close"));
        assert_eq!(closes.count(), if enabled { 0 } else { 4 });
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_idle_slot_closed_is_no_failure() {
    let pair = Pair::start().await;
    let daemon = shadowing(&config(&pair)).await;
    pair.green.once(
        "/",
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nblue"),
    );
    pair.green.once("/", Reply::steps([Step::Reset]));
    for copy in 1..=2 {
        get(daemon.address, "/").await;
        settled(&daemon, copy).await;
    }
    assert_eq!(report(&daemon).await.failed, 0);
    assert_eq!(pair.green.requests_for("/").len(), 3, "asked once more");
}

#[tokio::test]
async fn a_reload_changes_what_is_copied_and_how() {
    let pair = Pair::start().await;
    let config = config(&pair);
    let daemon = shadowing(&config).await;
    let cookie = "Cookie: session_id=s\r\nAuthorization: Bearer t\r\n";
    let mut client = Wire::connect(daemon.address).await;
    client.ask(request("GET /a", cookie, "")).await;
    settled(&daemon, 1).await;
    assert!(pair.green.request_for("/a").head.has("cookie"));
    let changed = config
        .set("service.app.shadow.cookies = false")
        .set("service.app.shadow.header = \"X-Copy\"")
        .set("service.app.shadow.exclude = [\"/a\"]");
    daemon.write_config(&changed);
    let reloaded: Reloaded = daemon.call("POST /v1/reload", "").await.json();
    let told = reloaded.changes.join("\n");
    let watched = daemon.history().await;
    let told = told
        + &watched
            .iter()
            .flat_map(|it| it.details.clone())
            .collect::<String>();
    assert!(told.contains("shadow cookies true -> false"), "{told}");
    client.ask(request("GET /a", cookie, "")).await;
    client.ask(request("GET /b", cookie, "")).await;
    settled(&daemon, 2).await;
    let copy = pair.green.request_for("/b").head;
    assert!(
        !copy.has("cookie") && !copy.has("authorization"),
        "{copy:?}"
    );
    assert_eq!(
        (copy.get("x-copy"), copy.get("x-switchd-shadow")),
        (Some("1"), None)
    );
    assert_eq!(pair.green.requests_for("/a").len(), 1);
}

#[tokio::test]
async fn a_slot_that_is_taken_out_of_the_config_gets_no_more() {
    let pair = Pair::start().await;
    let third = Backend::start("third").await;
    let config = config(&pair);
    let with_third = config.clone().slot("app", "third", &[&third]);
    let daemon = Daemon::start(&with_third).await;
    assert_eq!(daemon.ctl(&["shadow", "third", "100%"]).await.code, 0);
    get(daemon.address, "/").await;
    settled(&daemon, 1).await;
    daemon.write_config(&config);
    daemon.call("POST /v1/reload", "").await;
    let told = report(&daemon).await;
    assert_eq!(
        told.end_reason.as_deref(),
        Some("third was taken out of the config")
    );
    assert!(!told.on);
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
    assert_eq!(third.count(), 1);
}

#[tokio::test]
async fn large_answers_are_not_asked_for_twice() {
    let pair = Pair::start().await;
    let config = config(&pair).set("service.app.shadow.max_size = \"1KiB\"");
    let daemon = shadowing(&config).await;
    pair.blue
        .on("/large", Reply::status(200, &"x".repeat(2000)));
    pair.green
        .on("/grown", Reply::status(200, &"x".repeat(500_000)));
    get(daemon.address, "/large").await;
    get(daemon.address, "/grown").await;
    let told = settled(&daemon, 1).await;
    assert_eq!((told.too_large, told.size_differs), (1, 1));
    assert_eq!(pair.green.requests_for("/large").len(), 0);
    let read = row(&told, "/grown").shadow.mean_bytes;
    assert!((2048..400_000).contains(&read), "read on to {read}");
}

#[tokio::test]
async fn what_switchd_makes_of_an_answer_is_no_difference() {
    let pair = Pair::start().await;
    let config = config(&pair).set("service.app.compression.enabled = true");
    let daemon = shadowing(&config).await;
    let page = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20000\r\n\r\n{}",
        "a".repeat(20_000)
    );
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n"
            .to_owned()
            + &"a".repeat(20_000)
            + "\r\n0\r\n\r\n";
    pair.blue.on("/page", Reply::raw(&page));
    pair.green.on("/page", Reply::raw_then_close(&chunked));
    let mut client = Wire::connect(daemon.address).await;
    let answer = client
        .ask(request("GET /page", "Accept-Encoding: gzip\r\n", ""))
        .await;
    assert_eq!(answer.head.get("content-encoding"), Some("gzip"));
    let told = settled(&daemon, 1).await;
    let page = row(&told, "/page");
    assert_eq!(
        (page.active.mean_bytes, page.shadow.mean_bytes),
        (20_000, 20_000)
    );
    assert_eq!(told.size_differs, 0);
}

#[tokio::test]
async fn requests_of_http2_are_copied_too() {
    let pair = Pair::start().await;
    let daemon = shadowing(&config(&pair)).await;
    let client = crate::support::Http2::connect(daemon.address).await;
    for path in ["/a", "/b"] {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let told = settled(&daemon, 2).await;
    assert_eq!(told.compared, 2);
}

/// Requests with every one of them copied, and without, in turns: how their p99 compare.
async fn costs_nobody(green: Option<Reply>) {
    const TURNS: usize = 40;
    let pair = Pair::start().await;
    let works = Reply::slow(Duration::from_millis(20));
    pair.blue.on("/page", works.clone());
    pair.green.on("/page", green.unwrap_or(works));
    let config = pair.config().set("service.app.shadow.max_in_flight = 16");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Wire::connect(daemon.address).await);
    }
    let mut copied = 0;
    let raw = request("GET /page", "", "");
    let ratio = in_turns(TURNS, async |with| {
        let body = format!("{{\"slot\":\"green\",\"percent\":{}}}", with * 100);
        daemon.call(&format!("POST {PATH}"), &body).await;
        let time = p99(&mut clients, &raw).await;
        let told = report(&daemon).await;
        if with == 1 {
            copied += told.compared + told.dropped + told.in_flight;
        }
        time
    })
    .await;
    println!("p99 with copies to without: {ratio}");
    assert!(copied > 1000, "only {copied} were copied");
    assert!(ratio.middle < 1.1, "{ratio}");
}

#[tokio::test]
async fn copies_of_all_requests_cost_their_clients_no_time() {
    costs_nobody(None).await;
}

#[tokio::test]
async fn copies_for_a_slow_slot_cost_their_clients_no_time() {
    costs_nobody(Some(Reply::slow(Duration::from_secs(2)))).await;
}

#[tokio::test]
async fn copies_for_a_slot_that_never_answers_cost_their_clients_no_time() {
    costs_nobody(Some(Reply::never())).await;
}
