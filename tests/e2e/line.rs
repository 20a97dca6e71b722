//! The line of those who wait for a place: who is next, who shows it, and what changes it.

use crate::flip::is_published;
use crate::queue::one_at_a_time;
use crate::queue::queued;
use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use switchd::api::RequestList;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

/// Longer than any test lasts: nothing here ends by it.
const LONG: &str = "service.app.queue.timeout = \"10m\"";

/// Clients are told apart by X-Forwarded-For.
fn believing(config: Config) -> Config {
    config.set("trusted_proxies = [\"127.0.0.1\"]")
}

/// A request of some client that waits in line as the `count`th.
async fn join(daemon: &Daemon, client: &str, path: &str, count: u64) -> Wire {
    let mut wire = Wire::connect(daemon.address).await;
    let from = format!("X-Forwarded-For: {client}\r\n");
    wire.send(request(&format!("GET {path}"), &from, "")).await;
    queued(daemon, count).await;
    wire
}

async fn ps(daemon: &Daemon) -> RequestList {
    daemon.call("GET /v1/ps", "").await.json()
}

/// The paths in the order in which they arrived, after the first.
fn order(backend: &Backend) -> Vec<String> {
    let seen = backend.requests();
    let paths = seen.iter().map(|seen| seen.head.path().to_owned());
    paths.filter(|path| path != "/slow").collect()
}

#[tokio::test]
async fn clients_take_turns_and_one_clients_requests_keep_their_order() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&believing(one_at_a_time(&pair))).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut waiting = Vec::new();
    for (at, (client, path)) in [
        ("10.0.0.1", "/a1"),
        ("10.0.0.1", "/a2"),
        ("10.0.0.1", "/a3"),
        ("10.0.0.2", "/b1"),
        ("2001:db8:0:1::1", "/c1"),
        ("2001:db8:0:1::2", "/c2"),
    ]
    .into_iter()
    .enumerate()
    {
        waiting.push(join(&daemon, client, path, at as u64 + 1).await);
    }
    gate.open();
    first.answer("GET").await;
    for client in &mut waiting {
        assert_eq!(client.answer("GET").await.status(), 200);
    }
    let wanted = ["/a1", "/b1", "/c1", "/a2", "/c2", "/a3"];
    assert_eq!(order(&pair.blue), wanted);
}

#[tokio::test]
async fn a_client_that_fills_the_line_keeps_no_other_out_of_it() {
    let pair = Pair::start().await;
    let config = one_at_a_time(&pair).set("service.app.queue.length = 3");
    let daemon = Daemon::start(&believing(config)).await;
    let gate = Gate::closed();
    let _first = pair.occupy(&daemon, &gate).await;
    let mut greedy = Vec::new();
    for number in 1..=3 {
        greedy.push(join(&daemon, "10.0.0.1", &format!("/{number}"), number).await);
    }
    let mut other = Wire::connect(daemon.address).await;
    let from = "X-Forwarded-For: 10.0.0.2\r\n";
    other.send(request("GET /other", from, "")).await;
    let refused = greedy[2].answer("GET").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.head.get("x-switchd-fault"), Some("queue-full"));
    queued(&daemon, 3).await;
    gate.open();
    assert_eq!(other.answer("GET").await.status(), 200);
    assert_eq!(order(&pair.blue).len() + 1, pair.blue.count());
    assert!(pair.blue.requests_for("/3").is_empty());
}

#[tokio::test]
async fn ps_shows_the_place_in_the_queue_and_for_how_long() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&believing(one_at_a_time(&pair))).await;
    let gate = Gate::closed();
    let _first = pair.occupy(&daemon, &gate).await;
    let _a1 = join(&daemon, "10.0.0.1", "/a1", 1).await;
    let _a2 = join(&daemon, "10.0.0.1", "/a2", 2).await;
    let _b1 = join(&daemon, "10.0.0.2", "/b1", 3).await;
    let list = ps(&daemon).await;
    let shown = |path: &str| {
        let shown = list.requests.iter().find(|it| it.path == path).unwrap();
        assert_eq!(shown.service, "app");
        (shown.queue_place, shown.queued_ms.is_some())
    };
    assert_eq!(shown("/a1"), (Some(1), true));
    assert_eq!(shown("/b1"), (Some(2), true));
    assert_eq!(shown("/a2"), (Some(3), true));
    assert_eq!(shown("/slow"), (None, false), "it never waited");
    let output = daemon.ctl(&["ps"]).await;
    let line = output.stdout.lines().find(|line| line.contains("/b1"));
    assert!(line.unwrap().contains("queued #2"), "{output:?}");
    gate.open();
}

#[tokio::test]
async fn the_wait_is_in_the_access_log_and_in_the_metrics() {
    let pair = Pair::start().await;
    let config = one_at_a_time(&pair).set("access_log.target = \"DIR/access.log\"");
    let daemon = Daemon::start(&config.clone().set("service.app.queue.length = 2")).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut served = join(&daemon, "", "/served", 1).await;
    let left = join(&daemon, "", "/left", 2).await;
    assert_eq!(get(daemon.address, "/full").await.status(), 503);
    left.reset();
    queued(&daemon, 1).await;
    daemon.write_config(&config.set("service.app.queue.timeout = \"100ms\""));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    assert_eq!(get(daemon.address, "/late").await.status(), 503);
    gate.open();
    first.answer("GET").await;
    served.answer("GET").await;
    let read = || std::fs::read_to_string(daemon.path("access.log")).unwrap_or_default();
    eventually("all are logged", async || read().lines().count() == 5).await;
    let log = read();
    let of = |path: &str| -> serde_json::Value {
        let line = log.lines().find(|line| line.contains(path)).unwrap();
        serde_json::from_str(line).unwrap()
    };
    assert!(of("/served")["queued_ms"].as_f64().unwrap() > 0.0);
    assert!(of("/late")["queued_ms"].as_f64().unwrap() >= 100.0);
    assert_eq!(of("/late")["service"], "app");
    assert_eq!(of("/slow")["queued_ms"], 0.0);
    let page = daemon.call("GET /metrics", "").await.text;
    for line in [
        r#"switchd_queue_wait_seconds_count{service="app",slot="blue"} 1"#,
        r#"switchd_queue_refused_total{service="app",slot="blue",reason="full"} 1.0"#,
        r#"switchd_queue_refused_total{service="app",slot="blue",reason="deadline"} 1.0"#,
        r#"switchd_queue_refused_total{service="app",slot="blue",reason="left"} 1.0"#,
    ] {
        assert!(page.lines().any(|it| it == line), "no {line} in\n{page}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_behind_a_large_body_frees_its_place_in_the_line() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair).set(LONG)).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    for (leave, path) in [(Leave::Finish, "/finishes"), (Leave::Reset, "/resets")] {
        let mut client = Wire::connect(daemon.address).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
        client.send(head + &"x".repeat(100_000)).await;
        queued(&daemon, 1).await;
        match leave {
            Leave::Finish => client.finish_sending().await,
            Leave::Reset => client.reset(),
        }
        queued(&daemon, 0).await;
    }
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    assert_eq!(pair.blue.count(), 1);
}

enum Leave {
    Finish,
    Reset,
}

#[tokio::test]
async fn a_flip_takes_those_who_wait_along_in_their_order() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair).set(LONG)).await;
    daemon.healthy().await;
    let (blues, greens) = (Gate::closed(), Gate::closed());
    let mut first = pair.occupy(&daemon, &blues).await;
    pair.green.on("/0", Reply::held(&greens));
    let mut waiting = Vec::new();
    for number in 0..6 {
        waiting.push(join(&daemon, "", &format!("/{number}"), number + 1).await);
    }
    let mut flip = daemon.begin_flip("green").await;
    flip.until(is_published).await;
    pair.green.saw("/0", 1).await;
    let status = daemon.service("app").await;
    let waits = |name: &str| {
        status
            .slots
            .iter()
            .find(|slot| slot.name == name)
            .unwrap()
            .queued
    };
    assert_eq!((waits("blue"), waits("green")), (0, 5));
    greens.open();
    for client in &mut waiting {
        assert_eq!(client.answer("GET").await.status(), 200);
    }
    let wanted: Vec<String> = (0..6).map(|number| format!("/{number}")).collect();
    assert_eq!(order(&pair.green), wanted);
    blues.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    assert_eq!(pair.blue.count(), 1);
}

#[tokio::test]
async fn a_slot_that_is_flipped_back_to_still_counts_what_runs_on_it() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair).set(LONG)).await;
    daemon.healthy().await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    for slot in ["green", "blue"] {
        daemon.begin_flip(slot).await.until(is_published).await;
    }
    let mut second = join(&daemon, "", "/second", 1).await;
    assert_eq!(pair.blue.count(), 1, "its only place is taken");
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    assert_eq!(second.answer("GET").await.backend(), "blue");
}

async fn reload(daemon: &Daemon, config: &Config) {
    daemon.write_config(config);
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
}

#[tokio::test]
async fn a_reload_changes_the_limit_for_those_who_wait_and_for_those_who_run() {
    let pair = Pair::start().await;
    let config = one_at_a_time(&pair).set(LONG);
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut second = join(&daemon, "", "/held", 1).await;
    let mut third = join(&daemon, "", "/third", 2).await;
    reload(
        &daemon,
        &config.clone().set("service.app.queue.max_in_flight = 2"),
    )
    .await;
    pair.blue.saw("/held", 1).await;
    queued(&daemon, 1).await;
    // Two run, one may: the third comes when both are over.
    reload(&daemon, &config).await;
    gate.open();
    for client in [&mut first, &mut second] {
        assert_eq!(client.answer("GET").await.text(), "held");
    }
    assert_eq!(third.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn when_a_reload_takes_the_limit_away_nobody_waits_any_more() {
    let pair = Pair::start().await;
    let config = one_at_a_time(&pair).set(LONG);
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut second = join(&daemon, "", "/second", 1).await;
    reload(&daemon, &config.set("service.app.queue.max_in_flight = 0")).await;
    assert_eq!(second.answer("GET").await.status(), 200);
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
}

#[tokio::test]
async fn when_a_reload_removes_the_service_those_in_line_are_answered_at_once() {
    let pair = Pair::start().await;
    let others = Pair::start().await;
    let named = |config: Config| config.set("service.app.hosts = [\"app.test\"]");
    let config = named(one_at_a_time(&pair).set(LONG));
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut waiting = join(&daemon, "", "/waiting", 1).await;
    let other = Config::empty().service("other", &others.blue, &others.green);
    reload(
        &daemon,
        &other.clone().set("service.other.hosts = [\"other.test\"]"),
    )
    .await;
    assert_eq!(waiting.answer("GET").await.status(), 421);
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
}

#[tokio::test]
async fn when_a_reload_gives_the_host_to_another_service_those_in_line_go_there() {
    let pair = Pair::start().await;
    let others = Pair::start().await;
    let daemon = Daemon::start(&one_at_a_time(&pair).set(LONG)).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut waiting = join(&daemon, "", "/waiting", 1).await;
    reload(
        &daemon,
        &Config::empty().service("other", &others.blue, &others.green),
    )
    .await;
    assert_eq!(waiting.answer("GET").await.status(), 200);
    others.blue.request_for("/waiting");
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
}

#[tokio::test]
async fn only_the_members_that_are_named_need_a_place() {
    let pair = Pair::start().await;
    let (blue, green) = (
        Backend::start("blue-ws").await,
        Backend::start("green-ws").await,
    );
    let config = one_at_a_time(&pair)
        .set(LONG)
        .set("service.app.queue.members = [\"http\"]")
        .websocket_member("blue", &blue)
        .websocket_member("green", &green)
        .route("/ws", "websocket");
    let daemon = Daemon::start(&config).await;
    let gate = Gate::closed();
    let mut first = pair.occupy(&daemon, &gate).await;
    let mut waiting = join(&daemon, "", "/waiting", 1).await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    assert_eq!(socket.talk("beside the line").await.unwrap(), "blue-ws");
    gate.open();
    assert_eq!(first.answer("GET").await.text(), "held");
    assert_eq!(waiting.answer("GET").await.status(), 200);
}

/// An upstream that cannot be connected to, and that refuses nobody as long as it is there.
async fn full_house() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut guests = Vec::new();
    for _ in 0..2 {
        guests.push(TcpStream::connect(address).await.unwrap());
    }
    (listener, guests)
}

#[tokio::test]
async fn one_that_found_its_slot_dead_after_a_flip_waits_in_line_for_the_new_one() {
    let pair = Pair::start().await;
    let (house, _guests) = full_house().await;
    let address = house.local_addr().unwrap();
    let config = one_at_a_time(&pair)
        .set(LONG)
        .set(&format!("service.app.slots.blue.http = [\"{address}\"]"))
        .set("service.app.timeouts.connect = \"1m\"")
        .set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    let mut moved = Wire::connect(daemon.address).await;
    moved.send(request("POST /echo", "", "still here")).await;
    eventually("it dials", async || {
        let dials = |it: &switchd::api::RequestStatus| it.state == "connecting";
        ps(&daemon).await.requests.iter().any(dials)
    })
    .await;
    daemon.begin_flip("green").await.until(is_published).await;
    let gate = Gate::closed();
    pair.green.on("/slow", Reply::held(&gate));
    let mut first = Wire::connect(daemon.address).await;
    first.send(request("GET /slow", "", "")).await;
    pair.green.saw("/slow", 1).await;
    drop(house);
    eventually("it waits", async || daemon.slot("green").await.queued == 1).await;
    gate.open();
    let answer = moved.answer("POST").await;
    assert_eq!(
        (answer.backend(), answer.text().as_str()),
        ("green", "still here")
    );
    assert_eq!(first.answer("GET").await.text(), "held");
}
