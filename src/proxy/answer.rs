//! From the upstream's answer to the client's.

use super::answer_head::Meta;
use super::answer_head::head;
use super::backlog::Backlog;
use super::belongings::Proxy;
use super::body::TRANSFER;
use super::chunked::Piece;
use super::client::poll_gone;
use super::client::write_all;
use super::coder::Coder;
use super::coder::Step;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::forward::Failure;
use super::framing::BodyReader;
use super::framing::Framing;
use super::heads::Addressee;
use super::mark::Mark;
use super::outlet::Pushed;
use super::record::Record;
use super::response::Asked;
use super::sendfile::Sending;
use super::tunnel::Changed;
use super::wishes::Wishes;
use crate::config::Timeouts;
use crate::live::Kind;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::SMALL;
use crate::net::Stream;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::time::Instant;
use tokio::time::timeout_at;

/// What both directions of one attempt share.
pub(super) struct Exchange<'a> {
    pub proxy: &'a Proxy,
    pub client: &'a Stream,
    pub upstream: &'a Stream,
    pub asked: Asked,
    pub upgrade: Option<&'a [u8]>,
    pub wishes: Option<&'a Wishes>,
    pub timeouts: &'a Timeouts,
    pub flight: &'a Flight,
    pub record: &'a Record,
    /// The answer is taken as fast as the upstream gives it, as far as its kind allows.
    pub buffers_answer: bool,
    /// JSON-RPC errors are looked for.
    pub peeks: bool,
    /// None when the answer's head passes as it is.
    pub addressee: Option<&'a Addressee>,
    pub mark: Option<&'a Mark>,
}

/// An answer that was read as a whole.
pub(super) struct Answered {
    /// The upstream's connection is between two requests now.
    pub reusable: bool,
    /// So is the client's, as far as the answer goes.
    pub keep_alive: bool,
    /// What the client has yet to take.
    pub backlog: Option<Box<Backlog>>,
    /// What was read is not the whole: the client is to notice, once it has what there is.
    pub cut: Option<Fault>,
    /// The upstream names a file to send instead.
    pub file: Option<Box<Sending>>,
    /// The protocol was changed.
    pub changed: Option<Changed>,
}

impl Exchange<'_> {
    /// The request's last byte is out.
    pub(super) fn is_sent(&self) {
        if self.flight.state.get() == State::Sending {
            self.flight.at(State::Waiting);
            self.record.is_uploaded();
            self.flight.arm(Timer::FirstByte, self.timeouts.first_byte);
        }
    }

    /// An interim answer was passed on: the silence that follows is the upstream's again.
    pub(super) fn still_waits(&self) {
        if self.flight.state.get() == State::Waiting {
            self.flight.arm(Timer::FirstByte, self.timeouts.first_byte);
        }
    }

    /// Reads once; holds no memory while there is nothing to read. 0 is the end.
    pub(super) async fn read(
        &self,
        input: &mut Buffer,
        size: &Cell<usize>,
        watch: &mut Option<&mut Buffer>,
        backlog: &mut Option<Box<Backlog>>,
    ) -> Result<usize, Read> {
        poll_fn(|cx| {
            if let Some(backlog) = backlog
                && let Poll::Ready(Err(fault)) = backlog.poll_give((self.client, self.flight), cx)
            {
                return Poll::Ready(Err(Read::Fault(fault)));
            }
            if let Poll::Ready(readable) = self.upstream.poll_readable(cx) {
                readable.map_err(Read::Failed)?;
                let most = size.get();
                let room = input.room(if most > SMALL { LARGE } else { SMALL });
                let most = room.len().min(most);
                let read = self.upstream.poll_read(cx, &mut room[..most]);
                if let Poll::Ready(read) = read {
                    let count = read.map_err(Read::Failed)?;
                    input.filled(count);
                    return Poll::Ready(Ok(count));
                }
                // The readiness was of bytes that are read already.
                input.release();
            }
            match watch {
                Some(early) => {
                    let gone = poll_gone(self.client, early, cx);
                    gone.map(|()| Err(Read::Fault(Fault::ClientGone)))
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Takes the next step with what was pushed; until when the step after it must be taken.
    async fn encode(
        &self,
        coder: &mut Coder,
        ended: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Instant>, Failure> {
        let step = if ended {
            Step::Finish
        } else if self.upstream.is_quiet() {
            Step::Pause
        } else {
            Step::Collect
        };
        let encoded = coder.advance(step, out).await;
        encoded.map_err(|cause| Fault::CutShort(Some(cause)))?;
        Ok(coder.due())
    }

    /// Waits until the client has room: what it does not take is not read. How much it may be.
    async fn room(&self) -> usize {
        poll_fn(|cx| {
            let room = self.client.poll_room(cx);
            if room.is_pending() {
                // We are here because it took something.
                self.flight.arm(Timer::ClientIdle, self.timeouts.idle);
            }
            room
        })
        .await
    }

    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let idle = || self.flight.arm(Timer::ClientIdle, self.timeouts.idle);
        idle();
        write_all(self.client, bytes, idle)
            .await
            .map_err(|_| Failure::Fault(Fault::ClientGone))
    }

    /// Passes bytes on to the client, or to what is kept for it.
    async fn pass(&self, bytes: &[u8], backlog: &mut Option<Box<Backlog>>) -> Result<(), Failure> {
        match backlog {
            Some(backlog) => Ok(backlog.put(self, bytes).await?),
            None => self.write(bytes).await,
        }
    }
}

pub(super) enum Read {
    Fault(Fault),
    Failed(io::Error),
}

impl Read {
    /// Once the answer has begun.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Failed(cause) => Fault::CutShort(Some(cause)),
        }
    }
}

/// Waits for the answer and passes it on. `early` takes what the client sends in the meantime, and is watched
/// for its leaving; none while an upload does that.
pub(super) async fn answer(
    exchange: &Exchange<'_>,
    mut early: Option<&mut Buffer>,
) -> Result<Answered, Failure> {
    let mut out = exchange.proxy.borrow_output();
    let mut input = Buffer::default();
    let mut meta = head(exchange, &mut input, &mut out, &mut early).await?;
    exchange.record.answered.set(meta.status);
    if meta.file.is_some() {
        exchange.proxy.return_output(out);
        let is_over = matches!(meta.framing, Framing::None | Framing::Length(0));
        return Ok(Answered {
            reusable: meta.reusable && is_over && input.is_empty(),
            keep_alive: meta.keep_alive,
            backlog: None,
            cut: None,
            file: meta.file,
            changed: None,
        });
    }
    exchange.record.status.set(meta.status);
    exchange.flight.at(State::Answering);
    if meta.status == 101 {
        if let Some(seat) = exchange.flight.seat.borrow().as_ref() {
            let (slot, worker) = (seat.ticket.slot(), exchange.proxy.worker());
            exchange.record.opened(slot, exchange.flight, worker);
        }
        exchange.write(&out).await?;
        exchange.proxy.return_output(out);
        return Ok(Answered {
            reusable: false,
            keep_alive: false,
            backlog: None,
            cut: None,
            file: None,
            changed: Some(Changed {
                protocol: meta.protocol,
                early: input,
                idle: exchange.timeouts.tunnel_idle,
            }),
        });
    }
    let mut backlog = meta.backlog.take();
    let buffers = (&mut input, &mut out);
    let passed = pass_body(exchange, &mut meta, buffers, &mut early, &mut backlog).await;
    exchange.proxy.return_output(out);
    let backlog = backlog.filter(|backlog| !backlog.is_empty());
    let cut = match passed {
        Ok(()) => None,
        // What there is goes to the client, as it would have without a backlog.
        Err(Failure::Fault(fault)) if backlog.is_some() && fault.is_suspicious() => Some(fault),
        Err(failure) => return Err(failure),
    };
    Ok(Answered {
        // Bytes behind the answer were asked for by nobody.
        reusable: meta.reusable && input.is_empty() && cut.is_none(),
        keep_alive: meta.keep_alive,
        backlog,
        cut,
        file: None,
        changed: None,
    })
}

/// Passes the body on as it comes. `out` holds the head, which goes along with the first bytes.
#[allow(
    clippy::too_many_lines,
    reason = "one loop, told from its beginning to its end"
)]
async fn pass_body(
    exchange: &Exchange<'_>,
    meta: &mut Meta,
    (input, out): (&mut Buffer, &mut Vec<u8>),
    early: &mut Option<&mut Buffer>,
    backlog: &mut Option<Box<Backlog>>,
) -> Result<(), Failure> {
    let (flight, idle) = (exchange.flight, exchange.timeouts.idle);
    let mut body = BodyReader::new(meta.framing);
    let mut trailers = Vec::new();
    let mut sent = 0;
    let mut begun = false;
    let most = match meta.framing {
        Framing::Length(length) if length < SMALL as u64 => SMALL,
        _ => LARGE,
    };
    let size = Cell::new(most);
    loop {
        let ended = loop {
            let Ok((taken, piece)) = body.next(input.bytes(), &mut trailers) else {
                if !begun {
                    // The client has nothing of it yet: it can be told.
                    exchange.record.status.set(0);
                }
                return Err(Fault::BadAnswer("its chunked body is malformed").into());
            };
            if let Piece::Data(data) = piece {
                sent += data.len() as u64;
                if let Some(peek) = meta.peek.take() {
                    meta.peek = peek.look(data, exchange);
                }
                let body = &exchange.record.body;
                body.set(body.get() + data.len() as u64);
            }
            let (ended, more) = (piece == Piece::End, piece == Piece::More);
            if let Piece::Data(data) = piece
                && meta.outlet.push(data, out) == Pushed::Direct
            {
                begun = true;
                exchange.pass(out, backlog).await?;
                out.clear();
                exchange.pass(data, backlog).await?;
            }
            input.consume(taken);
            if ended || more {
                break ended;
            }
        };
        let mut late = None;
        if let Some(coder) = meta.outlet.coder() {
            late = Box::pin(exchange.encode(coder, ended, out)).await?;
            sent = coder.sent;
        }
        flight.bytes_out.set(sent);
        if sent > TRANSFER {
            flight.becomes(Kind::Transfer);
        }
        if ended {
            meta.outlet.end(&trailers, out);
        }
        if !out.is_empty() {
            begun = true;
            exchange.pass(out, backlog).await?;
            out.clear();
        }
        if let Some(backlog) = backlog {
            backlog.has_read(sent, flight);
            backlog.asks(flight);
        }
        if ended {
            return Ok(());
        }
        input.release();
        if backlog.is_none() {
            size.set(most.min(exchange.room().await));
        }
        flight.arm(Timer::UpstreamIdle, idle);
        let read = exchange.read(input, &size, early, backlog);
        let read = match late {
            None => read.await,
            // What the client is owed by then is sent, whatever comes.
            Some(due) => match Box::pin(timeout_at(due, read)).await {
                Ok(read) => read,
                Err(_) => continue,
            },
        };
        match read {
            Ok(0) if meta.framing == Framing::UntilClose => body = BodyReader::Done,
            Ok(0) => return Err(Fault::CutShort(None).into()),
            Err(read) => return Err(read.into_fault().into()),
            Ok(_) => {}
        }
    }
}
