//! What the application behind the Odoo double answers, held against the facts.

use crate::support::Answer;
use crate::support::Behaviour;
use crate::support::Content;
use crate::support::Database;
use crate::support::Digest;
use crate::support::End;
use crate::support::Odoo;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use std::net::SocketAddr;
use std::time::Duration;

fn odoo(behaviour: Behaviour) -> Odoo {
    Odoo::start_on("blue", behaviour, &Database::new())
}

async fn ask(to: SocketAddr, line: &str, extra: &str, body: &str) -> Answer {
    Wire::connect(to)
        .await
        .ask(request(line, extra, body))
        .await
}

fn logged_in(odoo: &Odoo) -> String {
    let session = odoo.database().log_in("admin");
    format!("Cookie: session_id={session}\r\n")
}

#[tokio::test]
async fn while_postgres_is_down_pages_lead_to_themselves_and_log_everybody_out() {
    let odoo = odoo(Behaviour::default());
    let (address, cookie) = (odoo.http_address(), logged_in(&odoo));
    odoo.database().set_down(true);
    for path in ["/web/login", "/odoo"] {
        let answer = ask(address, &format!("GET {path}"), &cookie, "").await;
        assert_eq!(
            (answer.status(), answer.head.get("location")),
            (302, Some(path))
        );
        assert!(
            answer
                .head
                .get("set-cookie")
                .unwrap()
                .starts_with("session_id=")
        );
    }
    let call = ask(address, "POST /web/dataset/call_kw/a/b", &cookie, "{}").await;
    assert_eq!(call.status(), 404);
    assert_eq!(get(address, "/web/static/src/a.css").await.status(), 200);
    assert_eq!(get(address, "/web/health").await.status(), 200);
    assert_eq!(
        get(address, "/web/health?db_server_status=1")
            .await
            .status(),
        500
    );
    odoo.database().set_down(false);
    let answer = ask(address, "GET /odoo", &cookie, "").await;
    assert_eq!(answer.status(), 200, "the old session is still good");
}

#[tokio::test]
async fn health_passes_while_nobody_can_log_in() {
    let odoo = odoo(Behaviour::default());
    odoo.database().migrate_under("blue");
    assert_eq!(get(odoo.http_address(), "/web/health").await.status(), 200);
    assert_eq!(
        get(odoo.websocket_address(), "/websocket/health")
            .await
            .status(),
        200
    );
    assert_eq!(get(odoo.http_address(), "/web/login").await.status(), 200);
    let call = r#"{"params":{"service":"common","method":"authenticate","args":["prod","admin","admin",{}]}}"#;
    let answer = ask(odoo.http_address(), "POST /jsonrpc", "", call).await;
    assert_eq!(answer.status(), 200);
    assert!(
        answer.text().contains("UndefinedColumn"),
        "{}",
        answer.text()
    );
    let posted = ask(odoo.http_address(), "POST /web/health", "", "").await;
    assert_eq!(posted.status(), 400);
}

#[tokio::test]
async fn the_calls_of_a_gate_answer_as_measured() {
    let odoo = odoo(Behaviour::default());
    let rpc = async |service: &str, method: &str, args: &str| {
        let body =
            format!(r#"{{"params":{{"service":"{service}","method":"{method}","args":{args}}}}}"#);
        let answer = ask(odoo.http_address(), "POST /jsonrpc", "", &body).await;
        assert!(!answer.head.has("set-cookie"));
        let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        told["result"].clone()
    };
    let version = rpc("common", "version", "[]").await;
    assert_eq!(version["server_version"], "18.0");
    let wrong = rpc("common", "authenticate", r#"["prod","admin","wrong",{}]"#).await;
    assert_eq!(
        (
            wrong,
            rpc("common", "authenticate", r#"["prod","admin","admin",{}]"#).await
        ),
        (false.into(), 2.into())
    );
    let partner = |method: &str, args: &str| {
        let args = format!(r#"["prod",2,"admin","res.partner","{method}",{args},{{}}]"#);
        async { rpc("object", "execute_kw", &{ args }).await }
    };
    let id = partner("create", r#"[{"name":"gate probe"}]"#).await;
    let ids = format!("[[{id}]]");
    assert_eq!(partner("read", &ids).await[0]["name"], "gate probe");
    assert_eq!(partner("unlink", &ids).await, true);
    assert_eq!(partner("read", &ids).await, serde_json::json!([]));
    assert_eq!(odoo.database().base_url(), "http://localhost:8069");
}

#[tokio::test]
async fn a_login_sets_a_cookie_of_84_letters_and_the_base_url() {
    let odoo = odoo(Behaviour::default());
    let body = r#"{"params":{"db":"prod","login":"admin","password":"admin"}}"#;
    let told = "X-Forwarded-Host: shop.example\r\nX-Forwarded-Proto: https\r\n";
    let to = odoo.http_address();
    let answer = ask(to, "POST /web/session/authenticate", told, body).await;
    let cookie = answer.head.get("set-cookie").unwrap();
    let (id, flags) = cookie.split_once(';').unwrap();
    assert_eq!(id.len(), "session_id=".len() + 84);
    assert!(flags.contains("HttpOnly") && !flags.contains("Secure") && !flags.contains("SameSite"));
    assert_eq!(odoo.database().base_url(), "https://shop.example");
    let form = "login=admin&password=admin&redirect=%2Fodoo%2Fdiscuss%3Fx%3D1%23frag";
    let answer = ask(to, "POST /web/login", "", form).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.head.get("location"), Some("/odoo/discuss?x=1#frag"));
    let page = get(to, "/web/login").await;
    assert_eq!(page.head.all("set-cookie").len(), 3, "two of them the same");
}

#[tokio::test]
async fn a_session_of_another_data_directory_is_unknown() {
    let database = Database::new();
    let blue = Odoo::start_on("blue", Behaviour::default(), &database);
    let apart = database.with_data_dir_of_its_own();
    let green = Odoo::start_on("green", Behaviour::default(), &apart);
    let cookie = logged_in(&blue);
    assert_eq!(
        ask(blue.http_address(), "GET /odoo", &cookie, "")
            .await
            .status(),
        200
    );
    assert_eq!(
        ask(green.http_address(), "GET /odoo", &cookie, "")
            .await
            .status(),
        303
    );
}

#[tokio::test]
async fn attachments_have_validators_and_single_ranges() {
    let odoo = odoo(Behaviour::default());
    let id = odoo.database().attach(
        "a.txt",
        "text/plain",
        Content::Bytes(b"0123456789".to_vec()),
    );
    let line = format!("GET /web/content/{id}");
    let whole = ask(odoo.http_address(), &line, "", "").await;
    let etag = whole.head.get("etag").unwrap().to_owned();
    assert_eq!(whole.text(), "0123456789");
    for (extra, status, body, range) in [
        (format!("If-None-Match: {etag}\r\n"), 304, "", None),
        (format!("If-None-Match: W/{etag}\r\n"), 304, "", None),
        (
            "Range: bytes=2-4\r\n".to_owned(),
            206,
            "234",
            Some("bytes 2-4/10"),
        ),
        (
            "Range: bytes=-3\r\n".to_owned(),
            206,
            "789",
            Some("bytes 7-9/10"),
        ),
        (
            "Range: bytes=20-\r\n".to_owned(),
            416,
            "",
            Some("bytes */10"),
        ),
        (
            "Range: bytes=0-1,3-4\r\n".to_owned(),
            416,
            "",
            Some("bytes */10"),
        ),
        (
            "Range: bytes=2-4\r\nIf-Range: \"old\"\r\n".to_owned(),
            200,
            "0123456789",
            None,
        ),
    ] {
        let answer = ask(odoo.http_address(), &line, &extra, "").await;
        assert_eq!(
            (answer.status(), &*answer.text()),
            (status, body),
            "{extra}"
        );
        assert_eq!(answer.head.get("content-range"), range, "{extra}");
        assert_eq!(answer.head.has("content-length"), status != 304, "{extra}");
    }
    let head = ask(odoo.http_address(), &line.replace("GET", "HEAD"), "", "").await;
    assert_eq!(
        (head.head.get("content-length"), head.text()),
        (Some("10"), String::new())
    );
}

#[tokio::test]
async fn with_x_sendfile_the_proxy_is_told_where_the_file_lies() {
    let folder = tempfile::TempDir::new().unwrap();
    let odoo = odoo(Behaviour {
        filestore: Some(folder.path().to_owned()),
        ..Behaviour::default()
    });
    let id = odoo.database().attach(
        "a.txt",
        "text/plain",
        Content::Bytes(b"0123456789".to_vec()),
    );
    let answer = get(odoo.http_address(), &format!("/web/content/{id}")).await;
    assert_eq!(answer.head.get("content-length"), Some("0"));
    let file = answer.head.get("x-sendfile").unwrap();
    assert_eq!(std::fs::read(file).unwrap(), b"0123456789");
    let (_, inside) = file.split_once("/filestore/").unwrap();
    let redirect = answer.head.get("x-accel-redirect").unwrap();
    assert_eq!(redirect, format!("/web/filestore/{inside}"));
    assert!(
        answer.head.has("content-security-policy") && answer.head.has("x-content-type-options")
    );
}

#[tokio::test]
async fn building_a_bundle_deletes_the_other_colours() {
    let database = Database::new();
    let code = |assets| Behaviour {
        assets,
        ..Behaviour::at_pace(100)
    };
    let blue = Odoo::start_on("blue", code("b1ue000"), &database);
    let green = Odoo::start_on("green", code("9reen00"), &database);
    let path = |hash: &str| format!("/web/assets/{hash}/web.assets_web.min.css");
    let first = get(blue.http_address(), &path("b1ue000")).await;
    let cache_control = first.head.get("cache-control").unwrap();
    assert!(cache_control.contains("public") && cache_control.contains("immutable"));
    assert!(first.head.has("set-cookie"), "immutable, and yet");
    assert_eq!(
        get(green.http_address(), &path("b1ue000")).await.status(),
        200,
        "as long as it lies there"
    );
    assert_eq!(
        get(green.http_address(), &path("9reen00")).await.status(),
        200
    );
    let gone = get(green.http_address(), &path("b1ue000")).await;
    assert_eq!(
        (gone.status(), gone.head.get("location")),
        (303, Some(&*path("9reen00")))
    );
}

#[tokio::test]
async fn forms_above_128_mib_are_refused_and_smaller_ones_taken() {
    let odoo = odoo(Behaviour::default());
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    let line = "POST /web/binary/upload_attachment";
    let body = "x".repeat(100_000);
    let answer = ask(odoo.http_address(), line, form, &body).await;
    assert!(
        answer.text().contains("\"size\":100000"),
        "{}",
        answer.text()
    );
    let seen = odoo.record().request_for("/web/binary/upload_attachment");
    assert_eq!(
        (seen.body, seen.is_whole),
        (Digest::of(body.as_bytes()), true)
    );
    let mut client = Wire::connect(odoo.http_address()).await;
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{form}Content-Length: 135266304\r\n\r\n");
    client.send(head).await;
    assert_eq!(client.answer("POST").await.status(), 413, "before the body");
}

#[tokio::test]
async fn a_backup_is_silent_and_then_has_no_length() {
    let odoo = odoo(Behaviour::default());
    let backup = "/web/database/backup?silence_ms=50&size=300000";
    let answer = get(odoo.http_address(), backup).await;
    assert!(!answer.head.has("content-length") && !answer.head.has("transfer-encoding"));
    assert_eq!(
        (answer.body.data.len(), answer.body.end),
        (300_000, End::Clean)
    );
    let mut client = Wire::connect(odoo.http_address()).await;
    client
        .send(request(&format!("GET {backup}&reset=1"), "", ""))
        .await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.body.end, End::Cut);
}

#[tokio::test]
async fn heads_have_odoos_limits_and_answers() {
    let odoo = odoo(Behaviour::default());
    let lines = |count: usize| "X-Line: x\r\n".repeat(count);
    let long = |name: &str, length: usize| format!("{name}: {}\r\n", "x".repeat(length));
    let (prefork, gevent) = (odoo.http_address(), odoo.websocket_address());
    let path = |length: usize| format!("GET /web/health?{}", "x".repeat(length));
    for (to, line, extra, status) in [
        (prefork, "GET /web/health".to_owned(), lines(98), 200),
        (prefork, "GET /web/health".to_owned(), lines(99), 431),
        (
            prefork,
            "GET /web/health".to_owned(),
            long("Cookie", 60_000),
            200,
        ),
        (
            prefork,
            "GET /web/health".to_owned(),
            long("Cookie", 66_000),
            431,
        ),
        (prefork, path(66_000), String::new(), 414),
        (gevent, path(8_000), String::new(), 200),
        (gevent, path(16_000), String::new(), 414),
        (gevent, "GET /web/health".to_owned(), lines(99), 400),
    ] {
        let answer = ask(to, &line, &extra, "").await;
        assert_eq!(answer.status(), status, "{} {}", &line[..15], extra.len());
    }
    let mut client = Wire::connect(prefork).await;
    let answer = client.ask("GET /web/health HTTP/1.1\r\n\r\n").await;
    assert_eq!(answer.status(), 500, "without a Host");
    let two =
        "POST /web/health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(Wire::connect(prefork).await.ask(two).await.status(), 400);
    let traced = ask(prefork, "TRACE /web/login", "", "").await;
    assert_eq!(traced.status(), 200, "TRACE is a page to it");
}

#[tokio::test]
async fn a_request_that_expects_100_gets_it_in_another_version() {
    let odoo = odoo(Behaviour::default());
    let mut client = Wire::connect(odoo.http_address()).await;
    client
        .send("POST /jsonrpc HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")
        .await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.interim[0].first_line, "HTTP/1.1 100 Continue");
    assert_eq!(answer.head.version(), "HTTP/1.0");
}

#[tokio::test]
async fn a_request_over_its_limit_ends_without_a_byte_and_its_query_goes_on() {
    let odoo = odoo(Behaviour {
        limit_time_real: Some(Duration::from_millis(100)),
        ..Behaviour::default()
    });
    let mut client = Wire::connect(odoo.http_address()).await;
    client
        .send(request("GET /odoo?sleep_ms=1000", "", ""))
        .await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(odoo.database().queries(), 1);
    eventually("the query ends in its own time", async || {
        odoo.database().queries() == 0
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_cuts_what_the_first_one_let_finish() {
    let odoo = odoo(Behaviour::at_pace(10));
    let mut client = Wire::connect(odoo.http_address()).await;
    client
        .send(request("GET /odoo?sleep_ms=60000", "", ""))
        .await;
    eventually("it is under way", async || odoo.record().under_way() == 1).await;
    odoo.terminate();
    odoo.terminate();
    assert_eq!(client.rest().await, b"");
    odoo.gone().await;
}

#[tokio::test]
async fn with_dbfilter_only_the_right_host_leads_to_the_database() {
    let odoo = odoo(Behaviour {
        database_host: Some("prod.example.com"),
        ..Behaviour::default()
    });
    let forwarded = "X-Forwarded-Host: prod.example.com:8443\r\n";
    for (extra, page, health) in [("", 303, 404), (forwarded, 200, 200)] {
        let to = odoo.http_address();
        assert_eq!(ask(to, "GET /web/login", extra, "").await.status(), page);
        assert_eq!(
            ask(to, "GET /websocket/health", extra, "").await.status(),
            health
        );
        assert_eq!(ask(to, "GET /web/health", extra, "").await.status(), 200);
    }
}
