//! One HTTP/2 connection: its streams begin here, and it ends when nobody needs it any more.

use super::line::Line;
use super::line::Wire;
use super::meter::Flood;
use super::outbox::Portion;
use super::session::Session;
use super::stream;
use crate::config::Limits;
use crate::proxy::Client;
use crate::proxy::Fault;
use crate::proxy::Flight;
use crate::proxy::Proxy;
use crate::proxy::State;
use crate::proxy::Timer;
use h2::Reason;
use h2::RecvStream;
use h2::server::Builder;
use h2::server::SendResponse;
use http::Request;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

/// What a client may send of one body before we took any of it: enough for 40 Mbit/s at 50 ms.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same over all bodies of one connection; it bounds the memory that they take.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one answer that wait to be written.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that the client reset before we looked at them.
const RESET_UNSEEN: usize = 50;
/// Streams that we reset and still know, so that what the client sent meanwhile does it no harm.
const RESET_KNOWN: usize = 100;
/// Streams that break the protocol, over the life of a connection. Each of them may have reached an upstream.
const ERRORS: usize = 300;
/// How `h2` counts a field: 32 bytes more than its name and value. Cookies that a browser cut up make many.
const FIELD_OVERHEAD: usize = 32 * 512;
/// How long a client may take to end a connection that we said goodbye on.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the last frames may take to be written, and how much is read meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 256;

/// Why a connection ends.
enum Over {
    /// Both sides are done, or the client is gone.
    Closed,
    /// The client broke the protocol, or its connection broke.
    Failed(h2::Error),
    Flooded(Flood),
}

/// What bounds the connection's waiting now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// A request's headers have begun to arrive.
    Headers,
    /// For requests, which have timers of their own.
    Requests,
    /// For the client to read the last bytes of answers.
    Written(u64),
    /// For the next request; in vain when there was none yet.
    Idle,
}

struct Connection {
    session: Rc<Session>,
    flight: Rc<Flight>,
    h2: h2::server::Connection<Wire, Portion>,
    wait: Option<Wait>,
    had_request: bool,
    says_goodbye: bool,
}

/// Serves a connection whose client speaks HTTP/2, until it ends. What was read of it already is in its input.
pub(in crate::edge) async fn serve(proxy: &Rc<Proxy>, client: Client) {
    let Client {
        stream,
        input,
        peer,
        flight,
    } = client;
    let mut peer = peer;
    peer.is_http2 = true;
    let line = Line::new(stream, input, proxy.clock.clone());
    let limits = proxy.view().limits.clone();
    flight.state.set(State::Reading);
    flight.arm(Timer::Head, limits.header_timeout);
    let handshake = builder(&limits).handshake(Wire(line.clone()));
    let handshake = async { handshake.await.map_err(|_| Fault::ClientGone) };
    let Ok(h2) = flight.guard(handshake).await else {
        return;
    };
    let mut connection = Connection {
        session: Session::new(proxy.clone(), peer, line),
        flight,
        h2,
        wait: None,
        had_request: false,
        says_goodbye: false,
    };
    connection.run().await;
    connection.end().await;
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    let most_head = u32::try_from(limits.header_bytes + FIELD_OVERHEAD).unwrap_or(u32::MAX);
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(u32::try_from(limits.http2_streams).unwrap_or(u32::MAX))
        .max_header_list_size(most_head)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_concurrent_reset_streams(RESET_KNOWN)
        .max_local_error_reset_streams(Some(ERRORS))
        .enable_connect_protocol();
    builder
}

impl Connection {
    async fn run(&mut self) {
        loop {
            let flight = self.flight.clone();
            let turn = poll_fn(|cx| self.turn(cx).map(Ok));
            match flight.guard(turn).await {
                Ok(Over::Closed) => return,
                Ok(Over::Failed(error)) => {
                    tracing::debug!(client = %self.session.peer.text, %error, "http2 connection failed");
                    return;
                }
                Ok(Over::Flooded(flood)) => {
                    tracing::debug!(client = %self.session.peer.text, error = flood.as_str(), "http2 client sent away");
                    self.session.proxy.metrics.flooded();
                    return self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
                // Nothing is under way, so nothing is lost: whoever asks meanwhile is told to ask elsewhere.
                Err(_) if self.wait == Some(Wait::Idle) && !self.says_goodbye => self.say_goodbye(),
                Err(_) => return self.h2.abrupt_shutdown(Reason::NO_ERROR),
            }
        }
    }

    /// The first of two steps: no new requests from now on, but those that are on their way are served.
    /// The second follows when the client has seen the first.
    fn say_goodbye(&mut self) {
        self.says_goodbye = true;
        self.wait = None;
        self.h2.graceful_shutdown();
    }

    /// Reads, begins requests, writes; until there is nothing more to do for now.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let session = self.session.clone();
        session.runs(cx);
        session.line.begin_turn();
        if session.proxy.stopping.get() && !self.says_goodbye {
            self.say_goodbye();
        }
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Over::Failed(error)),
                Poll::Ready(None) => return Poll::Ready(Over::Closed),
                Poll::Pending => break,
            }
        }
        if let Some(flood) = session.line.flood() {
            return Poll::Ready(Over::Flooded(flood));
        }
        if let Poll::Ready(Err(_)) = session.line.poll_write_out(cx) {
            return Poll::Ready(Over::Closed);
        }
        self.tend();
        Poll::Pending
    }

    fn begin(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Portion>) {
        self.had_request = true;
        let proxy = &self.session.proxy;
        let places = proxy.view().limits.connections;
        if proxy.metrics.streams() >= places as u64 {
            proxy.metrics.stream_refused();
            // Says that nothing was done: the client may ask again.
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let begun = self.session.begin();
        tokio::task::spawn_local(stream::serve(begun, request, respond));
    }

    /// Says what is being waited for, and for how long.
    fn tend(&mut self) {
        let line = &self.session.line;
        let wait = if line.is_in_headers() {
            Wait::Headers
        } else if self.session.open() > 0 {
            Wait::Requests
        } else if self.h2.has_streams() || !line.is_written_out() {
            Wait::Written(line.written())
        } else {
            Wait::Idle
        };
        if self.wait == Some(wait) {
            return;
        }
        self.wait = Some(wait);
        let flight = &self.flight;
        let view = self.session.proxy.view();
        let limits = &view.limits;
        flight.state.set(match wait {
            Wait::Idle => State::Idle,
            Wait::Headers if self.session.open() == 0 => State::Reading,
            Wait::Headers | Wait::Requests | Wait::Written(_) => State::Carrying,
        });
        match wait {
            Wait::Headers => flight.arm(Timer::Head, limits.header_timeout),
            Wait::Requests => flight.disarm(),
            Wait::Written(_) => flight.arm(Timer::ClientIdle, limits.idle_timeout),
            Wait::Idle if self.says_goodbye => flight.arm(Timer::KeepAlive, GOODBYE),
            Wait::Idle if self.had_request => flight.arm(Timer::KeepAlive, limits.idle_timeout),
            Wait::Idle => flight.arm(Timer::KeepAlive, limits.header_timeout),
        }
    }

    /// Writes the last frames, and reads on for a while: a client that is still sending would be reset before
    /// it has read them.
    async fn end(mut self) {
        let flight = self.flight.clone();
        flight.state.set(State::Closing);
        flight.arm(Timer::ClientIdle, LINGER);
        let line = self.session.line.clone();
        let last = async {
            let _ = poll_fn(|cx| {
                line.begin_turn();
                self.h2.poll_closed(cx)
            })
            .await;
            let _ = poll_fn(|cx| line.poll_write_out(cx)).await;
            line.stream.finish().await;
            let mut room = [0; 4096];
            for _ in 0..LINGER_READS {
                match line.stream.read(&mut room).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            Ok(())
        };
        // Either way the connection ends now.
        let _ = flight.guard(last).await;
    }
}
