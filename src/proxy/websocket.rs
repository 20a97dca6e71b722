//! A websocket: a tunnel that can be ended in order, by a Close of ours towards both ends.

use super::client::Client;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::lane::Lane;
use super::lane::Towards;
use crate::live::Goodbye;
use crate::net::Buffer;
use crate::net::Stream;
use crate::telemetry::Farewell;
use crate::telemetry::Parting;
use std::cell::Cell;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

/// What a worker and a websocket's tunnel know of each other.
#[derive(Debug, Default)]
pub struct Websocket {
    /// Whole messages from the client.
    pub messages_in: Cell<u64>,
    /// Whole messages to the client.
    pub messages_out: Cell<u64>,
    pub(super) up: Cell<Stage>,
    pub(super) down: Cell<Stage>,
    /// By the worker's clock; none until its slot is left.
    turn: Cell<Option<u64>>,
    /// Set once: it has to end.
    pub(super) goodbye: OnceCell<Goodbye>,
    /// A direction waits for the other no longer than this.
    pub(super) patience: Cell<Option<u64>>,
    /// The peers' time to answer runs.
    pub(super) is_timed: Cell<bool>,
}

/// How far one direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
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
    /// Why it is closed from here, if it is.
    #[must_use]
    pub fn parting(&self) -> Option<Parting> {
        self.goodbye.get().map(|goodbye| goodbye.parting)
    }

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
    let up = Lane::new(tunnel, Towards::Upstream);
    let down = Lane::new(tunnel, Towards::Client);
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
        let left = service.left.as_ref();
        if left.is_some_and(|slot| slot.departure.is_recent(now)) {
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
pub(super) struct Tunnel<'a> {
    pub(super) client: &'a Stream,
    pub(super) upstream: &'a Stream,
    pub(super) flight: &'a Flight,
    pub(super) websocket: &'a Websocket,
    pub(super) idle: Duration,
}

impl Tunnel<'_> {
    /// Whoever was told and has answered sees the end of the connection at once; whoever has not has little time.
    pub(super) fn settle(&self) {
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
            self.client.finish_now();
        }
        if told(up) && heard(down) {
            self.upstream.finish_now();
        }
    }
}
