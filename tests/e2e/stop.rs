//! SIGTERM ends everything in order.

use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use rustix::process::Signal;

/// A daemon that has been told to stop, and no longer takes connections.
async fn stopping(daemon: &Daemon) {
    daemon.signal(Signal::TERM);
    eventually("it accepts no more", async || {
        tokio::net::TcpStream::connect(daemon.address)
            .await
            .is_err()
    })
    .await;
}

#[tokio::test]
async fn what_runs_is_finished_and_it_exits_with_0() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let config = pair.config().set("stop.grace = \"50ms\"");
    let mut daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    stopping(&daemon).await;
    gate.open();
    let answer = client.answer("GET").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "held"));
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn what_outlives_the_stop_timeout_is_cut_and_it_still_exits_with_0() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    pair.blue.on(
        "/stream",
        Reply::steps([
            Step::TakeBody,
            Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"),
            Step::Hang,
        ]),
    );
    let config = pair
        .config()
        .set("stop.grace = \"50ms\"")
        .set("stop.timeout = \"300ms\"");
    let mut daemon = Daemon::start(&config).await;
    let mut never = Wire::connect(daemon.address).await;
    never.send(request("GET /never", "", "")).await;
    let mut stream = Wire::connect(daemon.address).await;
    stream.send(request("GET /stream", "", "")).await;
    pair.blue.saw("/never", 1).await;
    pair.blue.saw("/stream", 1).await;
    daemon.signal(Signal::TERM);
    let answer = stream.answer("GET").await;
    assert_eq!(answer.body.end, End::Cut);
    let answer = never.try_answer("GET").await;
    assert!(
        answer
            .as_ref()
            .map_or(true, |answer| answer.status() == 503),
        "{answer:?}"
    );
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_request_on_an_idle_connection_during_the_grace_is_answered() {
    let pair = Pair::start().await;
    let config = pair.config().set("stop.grace = \"20s\"");
    let mut daemon = Daemon::start(&config).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Wire::connect(daemon.address).await;
        assert_eq!(client.ask(request("GET /", "", "")).await.status(), 200);
        clients.push(client);
    }
    stopping(&daemon).await;
    for client in &mut clients {
        let answer = client.ask(request("POST /echo", "", "last words")).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "last words")
        );
    }
    // Once all connections are gone there is nothing to wait for.
    drop(clients);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn clients_that_send_all_the_time_lose_no_request_to_the_stop() {
    let pair = Pair::start().await;
    let config = pair.config().set("stop.grace = \"300ms\"");
    let mut daemon = Daemon::start(&config).await;
    let (started, mut running) = tokio::sync::mpsc::channel::<()>(100);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let started = started.clone();
        let address = daemon.address;
        clients.spawn(async move {
            let mut client = Wire::connect(address).await;
            let mut answered = 0;
            loop {
                match client.ask_politely("GET", &request("GET /", "", "")).await {
                    Some(answer) => {
                        assert_eq!(answer.status(), 200);
                        answered += 1;
                        started.try_send(()).ok();
                        if answer.head.names_token("connection", "close") {
                            return answered;
                        }
                    }
                    // Closed in order before a byte of the request was sent.
                    None => return answered,
                }
            }
        });
    }
    for _ in 0..50 {
        running.recv().await.unwrap();
    }
    daemon.signal(Signal::TERM);
    let mut answered = 0;
    while let Some(client) = clients.join_next().await {
        answered += client.unwrap();
    }
    println!("{answered} requests were answered");
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(
        pair.blue.count(),
        answered,
        "each that arrived was answered"
    );
}

#[tokio::test]
async fn an_idle_daemon_stops_at_once_and_takes_its_socket_along() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let socket = daemon.socket();
    assert!(socket.exists());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn connections_that_arrive_in_the_very_moment_do_not_keep_it_from_stopping() {
    let pair = Pair::start().await;
    for _ in 0..5 {
        let config = pair.config().set("stop.grace = \"50ms\"");
        let mut daemon = Daemon::start(&config).await;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let address = daemon.address;
            clients.spawn(async move {
                let mut connected = 0;
                while tokio::net::TcpStream::connect(address).await.is_ok() {
                    connected += 1;
                }
                connected
            });
        }
        eventually("they come all the time", async || {
            let text = daemon.call("GET /metrics", "").await.text;
            text.lines().any(|line| {
                line.starts_with("switchd_connections_accepted_total")
                    && line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 100.0
            })
        })
        .await;
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.ended().await.code(), Some(0));
        clients.shutdown().await;
    }
}

#[tokio::test]
async fn sigint_stops_it_too() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.signal(Signal::INT);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

/// What one client sees of the stop tells when the others are treated.
fn one_worker(pair: &Pair) -> Config {
    pair.config()
        .set("stop.grace = \"50ms\"")
        .set("runtime.workers = 1")
}

/// A request that keeps the daemon from ending until the gate opens.
async fn busy(pair: &Pair, daemon: &Daemon) -> (Wire, Gate) {
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    (client, gate)
}

#[tokio::test]
async fn a_client_that_is_still_sending_reads_its_answer_during_the_stop_too() {
    let pair = Pair::start().await;
    pair.blue.on(
        "/early",
        Reply::steps([
            Step::send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"),
            Step::Hang,
        ]),
    );
    let mut daemon = Daemon::start(&one_worker(&pair)).await;
    let (mut other, gate) = busy(&pair, &daemon).await;
    let mut idle = Wire::connect(daemon.address).await;
    assert_eq!(idle.ask(request("GET /", "", "")).await.status(), 200);
    let mut client = Wire::connect(daemon.address).await;
    let head = "POST /early HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000\r\n\r\n";
    client.send(head).await;
    pair.blue.saw("/early", 1).await;
    daemon.signal(Signal::TERM);
    // Those that are idle are sent away once the grace is over.
    assert_eq!(idle.rest().await, b"");
    for _ in 0..3 {
        let sent = client.try_send([b'x'; 1000]).await;
        assert!(sent.is_ok(), "reset while it was sending: {sent:?}");
        // A reset would be here before this is.
        tokio::net::TcpStream::connect(pair.blue.address())
            .await
            .unwrap();
    }
    assert_eq!(client.answer("POST").await.text(), "big");
    gate.open();
    drop(client);
    assert_eq!(other.answer("GET").await.text(), "held");
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_head_that_is_on_its_way_is_read_to_its_end() {
    let pair = Pair::start().await;
    let mut daemon = Daemon::start(&one_worker(&pair)).await;
    let mut idle = Wire::connect(daemon.address).await;
    let mut client = Wire::connect(daemon.address).await;
    let whole = request("GET /half", "", "");
    let (begin, end) = whole.split_at(whole.len() / 2);
    client.send(begin).await;
    // The worker takes what arrived first, first.
    assert_eq!(idle.ask(request("GET /", "", "")).await.status(), 200);
    daemon.signal(Signal::TERM);
    // The grace is over when those that are idle are sent away.
    assert_eq!(idle.rest().await, b"");
    client.send(end).await;
    let answer = client.answer("GET").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "blue"));
    assert_eq!(daemon.ended().await.code(), Some(0));
}
