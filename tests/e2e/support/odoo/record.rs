//! What one Odoo saw: kept for the test, in order of arrival.

use super::super::message::Head;
use super::content::Digest;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

/// Which of its two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    Http,
    Websocket,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) member: Member,
    /// Counts from 0 over both ports.
    pub(crate) connection: usize,
    pub(crate) head: Head,
    /// Of what arrived of the body.
    pub(crate) body: Digest,
    /// The body arrived whole.
    pub(crate) is_whole: bool,
    pub(crate) began: Instant,
    /// None while it is under way.
    pub(crate) ended: Option<Ended>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) at: Instant,
    /// 0 where no answer was begun.
    pub(crate) status: u16,
    /// The answer's last byte was taken by the socket.
    pub(crate) is_whole: bool,
}

/// A connection that ended without a request, and how long it kept its worker from others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silent {
    pub(crate) member: Member,
    pub(crate) lasted: Duration,
    /// The other side hung up; false where Odoo's patience ended.
    pub(crate) hung_up: bool,
}

/// A websocket's life.
#[derive(Debug, Clone)]
pub(crate) struct SeenWebsocket {
    pub(crate) head: Head,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A text or binary message, whole.
    Message(Vec<u8>),
    Ping,
    Pong,
    /// A close frame of the other side; 0 is none said.
    CloseReceived(u16, String),
    /// Told before a close frame of the other side that came between two fragments of its message.
    ClosedInMessage,
    CloseSent(u16),
    /// The other side's stream ended.
    HungUp {
        in_message: bool,
    },
    /// Our side ended it.
    Dropped,
}

fn is_gate(seen: &Seen) -> bool {
    seen.head.get("user-agent") == Some(GATE)
}

#[derive(Default)]
pub(crate) struct Record {
    seen: Mutex<Vec<Seen>>,
    silent: Mutex<Vec<Silent>>,
    websockets: Mutex<Vec<SeenWebsocket>>,
    connections: Mutex<usize>,
    busy: Mutex<Busy>,
}

#[derive(Default)]
struct Busy {
    now: usize,
    most: usize,
}

/// Who asks for gates.
const GATE: &str = "switchd-gate";

/// The paths that only probes ask for.
const HEALTH: [&str; 2] = ["/web/health", "/websocket/health"];

impl Record {
    /// All requests but those for health and those of gates, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.retain(|seen| !HEALTH.contains(&seen.head.path()) && !is_gate(seen));
        seen
    }

    /// Those of gates alone.
    pub(crate) fn gate_requests(&self) -> Vec<Seen> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.retain(is_gate);
        seen
    }

    /// Requests for one path (without query), health among them.
    pub(crate) fn requests_for(&self, path: &str) -> Vec<Seen> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.retain(|seen| seen.head.path() == path);
        seen
    }

    /// The only request for `path`.
    pub(crate) fn request_for(&self, path: &str) -> Seen {
        let mut seen = self.requests_for(path);
        assert_eq!(seen.len(), 1, "requests for {path}: {seen:?}");
        seen.remove(0)
    }

    /// Requests that are under way, health not among them.
    pub(crate) fn under_way(&self) -> usize {
        let requests = self.requests();
        requests.iter().filter(|seen| seen.ended.is_none()).count()
    }

    /// The most requests that were under way at once on the http port, health among them.
    pub(crate) fn most_at_once(&self) -> usize {
        self.busy.lock().unwrap().most
    }

    /// Connections that never carried a request.
    pub(crate) fn silent(&self) -> Vec<Silent> {
        self.silent.lock().unwrap().clone()
    }

    /// Connections that were accepted on both ports.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    pub(crate) fn websockets(&self) -> Vec<SeenWebsocket> {
        self.websockets.lock().unwrap().clone()
    }
}

/// What the double itself writes down.
impl Record {
    pub(super) fn connected(&self) -> usize {
        let mut connections = self.connections.lock().unwrap();
        *connections += 1;
        *connections - 1
    }

    pub(super) fn begin(&self, member: Member, connection: usize, head: &Head) -> usize {
        if member == Member::Http {
            let mut busy = self.busy.lock().unwrap();
            busy.now += 1;
            busy.most = busy.most.max(busy.now);
        }
        let mut seen = self.seen.lock().unwrap();
        seen.push(Seen {
            member,
            connection,
            head: head.clone(),
            body: Digest::default(),
            is_whole: false,
            began: Instant::now(),
            ended: None,
        });
        seen.len() - 1
    }

    pub(super) fn body(&self, request: usize, body: Digest, is_whole: bool) {
        let mut seen = self.seen.lock().unwrap();
        seen[request].body = body;
        seen[request].is_whole = is_whole;
    }

    pub(super) fn end(&self, request: usize, status: u16, is_whole: bool) {
        let mut all = self.seen.lock().unwrap();
        let seen = &mut all[request];
        seen.ended = Some(Ended {
            at: Instant::now(),
            status,
            is_whole,
        });
        if seen.member == Member::Http {
            self.busy.lock().unwrap().now -= 1;
        }
    }

    pub(super) fn stayed_silent(&self, silent: Silent) {
        self.silent.lock().unwrap().push(silent);
    }

    pub(super) fn opened(&self, head: &Head) -> usize {
        let mut websockets = self.websockets.lock().unwrap();
        websockets.push(SeenWebsocket {
            head: head.clone(),
            events: Vec::new(),
        });
        websockets.len() - 1
    }

    pub(super) fn happened(&self, websocket: usize, event: Event) {
        let mut websockets = self.websockets.lock().unwrap();
        websockets[websocket].events.push(event);
    }
}
