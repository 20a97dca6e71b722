//! The description of the API is true: checked against the running daemon.

use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::request;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jsonschema::Validator;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use switchd::api::EventKind;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Lines that are looked at of an answer that may have no end.
const LINES: usize = 3;
/// Requests that are generated.
const TRIES: usize = 400;

/// The description, and what checks documents by it.
struct Description {
    document: Value,
    validators: BTreeMap<String, Validator>,
}

/// One method of one path.
#[derive(Debug, Clone)]
struct Operation {
    method: String,
    path: String,
    about: Value,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: String,
    /// Of a stream, its first lines.
    text: String,
}

impl Description {
    async fn of(daemon: &Daemon) -> Self {
        let document: Value = daemon.call("GET /v1/openapi.json", "").await.json();
        Self {
            document,
            validators: BTreeMap::new(),
        }
    }

    fn operations(&self) -> Vec<Operation> {
        let paths = self.document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .iter()
                .map(|(method, about)| Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    about: about.clone(),
                })
        });
        operations.collect()
    }

    fn resolved<'d>(&'d self, value: &'d Value) -> &'d Value {
        let reference = value.get("$ref").and_then(Value::as_str);
        reference.map_or(value, |it| self.document.pointer(&it[1..]).unwrap())
    }

    /// Fails unless `answer` is one that the description has for `operation`.
    fn check(&mut self, operation: &Operation, answer: &Answer) {
        let Operation {
            method,
            path,
            about,
        } = operation;
        let status = answer.status.to_string();
        let described = &about["responses"][&status];
        assert!(
            !described.is_null(),
            "{method} {path} has no {status}: {answer:?}"
        );
        let described = self.resolved(described).clone();
        let content = described["content"].as_object().unwrap();
        let schema = content.get(&answer.content_type);
        let schema =
            schema.unwrap_or_else(|| panic!("{method} {path}: {answer:?}"))["schema"].clone();
        match &*answer.content_type {
            "application/x-ndjson" => {
                for line in answer.text.lines() {
                    self.validate(operation, &schema, line);
                }
            }
            kind if kind.contains("json") => self.validate(operation, &schema, &answer.text),
            _ => assert!(!answer.text.is_empty()),
        }
    }

    fn validate(&mut self, operation: &Operation, schema: &Value, text: &str) {
        let document: Value = serde_json::from_str(text).unwrap();
        let mut whole = schema.clone();
        whole["components"] = self.document["components"].clone();
        let validator = self
            .validators
            .entry(schema.to_string())
            .or_insert_with(|| jsonschema::draft202012::new(&whole).unwrap());
        let wrong: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        let Operation { method, path, .. } = operation;
        assert!(wrong.is_empty(), "{method} {path}: {wrong:?}\n{text}");
    }
}

impl Operation {
    fn is_stream(&self) -> bool {
        self.about["responses"]["200"]["content"]
            .get("application/x-ndjson")
            .is_some()
    }
}

/// One call on a connection of its own, which ends with the lines that were looked at.
async fn ask(daemon: &Daemon, method: &str, target: &str, body: &str) -> Answer {
    ask_for(LINES, daemon, method, target, body).await
}

/// As [`ask`], for so many lines, which must come; or for all, up to the end.
async fn ask_for(lines: usize, daemon: &Daemon, method: &str, target: &str, body: &str) -> Answer {
    let exchange = async {
        let stream = UnixStream::connect(daemon.socket()).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(target)
            .header("host", "switchd")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let (head, mut body) = answer.into_parts();
        let content_type = head.headers["content-type"].to_str().unwrap().to_owned();
        let mut text = Vec::new();
        let is_stream = content_type == "application/x-ndjson";
        let enough = |text: &[u8]| is_stream && text.split(|it| *it == b'\n').count() > lines;
        while !enough(&text) {
            // Of some streams only the head comes, until something happens.
            let patience = if is_stream && lines == LINES {
                std::time::Duration::from_millis(200)
            } else {
                crate::support::DEADLINE
            };
            match timeout(patience, body.frame()).await {
                Ok(Some(frame)) => text.extend(frame.unwrap().into_data().unwrap()),
                Ok(None) => break,
                Err(_) if is_stream => break,
                Err(elapsed) => panic!("no end: {method} {target}: {elapsed}"),
            }
        }
        connection.abort();
        let whole = text
            .iter()
            .rposition(|it| *it == b'\n')
            .map_or(0, |at| at + 1);
        Answer {
            status: head.status.as_u16(),
            content_type,
            text: String::from_utf8(text[..whole].to_vec()).unwrap(),
        }
    };
    timeout(crate::support::DEADLINE * 2, exchange)
        .await
        .expect("it is answered")
}

/// What is good to send to each operation that takes more than a look, in this order.
fn good() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "POST",
            "/v1/services/app/label",
            json!({ "slot": "green", "version": "18.0.4" }),
        ),
        (
            "POST",
            "/v1/services/app/shadow",
            json!({ "slot": "green", "percent": 10 }),
        ),
        (
            "POST",
            "/v1/services/app/canary",
            json!({ "slot": "green", "percent": 5, "no_wait": true }),
        ),
        (
            "POST",
            "/v1/services/app/canary",
            json!({ "action": "abort" }),
        ),
        (
            "POST",
            "/v1/services/app/maintenance",
            json!({ "on": true, "message": "back soon", "bypass": true }),
        ),
        (
            "POST",
            "/v1/services/app/maintenance",
            json!({ "on": false }),
        ),
        ("POST", "/v1/services/app/read_only", json!({ "on": true })),
        ("POST", "/v1/services/app/read_only", json!({ "on": false })),
        (
            "POST",
            "/v1/services/app/preview",
            json!({ "slot": "green" }),
        ),
        ("POST", "/v1/services/app/gate", json!({ "slot": "green" })),
        (
            "POST",
            "/v1/services/app/flip",
            json!({ "to": "green", "reason": "a test", "confirm_within": "10m" }),
        ),
        ("POST", "/v1/services/app/confirm", Value::Null),
        ("POST", "/v1/services/app/rollback", json!({})),
        ("POST", "/v1/services/app/probe", json!({ "slot": "green" })),
        (
            "POST",
            "/v1/services/app/hold",
            json!({ "for": "10s", "lease": false }),
        ),
        ("POST", "/v1/services/app/release", Value::Null),
        ("POST", "/v1/reload", Value::Null),
        ("POST", "/v1/cache/purge", json!({ "prefix": "/web" })),
        ("POST", "/v1/hooks/team/test", Value::Null),
    ]
}

async fn daemon(pair: &Pair) -> Daemon {
    let hook = format!(
        "[[hook]]\nname = \"team\"\nurl = \"http://{}/\"\nevents = []\n",
        pair.blue.address()
    );
    let config = pair.config().set("service.app.preview.enabled = true");
    let daemon = Daemon::start(&config.block(&hook)).await;
    daemon.healthy().await;
    daemon
}

fn is_path(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(one, other)| one == other || one.starts_with('{'))
}

#[tokio::test]
async fn every_route_answers_with_a_document_of_its_description() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.green.on("/slow", Reply::held(&gate));
    let daemon = daemon(&pair).await;
    let mut description = Description::of(&daemon).await;
    let operations = description.operations();
    let find = |method: &str, path: &str| {
        let found = operations
            .iter()
            .find(|it| it.method == method && is_path(&it.path, path));
        found
            .unwrap_or_else(|| panic!("{method} {path} is not described"))
            .clone()
    };
    let mut seen = Vec::new();
    for (method, path, body) in good() {
        let operation = find(method, path);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let lines = if path.ends_with("/hold") {
            1
        } else {
            usize::MAX
        };
        let answer = ask_for(lines, &daemon, method, path, &body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        description.check(&operation, &answer);
        assert!(
            !operation.is_stream() || !answer.text.is_empty(),
            "{method} {path} told nothing"
        );
        seen.push((operation.method, operation.path));
    }
    // A request to look at and to kill, and a slot to acknowledge.
    daemon.flip("green").await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.green.saw("/slow", 1).await;
    for operation in operations.iter().filter(|it| it.method == "GET") {
        let path = operation.path.replace("{service}", "app");
        let answer = ask(&daemon, "GET", &path, "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        description.check(operation, &answer);
        seen.push((operation.method.clone(), operation.path.clone()));
    }
    let id = daemon.requests().await[0].id;
    let killed = ask(&daemon, "DELETE", &format!("/v1/requests/{id}"), "").await;
    assert_eq!(killed.status, 200, "{killed:?}");
    let kill = find("DELETE", "/v1/requests/1");
    description.check(&kill, &killed);
    seen.push((kill.method, kill.path));
    pair.green.health(Reply::status(503, "broken"));
    daemon.becomes_active("blue").await;
    let acknowledged = ask(
        &daemon,
        "POST",
        "/v1/services/app/ack",
        "{\"slot\":\"green\"}",
    )
    .await;
    assert_eq!(acknowledged.status, 200, "{acknowledged:?}");
    let ack = find("POST", "/v1/services/app/ack");
    description.check(&ack, &acknowledged);
    seen.push((ack.method, ack.path));
    // Green is broken still, so this one waits until somebody ends it.
    let mut flip = daemon
        .stream(
            "POST /v1/services/app/flip",
            "{\"to\":\"green\",\"acknowledge\":true}",
        )
        .await;
    flip.until(|event| matches!(event, EventKind::GateWaiting(_)))
        .await;
    let cancelled = ask(&daemon, "POST", "/v1/services/app/cancel", "").await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let cancel = find("POST", "/v1/services/app/cancel");
    description.check(&cancel, &cancelled);
    seen.push((cancel.method, cancel.path));
    for Operation { method, path, .. } in &operations {
        let tried = seen.iter().any(|(m, p)| m == method && p == path);
        assert!(
            tried,
            "{method} {path} was not tried: add a good body for it to `good`"
        );
    }
}

/// Anything at all, with names and values from the description among it.
fn value(schema: &Value, depth: u32) -> BoxedStrategy<Value> {
    let known: Vec<Value> = ["green", "blue", "app", "30s", "/", "true"]
        .map(Value::from)
        .to_vec();
    let any = prop_oneof![
        prop::sample::select(known),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let properties = schema["properties"].as_object();
    let (Some(properties), true) = (properties, depth > 0) else {
        return any.boxed();
    };
    let names: Vec<String> = properties
        .keys()
        .cloned()
        .chain(["surprise".to_owned()])
        .collect();
    let object = prop::collection::btree_map(prop::sample::select(names), any.clone(), 0..4);
    prop_oneof![
        9 => object.prop_map(|it| serde_json::to_value(it).unwrap()),
        1 => any,
    ]
    .boxed()
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => prop::sample::select(vec!["app", "team", "0", "1", "nobody", "18446744073709551616", ""]).prop_map(str::to_owned),
        1 => "[a-z0-9%~._-]{1,9}",
    ]
}

/// A request for `operation`: its target and its body.
fn generated(description: &Description, operation: &Operation) -> BoxedStrategy<(String, String)> {
    let about = &operation.about;
    let parameters: Vec<String> = about["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|it| it["in"] == "query")
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .chain(["surprise".to_owned()])
        .collect();
    let pair = (
        prop::sample::select(parameters),
        "[a-zA-Z0-9%=:.-]{0,12}|app|green|flip",
    );
    let query = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(pair, 1..3)];
    let schema = &about["requestBody"]["content"]["application/json"]["schema"];
    let body = value(description.resolved(schema), 1).prop_map(|it| it.to_string());
    let body = prop_oneof![6 => body, 1 => Just(String::new()), 1 => "\\PC{0,20}"];
    let path = operation.path.clone();
    (segment(), query, body)
        .prop_map(move |(segment, query, body)| {
            let path: Vec<&str> = path
                .split('/')
                .map(|it| {
                    if it.starts_with('{') {
                        segment.as_str()
                    } else {
                        it
                    }
                })
                .collect();
            let query: Vec<String> = query
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let mark = if query.is_empty() { "" } else { "?" };
            (format!("{}{mark}{}", path.join("/"), query.join("&")), body)
        })
        .boxed()
}

#[tokio::test]
async fn whatever_is_asked_gets_an_answer_that_is_described() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let mut description = Description::of(&daemon).await;
    let operations = description.operations();
    let mut runner = TestRunner::deterministic();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for number in 0..TRIES {
        let operation = &operations[number % operations.len()];
        let request = generated(&description, operation)
            .new_tree(&mut runner)
            .unwrap();
        let (target, body) = request.current();
        if !is_path(&operation.path, target.split('?').next().unwrap()) {
            continue;
        }
        let answer = ask(&daemon, &operation.method, &target, &body).await;
        description.check(operation, &answer);
        *statuses.entry(answer.status).or_default() += 1;
    }
    for expected in [200, 400, 404] {
        assert!(
            statuses.contains_key(&expected),
            "never seen: {expected} in {statuses:?}"
        );
    }
    assert!(daemon.status().await.pid > 0, "it is still there");
}

#[tokio::test]
async fn what_is_not_described_does_not_exist() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let description = Description::of(&daemon).await;
    let operations = description.operations();
    let mut tried = 0;
    for operation in &operations {
        let path = operation
            .path
            .replace("{service}", "app")
            .replace("{id}", "1")
            .replace("{name}", "team");
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
            let is_described = operations
                .iter()
                .any(|it| it.method == method && it.path == operation.path);
            if is_described {
                continue;
            }
            let answer = ask(&daemon, method, &path, "").await;
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            tried += 1;
        }
        let beyond = ask(&daemon, &operation.method, &format!("{path}/x"), "").await;
        assert_eq!(beyond.status, 404, "{beyond:?}");
    }
    assert!(tried > 30, "{tried}");
}

#[tokio::test]
async fn switchctl_prints_the_description() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let printed = daemon.ctl(&["openapi"]).await;
    assert_eq!(printed.code, 0);
    assert_eq!(printed.json()["openapi"], "3.1.0");
    assert_eq!(printed.json(), Description::of(&daemon).await.document);
}
