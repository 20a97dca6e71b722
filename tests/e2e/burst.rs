//! A burst of requests against an upstream that works on few at a time, as Odoo's prefork server does.

use crate::support::Config;
use crate::support::Daemon;
use crate::support::Wire;
use crate::support::request;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// One request each at a time.
const WORKERS: u32 = 2;
const CALLS: u32 = 150;
const CALL_TAKES: Duration = Duration::from_millis(50);

/// Workers that share a listener: each takes a connection, answers one request and hangs up.
struct Prefork {
    address: SocketAddr,
    worked: Arc<Mutex<Duration>>,
    _workers: JoinSet<()>,
}

impl Prefork {
    fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        // Beyond it the kernel drops what comes, and clients try again after a second.
        let listener = Arc::new(socket.listen(8 * WORKERS).unwrap());
        let worked = Arc::new(Mutex::new(Duration::ZERO));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(Arc::clone(&listener), Arc::clone(&worked)));
        }
        Self {
            address: listener.local_addr().unwrap(),
            worked,
            _workers: workers,
        }
    }

    /// As long as it takes when no worker ever waits for a request.
    fn ideal(&self) -> Duration {
        *self.worked.lock().unwrap() / WORKERS
    }
}

async fn work(listener: Arc<TcpListener>, worked: Arc<Mutex<Duration>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut wire = Wire::over(stream);
        let began = Instant::now();
        let Ok(Some(head)) = wire.head().await else {
            continue;
        };
        if head.path() != "/health" {
            let done = tokio::time::timeout(CALL_TAKES, std::future::pending::<()>());
            done.await.unwrap_err();
            *worked.lock().unwrap() += began.elapsed();
        }
        let answer = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        wire.send(answer).await;
        wire.finish_sending().await;
    }
}

/// Two slots of such upstreams, and the proxy before them.
struct Stage {
    blue: Prefork,
    _green: Prefork,
    daemon: Daemon,
}

impl Stage {
    async fn set(limit: u32) -> Self {
        let (blue, green) = (Prefork::start(), Prefork::start());
        let slot = |name: &str, upstream: &Prefork| {
            format!("service.app.slots.{name}.http = [\"{}\"]", upstream.address)
        };
        let config = Config::empty()
            .set("service.app.initial = \"blue\"")
            .set(&slot("blue", &blue))
            .set(&slot("green", &green))
            .set("service.app.health.path = \"/health\"")
            // A probe waits for a worker as everybody does.
            .set("service.app.health.timeout = \"20s\"")
            .set("service.app.health.interval = \"30s\"")
            .set("service.app.keepalive.enabled = false")
            .set("service.app.timeouts.connect = \"20s\"")
            .set(&format!("service.app.queue.max_in_flight = {limit}"));
        let daemon = Daemon::start(&config).await;
        daemon.healthy().await;
        Self {
            blue,
            _green: green,
            daemon,
        }
    }

    /// Many calls at once: how long the slowest took.
    async fn burst(&self) -> Duration {
        let mut clients = JoinSet::new();
        let began = Instant::now();
        for _ in 0..CALLS {
            let proxy = self.daemon.address;
            clients.spawn(async move {
                let mut wire = Wire::connect(proxy).await;
                let answer = wire.ask(request("GET /call", "", "")).await;
                assert_eq!(answer.status(), 200);
                began.elapsed()
            });
        }
        clients.join_all().await.into_iter().max().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_limit_a_burst_takes_hardly_longer_than_the_upstream_works() {
    let limited = Stage::set(WORKERS).await;
    let slowest = limited.burst().await;
    let ideal = limited.blue.ideal();
    println!("slowest {slowest:?}, ideal {ideal:?}");
    assert!(ideal >= CALL_TAKES * CALLS / WORKERS, "{ideal:?}");
    assert!(slowest <= ideal.mul_f64(1.1), "{slowest:?} of {ideal:?}");

    let unlimited = Stage::set(0).await;
    let in_time = tokio::time::timeout(ideal.mul_f64(1.2), unlimited.burst()).await;
    assert!(in_time.is_err(), "no limit is as good: {in_time:?}");
}
