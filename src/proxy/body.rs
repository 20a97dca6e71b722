//! A request's body on its way up.

use super::chunked;
use super::chunked::Piece;
use super::client::poll_fill;
use super::client::write_all;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::framing::BodyReader;
use super::framing::Framing;
use super::framing::end_chunked;
use crate::live::Kind;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::Stream;
use crate::spool::Spool;
use std::future::poll_fn;
use std::io;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

/// A request or an answer with more bytes than this is a transfer: it has a drain budget of its own.
pub(super) const TRANSFER: u64 = 1024 * 1024;

/// How long the disk that bodies are kept on may take for one piece.
pub(super) const DISK_PATIENCE: Duration = Duration::from_secs(30);

/// A request's body: what of it was taken from the client, and what is left.
#[derive(Debug)]
pub(super) struct Body {
    reader: BodyReader,
    is_chunked: bool,
    trailers: Vec<u8>,
    received: u64,
    /// 0 means none.
    limit: u64,
    ended: bool,
    /// More was sent than went along with the head: it cannot be sent again.
    pub streamed: bool,
    /// All of it, when it was received before the request was sent and is too long to go along with the head.
    spool: Option<Box<Spool>>,
}

/// Why an upload ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The request as a whole has failed.
    Fault(Fault),
    /// The upstream takes no more; it may have answered already.
    Refused(io::Error),
}

impl Body {
    pub(super) fn new(framing: Framing, limit: u64) -> Self {
        let ended = matches!(framing, Framing::None | Framing::Length(0));
        Self {
            reader: BodyReader::new(framing),
            is_chunked: framing == Framing::Chunked,
            trailers: Vec::new(),
            received: 0,
            limit,
            ended,
            streamed: false,
            spool: None,
        }
    }

    /// All of it was taken from the client.
    pub(super) fn is_complete(&self) -> bool {
        self.ended
    }

    /// It went along with the head, and can do so again.
    pub(super) fn is_replayable(&self) -> bool {
        self.ended && !self.streamed && self.spool.is_none()
    }

    /// Something of it is to be sent behind the head.
    pub(super) fn has_rest(&self) -> bool {
        !self.ended || self.spool.is_some()
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// It was received whole, and lies there.
    pub(super) fn rests_in(&mut self, spool: Box<Spool>) {
        self.spool = Some(spool);
    }

    /// Moves what is in `input` to `out`, framed for the upstream.
    pub(super) fn take(
        &mut self,
        input: &mut Buffer,
        out: &mut Vec<u8>,
        flight: &Flight,
    ) -> Result<(), Fault> {
        while !self.ended {
            let bytes = input.bytes();
            let (taken, piece) = self
                .reader
                .next(bytes, &mut self.trailers)
                .map_err(|_| Fault::BadRequest("the chunked body is malformed"))?;
            let mut more = false;
            match piece {
                Piece::Data(data) => {
                    self.received += data.len() as u64;
                    if self.is_chunked {
                        chunked::encode(data, out);
                    } else {
                        out.extend_from_slice(data);
                    }
                    self.ended = self.reader.is_done();
                }
                Piece::End => {
                    self.ended = true;
                    if self.is_chunked {
                        end_chunked(&self.trailers, out);
                    }
                }
                Piece::More => more = true,
            }
            input.consume(taken);
            if self.limit > 0 && self.received > self.limit {
                return Err(Fault::BodyTooLarge { limit: self.limit });
            }
            if more {
                break;
            }
        }
        flight.bytes_in.set(self.received);
        if self.received > TRANSFER {
            flight.becomes(Kind::Transfer);
        }
        Ok(())
    }

    /// Sends the rest: as it comes from the client through `input`, or from where it was kept.
    pub(super) async fn stream(
        &mut self,
        client: &Stream,
        input: Option<&mut Buffer>,
        upstream: &Stream,
        pace: Pace<'_>,
    ) -> Result<(), Stopped> {
        self.streamed = true;
        if let Some(spool) = &mut self.spool {
            if self.received > TRANSFER {
                pace.flight.becomes(Kind::Transfer);
            }
            Box::pin(feed(spool, upstream, pace)).await?;
            self.spool = None;
        }
        let Some(input) = input else { return Ok(()) };
        let mut out = Vec::new();
        loop {
            pace.arm(Timer::ClientIdle);
            let more = poll_fn(|cx| poll_more(client, input, cx)).await;
            more.map_err(Stopped::Fault)?;
            self.take(input, &mut out, pace.flight)
                .map_err(Stopped::Fault)?;
            input.release();
            pace.arm(Timer::UpstreamIdle);
            write_all(upstream, &out, || pace.arm(Timer::UpstreamIdle))
                .await
                .map_err(Stopped::Refused)?;
            out.clear();
            if self.ended {
                return Ok(());
            }
        }
    }
}

/// Reads more of a body.
pub(super) fn poll_more(
    client: &Stream,
    input: &mut Buffer,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Fault>> {
    // Memory of a body's size is only taken once there is something to read.
    let readable = ready!(client.poll_readable(cx));
    if readable.is_ok() {
        let _ = input.room(LARGE);
    }
    Poll::Ready(match ready!(poll_fill(client, input, cx)) {
        Ok(0) | Err(_) => Err(Fault::ClientGone),
        Ok(_) => Ok(()),
    })
}

/// Sends what was kept.
async fn feed(spool: &mut Spool, upstream: &Stream, pace: Pace<'_>) -> Result<(), Stopped> {
    loop {
        pace.flight.arm(Timer::Spool, DISK_PATIENCE);
        let next = poll_fn(|cx| spool.poll_front(cx)).await;
        next.map_err(|error| Stopped::Fault(error.into()))?;
        let count = spool.front().len();
        if count == 0 {
            return Ok(());
        }
        pace.arm(Timer::UpstreamIdle);
        write_all(upstream, spool.front(), || pace.arm(Timer::UpstreamIdle))
            .await
            .map_err(Stopped::Refused)?;
        spool.consume(count);
    }
}

/// How long either side may be silent, and whose flight it is.
#[derive(Clone, Copy)]
pub(super) struct Pace<'a> {
    pub flight: &'a Flight,
    pub idle: Duration,
}

impl Pace<'_> {
    pub(super) fn arm(self, timer: Timer) {
        self.flight.arm(timer, self.idle);
    }
}
