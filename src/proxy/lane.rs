//! One direction of a websocket: bytes pass untouched, and a Close of ours has its place between two messages.
//!
//! Both directions stop at the end of a message and wait for each other before either end is told, for a peer that
//! is told may stop in the middle of what it says. What comes behind our Close is dropped (RFC 6455, section 5.5.1).

use super::client::write_all;
use super::fault::Timer;
use super::frames::Frames;
use super::frames::close_frame;
use super::websocket::Stage;
use super::websocket::Tunnel;
use super::websocket::Websocket;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::Stream;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::task::ready;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Towards {
    Client,
    Upstream,
}

/// One direction.
pub(super) struct Lane<'a> {
    tunnel: Tunnel<'a>,
    towards: Towards,
    from: &'a Stream,
    to: &'a Stream,
    /// Its own, and that of the other direction.
    stage: &'a Cell<Stage>,
    other: &'a Cell<Stage>,
}

/// What the wait for bytes came to.
enum Filled {
    Bytes,
    End,
    /// It is time to say goodbye.
    Nothing,
}

/// How far bytes have passed.
#[derive(PartialEq, Eq)]
enum Passed {
    /// To their end.
    All,
    /// To the end of a message, behind which our Close belongs.
    Message,
}

impl<'a> Lane<'a> {
    pub(super) fn new(tunnel: Tunnel<'a>, towards: Towards) -> Self {
        let (up, down) = (&tunnel.websocket.up, &tunnel.websocket.down);
        let (from, to, stage, other) = match towards {
            Towards::Upstream => (tunnel.client, tunnel.upstream, up, down),
            Towards::Client => (tunnel.upstream, tunnel.client, down, up),
        };
        Self {
            tunnel,
            towards,
            from,
            to,
            stage,
            other,
        }
    }

    /// Until where it comes from has ended, or was told and has answered.
    pub(super) async fn run(&self, buffer: &mut Buffer) -> io::Result<()> {
        let mut frames = Frames::default();
        if self.pass(buffer, &mut frames).await? == Passed::All {
            self.enter(Stage::Ended);
            return Ok(());
        }
        self.tell().await;
        self.listen(buffer, &mut frames).await;
        self.enter(Stage::Over);
        Ok(())
    }

    /// Passes bytes on until their end, or until a Close of ours is wanted and has its place here.
    async fn pass(&self, buffer: &mut Buffer, frames: &mut Frames) -> io::Result<Passed> {
        loop {
            if self.may_tell(frames) && self.agree().await {
                return Ok(Passed::Message);
            }
            if buffer.is_empty() {
                buffer.release();
                match self.fill(buffer, frames).await {
                    Ok(Filled::Bytes) => {}
                    Ok(Filled::Nothing) => continue,
                    Ok(Filled::End) | Err(_) if self.is_left(frames) => return Ok(Passed::Message),
                    Ok(Filled::End) => {
                        self.to.finish().await;
                        return Ok(Passed::All);
                    }
                    Err(cause) => return Err(cause),
                }
            }
            let portion = self.portion(buffer.bytes(), frames);
            let bytes = &buffer.bytes()[..portion];
            let count = match self.write(bytes).await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                // Where this leads is gone, but where it comes from must still be told.
                Err(_) if self.websocket().goodbye.get().is_some() => return Ok(Passed::Message),
                Err(cause) => return Err(cause),
            };
            frames.pass(&bytes[..count]);
            buffer.consume(count);
            self.progress(count, frames);
        }
    }

    /// Writes some of `bytes`; when that is all, sees them off.
    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let count = poll_fn(|cx| self.to.poll_write(cx, bytes)).await?;
        if count == bytes.len() {
            poll_fn(|cx| self.to.poll_flush(cx)).await?;
        }
        Ok(count)
    }

    fn websocket(&self) -> &Websocket {
        self.tunnel.websocket
    }

    /// How many of `bytes` pass before it is time to look up.
    fn portion(&self, bytes: &[u8], frames: &Frames) -> usize {
        match self.websocket().goodbye.get() {
            Some(_) => frames.boundary(bytes).unwrap_or(bytes.len()),
            None => bytes.len(),
        }
    }

    fn progress(&self, count: usize, frames: &Frames) {
        let (flight, websocket) = (self.tunnel.flight, self.websocket());
        let (bytes, messages) = match self.towards {
            Towards::Upstream => (&flight.bytes_in, &websocket.messages_in),
            Towards::Client => (&flight.bytes_out, &websocket.messages_out),
        };
        bytes.set(bytes.get() + count as u64);
        messages.set(frames.messages());
        if !websocket.is_timed.get() {
            flight.arm(Timer::Tunnel, self.tunnel.idle);
        }
        if websocket.patience.get().is_some() {
            self.be_patient();
        }
        if self.stage.get() == Stage::Passing && (frames.is_closed() || frames.is_lost()) {
            self.enter(if frames.is_closed() {
                Stage::Closed
            } else {
                Stage::Blind
            });
        }
    }

    fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        self.tunnel.settle();
        // The other direction may wait for it.
        self.tunnel.flight.wake();
    }

    /// Our Close is wanted and has its place here, and the peers do not end it by themselves.
    fn may_tell(&self, frames: &Frames) -> bool {
        self.websocket().goodbye.get().is_some()
            && frames.is_between()
            && !matches!(self.other.get(), Stage::Closed | Stage::Blind)
    }

    /// Where this comes from has ended without a word, and the other end shall have one: an upstream may be stopped
    /// before it was each client's turn.
    fn is_left(&self, frames: &Frames) -> bool {
        let seat = self.tunnel.flight.seat.borrow();
        let departure = seat.as_ref().map(|seat| &seat.ticket.slot().departure);
        if self.towards == Towards::Client
            && let Some(goodbye) = departure.and_then(|departure| departure.goodbye())
        {
            self.websocket().part(self.tunnel.flight, goodbye.clone());
        }
        self.may_tell(frames)
    }

    /// Waits until the other direction is between two messages too. False when it will never be.
    async fn agree(&self) -> bool {
        self.be_patient();
        self.enter(Stage::Waiting);
        let (flight, websocket) = (self.tunnel.flight, self.websocket());
        let agreed = poll_fn(|_| match self.other.get() {
            Stage::Waiting | Stage::Told | Stage::Over | Stage::Ended => Poll::Ready(true),
            Stage::Closed | Stage::Blind => Poll::Ready(false),
            // The other one stands still: it may be waiting for something that comes along here.
            Stage::Passing => match websocket.patience.get() {
                Some(until) if flight.now() >= until => Poll::Ready(true),
                _ => Poll::Pending,
            },
        })
        .await;
        websocket.patience.set(None);
        if !agreed {
            self.enter(Stage::Passing);
        }
        agreed
    }

    fn be_patient(&self) {
        let websocket = self.websocket();
        if let Some(goodbye) = websocket.goodbye.get() {
            let until = self.tunnel.flight.after(goodbye.wait);
            websocket.patience.set(Some(until));
        }
    }

    async fn fill(&self, buffer: &mut Buffer, frames: &Frames) -> io::Result<Filled> {
        poll_fn(|cx| {
            if self.may_tell(frames) {
                return Poll::Ready(Ok(Filled::Nothing));
            }
            ready!(self.from.poll_readable(cx))?;
            let read = self.from.poll_read(cx, buffer.room(LARGE));
            if read.is_pending() {
                // The readiness was of bytes that are read already.
                buffer.release();
            }
            let count = ready!(read)?;
            buffer.filled(count);
            Poll::Ready(Ok(match count {
                0 => Filled::End,
                _ => Filled::Bytes,
            }))
        })
        .await
    }

    /// Sends our Close. An end that is gone need not be told.
    async fn tell(&self) {
        let Some(goodbye) = self.websocket().goodbye.get() else {
            return;
        };
        let mask = match self.towards {
            Towards::Client => None,
            Towards::Upstream => Some(fastrand::u32(..).to_be_bytes()),
        };
        let frame = close_frame(goodbye.code, &goodbye.reason, mask);
        let _ = write_all(self.to, &frame, || {}).await;
        self.enter(Stage::Told);
    }

    /// Drops what still comes until a Close or the end.
    async fn listen(&self, buffer: &mut Buffer, frames: &mut Frames) {
        loop {
            frames.pass(buffer.bytes());
            let dropped = buffer.len();
            buffer.consume(dropped);
            buffer.release();
            if frames.is_closed() {
                return;
            }
            if self.from.readable().await.is_err() {
                return;
            }
            let read = poll_fn(|cx| self.from.poll_read(cx, buffer.room(LARGE)));
            match read.await {
                Ok(0) | Err(_) => return,
                Ok(count) => buffer.filled(count),
            }
        }
    }
}
