//! A websocket's tunnel: bytes both ways untouched, and a Close of ours between two messages when it has to end.
//!
//! Both directions stop at the end of a message and wait for each other before either end is told, for a peer that
//! is told may stop in the middle of what it says. What comes behind our Close is dropped (RFC 6455, section 5.5.1).

use super::client::Client;
use super::client::write_all;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::frames::Frames;
use super::frames::close_frame;
use crate::live::Goodbye;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::Stream;
use crate::telemetry::Farewell;
use crate::telemetry::Parting;
use std::cell::Cell;
use std::cell::OnceCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use std::time::Instant;

/// What a worker and a websocket's tunnel know of each other.
#[derive(Debug, Default)]
pub struct Websocket {
    /// Whole messages from the client.
    pub messages_in: Cell<u64>,
    /// Whole messages to the client.
    pub messages_out: Cell<u64>,
    up: Cell<Stage>,
    down: Cell<Stage>,
    /// By the worker's clock; none until its slot is left.
    turn: Cell<Option<u64>>,
    /// Set once: it has to end.
    goodbye: OnceCell<Goodbye>,
    /// A direction waits for the other no longer than this.
    patience: Cell<Option<u64>>,
    /// The peers' time to answer runs.
    is_timed: Cell<bool>,
}

/// How far one direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Passing,
    /// Between two messages, and nothing more passes: the other direction may end its own.
    Waiting,
    /// Our Close was sent along it; what follows is dropped.
    Told,
    /// And where it comes from has said Close, or is gone.
    Over,
    /// A peer's own Close has passed.
    Closed,
    /// What passes is no sequence of frames: nothing can be put between them.
    Blind,
    /// Where it comes from has ended, and that has passed.
    Ended,
}

impl Websocket {
    /// Called by the worker at each tick.
    pub(super) fn look(&self, flight: &Flight, now: u64) {
        if self.goodbye.get().is_some() {
            if self.patience.get().is_some_and(|until| now >= until) {
                flight.wake();
            }
            return;
        }
        let seat = flight.seat.borrow();
        let Some(departure) = seat.as_ref().map(|seat| &seat.ticket.slot().departure) else {
            return;
        };
        let Some(goodbye) = departure.goodbye() else {
            return;
        };
        if self.turn.get().is_none() {
            let left = departure.take_turn(Instant::now()).unwrap_or_default();
            self.turn.set(Some(now + millis(left)));
        }
        // The nearest tick, rather than the one after.
        let about = now + millis(super::flight::TICK / 2);
        if self.turn.get().is_some_and(|turn| about >= turn) {
            self.part(flight, goodbye.clone());
        }
    }

    /// Ends it in order. False when that was asked for before.
    pub(super) fn part(&self, flight: &Flight, goodbye: Goodbye) -> bool {
        let (is_urgent, wait) = (goodbye.is_urgent(), goodbye.wait);
        if self.goodbye.set(goodbye).is_err() {
            return false;
        }
        if is_urgent {
            self.time(flight, wait);
        }
        flight.wake();
        true
    }

    fn time(&self, flight: &Flight, wait: Duration) {
        if !self.is_timed.replace(true) {
            flight.arm(Timer::Close, wait);
        }
    }

    /// Both directions have nothing left to say, or one of the peers ends it by itself.
    fn is_ending(&self) -> bool {
        let stages = [self.up.get(), self.down.get()];
        let still = |stage: &Stage| matches!(stage, Stage::Passing | Stage::Blind);
        stages.contains(&Stage::Closed) || !stages.iter().any(still)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Runs until both directions have ended. `early` is what the upstream sent behind its 101.
pub(super) async fn talk(
    client: &mut Client,
    upstream: &Stream,
    mut early: Buffer,
    idle: Duration,
) -> Result<(), Fault> {
    let flight = client.flight.clone();
    let websocket = Rc::new(Websocket::default());
    flight.websocket.replace(Some(websocket.clone()));
    let mut counted = Counted {
        flight: &flight,
        farewell: Farewell::Cut,
    };
    counted.opened();
    let tunnel = Tunnel {
        client: &client.stream,
        upstream,
        flight: &flight,
        websocket: &websocket,
        idle,
    };
    let up = tunnel.lane(Towards::Upstream);
    let down = tunnel.lane(Towards::Client);
    // A broken direction ends both: half a websocket is of no use.
    let ended = tokio::try_join!(up.run(&mut client.input), down.run(&mut early));
    if ended.is_ok() || websocket.is_ending() {
        counted.farewell = Farewell::Answered;
    }
    match websocket.goodbye.get() {
        Some(goodbye) if goodbye.parting == Parting::Killed => Err(Fault::Killed),
        _ => Ok(()),
    }
}

/// Counts the end, however it comes: a timer or an order drops the tunnel where it stands.
struct Counted<'a> {
    flight: &'a Flight,
    farewell: Farewell,
}

impl Counted<'_> {
    fn opened(&self) {
        let seat = self.flight.seat.borrow();
        let Some(seat) = seat.as_ref() else { return };
        let now = Instant::now();
        let service = seat.ticket.service();
        if service
            .slots
            .iter()
            .any(|slot| slot.departure.is_recent(now))
        {
            seat.ticket.slot().metrics.websocket_returned(seat.worker());
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let websocket = self.flight.websocket.borrow();
        let goodbye = websocket.as_ref().and_then(|it| it.goodbye.get());
        let seat = self.flight.seat.borrow();
        if let (Some(goodbye), Some(seat)) = (goodbye, seat.as_ref()) {
            let metrics = &seat.ticket.slot().metrics;
            metrics.websocket_closed(seat.worker(), goodbye.parting, self.farewell);
        }
    }
}

/// What both directions share.
#[derive(Clone, Copy)]
struct Tunnel<'a> {
    client: &'a Stream,
    upstream: &'a Stream,
    flight: &'a Flight,
    websocket: &'a Websocket,
    idle: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Towards {
    Client,
    Upstream,
}

/// One direction.
struct Lane<'a> {
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

impl<'a> Tunnel<'a> {
    fn lane(self, towards: Towards) -> Lane<'a> {
        let (up, down) = (&self.websocket.up, &self.websocket.down);
        let (from, to, stage, other) = match towards {
            Towards::Upstream => (self.client, self.upstream, up, down),
            Towards::Client => (self.upstream, self.client, down, up),
        };
        Lane {
            tunnel: self,
            towards,
            from,
            to,
            stage,
            other,
        }
    }

    /// Whoever was told and has answered sees the end of the connection at once; whoever has not has little time.
    fn settle(&self) {
        let Some(goodbye) = self.websocket.goodbye.get() else {
            return;
        };
        if self.websocket.is_ending() {
            self.websocket.time(self.flight, goodbye.wait);
        }
        let (up, down) = (self.websocket.up.get(), self.websocket.down.get());
        let told = |stage| matches!(stage, Stage::Told | Stage::Over);
        let heard = |stage| matches!(stage, Stage::Over | Stage::Closed | Stage::Ended);
        if told(down) && heard(up) {
            self.client.finish();
        }
        if told(up) && heard(down) {
            self.upstream.finish();
        }
    }
}

impl Lane<'_> {
    async fn run(&self, buffer: &mut Buffer) -> io::Result<()> {
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
                        self.to.finish();
                        return Ok(Passed::All);
                    }
                    Err(cause) => return Err(cause),
                }
            }
            let portion = self.portion(buffer.bytes(), frames);
            let bytes = &buffer.bytes()[..portion];
            let count = match poll_fn(|cx| self.to.poll_write(cx, bytes)).await {
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
