//! What one connection is doing now: for `ps` and `kill`, for timeouts, and for the access log.
//!
//! A worker has no timer per request. Whoever waits says until when in a cell; the worker looks at
//! all flights ten times a second and wakes those whose time is over.

use super::fault::Fault;
use super::fault::Timer;
use super::floor::Floor;
use super::hold::Held;
use super::queue::Queued;
use super::said::Said;
use super::seat::Seat;
use super::websocket::Websocket;
use crate::config::Service;
use crate::live::Goodbye;
use crate::live::Kind;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

/// How often a worker looks at its flights.
pub const TICK: Duration = Duration::from_millis(100);

/// A worker's coarse clock: milliseconds since it started, moved on once per [`TICK`].
pub type Clock = Rc<Cell<u64>>;

/// What a connection does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Between requests.
    Idle,
    /// A head has begun to arrive.
    Reading,
    /// The body of a request is taken whole before it asks for a slot.
    Receiving,
    Queued,
    /// Its service is held.
    Held,
    Connecting,
    Sending,
    Waiting,
    Answering,
    /// The upstream is done; the client still takes what was kept for it.
    Delivering,
    Tunnel,
    /// An HTTP/2 connection with requests under way, each of which has a flight of its own.
    Carrying,
    /// The last answer is out; what the client still sends is read and forgotten.
    Closing,
}

impl State {
    /// A request is under way: `ps` shows it, and it can be killed.
    #[must_use]
    pub fn is_request(self) -> bool {
        !matches!(
            self,
            Self::Idle | Self::Reading | Self::Carrying | Self::Closing
        )
    }
}

/// Why a flight has to end at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Expired(Timer),
    Killed,
    CutOff,
    Stop,
    Dismissed,
}

/// One connection's present. Shared between its task and the worker.
#[derive(Debug)]
pub struct Flight {
    clock: Clock,
    /// Unique over all workers while the daemon runs.
    pub id: Cell<u64>,
    pub state: Cell<State>,
    pub started: Cell<Instant>,
    pub method: RefCell<String>,
    pub target: RefCell<Vec<u8>>,
    /// A trusted proxy's, or one of our own: 32 hexadecimal digits.
    pub request_id: RefCell<String>,
    /// Who asks: the peer, or whom a trusted proxy names.
    pub client: RefCell<String>,
    /// Whose slots it will ask for, as long as it has neither seat nor place in line.
    pub bound_for: RefCell<Option<Arc<Service>>>,
    pub seat: RefCell<Option<Seat>>,
    /// Its time in line, if it had to wait for a place.
    pub queued: RefCell<Option<Box<Queued>>>,
    /// Its time behind a hold, if there was one.
    pub held: RefCell<Option<Box<Held>>>,
    /// It waits for what wakes nobody: it is woken at each tick to look for itself.
    pub(super) is_unwatched: Cell<bool>,
    /// While it is one.
    pub websocket: RefCell<Option<Rc<Websocket>>>,
    /// For the access log: Host, Referer and User-Agent.
    pub said: RefCell<Said>,
    pub bytes_in: Cell<u64>,
    pub bytes_out: Cell<u64>,
    /// A request of its own was complete, and answered.
    pub is_served: Cell<bool>,
    /// Ticks in which the client was waited for.
    waited: Cell<u32>,
    pub(super) timer: Cell<Timer>,
    pub(super) deadline: Cell<u64>,
    total: Cell<u64>,
    pub(super) order: Cell<Option<Order>>,
    waker: RefCell<Option<Waker>>,
    /// Where it stands in the worker's list.
    pub(super) listed_at: Cell<usize>,
}

pub(super) const NEVER: u64 = u64::MAX;
/// A path or a header value that is not out of the ordinary.
const USUAL_TEXT: usize = 512;

impl Flight {
    #[must_use]
    pub fn new(clock: Clock, client: &str) -> Rc<Self> {
        Rc::new(Self {
            clock,
            id: Cell::new(0),
            state: Cell::new(State::Idle),
            started: Cell::new(Instant::now()),
            method: RefCell::default(),
            target: RefCell::default(),
            request_id: RefCell::default(),
            client: RefCell::new(client.to_owned()),
            bound_for: RefCell::default(),
            seat: RefCell::new(None),
            queued: RefCell::new(None),
            held: RefCell::new(None),
            is_unwatched: Cell::new(false),
            websocket: RefCell::new(None),
            said: RefCell::default(),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            is_served: Cell::new(false),
            waited: Cell::new(0),
            timer: Cell::new(Timer::KeepAlive),
            deadline: Cell::new(NEVER),
            total: Cell::new(NEVER),
            order: Cell::new(None),
            waker: RefCell::new(None),
            listed_at: Cell::new(0),
        })
    }

    pub(super) fn at(&self, state: State) {
        self.state.set(state);
    }

    /// From now on `timer` runs, for `wait`; it replaces the one that ran. Costs two stores.
    pub fn arm(&self, timer: Timer, wait: Duration) {
        self.timer.set(timer);
        self.deadline.set(self.after(wait));
    }

    /// The end of a wait that begins now, for [`Flight::arm_at`].
    #[must_use]
    pub(super) fn until(&self, wait: Duration) -> u64 {
        self.after(wait)
    }

    /// As [`Flight::arm`], for a wait that may have begun before.
    pub(super) fn arm_at(&self, timer: Timer, until: u64) {
        self.timer.set(timer);
        self.deadline.set(until);
    }

    /// No wait is bounded by anything but the total.
    pub fn disarm(&self) {
        self.deadline.set(NEVER);
    }

    /// The bound over all waits of one request.
    pub fn arm_total(&self, wait: Option<Duration>) {
        self.total.set(wait.map_or(NEVER, |wait| self.after(wait)));
    }

    /// The clock may lag by one tick: one more, so that no timer is over early.
    pub(super) fn after(&self, wait: Duration) -> u64 {
        let wait = u64::try_from((wait + TICK).as_millis()).unwrap_or(NEVER);
        self.clock.get().saturating_add(wait)
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.get()
    }

    /// Ends a websocket in order, a goodbye to both ends first. False when there is none, or that was asked for before.
    pub fn part(&self, goodbye: impl FnOnce() -> Goodbye) -> bool {
        let websocket = self.websocket.borrow();
        websocket
            .as_ref()
            .is_some_and(|websocket| websocket.part(self, goodbye()))
    }

    /// Ends whatever runs, with [`Fault::Killed`].
    pub fn kill(&self) {
        self.end(Order::Killed);
    }

    /// Ends whatever runs, with [`Fault::Stopping`].
    pub fn stop(&self) {
        self.end(Order::Stop);
    }

    /// Ends a connection that asks for nothing, with [`Fault::Dismissed`].
    pub(super) fn dismiss(&self) {
        self.end(Order::Dismissed);
    }

    /// Called by the worker at each tick.
    pub fn look(&self, now: u64, floor: Floor) {
        if now >= self.deadline.get() {
            self.end(Order::Expired(self.timer.get()));
        } else if now >= self.total.get() {
            self.end(Order::Expired(Timer::Total));
        } else if self.timer.get() == Timer::ClientIdle && self.is_too_slow(floor) {
            self.end(Order::Expired(Timer::ClientRate));
        } else if self.state.get() != State::Idle && self.is_cut_off() {
            self.end(Order::CutOff);
        } else if self.is_unwatched.get() {
            self.wake();
        } else if let Some(websocket) = self.websocket.borrow().as_ref() {
            websocket.look(self, now);
        }
    }

    /// Counts a tick in which the client is waited for; true when it has moved too little in all of them.
    fn is_too_slow(&self, floor: Floor) -> bool {
        // Nobody waits, or an answer is waited for that is over in no time.
        if self.deadline.get() == NEVER || !self.state.get().is_request() {
            return false;
        }
        let ticks = self.waited.get().saturating_add(1);
        self.waited.set(ticks);
        let moved = self.bytes_in.get().saturating_add(self.bytes_out.get());
        floor.is_missed_by(moved, ticks)
    }

    fn is_cut_off(&self) -> bool {
        let seat = self.seat.borrow();
        seat.as_ref()
            .filter(|seat| !seat.ticket.is_over())
            .is_some_and(|seat| seat.ticket.slot().is_cut_off(seat.ticket.kind()))
    }

    fn end(&self, order: Order) {
        // A dial that is over ends only the dial: whoever ends the whole comes before it.
        if matches!(
            self.order.get(),
            None | Some(Order::Expired(Timer::Connect))
        ) {
            self.order.set(Some(order));
        }
        self.wake();
    }

    /// The task looks again at what it waits for.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Its task is over: nothing of it is kept but room for texts of usual length.
    pub(super) fn rest(&self) {
        self.clear();
        self.waker.take();
        let mut said = self.said.borrow_mut();
        let said = &mut *said;
        let target = &mut self.target.borrow_mut();
        for text in [target, &mut said.host, &mut said.referer, &mut said.agent] {
            text.clear();
            text.shrink_to(USUAL_TEXT);
        }
    }

    /// Runs `work` until it is done or until this flight has to end: by a timer, an operator, a drain or a stop.
    ///
    /// # Errors
    /// The fault that names why it had to end; `work` was dropped then.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Some(order) = self.order.get() {
                // A connect timeout is the dial's own: there may be another endpoint.
                if order != Order::Expired(Timer::Connect) {
                    self.order.set(None);
                    return Poll::Ready(Err(fault_of(order)));
                }
            }
            let mut waker = self.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Inside a guard: `work` under a timer of its own, whose end only ends `work`.
    ///
    /// # Errors
    /// The timer, when it was over first; `work` was dropped then.
    pub async fn dial<T>(&self, wait: Duration, work: impl Future<Output = T>) -> Result<T, Timer> {
        self.arm(Timer::Connect, wait);
        let mut work = pin!(work);
        let result = poll_fn(|cx| match self.order.get() {
            Some(Order::Expired(Timer::Connect)) => {
                self.order.set(None);
                Poll::Ready(Err(Timer::Connect))
            }
            _ => work.as_mut().poll(cx).map(Ok),
        })
        .await;
        self.disarm();
        result
    }

    /// The kind of what is under way, as counted for draining.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.seat
            .borrow()
            .as_ref()
            .map_or(Kind::Request, |seat| seat.ticket.kind())
    }

    pub fn becomes(&self, kind: Kind) {
        if let Some(seat) = self.seat.borrow().as_ref() {
            seat.ticket.becomes(kind);
        }
    }

    /// A request begins: whatever it turns out to be, it has an id, and nothing of the one before.
    pub fn begin(&self, id: u64, now: Instant) {
        self.id.set(id);
        self.started.set(now);
        self.method.borrow_mut().clear();
        self.target.borrow_mut().clear();
        let mut said = self.said.borrow_mut();
        said.host.clear();
        said.referer.clear();
        said.agent.clear();
        said.user.clear();
        let mut request_id = self.request_id.borrow_mut();
        request_id.clear();
        for byte in fastrand::u128(..).to_be_bytes() {
            for digit in [byte >> 4, byte & 0xf] {
                request_id.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
    }

    /// Forgets the last request: timers, seat and endpoint.
    pub fn clear(&self) {
        self.state.set(State::Idle);
        self.deadline.set(NEVER);
        self.total.set(NEVER);
        self.order.set(None);
        self.seat.take();
        self.bound_for.take();
        self.queued.take();
        self.held.take();
        self.is_unwatched.set(false);
        self.websocket.take();
        self.bytes_in.set(0);
        self.bytes_out.set(0);
        self.waited.set(0);
    }
}

fn fault_of(order: Order) -> Fault {
    match order {
        Order::Expired(timer) => Fault::Timeout(timer),
        Order::Killed => Fault::Killed,
        Order::CutOff => Fault::CutOff,
        Order::Stop => Fault::Stopping,
        Order::Dismissed => Fault::Dismissed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[tokio::test]
    async fn a_kill_is_not_lost_to_a_dial_that_is_over_at_the_same_tick() {
        let flight = Flight::new(Clock::default(), "");
        let mut dialing = pin!(flight.guard(async {
            let never = std::future::pending::<()>();
            assert_eq!(
                flight.dial(Duration::ZERO, never).await,
                Err(Timer::Connect)
            );
            Ok(())
        }));
        let waits = poll_fn(|cx| Poll::Ready(dialing.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        flight.look(1000, Floor::of(&Limits::default()));
        flight.kill();
        assert!(matches!(dialing.await, Err(Fault::Killed)));
    }
}
