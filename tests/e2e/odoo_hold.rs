//! A migration under live writers, and a site that may only be read, with `preset = "odoo"` in front of the double.

use crate::flip::is_published;
use crate::hold::hold;
use crate::hold::is_released;
use crate::hold::release;
use crate::hold::waiting;
use crate::support::Answer;
use crate::support::Behaviour;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Odoo;
use crate::support::SerializationFailure;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use serde_json::Value;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Instant;
use switchd::api::EventKind;
use tokio::task::JoinSet;

struct Site {
    blue: Odoo,
    _green: Odoo,
    daemon: Daemon,
}

impl Site {
    async fn start() -> Self {
        let database = Database::new();
        let blue = Odoo::start_on("blue", Behaviour::default(), &database);
        let green = Odoo::start_on("green", Behaviour::default(), &database);
        let daemon = Daemon::start(&Config::odoo(&blue, &green)).await;
        daemon.healthy().await;
        Self {
            blue,
            _green: green,
            daemon,
        }
    }

    /// The header lines of somebody who is logged in and speaks JSON.
    fn json(&self) -> String {
        let session = self.blue.database().log_in("admin");
        format!("Content-Type: application/json\r\nCookie: session_id={session}\r\n")
    }
}

async fn call(to: SocketAddr, json: &str, method: &str) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 1, "params": {
        "model": "res.partner", "method": method, "args": [], "kwargs": {}}});
    let line = format!("POST /web/dataset/call_kw/res.partner/{method}");
    let raw = request(&line, json, &body.to_string());
    Wire::connect(to).await.ask(raw).await
}

fn result(answer: &Answer) -> Value {
    assert_eq!(answer.status(), 200, "{answer:?}");
    let text: Value = serde_json::from_str(&answer.text()).unwrap();
    assert!(text["error"].is_null(), "{text}");
    text["result"].clone()
}

#[tokio::test]
async fn a_migration_passes_under_live_writers_and_none_of_them_fails() {
    const WRITERS: u64 = 6;
    let site = Site::start().await;
    let database = site.blue.database().clone();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (to, json, stop) = (site.daemon.address, site.json(), stop.clone());
        writers.spawn(async move {
            let mut longest = 0;
            while !stop.load(Ordering::SeqCst) {
                let began = Instant::now();
                result(&call(to, &json, "create").await);
                longest = longest.max(began.elapsed().as_millis());
            }
            longest
        });
    }
    let written = async |more: u64| {
        let before = database.writes();
        eventually("they write", async || database.writes() >= before + more).await;
    };
    let failed = database.migrate(written(10)).await;
    assert_eq!(failed, Err(SerializationFailure), "with writers");
    let mut events = hold(&site.daemon, r#"{"for":"5m","drain":true}"#).await;
    let drained = |it: &EventKind| matches!(it, EventKind::HoldDrained { .. });
    events.until(drained).await;
    let all_wait = waiting(&site.daemon, WRITERS);
    assert_eq!(database.migrate(all_wait).await, Ok(()), "with a hold");
    site.daemon
        .begin_flip("green")
        .await
        .until(is_published)
        .await;
    release(&site.daemon).await;
    let released = events.until(is_released).await;
    written(10).await;
    stop.store(true, Ordering::SeqCst);
    let mut longest = 0;
    while let Some(writer) = writers.join_next().await {
        longest = longest.max(writer.unwrap());
    }
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
    println!("held {held_ms} ms, longest wait {longest_ms} ms, as writers saw it {longest} ms");
    // Whoever came back while others were let go stood behind them.
    assert!(requests >= WRITERS && refused == 0, "{requests}, {refused}");
    assert!(longest_ms <= held_ms);
}

/// Logs in through the front door, which is where reports fetch from then on.
async fn name_front_door(site: &Site) {
    let to = site.daemon.address;
    let form = "login=admin&password=admin";
    let head = format!(
        "POST /web/login HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    let answer = Wire::connect(to).await.ask(head + form).await;
    assert_eq!(answer.status(), 303, "{answer:?}");
    let base_url = site.blue.database().base_url();
    assert_eq!(base_url, format!("http://{to}"));
}

#[tokio::test]
async fn a_report_under_way_gets_its_styles_through_its_own_hold_and_then_nothing_passes() {
    let site = Site::start().await;
    name_front_door(&site).await;
    let (to, blue) = (site.daemon.address, site.blue.record());
    let asked = |path: &str| blue.requests_for(path).len();
    site.blue.keep_reports();
    let mut report = Wire::connect(to).await;
    report.send(request("GET /report/pdf/sale/1", "", "")).await;
    eventually("the report is under way", async || {
        asked("/report/pdf/sale/1") == 1
    })
    .await;
    let mut events = hold(&site.daemon, r#"{"for":"5m","drain":true}"#).await;
    // Others wait while it drains, uploads to the very paths too.
    let mut page = Wire::connect(to).await;
    page.send(request("GET /odoo", "", "")).await;
    let mut upload = Wire::connect(to).await;
    upload.send(request("POST /web/image/1", "", "x")).await;
    waiting(&site.daemon, 2).await;
    site.blue.render();
    assert_eq!(report.answer("GET").await.status(), 200);
    let drained = |it: &EventKind| matches!(it, EventKind::HoldDrained { .. });
    events.until(drained).await;
    // From now on only what is kept is given.
    let font = "/web/static/fonts/lato/Lato-Reg-webfont.woff";
    let fetched = asked(font);
    assert_eq!(get(to, font).await.status(), 200);
    let mut barcode = Wire::connect(to).await;
    barcode
        .send(request("GET /report/barcode/QR/S00043", "", ""))
        .await;
    waiting(&site.daemon, 3).await;
    assert_eq!(
        (asked(font), asked("/report/barcode/QR/S00043")),
        (fetched, 0)
    );
    release(&site.daemon).await;
    assert_eq!(barcode.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn a_site_that_is_read_only_is_looked_at_as_ever_and_not_changed() {
    let site = Site::start().await;
    let (to, json) = (site.daemon.address, site.json());
    result(&call(to, &json, "create").await);
    let output = site
        .daemon
        .ctl(&["read-only", "on", "--reason", "copying"])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    let writes = site.blue.database().writes();
    for method in ["read", "search_read", "fields_get"] {
        let answer = call(to, &json, method).await;
        assert_eq!(answer.status(), 200, "{method}: {answer:?}");
    }
    let page = Wire::connect(to)
        .await
        .ask(request("GET /odoo", &json, ""))
        .await;
    assert_ne!(page.status(), 503);
    let head = "Content-Type: application/json\r\n";
    let passes = async |line: &str, body: &str| {
        let answer = Wire::connect(to).await.ask(request(line, head, body)).await;
        answer.head.get("x-switchd-fault") != Some("read-only")
    };
    for read in [
        "/json/2/res.partner/search_read",
        "/json/2/res.partner/fields_get?x=1",
        "/discuss/channel/messages",
        "/mail/inbox/messages",
    ] {
        assert!(passes(&format!("POST {read}"), "{}").await, "{read}");
    }
    for write in [
        "/json/2/res.partner/create",
        "/json/2/res.partner/SEARCH_READ",
        "/json/2/res.partner/search%5fread",
        "/json/2/res.partner/unlink/search_read",
        "/json/2/res.partner/unlink/../search_read",
        "/json/2/res.partner/unlink%2f..%2fsearch_read",
        "/json/2/res.partner/unlink%252f/search_read",
        "/json/2/res.partner;unlink/read",
        "/json/2//read",
        "/json/2/res.partner/unlink?/search_read",
        "/discuss/channel/messages/",
        "/discuss/channel/message/post",
    ] {
        assert!(!passes(&format!("POST {write}"), "{}").await, "{write}");
    }
    assert!(!passes("PUT /json/2/res.partner/read", "{}").await);
    let xml = |method: &str| {
        let values = ["prod", "2", "pw", "res.partner", method];
        let params =
            values.map(|it| format!("<param><value><string>{it}</string></value></param>"));
        let params = params.concat();
        format!(
            "<?xml version='1.0'?><methodCall><methodName>execute_kw</methodName><params>{params}</params></methodCall>"
        )
    };
    for path in ["/xmlrpc/2/object", "/xmlrpc/object"] {
        let line = format!("POST {path}");
        assert!(passes(&line, &xml("search_read")).await, "{path}");
        for write in [
            xml("unlink"),
            xml("Read"),
            xml("read") + &" ".repeat(70_000),
        ] {
            assert!(!passes(&line, &write).await, "{path}");
        }
    }
    for method in ["create", "write", "unlink", "action_confirm"] {
        let refused = call(to, &json, method).await;
        assert_eq!(refused.status(), 503, "{method}");
        let error: Value = serde_json::from_str(&refused.text()).unwrap();
        assert_eq!(error["error"]["data"]["name"], "switchd.read-only");
    }
    assert_eq!(site.blue.database().writes(), writes);
    let told = site.daemon.history().await.pop().unwrap();
    assert_eq!(
        (&*told.command, told.reason.as_deref()),
        ("read_only", Some("copying"))
    );
    site.daemon.ctl(&["read-only", "off"]).await;
    result(&call(to, &json, "create").await);
}
