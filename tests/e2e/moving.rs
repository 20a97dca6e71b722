//! Five hundred websockets of an Odoo move to the other slot.

use crate::flip::is_published;
use crate::support::Behaviour;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Link;
use crate::support::Odoo;
use crate::support::WebsocketEvent as Event;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::frames::CLOSE;
use crate::support::frames::CONTINUATION;
use crate::support::frames::Ear;
use crate::support::frames::TEXT;
use crate::support::frames::close_payload;
use crate::support::frames::masked;
use crate::support::request;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use switchd::api::EventKind;
use tokio::io::AsyncWriteExt;
use tokio::io::WriteHalf;
use tokio::io::split;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const CLIENTS: usize = 500;
/// Of those, how many send large messages in fragments all the time.
const UPLOADS: usize = 40;
const SPREAD: Duration = Duration::from_secs(10);
/// From the last turn until the last client is back: a client of Odoo waits for up to a second by itself.
const BACK: Duration = Duration::from_millis(1500);
/// Fragments of one message, and the time between two: well below Odoo's limit of ten frames in two seconds.
const FRAGMENTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(350);
const FRAGMENT: usize = 40_000;
/// The same of a message of the server, and how often there is one.
const NOTE: (usize, usize, Duration) = (3, 25_000, Duration::from_millis(150));
const NOTES: Duration = Duration::from_secs(3);

const PATH: &str = "GET /websocket?version=18.0-5";
const ASK: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://app.test\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn config(blue: &Odoo, green: &Odoo) -> Config {
    let slots = [("blue", blue), ("green", green)];
    let with_slots = slots.iter().fold(Config::empty(), |config, (name, odoo)| {
        let (http, websocket) = (odoo.http_address(), odoo.websocket_address());
        config
            .set(&format!("service.app.slots.{name}.http = [\"{http}\"]"))
            .set(&format!(
                "service.app.slots.{name}.websocket = [\"{websocket}\"]"
            ))
    });
    with_slots
        .set("service.app.initial = \"blue\"")
        .route("/websocket", "websocket")
        .set("service.app.health.path = \"/web/health\"")
        .set("service.app.health.timeout = \"20s\"")
        .set("service.app.flip.drain_websockets = \"60s\"")
        .set("service.app.websocket.close_code = 4002")
        .set("service.app.websocket.close_reason = \"moved\"")
        .set("service.app.websocket.close_timeout = \"20s\"")
        .set(&format!(
            "service.app.websocket.spread = \"{}s\"",
            SPREAD.as_secs()
        ))
}

/// What all clients share.
struct Stage {
    proxy: SocketAddr,
    open: AtomicUsize,
    refused: AtomicUsize,
    stop: AtomicBool,
}

/// What became of one client.
struct Moved {
    closed: Instant,
    back: Instant,
    /// Messages that it had sent whole when it was closed.
    sent: usize,
    /// Messages from the server, in fragments.
    heard: usize,
    /// It was in the middle of a message of its own.
    in_message: bool,
}

async fn open(stage: &Stage) -> Link {
    let mut wire = Wire::connect(stage.proxy).await;
    let answer = wire.ask(request(PATH, ASK, "")).await;
    if answer.status() != 101 {
        stage.refused.fetch_add(1, Ordering::SeqCst);
    }
    assert_eq!(answer.status(), 101);
    let (stream, unread) = wire.into_parts();
    assert!(
        unread.is_empty(),
        "Odoo speaks when it has something to say"
    );
    stream
}

/// As the worker of Odoo's web client: closed with 4002 it comes back within a second.
async fn client(stage: Arc<Stage>, uploads: bool) -> Moved {
    let (reader, writer) = split(open(&stage).await);
    let (close, closed) = mpsc::channel(1);
    stage.open.fetch_add(1, Ordering::SeqCst);
    let uploads = uploads.then(|| Arc::clone(&stage));
    let speaking = tokio::spawn(speak(writer, uploads, closed));
    let mut ear = Ear::new(reader);
    let mut heard = 0;
    let (code, reason) = loop {
        let message = ear.message().await.expect("no end without a close");
        match message.opcode {
            CLOSE => break message.close(),
            _ => heard += 1,
        }
    };
    let closed = Instant::now();
    assert_eq!((code, reason.as_str()), (4002, "moved"));
    close.send(()).await.unwrap();
    let (sent, in_message, writer) = speaking.await.unwrap();
    assert!(ear.message().await.is_none(), "nothing behind a close");
    drop(writer);
    let pause = Duration::from_secs(1).mul_f64(fastrand::f64());
    tokio::time::sleep_until((closed + pause).into()).await;
    let (reader, writer) = split(open(&stage).await);
    let back = Instant::now();
    tokio::spawn(async move {
        let mut ear = Ear::new(reader);
        while ear.message().await.is_some() {}
        drop(writer);
    });
    Moved {
        closed,
        back,
        sent,
        heard,
        in_message,
    }
}

/// Speaks until it is told to close, then answers the close. How many messages were whole, and whether one was not.
async fn speak(
    mut writer: WriteHalf<Link>,
    uploads: Option<Arc<Stage>>,
    mut closed: mpsc::Receiver<()>,
) -> (usize, bool, WriteHalf<Link>) {
    writer
        .write_all(&masked(TEXT, true, b"subscribe"))
        .await
        .unwrap();
    let fragment = |opcode, fin| masked(opcode, fin, &[b'u'; FRAGMENT]);
    let message: Vec<_> = match &uploads {
        Some(_) => vec![
            fragment(TEXT, false),
            fragment(CONTINUATION, false),
            fragment(CONTINUATION, true),
        ],
        None => Vec::new(),
    };
    let is_time = || {
        uploads
            .as_ref()
            .is_some_and(|stage| stage.open.load(Ordering::SeqCst) == CLIENTS)
    };
    let mut fragments = 0;
    // Not all at the same time.
    let first = tokio::time::Instant::now() + PAUSE.mul_f64(1.0 + fastrand::f64() * 4.0);
    let mut ticks = tokio::time::interval_at(first, PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = closed.recv() => break,
            _ = ticks.tick(), if uploads.is_some() => {
                if fragments == 0 && !is_time() {
                    continue;
                }
                let next = &message[fragments % FRAGMENTS];
                fragments += 1;
                if writer.write_all(next).await.is_err() {
                    break;
                }
            }
        }
    }
    let answer = masked(CLOSE, true, &close_payload(4002));
    writer.write_all(&answer).await.unwrap();
    let in_message = fragments % FRAGMENTS != 0;
    (1 + fragments / FRAGMENTS, in_message, writer)
}

/// How late a machine that does other things as well wakes those whose time has come, at worst.
async fn lateness(stage: Arc<Stage>) -> Duration {
    let every = Duration::from_millis(20);
    let mut ticks = tokio::time::interval(every);
    let mut worst = Duration::ZERO;
    let mut last = ticks.tick().await;
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stage.stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        let now = tokio::time::Instant::now();
        worst = worst.max((now - last).saturating_sub(every));
        last = now;
    }
    worst
}

/// The largest distance of the closes from the even line, as a part of the spread.
fn deviation(mut closed: Vec<Duration>) -> f64 {
    closed.sort();
    let count = u32::try_from(closed.len()).unwrap();
    let even = (0..count).map(|number| SPREAD * number / count);
    let away = closed.iter().zip(even).map(|(at, even)| at.abs_diff(even));
    away.max().unwrap_or_default().div_duration_f64(SPREAD)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_websockets_are_moved_evenly_between_messages_and_come_back_at_once() {
    let database = Database::new();
    let [blue, green] =
        ["blue", "green"].map(|name| Odoo::start_on(name, Behaviour::default(), &database));
    let daemon = Daemon::start(&config(&blue, &green)).await;
    daemon.healthy().await;
    let stage = Arc::new(Stage {
        proxy: daemon.address,
        open: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    });
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&stage), number < UPLOADS));
        // Odoo's backlog is short.
        if number % 50 == 49 {
            eventually("they are open", async || {
                stage.open.load(Ordering::SeqCst) > number
            })
            .await;
        }
    }
    let flip = daemon.begin_flip("green");
    let notes = async {
        let (count, size, pause) = NOTE;
        let mut ticks = tokio::time::interval(NOTES);
        while !stage.stop.load(Ordering::SeqCst) {
            ticks.tick().await;
            blue.notify_in_fragments(count, size, pause);
        }
    };
    let moves = async {
        let mut flip = flip.await;
        flip.until(is_published).await;
        let began = Instant::now();
        let late = tokio::spawn(lateness(Arc::clone(&stage)));
        let moved = clients.join_all().await;
        stage.stop.store(true, Ordering::SeqCst);
        (began, moved, late.await.unwrap(), flip.all().await.pop())
    };
    let ((began, moved, late, end), ()) = tokio::join!(moves, notes);

    let closed = moved.iter().map(|it| it.closed.duration_since(began));
    let away = deviation(closed.collect());
    let back = moved
        .iter()
        .map(|it| it.back.duration_since(began))
        .max()
        .unwrap();
    let in_message = moved.iter().filter(|it| it.in_message).count();
    let heard: usize = moved.iter().map(|it| it.heard).sum();
    println!(
        "{CLIENTS} closed, at most {:.1} % of the spread from even; all back after {:.2} s, {} s of it the spread; \
         {heard} notes in fragments came whole; {in_message} clients were at a message of their own; {} ms late at worst",
        away * 100.0,
        back.as_secs_f64(),
        SPREAD.as_secs(),
        late.as_millis()
    );
    assert!(away <= 0.10 + late.div_duration_f64(SPREAD), "{away}");
    // A close, its answer, the end, a client's pause, a connection and its handshake: each waits for the machine.
    assert!(back <= SPREAD + BACK + 4 * late, "{back:?}");
    assert_eq!(stage.refused.load(Ordering::SeqCst), 0);
    assert!(heard > CLIENTS, "large messages were under way");
    assert!(
        matches!(end, Some(EventKind::Done { cut: 0, .. })),
        "{end:?}"
    );
    assert_eq!(green.open_websockets(), CLIENTS);
    assert_eq!(blue.open_websockets(), 0);

    let told = Event::CloseReceived(4002, "moved".to_owned());
    let mut whole = 0;
    for websocket in blue.record().websockets() {
        let goodbyes = websocket
            .events
            .iter()
            .filter(|it| !matches!(it, Event::Message(_)));
        let goodbyes: Vec<_> = goodbyes.collect();
        assert_eq!(goodbyes, [&told, &Event::Dropped], "between two messages");
        whole += websocket.events.len() - 2;
    }
    // What crosses its close is not passed on: at most one whole message each.
    let sent: usize = moved.iter().map(|it| it.sent).sum();
    assert!(
        (sent - UPLOADS..=sent).contains(&whole),
        "{whole} of {sent} messages"
    );
}
