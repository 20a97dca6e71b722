//! Flips and stops under HTTP/2: no request is lost, and each client is told in time.

use crate::support::Daemon;
use crate::support::Frames;
use crate::support::Gate;
use crate::support::Http2;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::eventually;
use crate::support::h2_request;
use crate::support::http2::Frame;
use crate::support::http2::ask;
use crate::support::http2::frame;
use crate::support::http2::get_frame;
use crate::support::http2::kind;
use h2::Reason;
use rustix::process::Signal;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

#[tokio::test]
async fn flips_under_load_lose_no_request_on_any_stream() {
    const FLIPS: usize = 20;
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        let client = Http2::connect(daemon.address).await;
        for number in 0..8 {
            let sender = client.sender();
            let (stop, answered) = (stop.clone(), answered.clone());
            let body = "x".repeat(number * 9_000);
            clients.spawn(async move {
                let mut backends = HashSet::new();
                while !stop.load(Ordering::SeqCst) {
                    let request = h2_request("POST", "/echo");
                    let answer = ask(sender.clone(), request, body.as_bytes());
                    let answer = answer.await.unwrap();
                    assert_eq!((answer.status(), answer.text()), (200, body.clone()));
                    backends.insert(answer.backend().to_owned());
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                backends
            });
        }
    }
    for flip in 0..FLIPS {
        let before = answered.load(Ordering::SeqCst);
        daemon.flip(["green", "blue"][flip % 2]).await;
        eventually("requests go on", async || {
            answered.load(Ordering::SeqCst) > before + 24
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut backends = HashSet::new();
    while let Some(client) = clients.join_next().await {
        backends.extend(client.unwrap());
    }
    let answered = answered.load(Ordering::SeqCst);
    println!("{answered} requests were answered during {FLIPS} flips");
    assert_eq!(backends.len(), 2, "both slots answered");
    let arrived = pair.blue.count() + pair.green.count();
    assert_eq!(arrived, answered, "each that arrived was answered");
}

fn is_goaway(frame: &Frame) -> bool {
    frame.kind == kind::GOAWAY
}

#[tokio::test]
async fn a_stop_says_goodbye_in_two_steps_and_serves_what_was_on_its_way() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/held", Reply::held(&gate));
    let config = pair.config().set("stop.grace = \"50ms\"");
    let mut daemon = Daemon::start(&config).await;
    let mut client = Frames::connect(daemon.address, &[]).await;
    client.send(&get_frame(1, "/held")).await;
    pair.blue.saw("/held", 1).await;
    daemon.signal(Signal::TERM);
    let first = client.until("the first step", is_goaway).await;
    assert_eq!(
        (first.last_stream(), first.reason()),
        (0x7fff_ffff, Reason::NO_ERROR)
    );
    let ping = client
        .until("a ping", |frame| {
            frame.kind == kind::PING && frame.flags == 0
        })
        .await;
    // It was sent before the client had read the first step.
    client.send(&get_frame(3, "/crossed")).await;
    client.send(&frame(kind::PING, 1, 0, &ping.payload)).await;
    let mut second = None;
    let mut crossed = false;
    while second.is_none() || !crossed {
        let next = client.next().await.expect("the crossed one is answered");
        crossed |= next.stream == 3 && next.ends_stream();
        if next.kind == kind::GOAWAY {
            second = Some(next);
        }
    }
    let second = second.unwrap();
    assert_eq!(
        (second.last_stream(), second.reason()),
        (3, Reason::NO_ERROR)
    );
    // Too late: not answered, and known to be unseen.
    client.send(&get_frame(5, "/late")).await;
    gate.open();
    assert_eq!(client.end_of(1).await, None);
    assert!(client.next().await.is_none(), "then the connection ends");
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(pair.blue.requests_for("/late").is_empty());
    assert_eq!(pair.blue.requests_for("/crossed").len(), 1);
}

#[tokio::test]
async fn connections_without_a_request_do_not_hold_up_a_stop() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("stop.grace = \"50ms\"")
        .set("stop.timeout = \"1h\"");
    let mut daemon = Daemon::start(&config).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        // These never answer the ping.
        let mut client = Frames::connect(daemon.address, &[]).await;
        client.send(&get_frame(1, "/")).await;
        assert_eq!(client.end_of(1).await, None);
        clients.push(client);
    }
    daemon.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.sent_away().await, Some(Reason::NO_ERROR));
    }
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_outlives_the_stop_timeout_is_reset_and_never_ended() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let config = pair
        .config()
        .set("stop.grace = \"50ms\"")
        .set("stop.timeout = \"300ms\"");
    let mut daemon = Daemon::start(&config).await;
    let client = Http2::connect(daemon.address).await;
    let (never, ()) = tokio::join!(client.get("/never"), async {
        pair.blue.saw("/never", 1).await;
        daemon.signal(Signal::TERM);
    });
    if let Ok(answer) = &never {
        assert_eq!(answer.status(), 503, "{answer:?}");
    }
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn clients_that_send_all_the_time_lose_no_request_to_the_stop() {
    let pair = Pair::start().await;
    let config = pair.config().set("stop.grace = \"300ms\"");
    let mut daemon = Daemon::start(&config).await;
    let (started, mut running) = tokio::sync::mpsc::channel::<()>(100);
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let client = Http2::connect(daemon.address).await;
        for _ in 0..8 {
            let sender = client.sender();
            let started = started.clone();
            clients.spawn(async move {
                let mut answered = 0;
                loop {
                    match ask(sender.clone(), h2_request("GET", "/"), &[]).await {
                        Ok(answer) => {
                            assert_eq!(answer.status(), 200);
                            answered += 1;
                            started.try_send(()).ok();
                        }
                        // Told before it was sent, or that nobody has seen it.
                        Err(error) if error.is_go_away() => {
                            assert_eq!(error.reason(), Some(Reason::NO_ERROR));
                            return answered;
                        }
                        Err(error) if error.reason() == Some(Reason::REFUSED_STREAM) => {
                            return answered;
                        }
                        Err(error) => panic!("lost: {error:?}"),
                    }
                }
            });
        }
    }
    for _ in 0..200 {
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
