//! The bytes of one HTTP/2 connection, between the `h2` crate and the client's stream.
//!
//! What is written is gathered and goes out at the end of a turn, in one call; what is read is weighed by the
//! `meter` on its way, and one connection reads only so much before others have their turn.

use super::meter::Flood;
use super::meter::Meter;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::Stream;
use crate::proxy::Clock;
use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

/// Bytes read in one turn.
const TURN: usize = 64 * 1024;

/// One connection's bytes both ways.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: Stream,
    clock: Clock,
    /// Read before anybody knew what they are.
    early: RefCell<Buffer>,
    out: RefCell<Buffer>,
    meter: RefCell<Meter>,
    /// What may still be read in this turn.
    turn: Cell<usize>,
    /// Bytes that the client's stream took.
    written: Cell<u64>,
}

/// The line as the `h2` crate has it.
#[derive(Debug)]
pub(super) struct Wire(pub(super) Rc<Line>);

impl Line {
    /// `early` was read already.
    pub(super) fn new(stream: Stream, early: Buffer, clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            stream,
            clock,
            early: RefCell::new(early),
            out: RefCell::default(),
            meter: RefCell::new(Meter::new(super::PREFACE.len())),
            turn: Cell::new(TURN),
            written: Cell::new(0),
        })
    }

    /// The connection has its turn: it may read.
    pub(super) fn begin_turn(&self) {
        self.turn.set(TURN);
    }

    /// Writes what was gathered; ready when all of it is out.
    pub(super) fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.out.borrow_mut();
        while !out.is_empty() {
            let count = ready!(self.stream.poll_write(cx, out.bytes()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.consume(count);
            self.written.set(self.written.get() + count as u64);
        }
        out.release();
        self.stream.poll_flush(cx)
    }

    /// Everything that was written is out.
    pub(super) fn is_written_out(&self) -> bool {
        self.out.borrow().is_empty()
    }

    /// Bytes that the client's stream took since the connection began.
    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }

    pub(super) fn is_in_headers(&self) -> bool {
        self.meter.borrow().is_in_headers()
    }

    pub(super) fn flood(&self) -> Option<Flood> {
        self.meter.borrow().flood()
    }

    /// See [`Meter::sent`].
    pub(super) fn sent(&self, bytes: usize, is_cut: bool) {
        self.meter.borrow_mut().sent(bytes, is_cut);
    }

    /// See [`Meter::answered`].
    pub(super) fn answered(&self) {
        self.meter.borrow_mut().answered();
    }

    /// See [`Meter::given_up`].
    pub(super) fn given_up(&self) {
        self.meter.borrow_mut().given_up(self.clock.get());
    }

    fn poll_read(&self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.turn.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = room.filled().len();
        let mut early = self.early.borrow_mut();
        if early.is_empty() {
            ready!(self.stream.poll_read_into(cx, room))?;
        } else {
            let count = early.len().min(room.remaining());
            room.put_slice(&early.bytes()[..count]);
            early.consume(count);
            early.release();
        }
        let read = &room.filled()[before..];
        self.turn.set(self.turn.get().saturating_sub(read.len()));
        self.meter.borrow_mut().see(read, self.clock.get());
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut out = self.out.borrow_mut();
            let room = out.room(LARGE);
            if !room.is_empty() {
                let count = bytes.len().min(room.len());
                room[..count].copy_from_slice(&bytes[..count]);
                out.filled(count);
                return Poll::Ready(Ok(count));
            }
            drop(out);
            ready!(self.poll_write_out(cx))?;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, room)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    /// It is flushed after each frame that is long; the turn's end does that once.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_write_out(cx))?;
        self.0.stream.poll_finish(cx).map(Ok)
    }
}
