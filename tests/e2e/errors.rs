//! What clients see when a request cannot be answered, and which answers of upstreams are errors too.

use crate::support::Answer;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use serde_json::Value;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
const JSON: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";

/// A daemon before two slots that nobody answers for.
async fn nobody_there(change: impl Fn(Config) -> Config) -> (Pair, Daemon) {
    let pair = Pair::start().await;
    pair.blue.stop().await;
    pair.green.stop().await;
    let daemon = Daemon::start(&change(pair.config())).await;
    (pair, daemon)
}

async fn ask(daemon: &Daemon, line: &str, fields: &str, body: &str) -> Answer {
    let mut client = Wire::connect(daemon.address).await;
    client.ask(request(line, fields, body)).await
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("no JSON: {}", answer.text()))
}

#[tokio::test]
async fn an_error_has_the_shape_that_the_asker_takes_and_the_id_that_is_in_the_log() {
    let (_pair, daemon) =
        nobody_there(|config| config.set("access_log.target = \"DIR/access.log\"")).await;
    let page = ask(&daemon, "GET /page", BROWSER, "").await;
    let problem = ask(&daemon, "GET /problem", JSON, "").await;
    let call = r#"{"jsonrpc":"2.0","method":"call","id":7,"params":{}}"#;
    let rpc = ask(&daemon, "POST /jsonrpc", JSON, call).await;
    let text = ask(&daemon, "GET /text", "", "").await;

    let kinds = [&page, &problem, &rpc, &text].map(|it| it.head.get("content-type").unwrap());
    assert_eq!(
        kinds,
        [
            "text/html; charset=utf-8",
            "application/problem+json",
            "application/json",
            "text/plain; charset=utf-8"
        ]
    );
    assert!(page.text().contains("<h1>Bad Gateway</h1>"));
    assert_eq!(json(&problem)["fault"], "connect");
    assert_eq!(json(&rpc)["id"], 7);
    assert_eq!(json(&rpc)["error"]["data"]["status"], 502);
    let read = || std::fs::read_to_string(daemon.path("access.log")).unwrap_or_default();
    eventually("all are logged", async || read().lines().count() == 4).await;
    for answer in [page, problem, rpc, text] {
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.head.get("retry-after"), Some("5"));
        let id = answer.head.get("x-request-id").unwrap();
        assert!(answer.text().contains(id), "{}", answer.text());
        assert!(read().contains(id));
    }
}

#[tokio::test]
async fn whoever_is_refused_by_the_head_is_told_in_the_same_way() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set("limits.body_size = \"10B\"")).await;
    let call = r#"{"jsonrpc":"2.0","id":"long"}"#;
    let rpc = ask(&daemon, "POST /any", JSON, call).await;
    assert_eq!(rpc.status(), 413);
    assert_eq!(json(&rpc)["id"], "long");
    assert_eq!(json(&rpc)["error"]["code"], -32600);
    let trace = ask(&daemon, "TRACE /", BROWSER, "").await;
    assert_eq!(trace.status(), 405);
    assert!(trace.text().starts_with("<!doctype html>"));
    assert!(trace.head.has("allow"));
    assert!(!trace.head.has("retry-after"), "it would not help");
}

#[tokio::test]
async fn a_head_request_gets_the_head_of_the_error_alone() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set("service.app.hosts = [\"other.test\"]")).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("HEAD /", BROWSER, "")).await;
    let bytes = client.rest().await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 421 "), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_page_of_ones_own_takes_the_place_of_the_built_in_one_and_a_reload_reads_it_anew() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/error.html");
    let with_page = |config: Config| {
        config
            .set(&format!("service.app.errors.page = {own:?}"))
            .set("service.app.errors.retry_after = \"40s\"")
    };
    let (pair, daemon) = nobody_there(with_page).await;
    let answer = ask(&daemon, "GET /", BROWSER, "").await;
    let id = answer.head.get("x-request-id").unwrap();
    let text = answer.text();
    assert!(text.contains("<h1>Back soon</h1>"), "{text}");
    assert!(text.contains(&format!("<b>{id}</b>")), "{text}");
    assert!(text.contains("content=\"40\""), "{text}");
    assert_eq!(answer.head.get("retry-after"), Some("40"));

    daemon.write_config(&pair.config().set("service.app.errors.format = \"text\""));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    let answer = ask(&daemon, "GET /", BROWSER, "").await;
    assert!(answer.text().starts_with("502 Bad Gateway: "));
}

/// What Odoo answers while its database is down.
fn logs_out(path: &str) -> Reply {
    Reply::raw_then_close(format!(
        "HTTP/1.0 302 FOUND\r\nLocation: {path}\r\nContent-Length: 0\r\n\
         Set-Cookie: session_id=fresh; Expires=Mon, 01 Dec 2025 00:00:00 GMT; HttpOnly; Path=/\r\n\r\n"
    ))
}

#[tokio::test]
async fn an_answer_that_would_log_its_user_out_is_an_error_without_the_cookie() {
    let pair = Pair::start().await;
    pair.blue.on("/odoo", logs_out("/odoo"));
    pair.blue
        .on("/web/login", logs_out("http://app.test/web/login"));
    let guarded = pair
        .config()
        .set("service.app.errors.guard_sessions = true");
    let daemon = Daemon::start(&guarded).await;
    let session = format!("{BROWSER}Cookie: session_id=mine\r\n");
    for path in ["/odoo", "/web/login"] {
        let answer = ask(&daemon, &format!("GET {path}"), &session, "").await;
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.head.get("x-switchd-fault"), Some("logged-out"));
        assert_eq!(answer.head.get("retry-after"), Some("5"));
        assert!(!answer.head.has("set-cookie") && !answer.head.has("location"));
        assert!(answer.text().starts_with("<!doctype html>"));
    }
    pair.blue.on("/odoo", Reply::status(200, "back"));
    assert_eq!(get(daemon.address, "/odoo").await.text(), "back");
}

#[tokio::test]
async fn other_redirects_and_cookies_pass_a_guard_untouched() {
    let pair = Pair::start().await;
    let redirect = |location: &str, cookie: &str| {
        Reply::raw(format!(
            "HTTP/1.1 303 SEE OTHER\r\nLocation: {location}\r\nContent-Length: 0\r\n{cookie}\r\n"
        ))
    };
    let fresh = "Set-Cookie: session_id=fresh; Path=/\r\n";
    pair.blue.on("/", redirect("/odoo", fresh));
    pair.blue
        .on("/loop", redirect("/loop", "Set-Cookie: lang=en\r\n"));
    pair.blue.on("/form", redirect("/form", fresh));
    pair.blue.on("/web", redirect("/web?db=other", fresh));
    let guarded = pair
        .config()
        .set("service.app.errors.guard_sessions = true");
    let daemon = Daemon::start(&guarded).await;
    for line in ["GET /", "GET /loop", "POST /form", "GET /web?db=other"] {
        let answer = ask(&daemon, line, BROWSER, "").await;
        assert_eq!(answer.status(), 303, "{line}");
        assert!(answer.head.has("set-cookie"), "{line}");
    }
    let pair = Pair::start().await;
    pair.blue.on("/odoo", logs_out("/odoo"));
    let unguarded = pair.daemon().await;
    assert_eq!(get(unguarded.address, "/odoo").await.status(), 302);
}
