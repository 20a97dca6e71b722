//! An Odoo that needs no Python: what a real Odoo 18 was measured to do, on two ports of its own.
//!
//! Used by tests that promise something about Odoo. It never helps the proxy: it is exactly as strict, as slow, as
//! impatient and as untruthful as the original. Rules: everything that is not Odoo's is called "the double's own"
//! where it stands; all times can run faster together ([`Behaviour::pace`]) but keep their proportions; what it saw
//! is in its [`Record`].
//!
//! | file | what it is |
//! |---|---|
//! | `behaviour` | how it was started: workers, pace, builds |
//! | `database` | what colours share: Postgres with what can go wrong in it, and the data directory with its sessions |
//! | `prefork` | the http port: one connection per worker, 2 s of patience, a backlog of 8 per worker; or `workers = 0` |
//! | `gevent`, `websocket`, `frame` | the websocket port |
//! | `socket`, `exchange`, `answer` | HTTP as the two servers speak it |
//! | `call`, `site`, `pages`, `rpc`, `files`, `reports` | the application |
//! | `record`, `content` | what it saw; long bodies |
//!
//! It runs on a thread of its own, so that a busy test does not make a worker look slow.

#![allow(
    dead_code,
    reason = "the double is a whole; which of it a test asks for changes"
)]

mod answer;
mod behaviour;
mod call;
mod content;
mod database;
mod exchange;
mod files;
mod frame;
mod gevent;
mod pages;
mod prefork;
mod record;
mod reports;
mod rpc;
mod running;
mod site;
mod socket;
mod websocket;

pub(crate) use behaviour::Behaviour;
pub(crate) use content::Content;
pub(crate) use content::Digest;
pub(crate) use database::Database;
pub(crate) use database::SerializationFailure;
pub(crate) use record::Event;
pub(crate) use record::Member;
pub(crate) use record::Record;
pub(crate) use websocket::MOST_FRAMES;

use super::eventually;
use running::Stage;
use site::Site;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use websocket::Order;

/// One colour: both of its ports.
pub(crate) struct Odoo {
    site: Arc<Site>,
    http: Port,
    websocket: Port,
    runtime: Option<Runtime>,
}

/// A port that stays ours while nobody listens on it.
struct Port {
    address: SocketAddr,
    _reserved: TcpSocket,
    process: Mutex<Option<Process>>,
}

struct Process {
    stage: watch::Sender<Stage>,
    task: JoinHandle<()>,
}

impl Port {
    fn reserve() -> Self {
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            address: reserved.local_addr().unwrap(),
            _reserved: reserved,
            process: Mutex::default(),
        }
    }

    /// With that backlog, which the kernel keeps to.
    fn listen(&self, backlog: u32) -> TcpListener {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).expect("the port is reserved");
        socket.listen(backlog).unwrap()
    }

    fn signal(&self, next: fn(Stage) -> Stage) {
        if let Some(process) = &*self.process.lock().unwrap() {
            process.stage.send_modify(|stage| *stage = next(*stage));
        }
    }

    fn is_gone(&self) -> bool {
        let process = self.process.lock().unwrap();
        process
            .as_ref()
            .is_none_or(|process| process.task.is_finished())
    }
}

impl Odoo {
    /// Two workers on a database of their own, at the real pace.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_on(name, Behaviour::default(), &Database::new())
    }

    pub(crate) fn start_on(name: &str, behaviour: Behaviour, database: &Database) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("odoo-{name}"))
            .enable_all()
            .build()
            .unwrap();
        let odoo = Self {
            site: Arc::new(Site {
                name: name.to_owned(),
                behaviour,
                database: database.clone(),
                record: Record::default(),
                orders: broadcast::Sender::new(64),
                gevent_is_warm: AtomicBool::new(false),
                bundles: Mutex::new(HashMap::new()),
                renders: watch::Sender::new(true),
            }),
            http: Port::reserve(),
            websocket: Port::reserve(),
            runtime: Some(runtime),
        };
        odoo.resume();
        odoo
    }

    /// Of the http member.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http.address
    }

    /// Of the websocket member; the threaded server leaves it closed.
    pub(crate) fn websocket_address(&self) -> SocketAddr {
        self.websocket.address
    }

    pub(crate) fn record(&self) -> &Record {
        &self.site.record
    }

    pub(crate) fn database(&self) -> &Database {
        &self.site.database
    }

    pub(crate) fn behaviour(&self) -> &Behaviour {
        &self.site.behaviour
    }

    /// SIGTERM: requests under way are finished, new connections are taken by the kernel and reset after a while,
    /// websockets get a FIN. A second one cuts what is under way.
    pub(crate) fn terminate(&self) {
        let next = |stage| match stage {
            Stage::Serving => Stage::Draining,
            _ => Stage::Cut,
        };
        self.http.signal(next);
        self.websocket.signal(next);
    }

    /// SIGKILL, with what is under way left to orphans: they finish it, and the port resets everybody else.
    pub(crate) fn kill(&self) {
        self.http.signal(|_| Stage::Killed);
        self.websocket.signal(|_| Stage::Killed);
    }

    /// The gevent process alone dies; the other port goes on saying that all is well.
    pub(crate) fn crash_gevent(&self) {
        self.websocket.signal(|_| Stage::Killed);
    }

    /// No process is left.
    pub(crate) fn is_gone(&self) -> bool {
        self.http.is_gone() && self.websocket.is_gone()
    }

    pub(crate) async fn gone(&self) {
        eventually("the processes of an Odoo are gone", async || self.is_gone()).await;
    }

    /// Starts again what is gone, on the same ports.
    pub(crate) fn resume(&self) {
        let runtime = self.runtime.as_ref().expect("it is there until the drop");
        let _inside = runtime.enter();
        let site = &self.site;
        let behaviour = &site.behaviour;
        if self.http.is_gone() {
            let (stage, watched) = watch::channel(Stage::Serving);
            let task = if behaviour.is_threaded() {
                let listener = self.http.listen(128);
                runtime.spawn(prefork::run_threaded(Arc::clone(site), listener, watched))
            } else {
                let backlog = u32::try_from(8 * behaviour.workers).unwrap();
                let listener = self.http.listen(backlog);
                runtime.spawn(prefork::run(Arc::clone(site), listener, watched))
            };
            *self.http.process.lock().unwrap() = Some(Process { stage, task });
        }
        if self.websocket.is_gone() && !behaviour.is_threaded() {
            let (stage, watched) = watch::channel(Stage::Serving);
            let listener = self.websocket.listen(256);
            let task = runtime.spawn(gevent::run(Arc::clone(site), listener, watched));
            *self.websocket.process.lock().unwrap() = Some(Process { stage, task });
        }
    }

    /// The double's own: reports asked for from now on wait before they are rendered, until [`Odoo::render`].
    pub(crate) fn keep_reports(&self) {
        self.site.renders.send_replace(false);
    }

    pub(crate) fn render(&self) {
        self.site.renders.send_replace(true);
    }

    /// A text to every open websocket.
    pub(crate) fn notify(&self, text: &str) {
        let order = Order::Notify(text.as_bytes().into());
        self.site.orders.send(order).ok();
    }

    /// The double's own: a text of `count` frames of `size` bytes to every open websocket, one frame each `pause`.
    pub(crate) fn notify_in_fragments(&self, count: usize, size: usize, pause: Duration) {
        let order = Order::Fragments { count, size, pause };
        self.site.orders.send(order).ok();
    }

    /// As at the end of a socket's time (4002), or whatever else closes them.
    pub(crate) fn close_websockets(&self, code: u16, reason: &'static str) {
        self.site.orders.send(Order::Close(code, reason)).ok();
    }

    /// Websockets that are open now.
    pub(crate) fn open_websockets(&self) -> usize {
        let websockets = self.record().websockets();
        let open = websockets
            .iter()
            .filter(|websocket| !websocket.events.contains(&Event::Dropped));
        open.count()
    }
}

impl Drop for Odoo {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test must not wait here, and may stand in a runtime of its own.
            runtime.shutdown_background();
        }
    }
}
