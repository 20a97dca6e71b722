//! Long bodies both ways, at any pace: what they cost in memory, and that they cost others nothing.

use crate::support::Behaviour;
use crate::support::Bulk;
use crate::support::Config;
use crate::support::Content;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Digest;
use crate::support::Memory;
use crate::support::Odoo;
use crate::support::Pace;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

const MEGABYTE: u64 = 1_000_000;
/// Takes any body, and tells its digest.
const UPLOAD: &str = "/web/binary/upload_attachment";

/// Two colours on one database.
struct Pair {
    blue: Odoo,
    green: Odoo,
}

impl Pair {
    fn start() -> Self {
        let database = Database::new();
        Self {
            blue: Odoo::start_on("blue", Behaviour::default(), &database),
            green: Odoo::start_on("green", Behaviour::default(), &database),
        }
    }

    fn config(&self) -> Config {
        Config::odoo(&self.blue, &self.green)
            .set("service.app.limits.body_size = \"none\"")
            .set("service.app.buffering.max_disk = \"2GiB\"")
            .set("service.app.buffering.requests = false")
            .set("service.app.buffering.responses = false")
    }

    /// Where an attachment of that size is to be had.
    fn attachment(&self, size: u64) -> String {
        let content = Content::Pattern(size);
        let id = self.blue.database().attach("long", "image/x", content);
        format!("/web/content/{id}")
    }
}

fn buffering(config: &Config) -> Config {
    config
        .clone()
        .set("service.app.buffering.requests = true")
        .set("service.app.buffering.responses = true")
}

fn whole(size: u64) -> Digest {
    Content::Pattern(size).digest()
}

async fn begin_upload(to: SocketAddr, size: u64) -> Bulk {
    let mut client = Bulk::connect(to).await;
    let lines = format!("Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n");
    client.begin(&format!("POST {UPLOAD}"), &lines).await;
    client
}

async fn upload(to: SocketAddr, size: u64) {
    let mut client = begin_upload(to, size).await;
    client.send(0..size).await;
    assert_eq!(client.head().await.status(), 200);
}

async fn begin_download(from: SocketAddr, path: &str) -> Bulk {
    let mut client = Bulk::connect(from).await;
    client
        .begin(&format!("GET {path}"), "Connection: close\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    client
}

async fn download(from: SocketAddr, path: &str) -> Digest {
    let mut client = begin_download(from, path).await;
    let mut body = Digest::default();
    client.take(u64::MAX / 2, &mut body).await;
    body
}

/// The last upload that arrived there.
fn arrived(odoo: &Odoo) -> Option<Digest> {
    let uploads = odoo.record().requests_for(UPLOAD);
    uploads.last().map(|seen| seen.body)
}

#[tokio::test]
async fn a_flip_in_the_middle_of_500_mb_each_way_loses_nothing_and_needs_little_memory() {
    const SIZE: u64 = 500 * MEGABYTE;
    let pair = Pair::start();
    let daemon = Daemon::start(&buffering(&pair.config())).await;
    daemon.healthy().await;
    // What any first body costs is not this one's.
    let small = pair.attachment(20 * MEGABYTE);
    upload(daemon.address, 20 * MEGABYTE).await;
    download(daemon.address, &small).await;
    let long = pair.attachment(SIZE);
    let memory = Memory::watch(daemon.pid());
    let began = Instant::now();
    let mut up = begin_upload(daemon.address, SIZE).await;
    let mut down = begin_download(daemon.address, &long).await;
    let mut got = Digest::default();
    tokio::join!(up.send(0..SIZE / 2), down.take(SIZE / 2, &mut got));
    daemon.flip("green").await;
    tokio::join!(up.send(SIZE / 2..SIZE), down.take(SIZE, &mut got));
    assert_eq!(up.head().await.status(), 200);
    let growth = memory.growth();
    println!(
        "500 MB each way with a flip in {:.1} s: {growth} KiB more at the most",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(got, whole(SIZE));
    assert_eq!(arrived(&pair.green), Some(whole(SIZE)));
    assert_eq!(pair.blue.record().requests_for(UPLOAD).len(), 1);
    assert!(growth < 32 * 1024, "{growth} KiB more");
}

#[tokio::test]
async fn a_gibibyte_each_way_streams_through_with_constant_memory() {
    const SIZE: u64 = 1 << 30;
    let pair = Pair::start();
    let daemon = Daemon::start(&pair.config()).await;
    let small = pair.attachment(20 * MEGABYTE);
    upload(daemon.address, 20 * MEGABYTE).await;
    download(daemon.address, &small).await;
    let long = pair.attachment(SIZE);
    let memory = Memory::watch(daemon.pid());
    let began = Instant::now();
    upload(daemon.address, SIZE).await;
    let got = download(daemon.address, &long).await;
    let growth = memory.growth();
    println!(
        "1 GiB up and down in {:.1} s: {growth} KiB more at the most",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(arrived(&pair.blue), Some(whole(SIZE)));
    assert_eq!(got, whole(SIZE));
    assert!(growth < 4 * 1024, "{growth} KiB more");
}

/// How long slow clients are at it, in seconds: a minute when it is measured by hand.
fn slow_seconds() -> u64 {
    let by_hand = std::env::var("SWITCHD_SLOW_SECONDS").ok();
    by_hand.map_or(3, |seconds| seconds.parse().unwrap())
}

/// What a few quick clients saw, sorted.
struct Seen(Vec<Duration>);

impl Seen {
    fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    fn tell(&self, when: &str) {
        let [half, most, all] = [50, 99, 100].map(|percent| self.percentile(percent));
        println!(
            "{when}: {} requests, p50 {half:.1?}, p99 {most:.1?}, slowest {all:.1?}",
            self.0.len()
        );
    }
}

/// Four clients that ask one thing after the other, each for 5 ms of a worker.
async fn quick_clients(to: SocketAddr, time: Duration) -> Seen {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(async move {
            let began = Instant::now();
            let mut seen = Vec::new();
            let mut client = Wire::connect(to).await;
            while began.elapsed() < time {
                let asked = Instant::now();
                let path = "GET /web/login?sleep_ms=5";
                let answer = client.ask(request(path, "", "")).await;
                assert_eq!(answer.status(), 200);
                seen.push(asked.elapsed());
            }
            seen
        });
    }
    let mut seen = clients.join_all().await.concat();
    seen.sort_unstable();
    Seen(seen)
}

/// Reads for ever, at 100 kB/s.
async fn read_slowly(from: SocketAddr, path: String) {
    let mut pace = Pace::new(100_000);
    let mut client = begin_download(from, &path).await;
    let mut body = Digest::default();
    loop {
        client.take_some(&mut body, &mut pace).await;
    }
}

/// Sends for ever, at 100 kB/s.
async fn send_slowly(to: SocketAddr, size: u64) {
    let mut pace = Pace::new(100_000);
    let mut client = begin_upload(to, size).await;
    let mut at = 0;
    loop {
        at = client.send_some(at..size, &mut pace).await;
    }
}

/// An Odoo with two workers, four slow clients, and others beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_and_slow_uploaders_delay_nobody() {
    let pair = Pair::start();
    let daemon = Daemon::start(&buffering(&pair.config())).await;
    daemon.healthy().await;
    let time = Duration::from_secs(slow_seconds());
    let long = pair.attachment(100 * MEGABYTE);
    quick_clients(daemon.address, time / 4).await;
    let alone = quick_clients(daemon.address, time).await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..2 {
        slow.spawn(read_slowly(daemon.address, long.clone()));
        slow.spawn(send_slowly(daemon.address, 100 * MEGABYTE));
    }
    for (state, count) in [("delivering", 2), ("receiving", 2)] {
        eventually(&format!("{count} are {state}"), async || {
            let requests = daemon.requests().await;
            requests.iter().filter(|it| it.state == state).count() == count
        })
        .await;
    }
    let beside = quick_clients(daemon.address, time).await;
    assert!(slow.try_join_next().is_none(), "they are still at it");
    let under_way = daemon.requests().await;
    assert_eq!(under_way.len(), 4, "{under_way:?}");
    alone.tell("alone");
    beside.tell("beside two slow readers and two slow uploaders");
    // Whoever waits for one of them waits until it has ended.
    assert!(beside.percentile(100) < time / 2);
    let ratio = beside.percentile(99).as_secs_f64() / alone.percentile(99).as_secs_f64();
    println!("p99 beside to alone: {ratio:.2}");
    if slow_seconds() >= 60 {
        assert!(ratio <= 1.2, "{ratio:.2}");
    }
}
