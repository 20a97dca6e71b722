//! The Odoo double is what the facts say of Odoo; its measured neighbours are named at each promise.

use crate::support::Behaviour;
use crate::support::Config;
use crate::support::Content;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Digest;
use crate::support::End;
use crate::support::Odoo;
use crate::support::OdooMember;
use crate::support::SerializationFailure;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;
use tokio::net::TcpStream;

/// Ten times as fast as the original.
const PACE: u32 = 10;

fn quick() -> Odoo {
    Odoo::start_on("blue", Behaviour::at_pace(PACE), &Database::new())
}

async fn took(what: impl Future) -> Duration {
    let began = Instant::now();
    what.await;
    began.elapsed()
}

async fn post(to: SocketAddr, path: &str, extra: &str, body: &str) -> crate::support::Answer {
    let raw = request(&format!("POST {path}"), extra, body);
    Wire::connect(to).await.ask(raw).await
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn health_is_answered_as_werkzeug_does() {
    let odoo = quick();
    let answer = get(odoo.http_address(), "/web/health").await;
    assert_eq!(answer.head.first_line, "HTTP/1.0 200 OK");
    assert_eq!(answer.head.get("connection"), Some("close"));
    assert_eq!(answer.head.get("content-length"), Some("18"));
    assert_eq!(answer.text(), r#"{"status": "pass"}"#);
    assert!(!answer.head.has("set-cookie"));
}

#[tokio::test]
async fn a_pipelined_second_request_is_dropped_by_prefork() {
    let odoo = quick();
    let mut client = Wire::connect(odoo.http_address()).await;
    let one = request("GET /web/health", "", "");
    client.send(one.repeat(2)).await;
    assert_eq!(client.answer("GET").await.status(), 200);
    assert_eq!(client.rest().await, b"");
    assert_eq!(odoo.record().requests_for("/web/health").len(), 1);
}

#[tokio::test]
async fn two_idle_connections_block_two_workers_for_their_patience() {
    let odoo = quick();
    let patience = odoo.behaviour().socket_timeout();
    let one = TcpStream::connect(odoo.http_address()).await.unwrap();
    let two = TcpStream::connect(odoo.http_address()).await.unwrap();
    eventually("both are taken", async || odoo.record().connections() == 2).await;
    let waited = took(get(odoo.http_address(), "/web/health")).await;
    assert!(waited > patience / 2, "{waited:?}");
    let silent = odoo.record().silent();
    assert!(
        silent
            .iter()
            .all(|one| !one.hung_up && one.lasted >= patience)
    );
    drop((one, two));
}

#[tokio::test]
async fn connecting_and_closing_costs_a_worker_nothing() {
    let odoo = quick();
    for _ in 0..10 {
        drop(TcpStream::connect(odoo.http_address()).await.unwrap());
    }
    get(odoo.http_address(), "/web/health").await;
    eventually("all are seen", async || odoo.record().silent().len() == 10).await;
    assert!(odoo.record().silent().iter().all(|one| one.hung_up));
}

#[tokio::test]
async fn beyond_the_backlog_the_kernel_takes_no_connection() {
    let odoo = quick();
    let mut open = Vec::new();
    let refused = eventually("a SYN goes unanswered", async || {
        let connecting = TcpStream::connect(odoo.http_address());
        let within = tokio::time::timeout(Duration::from_millis(50), connecting).await;
        match within {
            Ok(stream) => open.push(stream.unwrap()),
            Err(_) => return true,
        }
        false
    });
    refused.await;
    // Two are with the workers, 16 and the one that the kernel adds are in the backlog.
    assert!((17..=40).contains(&open.len()), "{}", open.len());
}

#[tokio::test]
async fn half_a_head_gets_no_answer_and_half_a_json_body_an_error_in_a_200() {
    let odoo = quick();
    let mut client = Wire::connect(odoo.http_address()).await;
    client.send("GET /web/health HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!(client.rest().await, b"");
    let mut client = Wire::connect(odoo.http_address()).await;
    let head = request("POST /jsonrpc", "", &"{".repeat(100));
    client.send(&head.as_bytes()[..head.len() - 50]).await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("\"error\""), "{}", answer.text());
}

#[tokio::test]
async fn a_download_whose_reader_pauses_is_cut() {
    let odoo = quick();
    let size = 30 << 20;
    let id = odoo
        .database()
        .attach("film", "video/mp4", Content::Pattern(size));
    let mut client = Wire::connect(odoo.http_address()).await;
    client
        .send(request(&format!("GET /web/content/{id}"), "", ""))
        .await;
    let seen = format!("/web/content/{id}");
    eventually("the worker gave up", async || {
        let requests = odoo.record().requests_for(&seen);
        requests.iter().any(|request| request.ended.is_some())
    })
    .await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.body.end, End::Cut);
    assert!((answer.body.data.len() as u64) < size);
}

#[tokio::test]
async fn a_long_download_arrives_as_it_is_stored() {
    let odoo = quick();
    let content = Content::Pattern(3_000_001);
    let id = odoo.database().attach("film", "video/mp4", content.clone());
    let answer = get(odoo.http_address(), &format!("/web/content/{id}")).await;
    assert_eq!(Digest::of(&answer.body.data), content.digest());
    assert_eq!(answer.head.all("date").len(), 2, "as measured");
}

#[tokio::test]
async fn failures_of_the_application_are_http_200() {
    let odoo = quick();
    let session = odoo.database().log_in("admin");
    let extra = format!("{JSON}Cookie: session_id={session}\r\n");
    let body = r#"{"params":{"model":"x","method":"fail","args":[],"kwargs":{}}}"#;
    let answer = post(
        odoo.http_address(),
        "/web/dataset/call_kw/x/fail",
        &extra,
        body,
    )
    .await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("odoo.exceptions.UserError"));
    let answer = post(
        odoo.http_address(),
        "/web/dataset/call_kw/x/fail",
        JSON,
        body,
    )
    .await;
    assert!(answer.text().contains("Odoo Session Expired"));
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn two_cookie_lines_lose_the_session_on_prefork_only() {
    let odoo = quick();
    let session = odoo.database().log_in("admin");
    let ours = format!("Cookie: session_id={session}\r\n");
    let other = "Cookie: tz=UTC\r\n";
    let prefork = odoo.http_address();
    let gevent = odoo.websocket_address();
    for (to, lines, user) in [
        (prefork, ours.clone(), r#""user":"admin""#),
        (prefork, format!("{ours}{other}"), r#""user":null"#),
        (prefork, format!("{other}{ours}"), r#""user":null"#),
        (gevent, format!("{other}{ours}"), r#""user":"admin""#),
    ] {
        let mut client = Wire::connect(to).await;
        let answer = client.ask(request("GET /whoami", &lines, "")).await;
        assert!(answer.text().contains(user), "{lines}: {}", answer.text());
    }
}

#[tokio::test]
async fn forwarded_headers_count_only_with_a_host_among_them_and_underscores_spoof_it() {
    let odoo = quick();
    let ask = async |lines: &str| {
        let mut client = Wire::connect(odoo.http_address()).await;
        client.ask(request("GET /whoami", lines, "")).await.text()
    };
    let known = ask("X-Forwarded-Proto: https\r\nX-Forwarded-For: 9.9.9.9\r\n").await;
    assert!(known.contains("http://app.test/whoami") && known.contains("127.0.0.1"));
    let host = "X-Forwarded-Host: shop.example:8443\r\n";
    let known = ask(&format!(
        "{host}X-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1, 9.9.9.9\r\n"
    ))
    .await;
    assert!(known.contains("https://shop.example:8443/whoami") && known.contains("\"9.9.9.9\""));
    let known = ask(&format!("{host}X_Forwarded_Host: evil.example\r\n")).await;
    assert!(known.contains("http://evil.example/whoami"), "{known}");
}

#[tokio::test]
async fn the_database_manager_is_reached_in_every_spelling_that_was_found() {
    let odoo = quick();
    for (path, status) in [
        ("/web/database/manager", 200),
        ("//web/database/manager", 200),
        ("/web/%64atabase/manager", 200),
        ("/web%2fdatabase%2fmanager", 200),
        ("/web/database/manager/", 200),
        ("/WEB/database/manager", 404),
        ("/web/database/manager;x", 404),
        ("/x/../web/database/manager", 404),
        ("/web//database/manager", 308),
    ] {
        let answer = get(odoo.http_address(), path).await;
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_terminated_prefork_finishes_its_request_and_resets_whom_it_never_took() {
    let odoo = quick();
    let mut busy = Wire::connect(odoo.http_address()).await;
    busy.send(request("GET /odoo?sleep_ms=300", "", "")).await;
    eventually("it is under way", async || odoo.record().under_way() == 1).await;
    odoo.terminate();
    let mut late = Wire::connect(odoo.http_address()).await;
    late.send(request("GET /web/health", "", "")).await;
    assert_eq!(busy.answer("GET").await.status(), 303);
    let error = late.try_answer("GET").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    odoo.gone().await;
    assert!(TcpStream::connect(odoo.http_address()).await.is_err());
    odoo.resume();
    assert_eq!(get(odoo.http_address(), "/web/health").await.status(), 200);
}

#[tokio::test]
async fn a_migration_fails_when_anything_is_written_meanwhile() {
    let odoo = quick();
    let database = odoo.database();
    assert_eq!(database.migrate(async {}).await, Ok(()));
    let session = database.log_in("admin");
    let extra = format!("{JSON}Cookie: session_id={session}\r\n");
    let body = r#"{"params":{"model":"res.partner","method":"create","args":[{"name":"a"}]}}"#;
    let migrated = database.migrate(async {
        let path = "/web/dataset/call_kw/res.partner/create";
        post(odoo.http_address(), path, &extra, body).await;
    });
    assert_eq!(migrated.await, Err(SerializationFailure));
}

#[tokio::test]
async fn switchd_stands_in_front_of_two_of_them() {
    let database = Database::new();
    let blue = Odoo::start_on("blue", Behaviour::default(), &database);
    let green = Odoo::start_on("green", Behaviour::default(), &database);
    let daemon = Daemon::start(&Config::odoo(&blue, &green)).await;
    daemon.healthy().await;
    let answer = get(daemon.address, "/whoami").await;
    assert!(
        answer.text().contains(r#""colour":"blue""#),
        "{}",
        answer.text()
    );
    daemon.flip("green").await;
    let answer = get(daemon.address, "/whoami").await;
    assert!(
        answer.text().contains(r#""colour":"green""#),
        "{}",
        answer.text()
    );
    let seen = green.record().request_for("/whoami");
    assert_eq!(seen.member, OdooMember::Http);
}
