//! The admin API over its unix socket.

use crate::support::ApiReply;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Websocket;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use std::os::unix::fs::PermissionsExt;
use switchd::api::EventKind;
use switchd::api::ProbeReport;
use switchd::api::Problem;
use switchd::api::RequestList;
use switchd::api::SCHEMA;

fn problem(reply: &ApiReply) -> Problem {
    assert_eq!(reply.content_type, "application/problem+json", "{reply:?}");
    let problem: Problem = reply.json();
    assert_eq!(problem.status, reply.status);
    assert!(
        !problem.title.is_empty() && !problem.detail.is_empty(),
        "{problem:?}"
    );
    problem
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_group_only() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mode = std::fs::metadata(daemon.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn status_tells_of_the_daemon_its_listeners_and_services() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().listeners(2)).await;
    daemon.healthy().await;
    let status = daemon.status().await;
    assert_eq!(status.schema, SCHEMA);
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.listeners.len(), 2);
    assert_eq!(
        status.config.path,
        daemon.config_path().display().to_string()
    );
    assert_eq!(status.config.problems, Vec::<String>::new());
    let app = &status.services[0];
    assert_eq!((app.name.as_str(), app.active.as_str()), ("app", "blue"));
    assert_eq!(app.phase, "steady");
    for listener in &status.listeners {
        assert_eq!(get(listener.parse().unwrap(), "/").await.backend(), "blue");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_a_404_problem() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for call in [
        "GET /v1/nothing",
        "GET /",
        "GET /v2/status",
        "GET /v1/ps?service=nobody",
    ] {
        let reply = daemon.call(call, "").await;
        assert_eq!(reply.status, 404, "{call}: {reply:?}");
        problem(&reply);
    }
    let reply = daemon
        .call("POST /v1/services/nobody/flip", "{\"to\":\"green\"}")
        .await;
    assert_eq!(reply.status, 404, "{reply:?}");
    assert!(
        problem(&reply).detail.contains("app"),
        "it names the services: {reply:?}"
    );
    let reply = daemon.call("DELETE /v1/requests/4711", "").await;
    assert_eq!(reply.status, 404, "{reply:?}");
}

#[tokio::test]
async fn a_wrong_method_is_a_405_problem() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for call in [
        "POST /v1/status",
        "GET /v1/services/app/flip",
        "DELETE /v1/ps",
    ] {
        let reply = daemon.call(call, "{}").await;
        assert_eq!(reply.status, 405, "{call}: {reply:?}");
        problem(&reply);
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_understood_is_a_problem_and_does_nothing() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for body in [
        "",
        "{",
        "{}",
        "[]",
        "{\"to\":7}",
        "{\"to\":\"green\",\"surprise\":1}",
        "{\"to\":\"NOT A NAME\"}",
    ] {
        let reply = daemon.call("POST /v1/services/app/flip", body).await;
        assert!((400..500).contains(&reply.status), "{body}: {reply:?}");
        problem(&reply);
    }
    let huge = format!("{{\"to\":\"{}\"}}", "x".repeat(4 << 20));
    let socket = daemon.socket();
    let answer = tokio::time::timeout(
        crate::support::DEADLINE,
        crate::support::api_call(&socket, "POST /v1/services/app/flip", &huge),
    )
    .await
    .expect("it is bounded");
    if let Ok(reply) = answer {
        assert!((400..500).contains(&reply.status), "{}", reply.status);
    }
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn a_refusal_is_a_409_problem_that_names_the_way_around() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.flip("green").await;
    let reply = daemon
        .call("POST /v1/services/app/ack", "{\"slot\":\"blue\"}")
        .await;
    assert_eq!(reply.status, 409, "{reply:?}");
    let refused = problem(&reply);
    assert_eq!(refused.kind, "urn:switchd:refused");
    assert!(refused.detail.contains("quarantine"), "{refused:?}");
}

#[tokio::test]
async fn ps_shows_requests_in_flight() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    let extra = "X-Request-Id: the-one\r\n";
    client
        .send(request("POST /slow?secret=1", extra, "12345"))
        .await;
    pair.blue.saw("/slow", 1).await;
    let mut socket = Websocket::connect(daemon.address, "/ws").await.unwrap();
    socket.talk("hello").await.unwrap();

    let list: RequestList = daemon.call("GET /v1/ps", "").await.json();
    assert_eq!(list.requests.len(), 2, "{list:?}");
    let slow = list.requests.iter().find(|r| r.kind == "request").unwrap();
    assert_eq!(slow.service, "app");
    assert_eq!(slow.slot.as_deref(), Some("blue"));
    assert_eq!(slow.endpoint, Some(pair.blue.address().to_string()));
    assert_eq!(slow.method, "POST");
    assert!(slow.path.starts_with("/slow"), "{slow:?}");
    assert!(slow.client.starts_with("127.0.0.1"), "{slow:?}");
    assert_eq!(slow.state, "waiting");
    assert_eq!(slow.bytes_in, 5);
    let tunnel = list
        .requests
        .iter()
        .find(|r| r.kind == "websocket")
        .unwrap();
    assert_eq!(tunnel.state, "tunnel");
    assert!(tunnel.bytes_out > 0, "{tunnel:?}");
    assert_ne!(slow.id, tunnel.id);
    gate.open();
    client.answer("POST").await;
}

#[tokio::test]
async fn kill_ends_one_request_and_no_other() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    pair.blue.on(
        "/stream",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"),
            Step::Hang,
        ]),
    );
    let daemon = pair.daemon().await;
    let mut other = Wire::connect(daemon.address).await;
    other.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /stream", "", "")).await;
    assert_eq!(client.head().await.unwrap().unwrap().status(), 200);

    let list: RequestList = daemon.call("GET /v1/ps", "").await.json();
    let id = list
        .requests
        .iter()
        .find(|r| r.path == "/stream")
        .unwrap()
        .id;
    let output = daemon.ctl(&["kill", &id.to_string()]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(client.rest().await.len() < 100, "cut short");
    gate.open();
    assert_eq!(other.answer("GET").await.text(), "held");
    let told = daemon.history().await.pop().unwrap();
    assert_eq!(told.command, "kill");
    assert_eq!(
        (&*told.service, told.from.as_deref()),
        ("app", Some("blue"))
    );
    assert_eq!(
        told.details,
        [format!("request {id} (GET /stream of 127.0.0.1)")]
    );
}

#[tokio::test]
async fn probe_asks_every_endpoint_of_a_slot_now() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.health.interval = \"1h\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let reply = daemon
        .call("POST /v1/services/app/probe", "{\"slot\":\"green\"}")
        .await;
    let report: ProbeReport = reply.json();
    assert!(report.passed);
    assert_eq!(
        report.endpoints[0].address,
        pair.green.address().to_string()
    );
    pair.green.health(Reply::status(500, "just now"));
    let reply = daemon
        .call("POST /v1/services/app/probe", "{\"slot\":\"green\"}")
        .await;
    let report: ProbeReport = reply.json();
    assert!(!report.passed);
    assert!(
        report.endpoints[0].result.result.contains("just now"),
        "{report:?}"
    );
}

#[tokio::test]
async fn the_history_is_newest_last_and_can_be_limited() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for slot in ["green", "blue", "green"] {
        daemon.flip(slot).await;
    }
    let history = daemon.history().await;
    let went: Vec<&str> = history.iter().filter_map(|r| r.to.as_deref()).collect();
    assert_eq!(went, ["green", "blue", "green"]);
    let reply = daemon.call("GET /v1/history?limit=1", "").await;
    let limited: switchd::api::History = reply.json();
    assert_eq!(limited.operations, history[2..]);
    let uid = rustix::process::getuid().as_raw();
    let last = &limited.operations[0];
    assert!(last.actor.starts_with(&format!("uid {uid}")), "{last:?}");
    assert!(
        last.published_ms.is_some() && last.drained_ms.is_some(),
        "{last:?}"
    );
}

#[tokio::test]
async fn the_audit_log_is_one_json_line_per_operation() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.flip("green").await;
    daemon.flip("blue").await;
    let history = daemon.history().await;
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(daemon.path("state")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let parsed: Vec<switchd::api::AuditRecord> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        lines.extend(parsed);
    }
    assert_eq!(lines, history);
}

#[tokio::test]
async fn every_reader_of_events_gets_them_all_and_may_ask_for_one_service() {
    let pair = Pair::start().await;
    let other = Pair::start().await;
    let config = pair
        .config()
        .service("other", &other.blue, &other.green)
        .set("service.app.hosts = [\"app.test\"]")
        .set("service.other.hosts = [\"other.test\"]");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let mut all = daemon.stream("GET /v1/events", "").await;
    let mut one = daemon.stream("GET /v1/events?service=other", "").await;
    let first = daemon.ctl(&["flip", "green", "--service", "app"]).await;
    assert_eq!(first.code, 0, "{first:?}");
    let second = daemon.ctl(&["flip", "green", "--service", "other"]).await;
    assert_eq!(second.code, 0, "{second:?}");
    let published = |event: &EventKind| matches!(event, EventKind::Published { .. });
    assert_eq!(all.until(published).await.service, "app");
    assert_eq!(all.until(published).await.service, "other");
    assert_eq!(one.until(published).await.service, "other");
}

#[tokio::test]
async fn secrets_show_neither_in_the_log_nor_in_the_api() {
    let pair = Pair::start().await;
    pair.green.health(Reply::status(500, "no"));
    let config = pair
        .config()
        .set("service.app.health.headers = { X-Token = \"hunter2-of-the-probe\" }")
        .set("log.filter = \"trace\"");
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("green", "unhealthy").await;
    daemon.ctl(&["flip", "green", "--no-wait-for-start"]).await;
    assert!(pair.green.got_bytes("hunter2-of-the-probe"), "it is sent");
    for call in [
        "GET /v1/status",
        "GET /v1/history",
        "GET /v1/ps",
        "GET /metrics",
    ] {
        let reply = daemon.call(call, "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(!reply.text.contains("hunter2"), "{call}");
    }
    let log = daemon.stderr() + &std::fs::read_to_string(daemon.path("stdout")).unwrap();
    assert!(log.contains("green"), "there is a log");
    assert!(!log.contains("hunter2"));
}

#[tokio::test]
async fn a_secret_may_come_from_a_file_or_the_environment() {
    let pair = Pair::start().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "from-a-file\n").unwrap();
    let file = secret.path().display();
    // PATH is the one variable that is set wherever a test runs.
    let config = pair.config().set(&format!(
        "service.app.health.headers = {{ X-File = {{ file = \"{file}\" }}, X-Env = {{ env = \"PATH\" }} }}"
    ));
    let _daemon = Daemon::start(&config).await;
    pair.green.probed(1).await;
    let probe = &pair.green.probes()[0];
    assert_eq!(probe.get("x-file"), Some("from-a-file"));
    assert_eq!(probe.get("x-env"), std::env::var("PATH").ok().as_deref());
}

#[tokio::test]
async fn a_stale_socket_file_does_not_stop_the_start() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.kill_and_restart().await;
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn slow_readers_of_events_stop_nobody() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut asleep = Vec::new();
    for _ in 0..10 {
        asleep.push(daemon.stream("GET /v1/events", "").await);
    }
    for slot in ["green", "blue", "green"] {
        daemon.flip(slot).await;
    }
    let mut late = asleep.pop().unwrap();
    eventually("a late reader finds what happened", async || {
        matches!(late.next().await.unwrap().kind, EventKind::Published { .. })
    })
    .await;
}
