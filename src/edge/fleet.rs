//! All workers together.

use super::worker;
use super::worker::Order;
use super::worker::Start;
use crate::api::RequestStatus;
use crate::cache::Store;
use crate::config::Service;
use crate::config::Settings;
use crate::filter::Crowd;
use crate::live::Live;
use crate::live::LiveReader;
use crate::net::listen;
use crate::proxy::ENCODERS;
use crate::proxy::FILES;
use crate::proxy::Proxy;
use crate::spool::Account;
use crate::spool::Amounts;
use crate::spool::JOBS;
use crate::spool::Shelf;
use crate::telemetry::AccessLog;
use crate::telemetry::EdgeCounts;
use crate::telemetry::EdgeMetrics;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

/// Orders that may wait for a worker.
const ORDERS: usize = 16;
/// A worker that does not answer within this is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Threads of a worker for passwords that are compared, whatever bodies, encoders and files are at.
const PASSWORDS: usize = 8;

/// The workers and their listeners.
#[derive(Debug)]
pub struct Edge {
    workers: Vec<mpsc::Sender<Order>>,
    threads: Vec<JoinHandle<()>>,
    listeners: Vec<SocketAddr>,
    metrics: Arc<[Arc<EdgeMetrics>]>,
    bodies: Arc<Account>,
    cache: Arc<Store>,
    /// Answers an error when a thread ends.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// Where a worker keeps things, in common with the others.
struct Stores {
    shelf: Shelf,
    cache: Arc<Store>,
}

/// What to do about an address that cannot be listened on.
fn help(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "\n  help: another process listens there (`ss -ltnp` shows which): stop it, or choose another address"
        }
        io::ErrorKind::PermissionDenied => {
            "\n  help: ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "\n  help: no interface of this machine has that address (`ip address` shows which it has)"
        }
        _ => "",
    }
}

impl Edge {
    /// Binds every listener, then starts every worker.
    ///
    /// # Errors
    /// An address cannot be bound (the error names it), a thread cannot be started, or bodies are to be kept
    /// where they cannot be.
    pub fn start(settings: &Settings, live: &Arc<Live>, log: &Arc<AccessLog>) -> io::Result<Self> {
        let count = live.workers();
        let bodies = Arc::new(Account::new(&settings.spool.dir));
        if settings.services.iter().any(keeps_bodies)
            && let Err(error) = bodies.check()
        {
            if !error.is_want_of_room() {
                return Err(io::Error::other(error));
            }
            // There may be room when the first body needs it, and most requests need none.
            tracing::error!(%error, "bodies find no room");
        }
        let cache = Store::open(settings.state.dir.join("cache"), settings.cache);
        let mut sockets: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        let mut listeners = Vec::new();
        for listener in &settings.listeners {
            let shared = listen(listener.address, count).map_err(|cause| {
                io::Error::new(
                    cause.kind(),
                    format!(
                        "cannot listen on {}: {cause}{}",
                        listener.address,
                        help(cause.kind())
                    ),
                )
            })?;
            listeners.push(shared[0].local_addr()?);
            for (own, socket) in sockets.iter_mut().zip(shared) {
                own.push(socket);
            }
        }
        let metrics: Arc<[_]> = (0..count).map(|_| Arc::<EdgeMetrics>::default()).collect();
        let crowd = Arc::<Crowd>::default();
        let (end, ended) = mpsc::channel(count);
        let mut edge = Self {
            workers: Vec::new(),
            threads: Vec::new(),
            listeners,
            metrics,
            bodies,
            cache,
            ended: Mutex::new(ended),
        };
        for (number, listeners) in sockets.into_iter().enumerate() {
            let (orders, inbox) = mpsc::channel(ORDERS);
            let start = Start {
                listeners,
                orders: inbox,
                all: edge.metrics.clone(),
                crowd: crowd.clone(),
            };
            edge.workers.push(orders);
            let (live, log, end) = (live.clone(), log.clone(), end.clone());
            let stores = Stores {
                shelf: Shelf::new(edge.bodies.clone()),
                cache: edge.cache.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            edge.threads.push(thread.spawn(move || {
                let _ended = Ended(end);
                work((number, stores), live, &log, start);
            })?);
        }
        Ok(edge)
    }

    /// Where clients connect to, in the order of the settings.
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// What is kept of answers.
    #[must_use]
    pub fn cache(&self) -> &Arc<Store> {
        &self.cache
    }

    /// Every request under way, oldest first.
    pub async fn list(&self) -> Vec<RequestStatus> {
        let mut all = Vec::new();
        for worker in &self.workers {
            if let Some(list) = ask(worker, Order::List).await {
                all.extend(list);
            }
        }
        all.sort_by_key(|request| std::cmp::Reverse(request.age_ms));
        all
    }

    /// Ends one request; false when there is none of that id.
    pub async fn kill(&self, id: u64) -> bool {
        for worker in &self.workers {
            if ask(worker, |to| Order::Kill(id, to)).await == Some(true) {
                return true;
            }
        }
        false
    }

    #[must_use]
    pub fn counts(&self) -> EdgeCounts {
        worker::sum(&self.metrics)
    }

    /// Why bodies found no room lately, and what to do.
    #[must_use]
    pub fn spool_problem(&self) -> Option<String> {
        self.bodies.trouble()
    }

    /// What bodies at rest take.
    #[must_use]
    pub fn bodies(&self) -> Amounts {
        self.bodies.amounts()
    }

    /// Stops accepting, answers on for `grace`, waits up to `timeout` for what runs, cuts the rest: how many that were.
    pub async fn stop(&self, grace: Duration, timeout: Duration) -> usize {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (cut, answer) = oneshot::channel();
            if worker
                .send(Order::Stop {
                    grace,
                    timeout,
                    cut,
                })
                .await
                .is_ok()
            {
                answers.push(answer);
            }
        }
        let mut cut = 0;
        for answer in answers {
            cut += answer.await.unwrap_or(0);
        }
        cut
    }

    /// Waits until a worker's thread has ended. Without a stop before it, that is a failure of ours. Cancel safe.
    pub async fn failed(&self) {
        let _ = self.ended.lock().await.recv().await;
    }

    /// Waits for the threads. Call after [`Edge::stop`].
    pub fn join(self) {
        for thread in self.threads {
            // A panic was told by `failed` already.
            let _ = thread.join();
        }
    }
}

/// Tells that a thread has ended, by a panic too.
struct Ended(mpsc::Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        // The receiver is gone when nobody wants to know.
        let _ = self.0.try_send(());
    }
}

async fn ask<T>(
    worker: &mpsc::Sender<Order>,
    order: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Option<T> {
    let (to, answer) = oneshot::channel();
    let asked = async {
        worker.send(order(to)).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// Whether any body of the service may have to go to disk.
fn keeps_bodies(service: &Service) -> bool {
    let mut routes = service.routes.iter();
    service.buffering.requests
        || service.buffering.responses
        || routes.any(|route| route.buffer_requests || route.buffer_responses)
}

fn work((number, stores): (usize, Stores), live: Arc<Live>, log: &AccessLog, start: Start) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // As many as all of them may have, each with its own bound. Threads end when idle.
        .max_blocking_threads(JOBS + ENCODERS + FILES + PASSWORDS)
        .build_local(tokio::runtime::LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, worker = number, "worker cannot start"),
    };
    let metrics = start.all[number].clone();
    let reader = LiveReader::new(live, number);
    let proxy = Proxy::new(reader, log.writer(), metrics)
        .keeping_bodies_on(stores.shelf)
        .keeping_answers_in(stores.cache);
    let proxy = Rc::new(proxy);
    if let Err(error) = runtime.block_on(worker::run(proxy, start)) {
        tracing::error!(%error, worker = number, "worker failed");
    }
}
