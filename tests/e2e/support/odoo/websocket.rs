//! Odoo's websocket: handshake, bus, pings, limits and close codes.

use super::super::message::Head;
use super::answer::Answer;
use super::answer::Dialect;
use super::answer::now;
use super::database::fresh_session_id;
use super::exchange::Manner;
use super::frame;
use super::frame::Frame;
use super::record::Event;
use super::running::Stage;
use super::running::until;
use super::site::session_cookie;
use super::socket::Socket;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::Interval;
use tokio::time::interval_at;
use tokio::time::sleep_until;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// In [`super::Behaviour::frame_window`], control frames among them.
pub(crate) const MOST_FRAMES: usize = 10;
/// Of a message of a client.
const LONGEST_MESSAGE: usize = 1 << 20;

/// What a test tells all sockets of one Odoo.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Notify(Arc<[u8]>),
    /// The double's own: one text in so many frames with a pause between them.
    Fragments {
        count: usize,
        size: usize,
        pause: Duration,
    },
    Close(u16, &'static str),
}

pub(super) fn is_asked_for(head: &Head) -> bool {
    head.path() == "/websocket"
}

pub(super) async fn serve(
    manner: &Manner,
    mut socket: Socket,
    head: &Head,
    stage: watch::Receiver<Stage>,
) {
    if let Some(status) = refusal(head) {
        let answer = Answer::html(status, "refused");
        answer.send(&mut socket, manner.dialect, false).await.ok();
        return socket.finish();
    }
    if manner.site.behaviour.opens_no_websocket {
        let answer = Answer::html(500, "Internal Server Error");
        answer.send(&mut socket, manner.dialect, false).await.ok();
        return socket.finish();
    }
    let key = head.get("sec-websocket-key").unwrap_or_default();
    let welcome = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nAccess-Control-Allow-Origin: *\r\nSet-Cookie: {}\r\nDate: {}\r\n\r\n",
        derive_accept_key(key.as_bytes()),
        session_cookie(&fresh_session_id()),
        now(),
    );
    // Before it is answered, so that who has the answer finds it here.
    let number = manner.site.record.opened(head);
    let orders = manner.site.orders.subscribe();
    // A frame that came along with the handshake is never seen.
    socket.forget_unread();
    if socket.send(welcome.as_bytes()).await.is_err() {
        return;
    }
    let every = manner.site.behaviour.ping_every();
    let call = manner.call(head);
    let mut bus = Bus {
        manner,
        number,
        socket,
        orders,
        stage,
        pings: interval_at(Instant::now() + every, every),
        unanswered: 0,
        recent: VecDeque::new(),
        message: None,
        user_session: call.and_then(|call| call.session.filter(|_| call.user.is_some())),
    };
    bus.run(is_outdated(manner, head)).await.ok();
}

/// Whatever ends a socket, a signal too.
impl Drop for Bus<'_> {
    fn drop(&mut self) {
        self.tell(Event::Dropped);
    }
}

fn refusal(head: &Head) -> Option<u16> {
    if !head.has("host") {
        return Some(500);
    }
    let complete = head.has("origin")
        && head.has("sec-websocket-key")
        && head.has("sec-websocket-version")
        && head.names_token("connection", "upgrade")
        && head.names_token("upgrade", "websocket");
    if !complete {
        return Some(400);
    }
    (head.get("sec-websocket-version") != Some("13")).then_some(500)
}

/// A browser with the worker of another build.
fn is_outdated(manner: &Manner, head: &Head) -> bool {
    let is_browser = head
        .get("user-agent")
        .is_some_and(|agent| agent.contains("Mozilla/"));
    let version = head
        .target()
        .split_once("version=")
        .map(|(_, version)| version);
    is_browser && version != Some(manner.site.behaviour.version)
}

/// One open socket.
struct Bus<'m> {
    manner: &'m Manner,
    number: usize,
    socket: Socket,
    orders: broadcast::Receiver<Order>,
    stage: watch::Receiver<Stage>,
    pings: Interval,
    /// Pings since the last pong.
    unanswered: usize,
    /// When the last frames came.
    recent: VecDeque<Instant>,
    /// The beginning of a message that is not complete.
    message: Option<Vec<u8>>,
    /// None for a visitor.
    user_session: Option<String>,
}

/// What a socket waits for.
enum Next {
    Bytes(bool),
    Order(Order),
    Ping,
    Signal,
}

impl Bus<'_> {
    /// Until the connection has to end.
    async fn run(&mut self, is_outdated: bool) -> io::Result<()> {
        if is_outdated {
            return self.close(1000, "OUTDATED_VERSION").await;
        }
        loop {
            while let Some((frame, length)) = frame::parse(self.socket.unread()) {
                self.socket.take(length);
                if !self.take(frame).await? {
                    return Ok(());
                }
            }
            match self.next().await? {
                Next::Bytes(true) => {}
                Next::Bytes(false) => {
                    let in_message = self.message.is_some() || !self.socket.unread().is_empty();
                    self.tell(Event::HungUp { in_message });
                    return Ok(());
                }
                Next::Order(order) => {
                    if !self.obey(order).await? {
                        return Ok(());
                    }
                }
                // The third in a row that would go unanswered.
                Next::Ping if self.unanswered == 2 => return Ok(()),
                Next::Ping => {
                    self.unanswered += 1;
                    self.socket
                        .send(&frame::write(frame::PING, true, b""))
                        .await?;
                }
                // The threaded server says goodbye and waits for the answer, as long as it takes.
                Next::Signal if self.manner.dialect == Dialect::Threaded => {
                    return self.close(1001, "").await;
                }
                Next::Signal => return Ok(()),
            }
        }
    }

    async fn next(&mut self) -> io::Result<Next> {
        Ok(tokio::select! {
            more = self.socket.more() => Next::Bytes(more?),
            Ok(order) = self.orders.recv() => Next::Order(order),
            _ = self.pings.tick() => Next::Ping,
            () = until(&mut self.stage, Stage::Draining) => Next::Signal,
        })
    }

    fn tell(&self, event: Event) {
        self.manner.site.record.happened(self.number, event);
    }

    /// False when the socket is closed thereby.
    async fn take(&mut self, frame: Frame) -> io::Result<bool> {
        if frame.opcode == frame::CLOSE {
            let (code, reason) = frame::close_words(&frame.payload);
            if self.message.is_some() {
                self.tell(Event::ClosedInMessage);
            }
            self.tell(Event::CloseReceived(code, reason));
            let code = if code == 0 { 1000 } else { code };
            self.socket.send(&frame::close(code, "")).await?;
            return Ok(false);
        }
        if !frame.is_masked || frame.has_rsv {
            return self.closed(1002, "").await;
        }
        if self.is_too_frequent() {
            return self.closed(1013, "").await;
        }
        match frame.opcode {
            frame::PING => {
                self.tell(Event::Ping);
                let pong = frame::write(frame::PONG, true, &frame.payload);
                self.socket.send(&pong).await?;
                Ok(true)
            }
            frame::PONG => {
                self.unanswered = 0;
                self.tell(Event::Pong);
                Ok(true)
            }
            frame::TEXT | frame::BINARY | frame::CONTINUATION => self.take_data(frame).await,
            _ => self.closed(1002, "").await,
        }
    }

    async fn take_data(&mut self, frame: Frame) -> io::Result<bool> {
        let continues = frame.opcode == frame::CONTINUATION;
        if continues != self.message.is_some() {
            return self.closed(1002, "").await;
        }
        let mut message = self.message.take().unwrap_or_default();
        message.extend(frame.payload);
        if message.len() > LONGEST_MESSAGE {
            return self.closed(1009, "").await;
        }
        if !frame.is_final {
            self.message = Some(message);
            return Ok(true);
        }
        let database = &self.manner.site.database;
        let is_out = |session: &String| database.user_of(session).is_none();
        if self.user_session.as_ref().is_some_and(is_out) {
            return self.closed(4001, "").await;
        }
        self.tell(Event::Message(message));
        Ok(true)
    }

    fn is_too_frequent(&mut self) -> bool {
        let now = Instant::now();
        let window = self.manner.site.behaviour.frame_window();
        self.recent.retain(|at| now.duration_since(*at) < window);
        self.recent.push_back(now);
        self.recent.len() > MOST_FRAMES
    }

    async fn obey(&mut self, order: Order) -> io::Result<bool> {
        match order {
            Order::Notify(payload) => {
                self.socket
                    .send(&frame::write(frame::TEXT, true, &payload))
                    .await?;
                Ok(true)
            }
            Order::Fragments { count, size, pause } => {
                let payload = vec![b'x'; size];
                for number in 0..count {
                    if number > 0 {
                        sleep_until(Instant::now() + pause).await;
                    }
                    let opcode = if number == 0 {
                        frame::TEXT
                    } else {
                        frame::CONTINUATION
                    };
                    let is_final = number + 1 == count;
                    self.socket
                        .send(&frame::write(opcode, is_final, &payload))
                        .await?;
                }
                Ok(true)
            }
            Order::Close(code, reason) => self.closed(code, reason).await,
        }
    }

    async fn closed(&mut self, code: u16, reason: &str) -> io::Result<bool> {
        self.close(code, reason).await?;
        Ok(false)
    }

    /// Says goodbye and waits for the answer.
    async fn close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        self.socket.send(&frame::close(code, reason)).await?;
        self.tell(Event::CloseSent(code));
        let answered = async {
            loop {
                while let Some((frame, length)) = frame::parse(self.socket.unread()) {
                    self.socket.take(length);
                    if frame.opcode == frame::CLOSE {
                        return Ok(Some(frame::close_words(&frame.payload)));
                    }
                }
                if !self.socket.more().await? {
                    return Ok(None);
                }
            }
        };
        let answer: io::Result<_> = if self.manner.dialect == Dialect::Threaded {
            answered.await
        } else {
            let patience = self.manner.site.behaviour.close_patience();
            timeout(patience, answered).await.unwrap_or(Ok(None))
        };
        if let Some((code, reason)) = answer? {
            self.tell(Event::CloseReceived(code, reason));
        }
        Ok(())
    }
}
