//! A scriptable upstream on a port of its own that keeps every byte it got.

use super::eventually;
use super::link::Link;
use super::message::{Body, Head};
use super::script::{Reply, Step};
use super::tls::Leaf;
use super::wire::{Tap, Wire, find};
use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// The path that [`super::Config`] probes; never shown among the requests.
pub(crate) const HEALTH_PATH: &str = "/health";

pub(crate) struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Option<tokio::task::AbortHandle>>,
    /// Keeps the port ours while nobody listens on it.
    _reserved: TcpSocket,
}

struct Shared {
    name: String,
    /// None as long as it speaks plain HTTP.
    tls: Mutex<Option<Arc<ServerConfig>>>,
    replies: Mutex<HashMap<String, Replies>>,
    seen: Mutex<Vec<Seen>>,
    taps: Mutex<Vec<Tap>>,
    probes: Mutex<Vec<Head>>,
}

#[derive(Default)]
struct Replies {
    once: VecDeque<Reply>,
    always: Option<Reply>,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Counts from 0, over the backend's life.
    pub(crate) connection: usize,
    pub(crate) head: Head,
    /// None until it was read; see [`Step::TakeBody`].
    pub(crate) body: Option<Body>,
}

impl Backend {
    /// Answers everything with 200 and its name, `/echo` with the request's body, and greets websockets on `/ws`.
    #[allow(clippy::unused_async, reason = "asks for a runtime to run in")]
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_at(name, ([127, 0, 0, 1], 0).into()).await
    }

    /// The same at this address.
    #[allow(clippy::unused_async, reason = "asks for a runtime to run in")]
    pub(crate) async fn start_at(name: &str, address: SocketAddr) -> Self {
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind(address).unwrap();
        let backend = Self {
            address: reserved.local_addr().unwrap(),
            shared: Arc::new(Shared {
                name: name.to_owned(),
                tls: Mutex::new(None),
                replies: Mutex::default(),
                seen: Mutex::default(),
                taps: Mutex::default(),
                probes: Mutex::default(),
            }),
            running: Mutex::new(None),
            _reserved: reserved,
        };
        backend.resume();
        backend
    }

    /// From now on connections are spoken to over TLS, with this certificate.
    pub(crate) fn speak_tls(&self, leaf: &Leaf) {
        *self.shared.tls.lock().unwrap() = Some(leaf.server());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Vanishes as a killed process does: the port refuses, all connections end.
    pub(crate) async fn stop(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some(running) = running {
            running.abort();
            eventually("the backend is gone", async || {
                running.is_finished() && tokio::net::TcpStream::connect(self.address).await.is_err()
            })
            .await;
        }
    }

    /// Comes back on the same port.
    pub(crate) fn resume(&self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).expect("the port is reserved");
        let listener = socket.listen(1024).unwrap();
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(accept(listener, shared));
        *self.running.lock().unwrap() = Some(task.abort_handle());
    }

    /// A neighbour on this host takes the port, as user `uid`; only root can be that.
    pub(crate) fn resume_as(&self, uid: u32) {
        let address = self.address;
        // Of this thread alone: the kernel notes it in the socket.
        let bind = move || {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&address.into()).expect("the port is reserved");
            socket.listen(1024).unwrap();
            socket.set_nonblocking(true).unwrap();
            std::net::TcpListener::from(socket)
        };
        let listener = std::thread::spawn(bind).join().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(accept(listener, shared));
        *self.running.lock().unwrap() = Some(task.abort_handle());
    }

    /// From now on requests for `path` (without query) get this.
    pub(crate) fn on(&self, path: &str, reply: Reply) {
        let mut replies = self.shared.replies.lock().unwrap();
        replies.entry(path.to_owned()).or_default().always = Some(reply);
    }

    /// The next request for `path` gets this; several wait in line.
    pub(crate) fn once(&self, path: &str, reply: Reply) {
        let mut replies = self.shared.replies.lock().unwrap();
        let replies = replies.entry(path.to_owned()).or_default();
        replies.once.push_back(reply);
    }

    /// What probes get.
    pub(crate) fn health(&self, reply: Reply) {
        self.on(HEALTH_PATH, reply);
    }

    pub(crate) fn healthy(&self) {
        self.health(Reply::status(200, "fine"));
    }

    /// All requests but the probes, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// The requests for one path (without query).
    pub(crate) fn requests_for(&self, path: &str) -> Vec<Seen> {
        let mut seen = self.requests();
        seen.retain(|seen| seen.head.path() == path);
        seen
    }

    /// The only request for `path`.
    pub(crate) fn request_for(&self, path: &str) -> Seen {
        let mut seen = self.requests_for(path);
        assert_eq!(seen.len(), 1, "requests for {path}: {seen:?}");
        seen.remove(0)
    }

    pub(crate) async fn saw(&self, path: &str, times: usize) {
        eventually(&format!("{times} requests for {path} arrive"), async || {
            self.requests_for(path).len() >= times
        })
        .await;
    }

    pub(crate) fn probes(&self) -> Vec<Head> {
        self.shared.probes.lock().unwrap().clone()
    }

    pub(crate) async fn probed(&self, times: usize) {
        let before = self.probes().len();
        eventually("further probes arrive", async || {
            self.probes().len() >= before + times
        })
        .await;
    }

    /// Connections that were accepted, probes among them.
    pub(crate) fn connections(&self) -> usize {
        self.shared.taps.lock().unwrap().len()
    }

    /// Did these bytes arrive on any connection, wherever?
    pub(crate) fn got_bytes(&self, needle: &str) -> bool {
        let taps = self.shared.taps.lock().unwrap();
        taps.iter()
            .any(|tap| find(&tap.lock().unwrap(), needle.as_bytes()).is_some())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(running) = self.running.lock().unwrap().take() {
            running.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(greet(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn greet(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let tls = shared.tls.lock().unwrap().clone();
    let wire = match tls {
        None => Wire::over(stream),
        Some(tls) => {
            let stream = TlsAcceptor::from(tls).accept(stream).await?;
            Wire::across(Link::Tls(Box::new(stream.into())))
        }
    };
    let number = {
        let mut taps = shared.taps.lock().unwrap();
        taps.push(wire.tap());
        taps.len() - 1
    };
    serve(wire, number, shared).await
}

async fn serve(mut wire: Wire, number: usize, shared: Arc<Shared>) -> io::Result<()> {
    while let Some(head) = wire.head().await? {
        let mut exchange = Exchange::begin(&shared, number, head);
        for step in exchange.reply.0.clone() {
            match step {
                Step::Close => {
                    wire.finish_sending().await;
                    return Ok(());
                }
                Step::Hangup => {
                    wire.hang_up();
                    return Ok(());
                }
                Step::Reset => {
                    wire.reset();
                    return Ok(());
                }
                Step::Hang => {
                    while wire.try_body_byte().await? {}
                    return Ok(());
                }
                Step::Echo => return wire.echo().await,
                Step::Websocket => {
                    return super::websocket::serve(wire, &exchange.head, &shared.name).await;
                }
                Step::Hand(to) => {
                    // A test that is over wants it no more.
                    let _ = to.send(wire).await;
                    return Ok(());
                }
                Step::Send(bytes) => wire.try_send(bytes).await?,
                Step::Wait(gate) => gate.passed().await,
                Step::Take(time) => super::pass(time).await,
                Step::TakeBody => exchange.take_body(&mut wire).await?,
                Step::SendBodyBack => wire.try_send(exchange.body_back()).await?,
            }
        }
        if exchange.is_last() {
            wire.finish_sending().await;
            return Ok(());
        }
    }
    Ok(())
}

/// One request being answered.
struct Exchange {
    shared: Arc<Shared>,
    /// None for a probe.
    index: Option<usize>,
    head: Head,
    body: Option<Body>,
    reply: Reply,
}

impl Exchange {
    fn begin(shared: &Arc<Shared>, connection: usize, head: Head) -> Self {
        let index = if head.path() == HEALTH_PATH {
            shared.probes.lock().unwrap().push(head.clone());
            None
        } else {
            let mut seen = shared.seen.lock().unwrap();
            seen.push(Seen {
                connection,
                head: head.clone(),
                body: None,
            });
            Some(seen.len() - 1)
        };
        Self {
            shared: Arc::clone(shared),
            index,
            reply: shared.reply_to(&head),
            head,
            body: None,
        }
    }

    async fn take_body(&mut self, wire: &mut Wire) -> io::Result<()> {
        if self.body.is_some() {
            return Ok(());
        }
        let body = wire.body(self.head.request_framing()).await?;
        if let Some(index) = self.index {
            self.shared.seen.lock().unwrap()[index].body = Some(body.clone());
        }
        self.body = Some(body);
        Ok(())
    }

    fn body_back(&self) -> Vec<u8> {
        let body = self.body.as_ref().map_or(&[][..], |body| &body.data);
        let name = &self.shared.name;
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Backend: {name}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    fn is_last(&self) -> bool {
        self.body.is_none()
            || self.head.names_token("connection", "close")
            || self.head.first_line.ends_with("HTTP/1.0")
    }
}

impl Shared {
    fn reply_to(&self, head: &Head) -> Reply {
        let mut replies = self.replies.lock().unwrap();
        if let Some(replies) = replies.get_mut(head.path()) {
            let reply = replies.once.pop_front().or_else(|| replies.always.clone());
            if let Some(reply) = reply {
                return reply;
            }
        }
        match head.path() {
            "/echo" => Reply::steps([Step::TakeBody, Step::SendBodyBack]),
            "/ws" => Reply::steps([Step::Websocket]),
            _ => {
                let name = &self.name;
                let body = if head.method() == "HEAD" { "" } else { name };
                Reply::raw(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Backend: {name}\r\n\r\n{body}",
                    name.len()
                ))
            }
        }
    }
}
