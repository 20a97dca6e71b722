//! Each wait has a limit of its own, and the answer names the one that was over.

use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;
use tokio::net::TcpSocket;

fn with(pair: &Pair, timeout: &str) -> Config {
    pair.config()
        .set("service.app.failback.mode = \"off\"")
        .set(&format!("service.app.timeouts.{timeout}"))
}

#[tokio::test]
async fn an_upstream_that_does_not_take_the_connection_is_a_504() {
    let pair = Pair::start().await;
    // A full backlog: the kernel drops further handshakes.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().unwrap();
        let asked = socket.connect(address);
        let second = std::time::Duration::from_secs(1);
        if let Ok(connected) = tokio::time::timeout(second, asked).await {
            crowd.push(connected);
        } else {
            break;
        }
    }
    assert!(crowd.len() < 8, "the backlog is full");
    let config = with(&pair, "connect = \"200ms\"")
        .set(&format!("service.app.slots.blue.http = [\"{address}\"]"));
    let daemon = Daemon::start(&config).await;
    let answer = get(daemon.address, "/").await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.head.get("x-switchd-fault"), Some("timeout-connect"));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_504() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let daemon = Daemon::start(&with(&pair, "first_byte = \"200ms\"")).await;
    for (line, body) in [("GET /never", ""), ("POST /never", "form")] {
        let mut client = Wire::connect(daemon.address).await;
        let answer = client.ask(request(line, "", body)).await;
        assert_eq!(answer.status(), 504);
        assert_eq!(
            answer.head.get("x-switchd-fault"),
            Some("timeout-first-byte")
        );
        assert!(
            answer.text().contains("did not begin its answer in time"),
            "{answer:?}"
        );
    }
    assert_eq!(
        pair.blue.requests_for("/never").len(),
        2,
        "a timeout is never repeated"
    );
}

#[tokio::test]
async fn the_first_byte_is_awaited_from_the_end_of_the_upload() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&with(&pair, "first_byte = \"300ms\"")).await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")
        .await;
    pair.blue.saw("/echo", 1).await;
    // Twelve probes are more than first_byte.
    pair.blue.probed(12).await;
    client.send("rest").await;
    assert_eq!(client.answer("POST").await.text(), "halfrest");
}

#[tokio::test]
async fn an_answer_that_stands_still_is_cut() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/stuck",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"),
            Step::Hang,
        ]),
    );
    let daemon = Daemon::start(&with(&pair, "idle = \"200ms\"")).await;
    let answer = get(daemon.address, "/stuck").await;
    assert_eq!(answer.body.end, End::Cut);
}

#[tokio::test]
async fn an_upload_that_stands_still_is_a_408() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&with(&pair, "idle = \"200ms\"")).await;
    let mut client = Wire::connect(daemon.address).await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")
        .await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.status(), 408);
    assert_eq!(
        answer.head.get("x-switchd-fault"),
        Some("timeout-client-idle")
    );
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn the_whole_may_have_a_limit_too() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let daemon = Daemon::start(&with(&pair, "total = \"200ms\"")).await;
    let answer = get(daemon.address, "/never").await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.head.get("x-switchd-fault"), Some("timeout-total"));
}

#[tokio::test]
async fn an_answer_that_goes_on_and_on_is_no_idle_one() {
    let pair = Pair::start().await;
    let gates: Vec<Gate> = (0..4).map(|_| Gate::closed()).collect();
    let mut steps = vec![
        Step::TakeBody,
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"),
    ];
    for gate in &gates {
        steps.extend([Step::Wait(gate.clone()), Step::send("ab")]);
    }
    pair.blue.on("/slow", Reply::steps(steps));
    let daemon = Daemon::start(&with(&pair, "idle = \"2s\"")).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    assert_eq!(client.head().await.unwrap().unwrap().status(), 200);
    for gate in &gates {
        // A second or so each: the whole takes longer than `idle`, no pause does.
        pair.blue.probed(15).await;
        gate.open();
        assert_eq!(client.bytes(2).await, b"ab");
    }
}

#[tokio::test]
async fn the_log_names_the_timeout() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let config =
        with(&pair, "first_byte = \"200ms\"").set("access_log.target = \"DIR/access.log\"");
    let daemon = Daemon::start(&config).await;
    get(daemon.address, "/never").await;
    crate::support::eventually("the access log names it", async || {
        std::fs::read_to_string(daemon.path("access.log"))
            .is_ok_and(|log| log.contains("timeout-first-byte"))
    })
    .await;
}

#[tokio::test]
async fn an_interim_answer_does_not_make_the_upstreams_silence_the_clients() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/hints",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            Step::Hang,
        ]),
    );
    let config = with(&pair, "first_byte = \"300ms\"").set("service.app.timeouts.idle = \"200ms\"");
    let daemon = Daemon::start(&config).await;
    let answer = get(daemon.address, "/hints").await;
    assert_eq!(answer.interim.len(), 1);
    let fault = answer.head.get("x-switchd-fault").unwrap_or_default();
    assert_eq!((answer.status(), fault), (504, "timeout-first-byte"));
}
