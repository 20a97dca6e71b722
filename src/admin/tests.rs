//! The admin API over its real socket.

use super::Admin;
use super::Socket;
use crate::api::EventKind;
use crate::api::Problem;
use crate::api::Status;
use crate::api::StreamEvent;
use crate::api::Verdict;
use crate::control::tests::support::BROKEN;
use crate::control::tests::support::Stage;
use crate::control::tests::support::eventually;
use crate::edge::Edge;
use crate::live::Kind;
use crate::telemetry::AccessLog;
use crate::telemetry::LineFormat;
use crate::telemetry::LogTarget;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::UnixStream;

const STILL: &str = "[service.odoo.failback]\nmode = \"off\"";

/// Control, workers and the admin API.
struct House {
    stage: Stage,
    socket: PathBuf,
}

/// One answer, taken apart.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// In lower case.
    head: String,
    body: String,
}

impl Reply {
    fn problem(&self) -> Problem {
        assert!(self.head.contains("application/problem+json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    fn events(&self) -> Vec<StreamEvent> {
        let lines = self.body.lines().filter(|line| line.starts_with('{'));
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl House {
    async fn build() -> Self {
        let stage = Stage::set(STILL).await;
        let settings = stage.handle().settings().await.unwrap();
        let log = AccessLog::start(LogTarget::Off, LineFormat::Json).unwrap();
        let edge = Arc::new(Edge::start(&settings, &stage.live, &log).unwrap());
        let socket = settings.admin.socket.clone();
        let admin = Admin::new(stage.handle().clone(), edge, log);
        stage
            .control
            .spawn(admin.serve(Socket::bind(&socket).unwrap()));
        Self { stage, socket }
    }

    async fn send(&self, request: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let length = body.len();
        let text = format!(
            "{request} HTTP/1.1\r\nHost: switchd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, request: &str, body: &str) -> Reply {
        let mut text = String::new();
        let mut stream = self.send(request, body).await;
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Reply {
            status: head[9..12].parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }
}

#[tokio::test]
async fn the_status_shows_the_bound_listeners() {
    let house = House::build().await;
    let reply = house.ask("GET /v1/status", "").await;
    assert_eq!(reply.status, 200);
    let status: Status = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(status.services[0].active, "blue");
    let port = status.listeners[0].rsplit(':').next().unwrap();
    assert_ne!(port, "0", "a configured port 0 is a real one here");
}

#[tokio::test]
async fn a_flip_streams_its_events_and_ends_with_the_verdict() {
    let house = House::build().await;
    let reply = house
        .ask("POST /v1/services/odoo/flip", r#"{"to":"green"}"#)
        .await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("application/x-ndjson"));
    let events = reply.events();
    let EventKind::Started { by, .. } = &events[0].kind else {
        panic!("{:?}", events[0]);
    };
    assert!(
        by.starts_with("uid "),
        "the peer of the socket is named: {by}"
    );
    let last = &events.last().unwrap().kind;
    assert!(
        matches!(last, EventKind::Done { verdict: Verdict::Done, active, .. } if active == "green"),
        "{last:?}"
    );
    let published = |event: &StreamEvent| matches!(event.kind, EventKind::Published { .. });
    assert!(events.iter().any(published));
    let history = house.stage.history().await;
    assert_eq!(history[0].actor, *by);
}

#[tokio::test]
async fn a_gate_that_fails_ends_the_stream_with_its_reasons() {
    let house = House::build().await;
    house.stage.green.answers(BROKEN);
    let body = r#"{"to":"green","no_wait_for_start":true}"#;
    let reply = house.ask("POST /v1/services/odoo/flip", body).await;
    assert_eq!(reply.status, 200, "the machine had accepted it");
    let events = reply.events();
    let EventKind::Done {
        verdict, reasons, ..
    } = &events.last().unwrap().kind
    else {
        panic!("{events:?}");
    };
    assert_eq!(*verdict, Verdict::Refused);
    assert!(reasons[0].contains("HTTP 500: no database"), "{reasons:?}");
}

#[tokio::test]
async fn what_the_machine_refuses_is_a_conflict_that_names_the_way_around() {
    let house = House::build().await;
    let body = r#"{"to":"green","force":true}"#;
    let reply = house.ask("POST /v1/services/odoo/flip", body).await;
    assert_eq!(reply.status, 409);
    let problem = reply.problem();
    assert_eq!(problem.kind, "urn:switchd:refused");
    assert_eq!(
        problem.way_around.as_deref(),
        Some("--force --reason \"...\"")
    );
    let reply = house.ask("POST /v1/services/odoo/rollback", "").await;
    assert_eq!(reply.status, 409);
    assert!(
        reply
            .problem()
            .detail
            .starts_with("no slot was active before blue")
    );
    let body = r#"{"to":"green","expect_generation":7}"#;
    assert_eq!(
        house.ask("POST /v1/services/odoo/flip", body).await.status,
        409
    );
}

#[tokio::test]
async fn what_does_not_exist_is_told_with_what_does() {
    let house = House::build().await;
    for (request, body, words) in [
        (
            "POST /v1/services/odoo/flip",
            r#"{"to":"red"}"#,
            "the slots are blue, green",
        ),
        (
            "POST /v1/services/odoo/flip",
            r#"{"to":"RED!"}"#,
            "the slots are blue, green",
        ),
        (
            "POST /v1/services/shop/flip",
            r#"{"to":"green"}"#,
            "the services are odoo",
        ),
        ("GET /v1/history?service=shop", "", "the services are odoo"),
        (
            "POST /v1/services/odoo/probe",
            r#"{"slot":"red"}"#,
            "the slots are blue, green",
        ),
        ("DELETE /v1/requests/12345", "", "switchctl ps"),
        ("GET /v2/status", "", "/v1/status"),
    ] {
        let reply = house.ask(request, body).await;
        assert_eq!(reply.status, 404, "{request}");
        let detail = reply.problem().detail;
        assert!(detail.contains(words), "{request}: {detail}");
    }
}

#[tokio::test]
async fn mistakes_in_a_request_are_told_as_such() {
    let house = House::build().await;
    let reply = house
        .ask("POST /v1/services/odoo/flip", r#"{"two":"green"}"#)
        .await;
    assert_eq!(reply.status, 400);
    assert!(reply.problem().detail.contains("unknown field `two`"));
    assert_eq!(
        house.ask("POST /v1/services/odoo/flip", "").await.status,
        400
    );
    assert_eq!(house.ask("GET /v1/ps?slot=a", "").await.status, 400);
    let reply = house.ask("GET /v1/reload", "").await;
    assert_eq!(reply.status, 405);
    assert!(reply.head.contains("allow: post"), "{}", reply.head);
    let large = "x".repeat(100_000);
    assert_eq!(house.ask("POST /v1/reload", &large).await.status, 413);
}

#[tokio::test]
async fn a_client_that_leaves_stops_nothing() {
    let house = House::build().await;
    let left = house.stage.active();
    left.in_flight.enter(0, Kind::Request);
    let stream = house
        .send("POST /v1/services/odoo/flip", r#"{"to":"green"}"#)
        .await;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("\"published\"") {
            break;
        }
    }
    drop(lines);
    left.in_flight.leave(0, Kind::Request);
    eventually("the flip ends in the history", async || {
        let history = house.stage.history().await;
        history
            .iter()
            .any(|line| line.command == "flip" && line.result == "done")
    })
    .await;
    assert_eq!(house.stage.active().name.as_str(), "green");
}

#[tokio::test]
async fn everything_that_happens_can_be_followed() {
    let house = House::build().await;
    let stream = house.send("GET /v1/events?service=odoo", "").await;
    let mut lines = BufReader::new(stream).lines();
    let head = lines.next_line().await.unwrap().unwrap();
    assert!(
        head.contains("200"),
        "the head comes before the first event: {head}"
    );
    house.stage.flip("green").await;
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
            continue;
        };
        assert_eq!(event.service, "odoo");
        let is_last = matches!(event.kind, EventKind::Settled);
        seen.push(event);
        if is_last {
            break;
        }
    }
    let done = |event: &StreamEvent| matches!(event.kind, EventKind::Done { .. });
    assert!(seen.iter().any(done), "{seen:?}");
}

#[tokio::test]
async fn the_other_paths_answer_too() {
    let house = House::build().await;
    let reply = house.ask("GET /metrics", "").await;
    assert!(reply.head.contains("application/openmetrics-text"));
    assert!(
        reply.body.contains("switchd_connections "),
        "{}",
        reply.body
    );
    assert_eq!(house.ask("GET /v1/ps?service=odoo", "").await.status, 200);
    assert_eq!(house.ask("POST /v1/reload", "").await.status, 200);
    let reply = house
        .ask("POST /v1/services/odoo/probe", r#"{"slot":"green"}"#)
        .await;
    assert!(reply.body.contains(r#""passed":true"#), "{}", reply.body);
    let reply = house.ask("GET /v1/history?limit=1", "").await;
    assert!(
        reply.body.contains(r#""command":"reload""#),
        "{}",
        reply.body
    );
    let reply = house
        .ask("POST /v1/services/odoo/ack", r#"{"slot":"green"}"#)
        .await;
    assert_eq!(reply.status, 409);
    assert!(reply.problem().detail.contains("not in quarantine"));
}
