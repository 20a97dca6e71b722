//! The fourteen rules that the facts put at their head, one promise each, with `preset = "odoo"` in front of the double.

use crate::flip::is_published;
use crate::support::Answer;
use crate::support::Authority;
use crate::support::Behaviour;
use crate::support::Config;
use crate::support::Content;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Digest;
use crate::support::Http2;
use crate::support::Odoo;
use crate::support::OdooMember;
use crate::support::SerializationFailure;
use crate::support::WebsocketEvent;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::frames::CLOSE;
use crate::support::frames::close_payload;
use crate::support::frames::masked;
use crate::support::get;
use crate::support::h2_request;
use crate::support::request;
use std::time::Duration;
use std::time::Instant;
use tokio::task::JoinSet;

/// Blue and green on one database, and switchd in front of them.
struct Site {
    blue: Odoo,
    green: Odoo,
    daemon: Daemon,
}

impl Site {
    async fn start() -> Self {
        Self::of(&Behaviour::default(), |config| config).await
    }

    async fn of(behaviour: &Behaviour, change: impl FnOnce(Config) -> Config) -> Self {
        let database = Database::new();
        let blue = Odoo::start_on("blue", behaviour.clone(), &database);
        let green = Odoo::start_on("green", behaviour.clone(), &database);
        let daemon = Daemon::start(&change(Config::odoo(&blue, &green))).await;
        daemon.healthy().await;
        Self {
            blue,
            green,
            daemon,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.daemon.address, path).await
    }

    async fn ask(&self, line: &str, extra: &str, body: &str) -> Answer {
        let mut client = Wire::connect(self.daemon.address).await;
        client.ask(request(line, extra, body)).await
    }

    async fn reload(&self, config: &Config) {
        self.daemon.write_config(config);
        let output = self.daemon.ctl(&["reload"]).await;
        assert_eq!(output.code, 0, "{output:?}");
    }

    /// The header lines of somebody who is logged in and speaks JSON.
    fn json(&self) -> String {
        let session = self.blue.database().log_in("admin");
        format!("Content-Type: application/json\r\nCookie: session_id={session}\r\n")
    }

    async fn websocket(&self) -> Wire {
        let mut client = Wire::connect(self.daemon.address).await;
        let ask = request(
            "GET /websocket?version=18.0-5",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://app.test\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "",
        );
        assert_eq!(client.ask(ask).await.status(), 101);
        client
    }

    /// Requests that the slot works on, and those that wait for it.
    async fn becomes_busy(&self, under_way: usize, queued: u64) {
        eventually("they work and wait", async || {
            let waiting = self.daemon.slot("blue").await.queued;
            self.blue.record().under_way() == under_way && waiting == queued
        })
        .await;
    }
}

fn call(model: &str, method: &str, kwargs: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"params":{{"model":"{model}","method":"{method}","args":[],"kwargs":{kwargs}}}}}"#
    )
}

const CALL: &str = "POST /web/dataset/call_kw/res.partner/read";

#[tokio::test]
async fn rule_01_slow_clients_meet_switchd_and_never_a_worker() {
    let site = Site::of(&Behaviour::at_pace(2), |config| config).await;
    let patience = site.blue.behaviour().socket_timeout();
    let length = 24 << 20;
    let content = Content::Pattern(length);
    let id = site
        .blue
        .database()
        .attach("film", "video/mp4", content.clone());
    let path = format!("/web/content/{id}");
    // As many who read nothing as there are workers,
    let mut readers = Vec::new();
    for _ in 0..site.blue.behaviour().workers {
        let mut reader = Wire::connect(site.daemon.address).await;
        reader.send(request(&format!("GET {path}"), "", "")).await;
        readers.push(reader);
    }
    // and one who stops in the middle of what he sends, for longer than a worker would wait.
    let body = call("res.partner", "read", "{}");
    let upload = request(CALL, &site.json(), &body);
    let (first, rest) = upload.split_at(upload.len() - 10);
    let mut sender = Wire::connect(site.daemon.address).await;
    sender.send(first).await;
    let began = Instant::now();
    eventually("the workers have given all they had", async || {
        let seen = site.blue.record().requests_for(&path);
        let whole = seen
            .iter()
            .filter(|seen| seen.ended.is_some_and(|end| end.is_whole));
        whole.count() == readers.len() && began.elapsed() > patience
    })
    .await;
    assert_eq!(site.get("/whoami").await.status(), 200);
    assert_eq!(site.blue.record().requests().len(), readers.len() + 1);
    sender.send(rest).await;
    let answer = sender.answer("POST").await;
    assert!(answer.text().contains("\"result\""), "{}", answer.text());
    for reader in &mut readers {
        let answer = reader.answer("GET").await;
        assert_eq!(Digest::of(&answer.body.data), content.digest());
    }
}

#[tokio::test]
async fn rule_02_no_connection_without_a_request_reaches_a_worker() {
    let site = Site::start().await;
    let mut client = Wire::connect(site.daemon.address).await;
    for _ in 0..5 {
        let answer = client.ask(request("GET /whoami", "", "")).await;
        assert_eq!(answer.status(), 200);
    }
    // A client that connects, and one that stops within a head, are nobody's business but ours.
    let _silent = Wire::connect(site.daemon.address).await;
    let mut slow = Wire::connect(site.daemon.address).await;
    slow.send("POST /web/login HTTP/1.1\r\nHost: app.test\r\n")
        .await;
    site.daemon.flip("green").await;
    client.ask(request("GET /whoami", "", "")).await;
    site.daemon.flip("blue").await;
    for odoo in [&site.blue, &site.green] {
        let silent = odoo.record().silent();
        let at_workers = silent.iter().filter(|one| one.member == OdooMember::Http);
        assert_eq!(at_workers.count(), 0, "{silent:?}");
    }
}

#[tokio::test]
async fn rule_03_what_waits_waits_here_and_goes_to_the_new_slot() {
    let site = Site::start().await;
    let mut clients = JoinSet::new();
    let address = site.daemon.address;
    for _ in 0..12 {
        clients.spawn(async move { get(address, "/whoami?sleep_ms=700").await.text() });
    }
    // Two for each worker are with Odoo, of which a worker has one.
    site.becomes_busy(2, 8).await;
    assert_eq!(site.daemon.slot("blue").await.in_flight.requests, 4);
    site.daemon
        .begin_flip("green")
        .await
        .until(is_published)
        .await;
    let answers = clients.join_all().await;
    let from = |colour: &str| {
        let name = format!("\"colour\":\"{colour}\"");
        answers
            .iter()
            .filter(|answer| answer.contains(&name))
            .count()
    };
    assert_eq!((from("blue"), from("green")), (4, 8), "{answers:?}");
}

#[tokio::test]
async fn rule_04_a_slot_with_a_dead_websocket_process_is_not_well_though_its_health_says_pass() {
    let site = Site::start().await;
    site.green.crash_gevent();
    site.daemon.slot_becomes("green", "unhealthy").await;
    let lie = get(site.green.http_address(), "/web/health").await;
    assert_eq!(lie.text(), r#"{"status": "pass"}"#);
    let flip = ["flip", "green", "--no-wait-for-start"];
    let output = site.daemon.ctl(&flip).await;
    assert_ne!(output.code, 0, "{output:?}");
    assert_eq!(site.daemon.active().await, "blue");
}

#[tokio::test]
async fn rule_04_a_busy_slot_is_not_a_dead_one() {
    let site = Site::of(&Behaviour::default(), |config| {
        config
            .set("service.app.health.http.timeout = \"500ms\"")
            .set("service.app.health.http.fall = 1")
    })
    .await;
    let mut clients = JoinSet::new();
    let address = site.daemon.address;
    for _ in 0..2 {
        clients.spawn(async move { get(address, "/whoami?sleep_ms=2000").await.status() });
    }
    site.becomes_busy(2, 0).await;
    let before = site.blue.record().requests_for("/web/health").len();
    assert_eq!(clients.join_all().await, [200, 200]);
    // The probe that had to wait was answered, and nothing moved.
    eventually("probes go on", async || {
        site.blue.record().requests_for("/web/health").len() > before + 1
    })
    .await;
    assert_eq!(site.daemon.slot("blue").await.health, "healthy");
    assert_eq!(site.daemon.active().await, "blue");
}

#[tokio::test]
async fn rule_05_failures_in_a_200_pass_as_they_are() {
    let site = Site::start().await;
    let body = call("res.partner", "fail", "{}");
    let extra = site.json();
    let direct = {
        let mut client = Wire::connect(site.blue.http_address()).await;
        client.ask(request(CALL, &extra, &body)).await
    };
    let answer = site.ask(CALL, &extra, &body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text(), direct.text());
    assert!(answer.text().contains("odoo.exceptions.UserError"));
}

#[tokio::test]
async fn rule_05_a_failure_of_ours_has_the_shape_that_its_caller_knows() {
    let site = Site::of(&Behaviour::default(), |config| {
        config.set("service.app.hold_on_outage = \"0s\"")
    })
    .await;
    site.blue.kill();
    site.blue.gone().await;
    let answer = site
        .ask(CALL, &site.json(), &call("res.partner", "read", "{}"))
        .await;
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!((&told["jsonrpc"], &told["id"]), (&"2.0".into(), &1.into()));
    assert!(told["error"]["message"].is_string(), "{told}");
    assert!(told.get("result").is_none(), "{told}");
}

#[tokio::test]
async fn what_finds_no_process_waits_for_one_that_is_there() {
    let site = Site::start().await;
    site.blue.kill();
    site.blue.gone().await;
    let answer = site
        .ask(CALL, &site.json(), &call("res.partner", "read", "{}"))
        .await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(site.daemon.active().await, "green");
}

#[tokio::test]
async fn rule_06_websockets_of_a_slot_that_is_left_are_closed_with_4002() {
    let site = Site::of(&Behaviour::default(), |config| {
        config.set("service.app.websocket.spread = \"300ms\"")
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(site.websocket().await);
    }
    let flip = site.daemon.begin_flip("green").await;
    for client in &mut clients {
        assert_eq!(client.next_frame().await.close().0, 4002);
        client.send(masked(CLOSE, true, &close_payload(4002))).await;
        assert_eq!(client.frame().await, None);
    }
    flip.ends_with_cut(0).await;
    let _back = site.websocket().await;
    eventually("it is on green", async || site.green.open_websockets() == 1).await;
}

#[tokio::test]
async fn rule_07_when_a_slot_is_drained_stopping_odoo_cuts_no_websocket() {
    let site = Site::of(&Behaviour::default(), |config| {
        config.set("service.app.websocket.spread = \"300ms\"")
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(site.websocket().await);
    }
    // Those that never answer are no reason to leave anything to Odoo.
    site.daemon.flip("green").await;
    eventually("blue has no websocket", async || {
        site.blue.open_websockets() == 0
    })
    .await;
    site.blue.terminate();
    for client in &mut clients {
        assert_eq!(client.next_frame().await.close().0, 4002);
    }
    for websocket in site.blue.record().websockets() {
        let first = &websocket.events[0];
        assert!(
            matches!(first, WebsocketEvent::CloseReceived(4002, _)),
            "{websocket:?}"
        );
    }
}

#[tokio::test]
async fn rule_08_odoo_is_told_host_and_client_and_believes_no_underscore() {
    let site = Site::start().await;
    let spoof = "X_Forwarded_Host: evil.example\r\nX_Forwarded_For: 6.6.6.6\r\n\
                 X-Forwarded-Host: evil.example\r\nX-Forwarded-For: 6.6.6.6\r\n\
                 X-Forwarded-Proto: gopher\r\n";
    for extra in ["", spoof] {
        let known = site.ask("GET /whoami", extra, "").await.text();
        assert!(
            known.contains(r#""url":"http://app.test/whoami""#),
            "{known}"
        );
        assert!(known.contains(r#""remote":"127.0.0.1""#), "{known}");
    }
    for seen in site.blue.record().requests() {
        assert_eq!(seen.head.all("x-forwarded-host"), ["app.test"]);
        assert!(!seen.head.headers.iter().any(|(name, _)| name.contains('_')));
    }
}

#[tokio::test]
async fn rule_08_over_tls_odoo_knows_the_scheme_and_its_cookie_is_secure() {
    let ca = Authority::new("the CA of this test");
    let leaf = ca.issue(&["app.test"]);
    let site = Site::of(&Behaviour::default(), |config| {
        config.leaf("app", &leaf).tls_listener("", &["app"])
    })
    .await;
    let address = site.daemon.listener(1).await;
    let mut client = ca.client().connect(address, "app.test").await.unwrap();
    let known = client.ask(request("GET /whoami", "", "")).await.text();
    assert!(
        known.contains(r#""url":"https://app.test/whoami""#),
        "{known}"
    );
    let page = client.ask(request("GET /web/login", "", "")).await;
    let cookies = page.head.all("set-cookie");
    let session = cookies
        .iter()
        .find(|line| line.starts_with("session_id="))
        .unwrap();
    assert!(
        session.contains("; Secure") && session.contains("; SameSite=Lax"),
        "{session}"
    );
}

#[tokio::test]
async fn rule_09_cookie_crumbs_of_http2_reach_odoo_as_one_line() {
    let site = Site::start().await;
    let session = site.blue.database().log_in("admin");
    let client = Http2::connect(site.daemon.address).await;
    let asked = h2_request("GET", "/whoami")
        .header("cookie", "tz=Europe/Berlin")
        .header("cookie", format!("session_id={session}"))
        .header("cookie", "frontend_lang=de_DE");
    let known = client.ask(asked, b"").await.unwrap().text();
    assert!(known.contains(r#""user":"admin""#), "{known}");
    let seen = site.blue.record().request_for("/whoami");
    let whole = format!("tz=Europe/Berlin; session_id={session}; frontend_lang=de_DE");
    assert_eq!(seen.head.all("cookie"), [whole]);
}

#[tokio::test]
async fn rule_10_what_was_sent_once_is_never_sent_again() {
    let behaviour = Behaviour {
        limit_time_real: Some(Duration::from_millis(200)),
        ..Behaviour::default()
    };
    let site = Site::of(&behaviour, |config| config).await;
    assert_eq!(site.get("/odoo?sleep_ms=3000").await.status(), 502);
    let slow = call("res.partner", "read", r#"{"sleep_ms":3000}"#);
    assert_eq!(site.ask(CALL, &site.json(), &slow).await.status(), 502);
    assert_eq!(site.blue.record().requests().len(), 2, "each came once");
    assert_eq!(site.green.record().requests().len(), 0);
    assert!(site.blue.database().queries() > 0, "and its SQL goes on");
}

#[tokio::test]
async fn rule_11_old_pages_get_their_assets_after_a_flip() {
    let database = Database::new();
    let code = |assets| Behaviour {
        assets,
        ..Behaviour::at_pace(50)
    };
    let blue = Odoo::start_on("blue", code("b1ue000"), &database);
    let green = Odoo::start_on("green", code("9reen00"), &database);
    let daemon = Daemon::start(&Config::odoo(&blue, &green)).await;
    daemon.healthy().await;
    let bundle = |hash: &str| format!("/web/assets/{hash}/web.assets_web.min.js");
    let (old, new) = (bundle("b1ue000"), bundle("9reen00"));
    let before = get(daemon.address, &old).await;
    assert_eq!(before.status(), 200);
    assert!(!before.head.has("set-cookie"), "{:?}", before.head);
    daemon.flip("green").await;
    // Green builds its own, which deletes blue's from the database.
    assert_eq!(get(daemon.address, &new).await.status(), 200);
    assert_eq!(get(green.http_address(), &old).await.status(), 303);
    let after = get(daemon.address, &old).await;
    assert_eq!((after.status(), after.text()), (200, before.text()));
    assert_eq!(
        green.record().requests_for(&old).len(),
        1,
        "ours, past switchd"
    );
}

#[tokio::test]
async fn rule_12_a_request_counts_until_odoo_is_done_with_it() {
    let site = Site::start().await;
    let mut client = Wire::connect(site.daemon.address).await;
    client
        .send(request("GET /odoo?sleep_ms=1200", "", ""))
        .await;
    site.becomes_busy(1, 0).await;
    drop(client);
    let mut flip = site.daemon.begin_flip("green").await;
    flip.until(is_published).await;
    assert_eq!(site.blue.record().under_way(), 1, "Odoo works on");
    flip.ends_with_cut(0).await;
    assert_eq!(site.blue.record().under_way(), 0, "drained means done");
}
/// Ways to write the path of the database manager, those that reach it and more.
const SPELLINGS: [&str; 10] = [
    "/web/database/manager",
    "//web/database/manager",
    "/web/%64atabase/manager",
    "/web%2fdatabase%2fmanager",
    "/web/database/manager/",
    "/web//database/manager",
    "/x/../web/database/manager",
    "/web/./database/selector",
    "/web/database/backup?size=1",
    "/de/web/database/manager",
];

#[tokio::test]
async fn rule_13_the_database_manager_is_shut_in_every_spelling() {
    let site = Site::start().await;
    for path in SPELLINGS {
        assert_eq!(site.get(path).await.status(), 403, "{path}");
        let answer = site.ask(&format!("POST {path}"), "", "a=b").await;
        assert_eq!(answer.status(), 403, "POST {path}");
    }
    let client = Http2::connect(site.daemon.address).await;
    for path in SPELLINGS {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status(), 403, "{path} over HTTP/2");
    }
    assert_eq!(site.blue.record().requests().len(), 0);
    let raw = "/odoo/%D1%82%2f;x=1?q=%2F&db=/web/database";
    assert_eq!(site.get(raw).await.status(), 303);
    assert_eq!(site.blue.record().requests()[0].head.target(), raw);
}

#[tokio::test]
async fn rule_14_a_migration_passes_once_nobody_can_write() {
    let site = Site::start().await;
    let (address, json) = (site.daemon.address, site.json());
    let write = move |time: usize| {
        let kwargs = format!(r#"{{"sleep_ms":{time}}}"#);
        let body = call("res.partner", "create", &kwargs);
        let raw = request("POST /web/dataset/call_kw/res.partner/create", &json, &body);
        async move { Wire::connect(address).await.ask(raw).await.status() }
    };
    let one_more = async { assert_eq!(write(0).await, 200) };
    let failed = site.blue.database().migrate(one_more).await;
    assert_eq!(failed, Err(SerializationFailure), "with a writer");

    // The doors are shut, and who is inside finishes.
    let under_way = tokio::spawn(write(700));
    site.becomes_busy(1, 0).await;
    let open = Config::odoo(&site.blue, &site.green);
    let shut = open
        .clone()
        .set("service.app.access.deny = [\"127.0.0.0/8\"]");
    site.reload(&shut).await;
    assert_eq!(under_way.await.unwrap(), 200);
    eventually("nothing is under way", async || {
        site.daemon.slot("blue").await.in_flight.requests == 0
    })
    .await;
    let refused = async { assert_eq!(write(0).await, 403) };
    assert_eq!(site.blue.database().migrate(refused).await, Ok(()));
    site.reload(&open).await;
    assert_eq!(write(0).await, 200);
}
