//! Held: who waits, for how long, and where those go who waited.

use crate::flip::is_published;
use crate::support::ApiReply;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::EventStream;
use crate::support::Gate;
use crate::support::Http2;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;
use switchd::api::EventKind;
use switchd::api::HoldReleased;
use switchd::api::HoldStatus;
use tokio::task::JoinSet;

/// Longer than any test lasts.
pub(crate) const LONG: &str = r#"{"for":"5m"}"#;

/// Holds service `app`, and gives its events from after the first: it is held by now.
pub(crate) async fn hold(daemon: &Daemon, body: &str) -> EventStream {
    let mut stream = daemon.stream("POST /v1/services/app/hold", body).await;
    let held = stream.until(|_| true).await;
    assert!(matches!(held.kind, EventKind::Held { .. }), "{held:?}");
    stream
}

pub(crate) async fn release(daemon: &Daemon) -> HoldReleased {
    let reply = daemon.call("POST /v1/services/app/release", "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

pub(crate) async fn status(daemon: &Daemon) -> Option<HoldStatus> {
    daemon.service("app").await.hold
}

/// Waits until as many are held.
pub(crate) async fn waiting(daemon: &Daemon, count: u64) {
    eventually(&format!("{count} are held"), async || {
        status(daemon).await.is_some_and(|it| it.waiting == count)
    })
    .await;
}

/// Waits until nothing is held any more.
pub(crate) async fn over(daemon: &Daemon) {
    eventually("the hold is over", async || status(daemon).await.is_none()).await;
}

/// A request that is held as the `count`th.
pub(crate) async fn held(daemon: &Daemon, line: &str, count: u64) -> Wire {
    let mut client = Wire::connect(daemon.address).await;
    client.send(request(line, "", "")).await;
    waiting(daemon, count).await;
    client
}

fn is_drained(event: &EventKind) -> bool {
    matches!(event, EventKind::HoldDrained { .. })
}

pub(crate) fn is_released(event: &EventKind) -> bool {
    matches!(event, EventKind::Released { .. })
}

#[tokio::test]
async fn new_requests_wait_and_go_to_the_slot_that_is_active_at_the_release() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let mut events = hold(&daemon, LONG).await;
    let mut first = held(&daemon, "GET /first", 1).await;
    let mut second = Wire::connect(daemon.address).await;
    second.send(request("POST /echo", "", "a form")).await;
    waiting(&daemon, 2).await;
    daemon.begin_flip("green").await.until(is_published).await;
    assert_eq!((pair.blue.count(), pair.green.count()), (0, 0));
    assert_eq!(release(&daemon).await.waiting, 2);
    assert_eq!(first.answer("GET").await.backend(), "green");
    let answer = second.answer("POST").await;
    assert_eq!((answer.backend(), &*answer.text()), ("green", "a form"));
    let released = events.until(is_released).await;
    assert!(
        matches!(released.kind, EventKind::Released { requests: 2, refused: 0, longest_ms, held_ms, .. }
            if longest_ms <= held_ms),
        "{released:?}"
    );
    assert_eq!(get(daemon.address, "/after").await.backend(), "green");
    assert_eq!(status(&daemon).await, None);
}

#[tokio::test]
async fn it_has_drained_when_everything_that_was_under_way_has_ended() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut events = hold(&daemon, r#"{"for":"5m","drain":true}"#).await;
    // Told once a second: had it drained, that would have come before.
    let next = events.until(|_| true).await;
    assert!(
        matches!(&next.kind, EventKind::Holding { left, .. } if left.requests == 1),
        "{next:?}"
    );
    assert_eq!(status(&daemon).await.unwrap().drained, Some(false));
    gate.open();
    events.until(is_drained).await;
    assert_eq!(slow.answer("GET").await.text(), "held");
    assert_eq!(status(&daemon).await.unwrap().drained, Some(true));
    assert_eq!(daemon.slot("blue").await.in_flight.requests, 0);
}

#[tokio::test]
async fn websockets_go_on_and_new_ones_wait() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut before = Websocket::connect(daemon.address, "/ws").await.unwrap();
    assert_eq!(before.talk("one").await.unwrap(), "blue");
    let mut events = hold(&daemon, r#"{"for":"5m","drain":true}"#).await;
    events.until(is_drained).await;
    assert_eq!(before.talk("two").await.unwrap(), "blue");
    let address = daemon.address;
    let after = tokio::spawn(async move { Websocket::connect(address, "/ws").await });
    waiting(&daemon, 1).await;
    assert_eq!(pair.blue.requests_for("/ws").len(), 1);
    release(&daemon).await;
    let mut after = after.await.unwrap().unwrap();
    assert_eq!(after.talk("three").await.unwrap(), "blue");
}

#[tokio::test]
async fn streams_of_http2_wait_each_for_itself() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let _events = hold(&daemon, LONG).await;
    let client = Http2::connect(daemon.address).await;
    let (client, other) = (&client, Http2::connect(daemon.address).await);
    let asked = async {
        let (one, two) = tokio::join!(client.get("/one"), client.get("/two"));
        [one.unwrap().status(), two.unwrap().status()]
    };
    let answered = async {
        waiting(&daemon, 3).await;
        release(&daemon).await;
    };
    let (statuses, third, ()) = tokio::join!(asked, other.get("/three"), answered);
    assert_eq!(statuses, [200, 200]);
    assert_eq!(third.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_waits_no_longer_and_is_never_sent_on() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut events = hold(&daemon, LONG).await;
    let plain = held(&daemon, "GET /left", 1).await;
    let mut behind = Wire::connect(daemon.address).await;
    let head = "POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n";
    behind.send(head.to_owned() + &"x".repeat(100_000)).await;
    waiting(&daemon, 2).await;
    plain.reset();
    behind.reset();
    waiting(&daemon, 0).await;
    assert_eq!(status(&daemon).await.unwrap().bytes, 0);
    release(&daemon).await;
    events.until(is_released).await;
    assert_eq!(pair.blue.requests_for("/left").len(), 0);
    let ended = |end: &'static str| {
        let daemon = &daemon;
        async move {
            daemon
                .metric(&["switchd_hold_ended_total", "behind=\"hold\"", end])
                .await
        }
    };
    assert_eq!((ended("left").await, ended("released").await), (2.0, 0.0));
}

#[tokio::test]
async fn checks_of_load_balancers_go_through_and_nothing_else_does() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.hold.pass = [\"/lb/health\"]")
        .set("service.app.hold.max_wait = \"100ms\"");
    let daemon = Daemon::start(&config).await;
    let _events = hold(&daemon, LONG).await;
    assert_eq!(get(daemon.address, "/lb/health?deep=1").await.status(), 200);
    for (method, path) in [
        ("POST", "/lb/health"),
        ("GET", "/lb/health/"),
        ("GET", "/lb/health/../orders"),
    ] {
        let mut client = Wire::connect(daemon.address).await;
        let answer = client
            .ask(request(&format!("{method} {path}"), "", ""))
            .await;
        assert_eq!(answer.status(), 503, "{method} {path}");
    }
    assert_eq!(pair.blue.count(), 1);
}

#[tokio::test]
async fn what_others_may_need_passes_as_long_as_there_are_others() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.hold.pass_while_draining = [\"/part/*\"]");
    let daemon = Daemon::start(&config).await;
    let (whole, part) = (Gate::closed(), Gate::closed());
    pair.blue.on("/whole", Reply::held(&whole));
    pair.blue.on("/part/slow", Reply::held(&part));
    let mut first = Wire::connect(daemon.address).await;
    first.send(request("GET /whole", "", "")).await;
    pair.blue.saw("/whole", 1).await;
    let mut events = hold(&daemon, r#"{"for":"5m","drain":true}"#).await;
    assert_eq!(get(daemon.address, "/part/quick").await.status(), 200);
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /part/slow", "", "")).await;
    pair.blue.saw("/part/slow", 1).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut count = 0;
    for (line, extra, body) in [
        ("POST /part/quick", "", ""),
        ("GET /part/quick", upgrade, ""),
        ("GET /part/quick", "", "x"),
        ("GET /part/../orders", "", ""),
        ("GET /part/%2e%2e%2forders", "", ""),
    ] {
        let mut client = Wire::connect(daemon.address).await;
        client.send(request(line, extra, body)).await;
        count += 1;
        waiting(&daemon, count).await;
        tokio::spawn(async move { client.answer("GET").await });
    }
    whole.open();
    assert_eq!(first.answer("GET").await.status(), 200);
    // Nothing is left but what passed: that is waited for, and no more of it passes.
    let mut late = loop {
        let mut late = Wire::connect(daemon.address).await;
        let before = pair.blue.requests_for("/part/late").len();
        late.send(request("GET /part/late", "", "")).await;
        eventually("it passes or waits", async || {
            let waits = status(&daemon).await.is_some_and(|it| it.waiting > count);
            waits || pair.blue.requests_for("/part/late").len() > before
        })
        .await;
        if pair.blue.requests_for("/part/late").len() == before {
            break late;
        }
    };
    assert_eq!(status(&daemon).await.unwrap().drained, Some(false));
    part.open();
    events.until(is_drained).await;
    assert_eq!(slow.answer("GET").await.status(), 200);
    release(&daemon).await;
    assert_eq!(late.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn nobody_waits_longer_than_one_may_and_each_is_told_when_to_come_again() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.hold.max_wait = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let _events = hold(&daemon, LONG).await;
    let late = get(daemon.address, "/late").await;
    assert_eq!(late.status(), 503);
    assert_eq!(late.head.get("x-switchd-fault"), Some("timeout-hold"));
    assert_eq!(late.head.get("retry-after"), Some("5"));
    let call = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"call\"}";
    let mut client = Wire::connect(daemon.address).await;
    let json = "Content-Type: application/json\r\n";
    let late = client.ask(request("POST /jsonrpc", json, call)).await;
    let error: serde_json::Value = serde_json::from_str(&late.text()).unwrap();
    assert_eq!(error["error"]["data"]["name"], "switchd.timeout-hold");
    assert_eq!(pair.blue.count(), 0);
}

#[tokio::test]
async fn no_more_wait_than_may_and_one_client_keeps_no_other_out() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("trusted_proxies = [\"127.0.0.1\"]")
        .set("service.app.hold.max_requests = 2");
    let daemon = Daemon::start(&config).await;
    let _events = hold(&daemon, LONG).await;
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let mut greedy = Vec::new();
    for count in 1..=2 {
        let mut client = Wire::connect(daemon.address).await;
        client
            .send(request("GET /greedy", &from("10.0.0.1"), ""))
            .await;
        waiting(&daemon, count).await;
        greedy.push(client);
    }
    let mut third = Wire::connect(daemon.address).await;
    let refused = third.ask(request("GET /", &from("10.0.0.1"), "")).await;
    assert_eq!(refused.head.get("x-switchd-fault"), Some("hold-full"));
    assert_eq!(refused.head.get("retry-after"), Some("5"));
    let mut other = Wire::connect(daemon.address).await;
    other
        .send(request("GET /other", &from("10.0.0.2"), ""))
        .await;
    assert_eq!(greedy[1].answer("GET").await.status(), 503);
    waiting(&daemon, 2).await;
    release(&daemon).await;
    assert_eq!(other.answer("GET").await.status(), 200);
    assert_eq!(greedy[0].answer("GET").await.status(), 200);
}

#[tokio::test]
async fn no_more_bytes_are_kept_than_may_be() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.buffering.requests = true")
        .set("service.app.hold.max_bytes = \"32KiB\"");
    let daemon = Daemon::start(&config).await;
    let _events = hold(&daemon, LONG).await;
    let mut small = Wire::connect(daemon.address).await;
    small
        .send(request("POST /echo", "", &"s".repeat(10_000)))
        .await;
    waiting(&daemon, 1).await;
    assert!(status(&daemon).await.unwrap().bytes > 10_000);
    let mut large = Wire::connect(daemon.address).await;
    let refused = large
        .ask(request("POST /echo", "", &"l".repeat(30_000)))
        .await;
    assert_eq!(refused.head.get("x-switchd-fault"), Some("hold-full"));
    release(&daemon).await;
    assert_eq!(small.answer("POST").await.text().len(), 10_000);
}

#[tokio::test]
async fn a_body_that_is_not_kept_stays_with_its_client_and_goes_on_whole() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let _events = hold(&daemon, LONG).await;
    let body = "0123456789".repeat(100_000);
    let mut client = Wire::connect(daemon.address).await;
    let (head, start) = (request("POST /echo", "", &body), 100_000);
    client.send(&head[..start]).await;
    waiting(&daemon, 1).await;
    assert!(status(&daemon).await.unwrap().bytes < 100_000);
    release(&daemon).await;
    client.send(&head[start..]).await;
    assert_eq!(client.answer("POST").await.text(), body);
}

#[tokio::test]
async fn they_are_let_go_one_after_the_other_in_their_order() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("trusted_proxies = [\"127.0.0.1\"]")
        .set("service.app.hold.release_rate = 20")
        .set("service.app.queue.max_in_flight = 1");
    let daemon = Daemon::start(&config).await;
    let _events = hold(&daemon, LONG).await;
    let mut clients = Vec::new();
    let order = [
        ("1", "/a1"),
        ("1", "/a2"),
        ("2", "/b1"),
        ("1", "/a3"),
        ("3", "/c1"),
    ];
    for (count, (client, path)) in (1..).zip(order) {
        let mut wire = Wire::connect(daemon.address).await;
        let from = format!("X-Forwarded-For: 10.0.0.{client}\r\n");
        wire.send(request(&format!("GET {path}"), &from, "")).await;
        waiting(&daemon, count).await;
        clients.push(wire);
    }
    release(&daemon).await;
    for client in &mut clients {
        assert_eq!(client.answer("GET").await.status(), 200);
    }
    let seen = pair.blue.requests();
    let seen: Vec<&str> = seen.iter().map(|it| it.head.path()).collect();
    assert_eq!(seen, ["/a1", "/b1", "/c1", "/a2", "/a3"]);
}

#[tokio::test]
async fn whoever_is_not_let_go_yet_is_held_by_the_next_hold() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.hold.release_rate = 1");
    let daemon = Daemon::start(&config).await;
    let _first = hold(&daemon, LONG).await;
    let mut clients = Vec::new();
    for count in 1..=3 {
        clients.push(held(&daemon, "GET /slow", count).await);
    }
    release(&daemon).await;
    // One goes at once, the next a second later: by then they are held again.
    assert_eq!(clients[0].answer("GET").await.status(), 200);
    let _second = hold(&daemon, LONG).await;
    waiting(&daemon, 2).await;
    let count = pair.blue.count();
    assert_eq!(count, 1);
    daemon.write_config(&pair.config().set("service.app.hold.release_rate = 0"));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    release(&daemon).await;
    for client in &mut clients[1..] {
        assert_eq!(client.answer("GET").await.status(), 200);
    }
}

#[tokio::test]
async fn those_who_wait_for_a_place_are_held_too_and_lose_no_time() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.queue.max_in_flight = 1")
        .set("service.app.queue.timeout = \"10m\"");
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut queued = Wire::connect(daemon.address).await;
    queued.send(request("GET /queued", "", "")).await;
    eventually("one is queued", async || {
        daemon.slot("blue").await.queued == 1
    })
    .await;
    let mut events = hold(&daemon, r#"{"for":"5m","drain":true}"#).await;
    gate.open();
    events.until(is_drained).await;
    waiting(&daemon, 1).await;
    assert_eq!(slow.answer("GET").await.text(), "held");
    assert_eq!(pair.blue.requests_for("/queued").len(), 0);
    release(&daemon).await;
    assert_eq!(queued.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn a_request_that_could_not_be_connected_waits_where_its_service_is_held_meanwhile() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    let _events = hold(&daemon, LONG).await;
    let mut client = held(&daemon, "POST /echo", 1).await;
    pair.blue.resume();
    release(&daemon).await;
    assert_eq!(client.answer("POST").await.backend(), "blue");
}

#[tokio::test]
async fn everything_that_shows_requests_shows_those_who_are_held() {
    let pair = Pair::start().await;
    let config = pair.config().set("access_log.target = \"DIR/access.log\"");
    let daemon = Daemon::start(&config).await;
    let body = r#"{"for":"5m","reason":"migration 42"}"#;
    let mut events = hold(&daemon, body).await;
    let mut client = held(&daemon, "GET /waits", 1).await;
    let shown = status(&daemon).await.unwrap();
    assert_eq!(shown.reason.as_deref(), Some("migration 42"));
    assert!(shown.lease && !shown.releasing && shown.drained.is_none());
    let ps = daemon.requests().await;
    let it = ps.iter().find(|it| it.path == "/waits").unwrap();
    assert_eq!(
        (&*it.state, it.queue_place, &*it.service),
        ("held", Some(1), "app")
    );
    assert!(it.held_ms.is_some() && it.slot.is_none());
    let line = daemon.ctl(&["ps"]).await.stdout;
    assert!(line.contains("held #1"), "{line}");
    let words = daemon.ctl(&["status"]).await.stdout;
    assert!(
        words.contains("held by") && words.contains("migration 42; 1 request waiting"),
        "{words}"
    );
    assert_eq!(daemon.metric(&["switchd_held{"]).await, 1.0);
    assert_eq!(
        daemon.metric(&["switchd_held_requests{", "hold"]).await,
        1.0
    );
    release(&daemon).await;
    client.answer("GET").await;
    events.until(is_released).await;
    let log = daemon.path("access.log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("it is logged", async || read().contains("/waits")).await;
    let line: serde_json::Value = serde_json::from_str(read().lines().next().unwrap()).unwrap();
    assert!(line["held_ms"].as_f64().unwrap() > 0.0, "{line}");
    let history = daemon.history().await;
    let record = history.iter().find(|it| it.command == "hold").unwrap();
    assert_eq!((&*record.result, &*record.service), ("released", "app"));
    assert_eq!(record.reason.as_deref(), Some("migration 42"));
    assert!(
        record.details[0].starts_with("requests that waited: 1, "),
        "{record:?}"
    );
    assert_eq!(daemon.metric(&["switchd_held{"]).await, 0.0);
}

async fn asked(daemon: &Daemon, path: &str, body: &str) -> ApiReply {
    daemon
        .call(&format!("POST /v1/services/{path}"), body)
        .await
}

#[tokio::test]
async fn what_cannot_be_done_is_told_with_the_way_around() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.hold.max_for = \"1m\"");
    let daemon = Daemon::start(&config).await;
    let none = asked(&daemon, "app/release", "").await;
    assert_eq!(none.status, 409);
    assert!(none.text.contains("app is not held"), "{none:?}");
    let long = asked(&daemon, "app/hold", r#"{"for":"2m"}"#).await;
    assert_eq!(long.status, 409);
    assert!(
        long.text.contains("service.app.hold.max_for is 1m"),
        "{long:?}"
    );
    let _events = hold(&daemon, r#"{"for":"1m"}"#).await;
    let twice = asked(&daemon, "app/hold", "").await;
    assert_eq!(twice.status, 409);
    assert!(twice.text.contains("held already: by uid"), "{twice:?}");
    assert!(twice.text.contains("switchctl release"), "{twice:?}");
    for wrong in [r#"{"for":"0s"}"#, r#"{"for":"soon"}"#, r#"{"four":"1s"}"#] {
        assert_eq!(
            asked(&daemon, "app/hold", wrong).await.status,
            400,
            "{wrong}"
        );
    }
    assert_eq!(asked(&daemon, "nobody/hold", "").await.status, 404);
}

#[tokio::test]
async fn one_service_is_held_and_the_others_are_not() {
    let (pair, others) = (Pair::start().await, Pair::start().await);
    let config = Config::empty()
        .service("app", &pair.blue, &pair.green)
        .service("other", &others.blue, &others.green)
        .set("service.other.hosts = [\"other.test\"]");
    let daemon = Daemon::start(&config).await;
    let _events = hold(&daemon, LONG).await;
    let mut client = Wire::connect(daemon.address).await;
    let asked = "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n";
    assert_eq!(client.ask(asked).await.status(), 200);
}

/// Clients that order all the time, each on a connection of its own that goes on.
async fn order(daemon: &Daemon, stop: &AtomicBool, orders: &AtomicUsize) -> u128 {
    let mut client = Wire::connect(daemon.address).await;
    let mut longest = 0;
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        client.send(request("POST /echo", "", "an order")).await;
        let answer = client.answer("POST").await;
        assert_eq!((answer.status(), &*answer.text()), (200, "an order"));
        orders.fetch_add(1, Ordering::SeqCst);
        longest = longest.max(began.elapsed().as_millis());
    }
    longest
}

#[tokio::test]
async fn under_load_no_order_fails_and_none_runs_beside_a_migration() {
    let pair = Pair::start().await;
    let daemon = Arc::new(pair.daemon().await);
    daemon.healthy().await;
    let (stop, orders) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let (daemon, stop, orders) = (daemon.clone(), stop.clone(), orders.clone());
        clients.spawn(async move { order(&daemon, &stop, &orders).await });
    }
    let more = async || {
        let before = orders.load(Ordering::SeqCst);
        eventually("orders go on", async || {
            orders.load(Ordering::SeqCst) > before + 200
        })
        .await;
    };
    more().await;
    let mut events = hold(&daemon, r#"{"for":"5m","drain":true}"#).await;
    events.until(is_drained).await;
    let before = pair.blue.count();
    waiting(&daemon, 20).await;
    daemon.begin_flip("green").await.until(is_published).await;
    let holding = |it: &EventKind| matches!(it, EventKind::Holding { waiting: 20, .. });
    events.until(holding).await;
    assert_eq!((pair.blue.count(), pair.green.count()), (before, 0));
    release(&daemon).await;
    let released = events.until(is_released).await;
    more().await;
    stop.store(true, Ordering::SeqCst);
    let mut longest = 0;
    while let Some(client) = clients.join_next().await {
        longest = longest.max(client.unwrap());
    }
    assert_eq!(pair.blue.count(), before, "green has it all");
    let EventKind::Released {
        held_ms,
        longest_ms,
        requests,
        refused,
        ..
    } = released.kind
    else {
        panic!("{released:?}");
    };
    println!("held {held_ms} ms, longest wait {longest_ms} ms, as clients saw it {longest} ms");
    // Whoever came back while others were let go stood behind them.
    assert!(requests >= 20 && refused == 0, "{requests}, {refused}");
    assert!(longest_ms <= held_ms, "{longest_ms} of {held_ms}");
}
