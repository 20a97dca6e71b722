//! The new slot is judged by its answers after a flip, and left when it does too badly.

use crate::support::Behaviour;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::EventStream;
use crate::support::Odoo;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Instant;
use switchd::api::EventKind;
use switchd::api::WatchStatus;
use tokio::task::JoinSet;

const RULES: &str = "service.app.watch";
const RESULT: &str = r#"{"jsonrpc": "2.0", "id": 1, "result": true}"#;
const ERROR: &str = r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": 200, "message": "Odoo Server Error", "data": {"name": "psycopg2.OperationalError"}}}"#;

/// Quick to judge: fifty requests, within a second.
fn config(pair: &Pair) -> Config {
    pair.config()
        .set(&format!("{RULES}.json_rpc = true"))
        .set(&format!("{RULES}.time = \"60s\""))
        .set(&format!("{RULES}.at_once_window = \"1s\""))
}

fn json(extra: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::raw(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n{extra}\r\n{body}"
    ))
}

/// Asks without end: of five requests four for `/ok`, and one for `/call`.
struct Clients(JoinSet<()>);

impl Clients {
    fn start(to: SocketAddr) -> Self {
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            clients.spawn(async move {
                let mut client = Wire::connect(to).await;
                loop {
                    for path in ["/ok", "/ok", "/call", "/ok", "/ok"] {
                        let line = format!("POST {path}");
                        let answer = client.ask(request(&line, "", "{}")).await;
                        if answer.head.names_token("connection", "close") {
                            client = Wire::connect(to).await;
                        }
                    }
                }
            });
        }
        Self(clients)
    }

    async fn gone(mut self) {
        self.0.shutdown().await;
    }
}

async fn watch(daemon: &Daemon) -> WatchStatus {
    let service = daemon.service("app").await;
    service.watch.expect("the slot is watched, or was")
}

async fn verdict_is(daemon: &Daemon, wanted: &str) {
    eventually(&format!("the watch says {wanted}"), async || {
        let service = daemon.service("app").await;
        service.watch.is_some_and(|watch| watch.verdict == wanted)
    })
    .await;
}

async fn says(events: &mut EventStream, wanted: &str) -> (Vec<String>, bool) {
    let event = events
        .until(|kind| matches!(kind, EventKind::Watch { verdict, .. } if verdict == wanted))
        .await;
    let EventKind::Watch { reasons, over, .. } = event.kind else {
        unreachable!("it was waited for")
    };
    (reasons, over)
}

/// Asks until so many answers were counted on blue.
async fn blue_has_a_past(daemon: &Daemon) {
    eventually("blue has a past", async || {
        daemon.slot("blue").await.requests >= 200
    })
    .await;
}

fn call(service: &str, method: &str, args: &str) -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":3,"method":"call","params":{{"service":"{service}","method":"{method}","args":{args}}}}}"#
    );
    request(
        "POST /jsonrpc",
        "Content-Type: application/json\r\nConnection: close\r\n",
        &body,
    )
}

/// What clients of Odoo do: of five calls one touches the database.
async fn use_odoo(to: SocketAddr) {
    let version = call("common", "version", "[]");
    let login = call("common", "authenticate", r#"["prod","admin","admin",{}]"#);
    loop {
        for body in [&version, &version, &login, &version, &version] {
            let answer = Wire::connect(to).await.ask(body).await;
            assert_eq!(answer.status(), 200, "health and status tell nothing");
        }
    }
}

#[tokio::test]
async fn a_slot_that_answers_errors_of_json_rpc_to_every_fifth_call_is_left_in_seconds() {
    let database = Database::new();
    let odoos =
        ["blue", "green"].map(|name| Odoo::start_on(name, Behaviour::at_pace(10), &database));
    let [blue, green] = &odoos;
    let daemon = Daemon::start(&Config::odoo(blue, green)).await;
    daemon.healthy().await;
    let mut clients = JoinSet::new();
    for _ in 0..2 {
        clients.spawn(use_odoo(daemon.address));
    }
    blue_has_a_past(&daemon).await;
    database.migrate_under("green");
    let mut events = daemon.stream("GET /v1/events", "").await;
    let flip = daemon
        .ctl_command(&["flip", "green", "--no-wait"])
        .status()
        .await;
    assert!(flip.unwrap().success());
    let flipped = Instant::now();
    let (reasons, _) = says(&mut events, "critical").await;
    daemon.becomes_active("blue").await;
    println!(
        "back on blue {:?} after the flip: {reasons:?}",
        flipped.elapsed()
    );
    clients.shutdown().await;

    assert!(reasons[0].contains("JSON-RPC errors"), "{reasons:?}");
    assert!(
        reasons[0].contains("on the old slot it was 0 %"),
        "{reasons:?}"
    );
    let quarantine = daemon.slot("green").await.quarantine.unwrap();
    assert_eq!(quarantine.reason, reasons.join("; "));
    let health = daemon.slot("green").await.health;
    assert_eq!(health, "healthy", "no probe sees anything");
    eventually("history is complete", async || {
        let history = daemon.history().await;
        let of = |command: &str| history.iter().find(|it| it.command == command);
        let (Some(flip), Some(back)) = (of("flip"), of("failback")) else {
            return false;
        };
        flip.to.as_deref() == Some("green")
            && flip.took_ms.is_some()
            && back.actor == "switchd"
            && back.result == "done"
            && back.to.as_deref() == Some("blue")
            && back.reason.as_deref() == Some(&*quarantine.reason)
    })
    .await;
    let labels = ["switchd_rpc_errors_total", "slot=\"green\""];
    assert!(daemon.metric(&labels).await >= 10.0);
}

#[tokio::test]
async fn errors_of_users_are_not_held_against_a_slot() {
    let database = Database::new();
    let odoos =
        ["blue", "green"].map(|name| Odoo::start_on(name, Behaviour::at_pace(10), &database));
    let [blue, green] = &odoos;
    let daemon = Daemon::start(&Config::odoo(blue, green)).await;
    daemon.healthy().await;
    let args = r#"["prod",2,"admin","res.users","fail",[],{}]"#;
    let fails = call("object", "execute_kw", args);
    let broken = call("object", "no_such", r#"["prod"]"#);
    for (body, name) in [(&fails, "UserError"), (&broken, "AttributeError")] {
        let answer = Wire::connect(daemon.address).await.ask(body).await;
        assert!(answer.text().contains(name), "{answer:?}");
    }
    eventually("the one that counts is counted", async || {
        let labels = ["switchd_rpc_errors_total", "slot=\"blue\""];
        daemon.metric(&labels).await >= 1.0
    })
    .await;
    let labels = ["switchd_rpc_errors_total", "slot=\"blue\""];
    assert!((daemon.metric(&labels).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn errors_are_found_however_they_are_sent_and_nothing_else_is_one() {
    let pair = Pair::start().await;
    let blue = &pair.blue;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let (first, rest) = ERROR.split_at(20);
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n14\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
        rest.len()
    );
    let length = format!("{head}Content-Length: {}\r\n\r\n", ERROR.len());
    let crumbs = ERROR.bytes().map(|byte| Step::send([byte]));
    let crumbs = [Step::TakeBody, Step::send(length)]
        .into_iter()
        .chain(crumbs);
    blue.on("/plain", json("", ERROR));
    blue.on("/chunked", Reply::raw(chunked));
    blue.on("/crumbs", Reply::steps(crumbs));
    blue.on(
        "/until-close",
        Reply::raw_then_close(format!("{head}Connection: close\r\n\r\n{ERROR}")),
    );
    blue.on(
        "/long",
        json("", &format!("{ERROR}{}", " ".repeat(100_000))),
    );
    blue.on("/result", json("", RESULT));
    blue.on("/encoded", json("Content-Encoding: gzip\r\n", ERROR));
    blue.on("/text", Reply::status(200, ERROR));
    blue.on("/refused", Reply::raw(length_of(404, ERROR)));
    let config = config(&pair)
        .set("service.app.compression.enabled = true")
        .set("service.app.compression.min_size = \"1B\"");
    let daemon = Daemon::start(&config).await;
    let accepting = "Accept-Encoding: br\r\n";
    for path in ["/plain", "/chunked", "/crumbs", "/until-close", "/long"] {
        let line = format!("POST {path}");
        let mut client = Wire::connect(daemon.address).await;
        let answer = client.ask(request(&line, "", "{}")).await;
        assert!(answer.text().starts_with(ERROR), "{path}");
        let encoded = client.ask(request(&line, accepting, "{}")).await;
        assert_eq!(encoded.head.get("content-encoding"), Some("br"), "{path}");
        assert!(encoded.content().starts_with(ERROR.as_bytes()), "{path}");
    }
    for path in ["/result", "/encoded", "/text", "/refused"] {
        let mut client = Wire::connect(daemon.address).await;
        client.ask(request(&format!("POST {path}"), "", "{}")).await;
    }
    eventually("everything is counted", async || {
        daemon.slot("blue").await.requests >= 14
    })
    .await;
    let errors = daemon.metric(&["switchd_rpc_errors_total", "blue"]).await;
    assert!((errors - 10.0).abs() < 0.1, "{errors}");
}

fn length_of(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn nobody_looks_at_answers_unless_the_operator_wants_it() {
    let pair = Pair::start().await;
    pair.blue.on("/call", json("", ERROR));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.ask(request("POST /call", "", "{}")).await;
    eventually("it is counted", async || {
        daemon.slot("blue").await.requests == 1
    })
    .await;
    assert!(daemon.metric(&["switchd_rpc_errors_total"]).await < 0.1);
}

#[tokio::test]
async fn failing_answers_and_failing_connections_are_errors() {
    for reply in [
        Reply::status(500, "no"),
        Reply::steps([Step::TakeBody, Step::Close]),
    ] {
        let pair = Pair::start().await;
        pair.green.on("/call", reply);
        let daemon = Daemon::start(&config(&pair)).await;
        daemon.healthy().await;
        let clients = Clients::start(daemon.address);
        blue_has_a_past(&daemon).await;
        // It may be over before the old slot is drained.
        let flip = daemon.ctl(&["flip", "green", "--no-wait"]).await;
        assert_eq!(flip.code, 0);
        daemon.becomes_active("blue").await;
        clients.gone().await;
        let quarantine = daemon.slot("green").await.quarantine.unwrap();
        assert!(
            quarantine.reason.contains("requests failed within 1s"),
            "{quarantine:?}"
        );
        assert!(
            daemon.service("app").await.watch.is_none(),
            "it moved by itself"
        );
    }
}

#[tokio::test]
async fn what_the_old_slot_did_as_badly_is_no_reason_to_leave_the_new_one() {
    let pair = Pair::start().await;
    pair.blue.on("/call", json("", ERROR));
    pair.green.on("/call", json("", ERROR));
    let daemon = Daemon::start(&config(&pair)).await;
    daemon.healthy().await;
    let clients = Clients::start(daemon.address);
    blue_has_a_past(&daemon).await;
    daemon.flip("green").await;
    verdict_is(&daemon, "good").await;
    let watch = watch(&daemon).await;
    clients.gone().await;
    assert!(watch.figures.error_percent > 15.0, "{watch:?}");
    assert!(watch.baseline.unwrap().error_percent > 15.0);
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn a_warning_is_told_and_moves_nothing() {
    let pair = Pair::start().await;
    pair.green.on("/call", json("", ERROR));
    let config = config(&pair)
        .set(&format!("{RULES}.at_once = \"off\""))
        .set(&format!("{RULES}.critical.error_rate = \"50%\""))
        .set(&format!("{RULES}.critical.part_error_rate = \"off\""))
        .set(&format!("{RULES}.min_requests = 10"))
        .set(&format!("{RULES}.warning.window = \"3s\""));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    let clients = Clients::start(daemon.address);
    blue_has_a_past(&daemon).await;
    daemon.flip("green").await;
    let (reasons, _) = says(&mut events, "warning").await;
    assert!(reasons[0].contains("more than 1 %"), "{reasons:?}");
    let labels = ["switchd_watch{", "verdict=\"warning\""];
    assert!((daemon.metric(&labels).await - 1.0).abs() < 0.1);
    let shown = daemon.ctl(&["status"]).await.stdout;
    clients.gone().await;
    assert!(shown.contains("watch of green, "), "{shown}");
    assert!(shown.contains("left: warning: "), "{shown}");
    assert!(shown.contains("before the move: "), "{shown}");
    assert_eq!(daemon.active().await, "green");
    assert!(
        daemon.stderr().contains("verdict=\"warning\""),
        "the log tells"
    );
}

#[tokio::test]
async fn too_little_traffic_is_inconclusive_and_moves_nothing() {
    let pair = Pair::start().await;
    pair.green.on("/call", json("", ERROR));
    let config = config(&pair)
        .set(&format!("{RULES}.time = \"500ms\""))
        .set(&format!("{RULES}.critical.window = \"200ms\""));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    daemon.flip("green").await;
    let mut client = Wire::connect(daemon.address).await;
    for _ in 0..3 {
        client.ask(request("POST /call", "", "{}")).await;
    }
    let (reasons, over) = says(&mut events, "inconclusive").await;
    assert!(over, "nothing to tell before the end");
    assert!(
        reasons[0].ends_with("say nothing; it takes 50"),
        "{reasons:?}"
    );
    assert_eq!(daemon.active().await, "green");
    let shown = daemon.ctl(&["status"]).await.stdout;
    assert!(
        shown.contains("watch of green, over: inconclusive"),
        "{shown}"
    );
}

#[tokio::test]
async fn websockets_that_do_not_open_speak_against_a_slot() {
    let pair = Pair::start().await;
    pair.green.on("/ws", Reply::status(500, "no"));
    let config = config(&pair)
        .set(&format!("{RULES}.critical.window = \"300ms\""))
        .set(&format!("{RULES}.min_handshakes = 3"));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    let ask = "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    eventually("traffic is back on blue", async || {
        let answer = Wire::connect(daemon.address).await.ask(ask).await;
        answer.status() == 101
    })
    .await;
    let quarantine = daemon.slot("green").await.quarantine.unwrap();
    assert!(
        quarantine.reason.contains("websockets were not opened"),
        "{quarantine:?}"
    );
    let labels = ["switchd_websocket_handshakes_total", "green", "refused"];
    assert!(daemon.metric(&labels).await >= 3.0);
}

#[tokio::test]
async fn a_client_that_asks_for_websockets_where_there_are_none_speaks_against_nobody() {
    let pair = Pair::start().await;
    for status in [400, 401, 403, 404, 426] {
        let reply = Reply::status(status, "no");
        pair.green.on(&format!("/none/{status}"), reply);
    }
    let config = config(&pair)
        .set(&format!("{RULES}.critical.window = \"300ms\""))
        .set(&format!("{RULES}.warning.window = \"300ms\""))
        .set(&format!("{RULES}.time = \"1s\""))
        .set(&format!("{RULES}.min_handshakes = 3"));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    daemon.flip("green").await;
    let stranger = IpAddr::from([127, 0, 9, 9]);
    let asks = tokio::spawn(async move {
        for at in (0..5).cycle() {
            let path = format!("/none/{}", [400, 401, 403, 404, 426][at]);
            let ask = format!(
                "GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            );
            let mut wire = Wire::connect_from(stranger, daemon.address).await;
            assert!(wire.ask(ask).await.status() < 500);
        }
    });
    let event = events
        .until(|kind| matches!(kind, EventKind::Watch { over: true, .. }))
        .await;
    asks.abort();
    let EventKind::Watch { verdict, .. } = event.kind else {
        unreachable!("it was waited for")
    };
    assert_eq!(verdict, "inconclusive");
}

#[tokio::test]
async fn the_last_minute_of_every_slot_is_shown_watched_or_not() {
    let pair = Pair::start().await;
    pair.blue.on("/bad", Reply::status(500, "no"));
    let daemon = Daemon::start(&config(&pair)).await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    for path in ["/ok", "/bad", "/ok", "/ok"] {
        client.ask(request(&format!("GET {path}"), "", "")).await;
    }
    eventually("the last minute is told", async || {
        let minute = daemon.slot("blue").await.last_minute;
        (minute.requests, minute.failed) == (4, 1)
    })
    .await;
    let minute = daemon.slot("blue").await.last_minute;
    assert!((minute.error_percent - 25.0).abs() < 0.01, "{minute:?}");
    assert!(minute.requests_per_second > 0.0 && minute.p95_ms.is_some());
    assert_eq!(daemon.slot("green").await.last_minute.requests, 0);
    let shown = daemon.ctl(&["status"]).await.stdout;
    assert!(shown.contains("blue in the last "), "{shown}");
    assert!(
        shown.contains("25 % errors (1 failed, 0 JSON-RPC)"),
        "{shown}"
    );
}

/// Asks for honest things from some addresses of its own: of twenty-five requests one is for the method.
struct Site(JoinSet<()>);

const METHOD: &str = "/web/dataset/call_kw/sale.order/action_confirm";

impl Site {
    fn start(to: SocketAddr, clients: u8) -> Self {
        let mut site = JoinSet::new();
        for number in 1..=clients {
            let from = IpAddr::from([127, 0, 1, number]);
            site.spawn(async move {
                let mut wire = Wire::connect_from(from, to).await;
                for at in 0_u64.. {
                    let path = if at % 25 == 24 { METHOD } else { "/ok" };
                    let answer = wire.ask(request(&format!("POST {path}"), "", "{}")).await;
                    if answer.head.names_token("connection", "close") {
                        wire = Wire::connect_from(from, to).await;
                    }
                }
            });
        }
        Self(site)
    }

    async fn gone(mut self) {
        self.0.shutdown().await;
    }
}

#[tokio::test]
async fn a_method_that_always_fails_takes_traffic_back_however_rare_it_is() {
    let pair = Pair::start().await;
    let error = ERROR.replace("psycopg2.OperationalError", "builtins.ZeroDivisionError");
    pair.blue.on(METHOD, json("", RESULT));
    pair.green.on(METHOD, json("", &error));
    let daemon = Daemon::start(&config(&pair)).await;
    daemon.healthy().await;
    let site = Site::start(daemon.address, 5);
    eventually("blue has a past", async || {
        daemon.slot("blue").await.requests >= 1000
    })
    .await;
    daemon.flip("green").await;
    daemon.becomes_active("blue").await;
    site.gone().await;
    let quarantine = daemon.slot("green").await.quarantine.unwrap();
    let reason = &quarantine.reason;
    assert!(
        reason.contains("sale.order/action_confirm: ")
            && reason.contains("(builtins.ZeroDivisionError) by ")
            && reason.contains("; on blue 0 of "),
        "{reason}"
    );
}

/// Twelve kinds of rubbish; none where the connection is of no more use.
async fn molest(mut wire: Wire, kind: usize) -> Option<Wire> {
    let ask = |line: &str, more: &str, body: &str| request(line, more, body);
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let text = match kind {
        0 => ask("GET /nothing", upgrade, ""),
        1 => ask("GET /crash", upgrade, ""),
        2 => ask("GET /crash?x=1", "", ""),
        3 => ask(&format!("GET /crash/{kind}/a"), "", ""),
        4 => ask("POST /crash-of-a-method", "", "{}"),
        5 => ask("GET /cut", "", ""),
        6 => "GET / HTTP/1.1\r\nHost app.test\r\n\r\n".to_owned(),
        7 => "NONSENSE\r\n\r\n".to_owned(),
        8 => "POST /ok HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9999\r\n\r\nhalf".to_owned(),
        9 => ask("GET /ok", "", ""),
        10 => ask("GET /missing", "", ""),
        _ => "GET /ok HTTP/1.1\r\nHost: app.test\r\nX-Half".to_owned(),
    };
    wire.send(text).await;
    if matches!(kind, 8 | 11) {
        wire.reset();
        return None;
    }
    let answer = wire.answer("GET").await;
    (!answer.head.names_token("connection", "close")).then_some(wire)
}

#[tokio::test]
async fn a_thousand_requests_of_strangers_take_nothing_back() {
    let pair = Pair::start().await;
    let green = &pair.green;
    for path in ["/crash", "/crash?x=1", "/crash/3/a", "/crash-of-a-method"] {
        green.on(path, Reply::status(500, "no"));
    }
    green.on("/cut", Reply::steps([Step::TakeBody, Step::Close]));
    green.on("/nothing", Reply::status(404, "no"));
    green.on("/missing", Reply::status(404, "no"));
    let config = config(&pair)
        .set(&format!("{RULES}.critical.window = \"1s\""))
        .set(&format!("{RULES}.min_handshakes = 3"));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let site = Site::start(daemon.address, 2);
    blue_has_a_past(&daemon).await;
    daemon.flip("green").await;
    let mut strangers = JoinSet::new();
    for number in 1..=20 {
        let (from, to) = (IpAddr::from([127, 0, 66, number]), daemon.address);
        strangers.spawn(async move {
            let mut wire = None;
            for at in 0..50 {
                let open = match wire.take() {
                    Some(open) => open,
                    None => Wire::connect_from(from, to).await,
                };
                wire = molest(open, at % 12).await;
            }
        });
    }
    while let Some(one) = strangers.join_next().await {
        one.unwrap();
    }
    eventually("what they did was looked at", async || {
        let service = daemon.service("app").await;
        service.watch.is_some_and(|watch| watch.not_counted >= 100)
    })
    .await;
    let watch = watch(&daemon).await;
    let shown = daemon.ctl(&["status"]).await.stdout;
    site.gone().await;
    assert_eq!(watch.verdict, "good", "{watch:?}");
    assert_eq!(daemon.active().await, "green");
    assert!(shown.contains("not counted: "), "{shown}");
}

#[tokio::test]
async fn errors_of_what_both_slots_share_are_told_and_move_nothing() {
    let pair = Pair::start().await;
    pair.green.on("/call", json("", ERROR));
    let config = config(&pair).set(&format!(
        "{RULES}.shared_errors = [\"psycopg2.OperationalError\"]"
    ));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let clients = Clients::start(daemon.address);
    blue_has_a_past(&daemon).await;
    daemon.flip("green").await;
    eventually("they are counted", async || {
        let service = daemon.service("app").await;
        service
            .watch
            .is_some_and(|watch| watch.shared_errors >= 100)
    })
    .await;
    verdict_is(&daemon, "good").await;
    let shown = daemon.ctl(&["status"]).await.stdout;
    clients.gone().await;
    assert!(shown.contains("shared trouble: "), "{shown}");
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn a_slot_that_turns_bad_when_no_watch_runs_is_warned_of_and_stays() {
    let pair = Pair::start().await;
    let config = config(&pair).set("service.app.failback.mode = \"always\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    let clients = Clients::start(daemon.address);
    blue_has_a_past(&daemon).await;
    pair.blue.on("/ok", Reply::status(500, "no"));
    pair.blue.on("/call", Reply::status(500, "no"));
    let bad = |kind: &EventKind| matches!(kind, EventKind::Watch { moves_nothing: true, verdict, .. } if verdict == "critical");
    events.until(bad).await;
    let service = daemon.service("app").await;
    assert_eq!(service.active, "blue", "nothing moves");
    assert!(service.warning.is_some());
    assert!((daemon.metric(&["switchd_active_slot_bad"]).await - 1.0).abs() < 0.1);
    let shown = daemon.ctl(&["status"]).await.stdout;
    assert!(shown.contains("blue does badly for "), "{shown}");
    clients.gone().await;
    assert!(daemon.stderr().contains("active slot does badly"));
}

#[tokio::test]
async fn where_failback_is_off_the_watch_is_told_and_nothing_moves() {
    let pair = Pair::start().await;
    pair.green.on("/call", json("", ERROR));
    let config = config(&pair).set("service.app.failback.mode = \"off\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let clients = Clients::start(daemon.address);
    blue_has_a_past(&daemon).await;
    daemon.flip("green").await;
    verdict_is(&daemon, "critical").await;
    eventually("status says why nothing moves", async || {
        daemon.service("app").await.staying.as_deref() == Some("failback is off")
    })
    .await;
    clients.gone().await;
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn the_watch_goes_on_after_a_crash() {
    let pair = Pair::start().await;
    let mut daemon = Daemon::start(&config(&pair)).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    pair.green.on("/call", json("", ERROR));
    daemon.kill_and_restart().await;
    daemon.healthy().await;
    let clients = Clients::start(daemon.address);
    daemon.becomes_active("blue").await;
    clients.gone().await;
}

#[tokio::test]
async fn a_service_that_is_not_judged_goes_nowhere() {
    let pair = Pair::start().await;
    pair.green.on("/call", json("", ERROR));
    let config = config(&pair).set(&format!("{RULES}.enabled = false"));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let clients = Clients::start(daemon.address);
    daemon.flip("green").await;
    eventually("green has answered a lot", async || {
        daemon.slot("green").await.requests >= 1000
    })
    .await;
    clients.gone().await;
    let service = daemon.service("app").await;
    assert_eq!((&*service.active, service.watch), ("green", None));
}
