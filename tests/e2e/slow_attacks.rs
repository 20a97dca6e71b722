//! Attacks by slowness and by number: honest clients beside them notice nothing, and memory stays bounded.
//!
//! How long honest clients waited is printed, without the attack and with it.

use crate::support::Authority;
use crate::support::Config;
use crate::support::Connector;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use futures_util::future::join_all;
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::timeout;

const MIB: u64 = 1 << 20;
/// Honest requests of each client before an attack, and at least that many beside it.
const CALM: usize = 100;
/// How often an attacker moves.
const BEAT: Duration = Duration::from_millis(50);

/// One worker: honest clients and attackers share it.
fn config(pair: &Pair) -> Config {
    pair.config()
        .set("runtime.workers = 1")
        .set("service.app.failback.mode = \"off\"")
}

/// How an honest client comes.
enum Honest {
    OnOneConnection(SocketAddr),
    OnNewOnes(SocketAddr),
    OverTls(SocketAddr, Connector),
}

impl Honest {
    fn plain(daemon: &Daemon) -> Vec<Self> {
        vec![
            Self::OnOneConnection(daemon.address),
            Self::OnNewOnes(daemon.address),
        ]
    }

    /// Asks until `is_over`, and tells how long each answer took. Every one must come.
    async fn asks(&self, is_over: impl Fn(usize) -> bool) -> Vec<Duration> {
        let mut took = Vec::new();
        let mut kept = None;
        while !is_over(took.len()) {
            let began = Instant::now();
            let mut wire = match (kept.take(), self) {
                (Some(wire), _) => wire,
                (None, Self::OnOneConnection(to) | Self::OnNewOnes(to)) => Wire::connect(*to).await,
                (None, Self::OverTls(to, connector)) => {
                    connector.connect(*to, "app.test").await.unwrap()
                }
            };
            let answer = wire.ask(request("GET /", "", "")).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "blue"));
            took.push(began.elapsed());
            if matches!(self, Self::OnOneConnection(_)) {
                kept = Some(wire);
            }
        }
        took
    }
}

fn told(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    format!("{} answers, p50 {:?}, p99 {:?}", took.len(), at(50), at(99))
}

async fn all(honest: &[Honest], is_over: impl Fn(usize) -> bool + Copy) -> Vec<Duration> {
    let all = honest.iter().map(|client| client.asks(is_over));
    join_all(all).await.concat()
}

/// Runs `attack` with honest clients beside it: all of them are answered, and memory grows by no more than `most`.
async fn beside<T>(
    (what, most): (&str, u64),
    daemon: &Daemon,
    honest: &[Honest],
    attack: impl Future<Output = T>,
) -> T {
    let calm = told(all(honest, |asked| asked >= CALM).await);
    let before = daemon.memory();
    let peak = Cell::new(before);
    let over = Cell::new(false);
    let look = |asked| {
        peak.set(peak.get().max(daemon.memory()));
        over.get() && asked >= CALM
    };
    let attack = async {
        let result = attack.await;
        over.set(true);
        result
    };
    let (result, took) = tokio::join!(attack, all(honest, &look));
    let grown = peak.get() - before;
    println!("{what}\n  without: {calm}\n  beside:  {}", told(took));
    println!(
        "  memory: {} kB, grown by {} kB at most",
        before / 1024,
        grown / 1024
    );
    assert!(grown <= most, "{what}: memory grew by {grown} bytes");
    result
}

/// Sends a byte at each beat until there is an answer, whose status it is; 0 for none.
async fn trickle(to: SocketAddr, beginning: &str) -> u16 {
    let mut wire = Wire::connect(to).await;
    wire.send(beginning).await;
    loop {
        wire.send("x").await;
        match timeout(BEAT, wire.try_answer("POST")).await {
            Ok(Ok(answer)) => return answer.status(),
            Ok(Err(_)) => return 0,
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn heads_that_never_end_are_given_up() {
    const ATTACKERS: usize = 500;
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair).set("limits.header_timeout = \"1s\"")).await;
    let head = "GET / HTTP/1.1\r\nHost: app.test\r\nX-Slow: ";
    let attack = join_all((0..ATTACKERS).map(|_| trickle(daemon.address, head)));
    let what = ("slowloris, 500 heads", 16 * MIB);
    let ended = beside(what, &daemon, &Honest::plain(&daemon), attack).await;
    assert!(
        ended.iter().all(|status| [408, 0].contains(status)),
        "{ended:?}"
    );
    let told = ended.iter().filter(|status| **status == 408).count();
    assert!(told > ATTACKERS / 2, "only {told} were told why");
}

#[tokio::test]
async fn bodies_that_trickle_are_given_up() {
    const ATTACKERS: usize = 300;
    let pair = Pair::start().await;
    let config = config(&pair)
        .set("limits.min_rate = \"10KiB/s\"")
        .set("limits.min_rate_grace = \"1s\"");
    let daemon = Daemon::start(&config).await;
    let head = "POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\n";
    let attack = join_all((0..ATTACKERS).map(|_| trickle(daemon.address, head)));
    let what = ("slow bodies, 300 uploads", 40 * MIB);
    let ended = beside(what, &daemon, &Honest::plain(&daemon), attack).await;
    assert!(
        ended.iter().all(|status| [408, 0].contains(status)),
        "{ended:?}"
    );
    let told = ended.iter().filter(|status| **status == 408).count();
    assert!(told > ATTACKERS / 2, "only {told} were told why");
    eventually("nothing of it is left", async || {
        daemon.slot("blue").await.in_flight.requests == 0
    })
    .await;
}

/// Asks for much and takes next to nothing, until it is over: how much came in the end.
async fn nibble(to: SocketAddr) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream
        .write_all(request("GET /big", "", "").as_bytes())
        .await
        .unwrap();
    let mut beat = tokio::time::interval(BEAT);
    let mut room = [0; 16];
    let mut all = 0;
    loop {
        beat.tick().await;
        match stream.read(&mut room).await {
            Ok(0) | Err(_) => return all,
            Ok(count) => all += count,
        }
    }
}

#[tokio::test]
async fn answers_that_nobody_takes_are_given_up() {
    const ATTACKERS: usize = 40;
    const BIG: usize = 8 << 20;
    let pair = Pair::start().await;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
    pair.blue.on(
        "/big",
        Reply::raw([head.into_bytes(), vec![b'x'; BIG]].concat()),
    );
    let config = config(&pair)
        // More than the kernel takes in their stead.
        .set("limits.min_rate = \"100MiB/s\"")
        .set("limits.min_rate_grace = \"1s\"");
    let daemon = Daemon::start(&config).await;
    let attack = async {
        let asking = join_all((0..ATTACKERS).map(|_| nibble(daemon.address)));
        let given_up = eventually("they are given up", async || {
            let counts = daemon.slot("blue").await.in_flight;
            pair.blue.requests_for("/big").len() == ATTACKERS
                && counts.requests + counts.transfers <= 2
        });
        // What the kernel holds for them would take hours at their pace.
        tokio::select! {
            _ = asking => {}
            () = given_up => {}
        }
    };
    let what = ("slow reading, 40 answers of 8 MiB", 16 * MIB);
    beside(what, &daemon, &Honest::plain(&daemon), attack).await;
}

async fn connect_many(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(TcpStream::connect(to).await.unwrap());
    }
    all
}

#[tokio::test]
async fn two_thousand_idle_connections_cost_little_and_harm_nobody() {
    const IDLE: usize = 2000;
    let pair = Pair::start().await;
    let daemon = Daemon::start(&config(&pair)).await;
    let attack = async {
        let mut horde = connect_many(daemon.address, IDLE).await;
        // Half of them have asked for something once.
        for stream in horde.iter_mut().step_by(2) {
            stream
                .write_all(request("GET /", "", "").as_bytes())
                .await
                .unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        }
        eventually("all are there", async || {
            let page = daemon.call("GET /metrics", "").await.text;
            let line = page
                .lines()
                .find_map(|it| it.strip_prefix("switchd_connections "));
            line.unwrap().parse::<f64>().unwrap() > 1999.0
        })
        .await;
        let each = daemon.memory();
        (horde, each)
    };
    let before = daemon.memory();
    let what = ("2,000 idle connections", 64 * MIB);
    let (horde, after) = beside(what, &daemon, &Honest::plain(&daemon), attack).await;
    let each = after.saturating_sub(before) / horde.len() as u64;
    println!("  {each} bytes per idle connection, in a build that is not optimised");
    // They are served on, those who asked and those who did not.
    for mut stream in horde.into_iter().take(200) {
        stream
            .write_all(request("GET /", "", "").as_bytes())
            .await
            .unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn handshakes_that_nobody_finishes_make_room_for_others() {
    const HOARD: usize = 1500;
    let pair = Pair::start().await;
    let ca = Authority::new("the CA of this test");
    let config = config(&pair)
        .leaf("app", &ca.issue(&["app.test"]))
        .tls_listener("handshake_timeout = \"1h\"", &["app"]);
    let daemon = Daemon::start(&config).await;
    let to = daemon.listener(1).await;
    let attack = async {
        let mut hoard = connect_many(to, HOARD).await;
        for (at, stream) in hoard.iter_mut().enumerate() {
            // Nothing at all, or the beginning of a first message.
            if at % 2 == 0 {
                stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.ok();
            }
        }
        eventually("the oldest are crowded out", async || {
            let page = daemon.call("GET /metrics", "").await.text;
            let failed = page
                .lines()
                .filter(|line| line.contains("handshake") && line.contains("crowded"));
            let count = failed.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
            count.sum::<f64>() >= 400.0
        })
        .await;
        hoard
    };
    let honest = [
        Honest::OverTls(to, ca.client().build()),
        Honest::OnNewOnes(daemon.address),
    ];
    let what = ("handshake hoard, 1,500 half-open", 64 * MIB);
    let hoard = beside(what, &daemon, &honest, attack).await;
    drop(hoard);
}
