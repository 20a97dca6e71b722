//! Maintenance and read-only: who gets in, what waits, and that it stays so over restarts.

use crate::support::Answer;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use serde_json::Value;
use serde_json::json;
use switchd::api::EventKind;
use switchd::api::ModesStatus;

async fn maintenance(daemon: &Daemon, body: Value) -> ModesStatus {
    let path = "POST /v1/services/app/maintenance";
    let reply = daemon.call(path, &body.to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn read_only(daemon: &Daemon, on: bool) -> ModesStatus {
    let body = json!({ "on": on }).to_string();
    let reply = daemon.call("POST /v1/services/app/read_only", &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn ask(daemon: &Daemon, line: &str, extra: &str, body: &str) -> Answer {
    let mut client = Wire::connect(daemon.address).await;
    client.ask(request(line, extra, body)).await
}

fn is_mode(answer: &Answer, mode: &str) -> bool {
    answer.status() == 503 && answer.head.get("x-switchd-fault") == Some(mode)
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn in_maintenance_everybody_is_told_what_and_until_when() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let until = (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(10)).to_string();
    let told = json!({"on": true, "message": "We <move>. Back soon.", "until": until});
    maintenance(&daemon, told).await;
    let page = ask(&daemon, "GET /", "Accept: text/html\r\n", "").await;
    assert!(is_mode(&page, "maintenance"), "{page:?}");
    assert!(
        page.text().contains("We &lt;move&gt;. Back soon."),
        "{}",
        page.text()
    );
    let wait: u64 = page.head.get("retry-after").unwrap().parse().unwrap();
    assert!((500..=600).contains(&wait), "{wait}");
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"call","params":{}}"#;
    let error = ask(&daemon, "POST /jsonrpc", JSON, call).await;
    let error: Value = serde_json::from_str(&error.text()).unwrap();
    assert_eq!(error["id"], 7);
    assert_eq!(error["error"]["data"]["name"], "switchd.maintenance");
    let words = error["error"]["message"].as_str().unwrap();
    assert!(words.contains("We <move>. Back soon."), "{words}");
    assert_eq!(pair.blue.count(), 0);
    maintenance(&daemon, json!({"on": false})).await;
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    assert_eq!(
        daemon
            .metric(&["switchd_mode_refused_total", "maintenance"])
            .await,
        2.0
    );
}

#[tokio::test]
async fn in_maintenance_a_few_get_in() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("trusted_proxies = [\"127.0.0.1\"]")
        .set("service.app.maintenance.allow = [\"192.0.2.7\"]")
        .set("service.app.hold.pass = [\"/lb\"]");
    let daemon = Daemon::start(&config).await;
    maintenance(&daemon, json!({"on": true, "allow": ["10.0.0.0/8"]})).await;
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    for client in ["10.1.2.3", "192.0.2.7"] {
        let answer = ask(&daemon, "GET /", &from(client), "").await;
        assert_eq!(answer.status(), 200, "{client}");
    }
    let other = ask(&daemon, "GET /", &from("192.0.2.8"), "").await;
    assert!(is_mode(&other, "maintenance"));
    assert_eq!(get(daemon.address, "/lb").await.status(), 200);
    assert!(is_mode(
        &ask(&daemon, "POST /lb", "", "").await,
        "maintenance"
    ));
}

#[tokio::test]
async fn the_bypass_link_lets_a_browser_in_and_nothing_else_does() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let modes = maintenance(&daemon, json!({"on": true, "bypass": true})).await;
    let bypass = modes.bypass.unwrap();
    let visit = get(daemon.address, &bypass.path).await;
    assert_eq!(visit.status(), 303);
    assert_eq!(visit.head.get("location"), Some("/"));
    let cookie = visit.head.get("set-cookie").unwrap();
    assert!(cookie.starts_with(&bypass.cookie), "{cookie}");
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    let with = |cookie: &str| format!("Cookie: a=b; {cookie}\r\n");
    let inside = ask(&daemon, "GET /", &with(&bypass.cookie), "").await;
    assert_eq!(inside.status(), 200);
    let shorter = &bypass.cookie[..bypass.cookie.len() - 1];
    for wrong in [shorter, "switchd_bypass=", "switchd_bypass=x"] {
        let outside = ask(&daemon, "GET /", &with(wrong), "").await;
        assert!(is_mode(&outside, "maintenance"), "{wrong}");
    }
    for wrong in ["/.switchd/bypass/", "/.switchd/bypass/x"] {
        assert!(is_mode(&get(daemon.address, wrong).await, "maintenance"));
    }
    // Said again without it, the secret is worth nothing.
    maintenance(&daemon, json!({"on": true})).await;
    let outside = ask(&daemon, "GET /", &with(&bypass.cookie), "").await;
    assert!(is_mode(&outside, "maintenance"));
    assert!(
        !daemon.stderr().contains(&bypass.cookie[20..]),
        "it is in the log"
    );
}

#[tokio::test]
async fn in_maintenance_open_websockets_stay_and_no_new_ones_open() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut before = Websocket::connect(daemon.address, "/ws").await.unwrap();
    maintenance(&daemon, json!({"on": true})).await;
    assert_eq!(before.talk("still here").await.unwrap(), "blue");
    let refused = Websocket::connect(daemon.address, "/ws").await;
    assert!(refused.is_err());
    assert_eq!(pair.blue.requests_for("/ws").len(), 1);
}

#[tokio::test]
async fn modes_survive_a_crash_and_are_in_the_history() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    let modes = maintenance(
        &daemon,
        json!({"on": true, "message": "Works.", "bypass": true}),
    )
    .await;
    let on = |it: &EventKind| matches!(it, EventKind::Mode { mode, on: true, .. } if mode == "maintenance");
    events.until(on).await;
    read_only(&daemon, true).await;
    daemon.kill_and_restart().await;
    let service = daemon.service("app").await;
    assert_eq!(
        service.maintenance.unwrap().message.as_deref(),
        Some("Works.")
    );
    assert!(service.read_only.is_some());
    assert!(is_mode(&get(daemon.address, "/").await, "maintenance"));
    let cookie = format!("Cookie: {}\r\n", modes.bypass.unwrap().cookie);
    assert_eq!(ask(&daemon, "GET /", &cookie, "").await.status(), 200);
    let refused = ask(&daemon, "POST /", &cookie, "").await;
    assert!(is_mode(&refused, "read-only"));
    let off = daemon.ctl(&["maintenance", "off"]).await;
    assert_eq!(
        (off.code, off.stdout.trim()),
        (0, "maintenance is off: everybody gets in")
    );
    let off = daemon.ctl(&["read-only", "off"]).await;
    assert_eq!((off.code, off.stdout.trim()), (0, "may be written again"));
    daemon.kill_and_restart().await;
    assert_eq!(ask(&daemon, "POST /", "", "").await.status(), 200);
    let history = daemon.history().await;
    let modes: Vec<_> = history
        .iter()
        .map(|it| (&*it.command, &*it.details[0]))
        .collect();
    let told = [
        ("maintenance", "on"),
        ("read_only", "on"),
        ("maintenance", "off"),
        ("read_only", "off"),
    ];
    assert_eq!(modes, told);
}

#[tokio::test]
async fn the_command_says_who_gets_in_and_the_status_that_it_is_on() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let arguments = ["maintenance", "on", "--message", "Moving.", "--until", "2h"];
    let on = daemon
        .ctl(
            &[
                &arguments[..],
                &["--allow", "10.0.0.0/8", "--bypass-cookie"],
            ]
            .concat(),
        )
        .await;
    assert_eq!(on.code, 0, "{on:?}");
    for part in [
        "10.0.0.0/8",
        "told to come back in",
        "https://HOST/.switchd/bypass/",
        "switchd_bypass=",
    ] {
        assert!(on.stdout.contains(part), "no {part} in {}", on.stdout);
    }
    assert!(is_mode(&get(daemon.address, "/").await, "maintenance"));
    let words = daemon.ctl(&["status"]).await.stdout;
    assert!(
        words.contains("in maintenance by") && words.contains("Moving."),
        "{words}"
    );
    assert!(words.contains("1 request turned away"), "{words}");
    assert_eq!(daemon.metric(&["switchd_maintenance{"]).await, 1.0);
    for wrong in [["--allow", "nowhere"], ["--message", "two\nlines"]] {
        let refused = daemon.ctl(&["maintenance", "on", wrong[0], wrong[1]]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
    }
    let wrong = daemon.ctl(&["maintenance", "on", "--until", "later"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

fn reading(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.read_only.paths = [\"/login\"]")
        .set("service.app.read_only.calls = [\"/call\", \"/jsonrpc\"]")
        .set("service.app.read_only.methods = [\"read\"]")
}

fn call(method: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 3, "params": {"model": "m", "method": method, "args": []}})
        .to_string()
}

#[tokio::test]
async fn what_reads_goes_on_and_what_writes_is_told_so_in_its_own_shape() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&reading(&pair)).await;
    read_only(&daemon, true).await;
    let object = |method: &str| {
        let args = json!(["db", 2, "pw", "m", method, []]);
        json!({"params": {"service": "object", "method": "execute_kw", "args": args}}).to_string()
    };
    for (line, body) in [
        ("GET /", String::new()),
        ("HEAD /", String::new()),
        ("POST /login", "name=x".to_owned()),
        ("POST /call/m/read", call("read")),
        ("POST /jsonrpc?x", object("read")),
    ] {
        let mut client = Wire::connect(daemon.address).await;
        client.send(request(line, JSON, &body)).await;
        let method = line.split(' ').next().unwrap();
        assert_eq!(client.answer(method).await.status(), 200, "{line}");
    }
    let served = pair.blue.count();
    for (line, body) in [
        ("POST /", String::new()),
        ("PUT /login/", "x".to_owned()),
        ("DELETE /call/m/read", String::new()),
        // The body decides: the path is only told.
        ("POST /call/m/read", call("write")),
        ("POST /caller", call("read")),
        ("POST /jsonrpc", object("unlink")),
        ("POST /jsonrpc", "no JSON".to_owned()),
        ("POST /call/m/read", call("read") + &" ".repeat(70_000)),
    ] {
        let refused = ask(&daemon, line, JSON, &body).await;
        assert!(is_mode(&refused, "read-only"), "{line} {refused:?}");
        assert!(refused.head.get("retry-after").is_some());
    }
    assert_eq!(pair.blue.count(), served);
    let error = ask(&daemon, "POST /jsonrpc", JSON, &call("write")).await;
    let error: Value = serde_json::from_str(&error.text()).unwrap();
    assert_eq!(
        (&error["id"], &error["error"]["data"]["name"]),
        (&json!(3), &json!("switchd.read-only"))
    );
    read_only(&daemon, false).await;
    assert_eq!(ask(&daemon, "POST /", "", "").await.status(), 200);
}

#[tokio::test]
async fn a_call_may_come_in_pieces_and_goes_on_whole() {
    let pair = Pair::start().await;
    let config = reading(&pair).set("service.app.read_only.calls = [\"/echo\"]");
    let daemon = Daemon::start(&config).await;
    read_only(&daemon, true).await;
    let body = call("read");
    let whole = request("POST /echo", JSON, &body);
    let mut client = Wire::connect(daemon.address).await;
    for piece in whole.as_bytes().chunks(whole.len() / 3) {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer("POST").await.text(), body);
    // The connection goes on: nothing of the call was left on it, or taken from what followed.
    client
        .send(request("POST /echo", JSON, &body) + &request("GET /next", "", ""))
        .await;
    assert_eq!(client.answer("POST").await.text(), body);
    assert_eq!(client.answer("GET").await.text(), "blue");
    let mut polite = Wire::connect(daemon.address).await;
    let expects = format!("{JSON}Expect: 100-continue\r\n");
    let answer = polite
        .ask_politely("POST", &request("POST /echo", &expects, &body))
        .await;
    assert_eq!(answer.unwrap().text(), body);
}

#[tokio::test]
async fn writes_wait_where_they_are_held_and_go_on_when_it_is_over() {
    let pair = Pair::start().await;
    let config = reading(&pair)
        .set("service.app.read_only.writes = \"hold\"")
        .set("service.app.hold.max_wait = \"5m\"");
    let daemon = Daemon::start(&config).await;
    read_only(&daemon, true).await;
    let mut writer = Wire::connect(daemon.address).await;
    writer.send(request("POST /echo", "", "an order")).await;
    eventually("it waits", async || {
        daemon.service("app").await.read_only.unwrap().waiting == 1
    })
    .await;
    assert_eq!(daemon.requests().await[0].state, "held");
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    daemon.healthy().await;
    daemon.flip("green").await;
    read_only(&daemon, false).await;
    let answer = writer.answer("POST").await;
    assert_eq!((answer.backend(), &*answer.text()), ("green", "an order"));
    assert_eq!(ask(&daemon, "POST /echo", "", "next").await.text(), "next");
}
