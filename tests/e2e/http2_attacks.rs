//! Attacks by frames: honest clients beside them notice nothing, and memory stays bounded.

use crate::support::Daemon;
use crate::support::Frames;
use crate::support::Http2;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::eventually;
use crate::support::get;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::block;
use crate::support::http2::frame;
use crate::support::http2::get_fields;
use crate::support::http2::get_frame;
use crate::support::http2::kind;
use h2::Reason;
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

const MIB: u64 = 1024 * 1024;

/// Runs `attack` with honest clients of both protocols beside it. All of them succeed, and memory grows by no
/// more than `most`; the figures are printed.
async fn beside<T>(what: &str, daemon: &Daemon, most: u64, attack: impl Future<Output = T>) -> T {
    // What the first requests take for good is no growth.
    let client = Http2::connect(daemon.address).await;
    client.get("/").await.unwrap();
    get(daemon.address, "/").await;
    let before = daemon.memory();
    let peak = Cell::new(before);
    let over = Cell::new(false);
    let times = std::cell::RefCell::new(Vec::new());
    let honest = async |who: Honest<'_>| {
        let mut after = 0;
        // Some come after the attack, to find what it left behind.
        while after < 10 {
            after += usize::from(over.get());
            let began = Instant::now();
            who.asks().await;
            times.borrow_mut().push(began.elapsed());
            peak.set(peak.get().max(daemon.memory()));
        }
    };
    let attack = async {
        let result = attack.await;
        over.set(true);
        result
    };
    let (result, (), ()) = tokio::join!(
        attack,
        honest(Honest::OnOne(&client)),
        honest(Honest::OnNew(daemon.address))
    );
    let mut times = times.into_inner();
    times.sort();
    let grown = peak.get().saturating_sub(before);
    println!(
        "{what}: {} honest requests, all answered; p50 {:?}, p99 {:?}; memory {} kB, grown by {} kB at most",
        times.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        before / 1024,
        grown / 1024
    );
    assert!(grown <= most, "{what}: memory grew by {grown} bytes");
    result
}

/// Who asks beside an attack.
enum Honest<'c> {
    /// On one connection of HTTP/2.
    OnOne(&'c Http2),
    /// On a new connection of HTTP/1.1 each time.
    OnNew(SocketAddr),
}

impl Honest<'_> {
    async fn asks(&self) {
        let answer = match self {
            Self::OnOne(client) => client.get("/").await.unwrap().text(),
            Self::OnNew(to) => get(*to, "/").await.text(),
        };
        assert_eq!(answer, "blue");
    }
}

/// One worker: honest clients and attackers share it. The test's own backends are no part of what is tested.
async fn daemon(pair: &Pair) -> Daemon {
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("service.app.failback.mode = \"off\"");
    Daemon::start(&config).await
}

/// Sends `frames` over and over, until it was `times` or the other side ends the connection: why it did.
async fn flood(to: SocketAddr, frames: &[u8], times: usize) -> Option<Reason> {
    let mut client = Frames::connect(to, &[]).await;
    for _ in 0..times {
        if client.try_send(frames).await.is_err() {
            break;
        }
    }
    client.sent_away().await
}

#[tokio::test]
async fn rapid_resets_end_their_connection_and_reach_the_upstream_in_a_small_number() {
    const ATTACKERS: usize = 5;
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let daemon = daemon(&pair).await;
    let reset = |stream| frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let pairs: Vec<u8> = (0..10_000)
        .map(|number| 2 * number + 1)
        .flat_map(|stream| [get_frame(stream, "/never"), reset(stream)].concat())
        .collect();
    let attack = async {
        let all = (0..ATTACKERS).map(|_| flood(daemon.address, &pairs, 1));
        futures_util::future::join_all(all).await
    };
    let ended = beside("rapid reset, 5 x 10,000", &daemon, 32 * MIB, attack).await;
    assert_eq!(ended, [Some(Reason::ENHANCE_YOUR_CALM); ATTACKERS]);
    let reached = pair.blue.requests_for("/never").len();
    println!("{reached} of 50,000 requests reached the upstream");
    assert!(reached <= ATTACKERS * 300, "{reached}");
}

/// As above, but each request is given time to be accepted: what is bounded is the number, not the queue.
#[tokio::test]
async fn resets_that_wait_for_their_request_to_begin_are_bounded_too() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let daemon = daemon(&pair).await;
    let attack = async {
        let mut client = Frames::connect(daemon.address, &[]).await;
        let mut sent = 0_u32;
        loop {
            let stream = 2 * sent + 1;
            let reset = frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            let ping = frame(kind::PING, 0, 0, &u64::from(sent).to_be_bytes());
            let asked = [get_frame(stream, "/never"), ping].concat();
            if client.try_send(&asked).await.is_err() {
                break client.sent_away().await;
            }
            // The pong says that the request was read.
            let answer = loop {
                match client.next().await {
                    Some(frame) if frame.kind == kind::GOAWAY => break Some(frame.reason()),
                    Some(frame) if frame.kind == kind::PING => break None,
                    Some(_) => {}
                    None => break Some(Reason::NO_ERROR),
                }
            };
            if answer.is_some() || client.try_send(&reset).await.is_err() {
                break answer;
            }
            sent += 1;
            assert!(sent < 10_000, "nothing bounds it");
        }
    };
    let ended = beside("patient reset", &daemon, 32 * MIB, attack).await;
    assert_eq!(ended, Some(Reason::ENHANCE_YOUR_CALM));
}

/// The client makes us reset its streams, which frees their places as well.
#[tokio::test]
async fn streams_that_break_the_protocol_one_after_the_other_are_bounded() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let daemon = daemon(&pair).await;
    let attack = async {
        let mut client = Frames::connect(daemon.address, &[]).await;
        let overflow = 0x7fff_ffff_u32.to_be_bytes();
        let mut sent = 0_u32;
        loop {
            let stream = 2 * sent + 1;
            let ping = frame(kind::PING, 0, 0, &u64::from(sent).to_be_bytes());
            let asked = [get_frame(stream, "/never"), ping].concat();
            if client.try_send(&asked).await.is_err() {
                break client.sent_away().await;
            }
            let answer = loop {
                match client.next().await {
                    Some(frame) if frame.kind == kind::GOAWAY => break Some(frame.reason()),
                    Some(frame) if frame.kind == kind::PING => break None,
                    Some(_) => {}
                    None => break Some(Reason::NO_ERROR),
                }
            };
            let wrong = frame(kind::WINDOW_UPDATE, 0, stream, &overflow);
            if answer.is_some() || client.try_send(&wrong).await.is_err() {
                break answer;
            }
            sent += 1;
            assert!(sent < 10_000, "nothing bounds it");
        }
    };
    let ended = beside("resets made by us", &daemon, 32 * MIB, attack).await;
    assert_eq!(ended, Some(Reason::ENHANCE_YOUR_CALM));
    let reached = pair.blue.requests_for("/never").len();
    println!("{reached} requests reached the upstream");
    assert!(reached <= 400, "{reached}");
}

#[tokio::test]
async fn pings_settings_and_other_frames_without_a_question_end_their_connection() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let window = [0, 4, 0, 0, 0x10, 0];
    for (what, one) in [
        ("PING flood", frame(kind::PING, 0, 0, &[7; 8])),
        (
            "PING answers nobody asked for",
            frame(kind::PING, 1, 0, &[7; 8]),
        ),
        ("SETTINGS flood", frame(kind::SETTINGS, 0, 0, &window)),
        (
            "PRIORITY flood",
            frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]),
        ),
        (
            "WINDOW_UPDATE flood",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ),
        ("flood of unknown frames", frame(0xbe, 0, 0, &[])),
    ] {
        let many = one.repeat(1000);
        let attack = flood(daemon.address, &many, 1000);
        let ended = beside(what, &daemon, 8 * MIB, attack).await;
        // A client that goes on sending may be reset before it reads why.
        assert!(
            ended.is_none() || ended == Some(Reason::ENHANCE_YOUR_CALM),
            "{what}: {ended:?}"
        );
    }
    let metrics = daemon.call("GET /metrics", "").await.text;
    assert!(
        metrics.contains("switchd_http2_floods_total 6.0"),
        "{metrics}"
    );
    let log = daemon.stderr();
    assert!(!log.contains("PING"), "a client fills our log: {log:.2000}");
}

#[tokio::test]
async fn pings_whose_answers_nobody_reads_do_not_pile_up() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("runtime.workers = 1")
        .set("limits.idle_timeout = \"500ms\"")
        .set("limits.header_timeout = \"500ms\"");
    let daemon = Daemon::start(&config).await;
    let attack = async {
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Frames::connect(daemon.address, &[]).await;
            let pings = frame(kind::PING, 0, 0, &[7; 8]).repeat(1500);
            let _ = client.try_send(&pings).await;
            clients.push(client);
        }
        eventually("they are gone", async || {
            let metrics = daemon.call("GET /metrics", "").await.text;
            let open = metrics
                .lines()
                .find_map(|line| line.strip_prefix("switchd_connections "));
            open.unwrap().parse::<f64>().unwrap() < 5.0
        })
        .await;
    };
    beside("unread PING answers", &daemon, 16 * MIB, attack).await;
}

#[tokio::test]
async fn headers_that_go_on_for_ever_end_their_connection() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let fields = get_fields("/");
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, &value[..]))
        .collect();
    let begin = frame(kind::HEADERS, END_STREAM, 1, &block(&fields));
    let junk = [b'x'; 100];
    let large = block(&[("x-junk", &junk[..])]).repeat(140);
    let endless = [0x00, 0x01, b'x', 0x7f, 0xff, 0xff, 0xff, 0x7f];
    for (what, piece) in [
        ("CONTINUATION flood, 16 kB each", &large[..]),
        ("CONTINUATION flood, empty ones", &[]),
        ("CONTINUATION flood, one value without end", &endless),
    ] {
        let more = frame(kind::CONTINUATION, 0, 1, piece).repeat(50);
        let attack = async {
            let mut client = Frames::connect(daemon.address, &[]).await;
            client.send(&begin).await;
            for _ in 0..100 {
                if client.try_send(&more).await.is_err() {
                    break;
                }
            }
            client.sent_away().await
        };
        let ended = beside(what, &daemon, 16 * MIB, attack).await;
        assert_ne!(ended, Some(Reason::NO_ERROR), "{what}");
    }
}

#[tokio::test]
async fn a_few_bytes_that_unfold_into_megabytes_of_headers_are_refused() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let fields = get_fields("/bomb");
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, &value[..]))
        .collect();
    // One field of 4,000 bytes goes into the table, then each byte stands for all of it.
    let mut bomb = block(&fields);
    bomb.extend([0x40, 6]);
    bomb.extend(b"x-bomb");
    bomb.extend([0x7f, 0xa1, 0x1e]);
    bomb.extend([b'x'; 4000]);
    bomb.extend([0xbe; 12_000]);
    let bomb = frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    let attack = async {
        let all = (0..50).map(|_| flood(daemon.address, &bomb, 1));
        futures_util::future::join_all(all).await
    };
    let ended = beside("HPACK bomb, 50 x 48 MB", &daemon, 32 * MIB, attack).await;
    assert_eq!(ended, [Some(Reason::ENHANCE_YOUR_CALM); 50]);
    assert!(pair.blue.requests_for("/bomb").is_empty());
}

#[tokio::test]
async fn data_without_data_ends_its_connection() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let fields = [
        (":method", &b"POST"[..]),
        (":scheme", b"http"),
        (":authority", b"app.test"),
        (":path", b"/echo"),
    ];
    let begin = frame(kind::HEADERS, END_HEADERS, 1, &block(&fields));
    let empty = frame(kind::DATA, 0, 1, &[]).repeat(1000);
    let attack = async {
        let mut client = Frames::connect(daemon.address, &[]).await;
        client.send(&begin).await;
        for _ in 0..100 {
            if client.try_send(&empty).await.is_err() {
                break;
            }
        }
        client.sent_away().await
    };
    let ended = beside("empty DATA flood", &daemon, 8 * MIB, attack).await;
    assert_ne!(ended, Some(Reason::NO_ERROR));
}

/// Large answers on 100 streams of 10 connections, to clients that take nothing of them.
async fn stalled_readers(what: &str, settings: &[(u16, u32)], connection_window: u32) {
    const CONNECTIONS: u64 = 10;
    /// More than is kept anywhere on the way.
    const ANSWER: usize = 300_000;
    let pair = Pair::start().await;
    let body = "x".repeat(ANSWER);
    pair.blue.on("/large", Reply::status(200, &body));
    let daemon = daemon(&pair).await;
    let attack = async {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = Frames::connect(daemon.address, settings).await;
            if connection_window > 0 {
                let open = connection_window.to_be_bytes();
                client.send(&frame(kind::WINDOW_UPDATE, 0, 0, &open)).await;
            }
            let asked: Vec<u8> = (0..100)
                .flat_map(|number| get_frame(2 * number + 1, "/large"))
                .collect();
            client.send(&asked).await;
            clients.push(client);
            // One after the other: a thousand dials at once would only fill the queue of the backend's port.
            pair.blue.saw("/large", 100 * clients.len()).await;
        }
        // Until nothing moves any more.
        let mut last = 0;
        let mut looks = tokio::time::interval(Duration::from_millis(300));
        looks.tick().await;
        loop {
            looks.tick().await;
            let moved = moved(&daemon).await;
            if moved == last {
                break;
            }
            last = moved;
        }
        println!("{what}: {last} bytes of 300,000,000 were read from the upstream");
    };
    beside(what, &daemon, CONNECTIONS * 6 * MIB, attack).await;
}

/// Bytes of answers under way, over all requests.
async fn moved(daemon: &Daemon) -> u64 {
    let shown = daemon.ctl(&["ps", "--json"]).await.json();
    let requests = shown["requests"].as_array().unwrap().clone();
    let sent = requests
        .iter()
        .map(|one| one["bytes_out"].as_u64().unwrap());
    sent.sum()
}

#[tokio::test]
async fn readers_that_open_no_window_hold_little_memory() {
    stalled_readers("1,000 streams without a window", &[(4, 0)], 0).await;
}

#[tokio::test]
async fn readers_that_open_every_window_and_do_not_read_hold_little_memory() {
    stalled_readers(
        "1,000 streams with wide windows, nothing read",
        &[(4, 0x7fff_ffff)],
        0x7fff_0000,
    )
    .await;
}

#[tokio::test]
async fn a_window_that_opens_by_the_byte_ends_its_connection() {
    let pair = Pair::start().await;
    let body = "x".repeat(100_000);
    pair.blue.on("/large", Reply::status(200, &body));
    let daemon = daemon(&pair).await;
    let attack = async {
        let mut client = Frames::connect(daemon.address, &[(4, 0)]).await;
        client.send(&get_frame(1, "/large")).await;
        let one = frame(kind::WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
        // Some at a time, so that a slow machine does not make them a modest wish.
        let some = one.repeat(50);
        let mut got = 0;
        loop {
            if client.try_send(&some).await.is_err() {
                break client.sent_away().await;
            }
            match client.next().await {
                Some(frame) if frame.kind == kind::GOAWAY => break Some(frame.reason()),
                Some(frame) if frame.kind == kind::DATA => got += frame.payload.len(),
                Some(_) => {}
                None => break None,
            }
            assert!(got < 50_000, "nothing bounds it");
        }
    };
    let ended = beside("data dribble", &daemon, 8 * MIB, attack).await;
    assert_eq!(ended, Some(Reason::ENHANCE_YOUR_CALM));
}
