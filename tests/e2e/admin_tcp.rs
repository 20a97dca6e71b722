//! The admin API over TCP: only for who shows a token, only what it allows, and every call is kept.

use crate::support::Answer;
use crate::support::Authority;
use crate::support::Config;
use crate::support::CtlOutput;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use crate::support::switchctl;
use serde_json::Value;
use std::net::SocketAddr;
use switchd::api::AuditRecord;
use switchd::api::History;
use switchd::api::Status;
use switchd::config::TokenHash;

/// What `hash` of a token is for.
fn token(name: &str, role: &str, services: &[&str]) -> String {
    let hash = TokenHash::of(&secret(name));
    format!(
        "[[admin.token]]\nname = {name:?}\nhash = \"{hash}\"\nrole = {role:?}\nservices = {services:?}\n"
    )
}

/// The token called `name`.
fn secret(name: &str) -> String {
    format!("switchd_secret-of-{name}")
}

fn tokens() -> String {
    token("looker", "view", &[]) + &token("ci", "operate", &[]) + &token("boss", "admin", &[])
}

fn open(config: Config, tokens: &str) -> Config {
    config
        .set("admin.tcp.address = \"127.0.0.1:0\"")
        .block(tokens)
}

async fn daemon(pair: &Pair, tokens: &str) -> Daemon {
    let daemon = Daemon::start(&open(pair.config(), tokens)).await;
    daemon.healthy().await;
    daemon
}

async fn address(daemon: &Daemon) -> SocketAddr {
    let address = daemon.status().await.admin_api;
    address.expect("it listens").parse().unwrap()
}

/// One call of whoever has the token called `name`.
async fn call(daemon: &Daemon, name: &str, line: &str, body: &str) -> Answer {
    let bearer = format!("Authorization: Bearer {}\r\n", secret(name));
    Wire::connect(address(daemon).await)
        .await
        .ask(request(line, &bearer, body))
        .await
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("no JSON: {}", answer.text()))
}

async fn calls(daemon: &Daemon) -> Vec<AuditRecord> {
    let history: History = daemon
        .call("GET /v1/history?kind=call&limit=1000", "")
        .await
        .json();
    history.operations
}

const FLIP: &str = "POST /v1/services/app/flip";

#[tokio::test]
async fn it_is_off_unless_there_is_an_address() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().block(&tokens())).await;
    assert_eq!(daemon.status().await.admin_api, None);
}

#[tokio::test]
async fn nothing_is_told_without_a_token_that_is_known() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &tokens()).await;
    let api = address(&daemon).await;
    for (line, header) in [
        ("GET /v1/status", ""),
        ("GET /v1/nothing", ""),
        ("POST /v1/services/app/flip", "Authorization: Bearer \r\n"),
        ("GET /metrics", "Authorization: Basic Og==\r\n"),
        (
            "GET /v1/openapi.json",
            "Authorization: Bearer switchd_no\r\n",
        ),
    ] {
        let answer = Wire::connect(api)
            .await
            .ask(request(line, header, ""))
            .await;
        assert_eq!(answer.status(), 401, "{line}");
        assert_eq!(
            answer.head.get("www-authenticate"),
            Some("Bearer realm=\"switchd\"")
        );
        assert!(!answer.text().contains("app"), "{}", answer.text());
    }
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn each_role_may_do_what_it_says() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &tokens()).await;
    for (name, look, flip, reload) in [
        ("looker", 200, 403, 403),
        ("ci", 200, 200, 403),
        ("boss", 200, 200, 200),
    ] {
        let other = if daemon.active().await == "blue" {
            "green"
        } else {
            "blue"
        };
        let body = format!("{{\"to\":\"{other}\"}}");
        assert_eq!(
            call(&daemon, name, "GET /v1/status", "").await.status(),
            look,
            "{name}"
        );
        let moved = call(&daemon, name, FLIP, &body).await;
        assert_eq!(moved.status(), flip, "{name}: {}", moved.text());
        let expected = if flip == 200 { other } else { "blue" };
        assert_eq!(daemon.active().await, expected, "{name}");
        let reloaded = call(&daemon, name, "POST /v1/reload", "").await;
        assert_eq!(reloaded.status(), reload, "{name}: {}", reloaded.text());
    }
    let refused = call(&daemon, "looker", FLIP, "{\"to\":\"green\"}").await;
    let problem = json(&refused);
    assert_eq!(problem["type"], "urn:switchd:forbidden");
    assert_eq!(
        problem["detail"],
        "token looker has the role view, and this needs operate"
    );
}

#[tokio::test]
async fn a_token_of_one_service_reaches_no_other() {
    let (pair, other) = (Pair::start().await, Pair::start().await);
    other.blue.on("/slow", Reply::never());
    let config = Config::empty()
        .service("app", &pair.blue, &pair.green)
        .service("other", &other.blue, &other.green)
        .set("service.app.hosts = [\"app.example\"]")
        .set("service.other.hosts = [\"other.example\"]");
    let tokens = token("ci", "admin", &["app"]);
    let daemon = Daemon::start(&open(config, &tokens)).await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("GET /slow HTTP/1.1\r\nHost: other.example\r\n\r\n")
        .await;
    other.blue.saw("/slow", 1).await;
    daemon
        .ctl(&["flip", "green", "--service", "other", "--no-wait"])
        .await;
    let status: Status =
        serde_json::from_value(json(&call(&daemon, "ci", "GET /v1/status", "").await)).unwrap();
    let names: Vec<_> = status.services.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["app"]);
    for seen in ["GET /v1/ps", "GET /v1/history"] {
        let text = call(&daemon, "ci", seen, "").await.text();
        assert!(!text.contains("other"), "{seen}: {text}");
    }
    let id = daemon.requests().await[0].id;
    for (line, body, status) in [
        ("POST /v1/services/other/flip", "{\"to\":\"green\"}", 403),
        ("POST /v1/services/nobody/flip", "{\"to\":\"green\"}", 403),
        ("GET /v1/ps?service=other", "", 403),
        ("GET /v1/history?service=other", "", 403),
        ("GET /v1/events?service=other", "", 403),
        ("GET /v1/cache?service=other", "", 403),
        ("POST /v1/cache/purge", "{\"prefix\":\"/\"}", 403),
        (
            "POST /v1/cache/purge",
            "{\"service\":\"other\",\"prefix\":\"/\"}",
            403,
        ),
        (
            "POST /v1/cache/purge",
            "{\"service\":\"app\",\"prefix\":\"/\"}",
            200,
        ),
        ("POST /v1/reload", "", 403),
        ("GET /metrics", "", 403),
        ("GET /v1/hooks", "", 403),
        ("GET /v1/openapi.json", "", 200),
        (&format!("DELETE /v1/requests/{id}"), "", 404),
        (FLIP, "{\"to\":\"green\"}", 200),
    ] {
        let answer = call(&daemon, "ci", line, body).await;
        assert_eq!(answer.status(), status, "{line} {body}: {}", answer.text());
    }
    assert_eq!(
        daemon.requests().await.len(),
        1,
        "the other's request goes on"
    );
}

#[tokio::test]
async fn every_call_is_kept_with_who_from_where_and_how_it_ended() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &tokens()).await;
    call(&daemon, "looker", "GET /v1/status", "").await;
    call(&daemon, "looker", "POST /v1/reload", "").await;
    call(
        &daemon,
        "ci",
        FLIP,
        "{\"to\":\"green\",\"reason\":\"release\"}",
    )
    .await;
    call(&daemon, "stranger", "GET /v1/ps", "").await;
    eventually("all calls are kept", async || {
        calls(&daemon).await.len() == 4
    })
    .await;
    let calls = calls(&daemon).await;
    let told: Vec<(&str, &str, &str)> = calls
        .iter()
        .map(|it| (&*it.actor, &*it.result, &*it.details[0]))
        .collect();
    assert_eq!(
        told,
        [
            ("token looker from 127.0.0.1", "done", "GET /v1/status: 200"),
            (
                "token looker from 127.0.0.1",
                "refused",
                "POST /v1/reload: 403"
            ),
            (
                "token ci from 127.0.0.1",
                "done",
                "POST /v1/services/app/flip: 200"
            ),
            ("nobody from 127.0.0.1", "refused", "GET /v1/ps: 401"),
        ]
    );
    let metric = async |result: &str| daemon.metric(&["switchd_admin_calls_total", result]).await;
    assert!((metric("done").await - 2.0).abs() < f64::EPSILON);
    assert!((metric("unknown").await - 1.0).abs() < f64::EPSILON);
    assert_eq!(calls[2].service, "app");
    // What it did stands in the history, under the same name.
    let history = daemon.history().await;
    assert_eq!(history.len(), 1, "calls are no operations: {history:?}");
    assert_eq!(history[0].actor, "token ci from 127.0.0.1");
    assert_eq!(history[0].reason.as_deref(), Some("release"));
    let words = daemon
        .ctl(&["history", "--kind", "call", "--actor", "looker"])
        .await;
    assert_eq!(
        words.stdout.matches("token looker from 127.0.0.1").count(),
        2,
        "{words:?}"
    );
}

#[tokio::test]
async fn nothing_keeps_or_shows_a_token() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &tokens()).await;
    call(&daemon, "ci", FLIP, "{\"to\":\"green\"}").await;
    call(&daemon, "stranger", "GET /v1/status", "").await;
    eventually("both calls are kept", async || {
        calls(&daemon).await.len() == 2
    })
    .await;
    let mut looked_at = 0;
    for folder in [daemon.path("state"), daemon.path("")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let Ok(text) = std::fs::read_to_string(entry.unwrap().path()) else {
                continue;
            };
            assert!(!text.contains("secret-of"), "{text}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 4, "{looked_at}");
}

#[tokio::test]
async fn who_guesses_is_slowed_down_and_who_knows_is_not() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &tokens()).await;
    let mut statuses = Vec::new();
    let mut waits = 0;
    for _ in 0..14 {
        let answer = call(&daemon, "stranger", "GET /v1/status", "").await;
        statuses.push(answer.status());
        waits += u32::from(answer.head.has("retry-after"));
    }
    assert_eq!(statuses[..10], [401; 10]);
    let limited = statuses.iter().filter(|status| **status == 429).count();
    // On a slow machine an attempt is given back meanwhile.
    assert!(limited >= 2 && waits as usize == limited, "{statuses:?}");
    assert_eq!(
        call(&daemon, "looker", "GET /v1/status", "").await.status(),
        200
    );
    eventually("the calls are kept", async || {
        calls(&daemon)
            .await
            .last()
            .is_some_and(|it| it.actor.contains("looker"))
    })
    .await;
    assert_eq!(
        calls(&daemon).await.len(),
        15 - limited,
        "attempts past the limit fill no disk"
    );
}

#[tokio::test]
async fn what_is_too_large_or_too_much_is_turned_away() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &tokens()).await;
    let api = address(&daemon).await;
    let huge = format!("{{\"to\":\"{}\"}}", "x".repeat(100_000));
    assert_eq!(call(&daemon, "ci", FLIP, &huge).await.status(), 413);
    let long = format!("X-Long: {}\r\n", "x".repeat(100_000));
    let mut wire = Wire::connect(api).await;
    wire.send(request("GET /v1/status", &long, "")).await;
    assert!(wire.rest().await.starts_with(b"HTTP/1.1 431 "));
    // As many as one client may have, and one more: it is closed before it says anything.
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let mut wire = Wire::connect(api).await;
        wire.send("GET /v1/status HTTP/1.1\r\n").await;
        waiting.push(wire);
    }
    eventually("one too many is closed", async || {
        let mut wire = Wire::connect(api).await;
        !wire.is_quiet().await || wire.head().await.is_ok_and(|head| head.is_none())
    })
    .await;
    drop(waiting);
    eventually("who left makes room", async || {
        let bearer = format!("Authorization: Bearer {}\r\n", secret("looker"));
        let mut wire = Wire::connect(api).await;
        wire.send(request("GET /v1/status", &bearer, "")).await;
        wire.try_answer("GET")
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_revoked_opens_nothing_and_ends_what_it_opened() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &tokens()).await;
    let bearer = format!("Authorization: Bearer {}\r\n", secret("ci"));
    let mut stream = Wire::connect(address(&daemon).await).await;
    stream.send(request("GET /v1/events", &bearer, "")).await;
    let head = stream.head().await.unwrap().unwrap();
    assert_eq!(head.status(), 200);
    let left = token("boss", "admin", &[]);
    daemon.write_config(&open(pair.config(), &left));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    assert_eq!(
        call(&daemon, "ci", "GET /v1/status", "").await.status(),
        401
    );
    assert_eq!(
        call(&daemon, "boss", "GET /v1/status", "").await.status(),
        200
    );
    let ended = tokio::time::timeout(crate::support::DEADLINE, stream.rest()).await;
    assert!(ended.is_ok(), "the stream of events goes on");
}

/// `switchctl` at a URL.
async fn ctl(daemon: &Daemon, scheme: &str, keys: &[&str]) -> CtlOutput {
    let url = format!("{scheme}://{}", address(daemon).await);
    switchctl(&[&["--url", &url], keys].concat(), &[]).await
}

#[tokio::test]
async fn switchctl_speaks_to_it_with_a_token_of_its_own_making() {
    let pair = Pair::start().await;
    let made = switchctl(
        &[
            "token", "new", "--name", "deployer", "--role", "operate", "--for", "app",
        ],
        &[],
    )
    .await;
    assert_eq!(made.code, 0, "{made:?}");
    let secret = made.stdout.lines().next().unwrap();
    let lines = &made.stdout[made.stdout.find("[[admin.token]]").unwrap()..];
    assert!(!lines.contains(secret), "{made:?}");
    let leaf = Authority::new("ours");
    let config = open(pair.config(), lines)
        .leaf("api", &leaf.issue(&["127.0.0.1"]))
        .file("ca.pem", &leaf.pem)
        .file("token", &format!("{secret}\n"))
        .set("admin.tcp.chain = \"DIR/api.pem\"")
        .set("admin.tcp.key = \"DIR/api.key\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let file = daemon.path("token").display().to_string();
    let ca = daemon.path("ca.pem").display().to_string();
    let known = ["--token-file", &file, "--ca", &ca];
    let flip = ctl(&daemon, "https", &[&known[..], &["flip", "green"]].concat()).await;
    assert_eq!(flip.code, 0, "{flip:?}");
    assert_eq!(daemon.active().await, "green");
    assert_eq!(
        daemon.history().await[0].actor,
        "token deployer from 127.0.0.1"
    );
    let refused = ctl(&daemon, "https", &[&known[..], &["reload"]].concat()).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("has the role operate"),
        "{refused:?}"
    );
    // Nobody is believed without a certificate that is trusted.
    let unknown = ctl(&daemon, "https", &["--token-file", &file, "status"]).await;
    assert_eq!(unknown.code, 3);
    assert!(unknown.stderr.contains("certificate"), "{unknown:?}");
    let tokenless = ctl(&daemon, "https", &["--ca", &ca, "status"]).await;
    assert_eq!(tokenless.code, 2);
    assert!(
        tokenless.stderr.contains("switchctl token new"),
        "{tokenless:?}"
    );
    let environment = [("SWITCHD_TOKEN", secret)];
    let url = format!("https://{}", address(&daemon).await);
    let status = switchctl(&["--url", &url, "--ca", &ca, "status"], &environment).await;
    assert_eq!(status.code, 0, "{status:?}");
    let mut plain = Wire::connect(address(&daemon).await).await;
    plain.send(request("GET /v1/status", "", "")).await;
    assert!(
        !plain.rest().await.starts_with(b"HTTP"),
        "it is not spoken in the clear"
    );
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let pair = Pair::start().await;
    let ours = Authority::new("ours");
    let config = open(pair.config(), &tokens())
        .leaf("api", &ours.issue(&["127.0.0.1"]))
        .set("admin.tcp.chain = \"DIR/api.pem\"")
        .set("admin.tcp.key = \"DIR/api.key\"");
    let daemon = Daemon::start(&config).await;
    let shown = daemon.status().await.certificates.in_force;
    assert_eq!(shown[0].chain, daemon.path("api.pem").display().to_string());
    let renewed = ours.issue(&["localhost"]);
    std::fs::write(daemon.path("api.pem"), &renewed.chain).unwrap();
    std::fs::write(daemon.path("api.key"), &renewed.key).unwrap();
    let api = address(&daemon).await;
    eventually("the new one is shown", async || {
        ours.client().connect(api, "localhost").await.is_ok()
    })
    .await;
}
