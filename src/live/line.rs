//! Those who wait for a place of one service, where each of them stands, and how each comes in.

use super::order::Order;
use super::order::Origin;
use super::order::Turn;
use super::places::Place;
use super::sync::Mutex;
use super::sync::MutexGuard;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

/// Those who wait for a place of one service. A flip makes them wait for the other slot's places, where they stand.
///
/// Beside them stand those who wait for a place of a certain slot, because they belong there: no flip moves them.
#[derive(Debug)]
pub struct Line(Mutex<Inner>);

/// What the line's lock guards.
#[derive(Debug, Default)]
pub(super) struct Inner {
    order: Order,
    /// Those who wait for certain places; an order without anybody in it is forgotten.
    sides: HashMap<u64, Order>,
    waiting: HashMap<Turn, Waiter>,
    /// How many may wait in each order.
    length: usize,
    aim: Aim,
    /// Nobody who knows no newer View waits for certain places.
    sides_since: u64,
    next_turn: Turn,
    next_number: u64,
    is_closed: bool,
}

/// Which places are waited for, and as of which epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Aim {
    places: u64,
    epoch: u64,
}

#[derive(Debug)]
struct Waiter {
    origin: Origin,
    /// Whose order it is in; none for the common one.
    side: Option<u64>,
    outcome: Option<Result<Place, Refused>>,
    waker: Option<Waker>,
}

/// Whom to wake once the lock is given back: whoever is woken takes it.
#[derive(Debug, Default)]
pub(super) struct Wakers(Vec<Waker>);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The line is full of clients that have no more in it than this one.
    Full,
    /// Another slot is waited for now, or nothing is limited any more: look at the newest View.
    Outdated,
}

/// Somebody who waits in a line. Dropping it leaves the line; a place that it had got meanwhile goes to the next.
#[derive(Debug)]
pub struct Waiting {
    line: Arc<Line>,
    turn: Turn,
    /// The outcome was taken.
    is_over: bool,
}

/// Where somebody stands or stood in a line: for those who come back to it, and for those who look.
#[derive(Debug, Clone)]
pub struct Spot {
    line: Arc<Line>,
    turn: Turn,
}

impl Line {
    /// At most `length` may wait in it.
    #[must_use]
    pub fn new(length: usize) -> Arc<Self> {
        let inner = Inner {
            length,
            ..Inner::default()
        };
        Arc::new(Self(Mutex::new(inner)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who are in it now stay.
    pub fn set_length(&self, length: usize) {
        self.lock().length = length;
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let inner = self.lock();
        let sides: usize = inner.sides.values().map(Order::len).sum();
        inner.order.len() + sides
    }

    /// Most of those who wait are one client's: that others get no place in time is its doing.
    #[must_use]
    pub fn is_one_clients(&self) -> bool {
        self.lock().order.is_one_clients()
    }

    /// Sends everybody away to look at the newest View; called when that holds no such line any more.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        let mut wakers = Wakers::default();
        while let Some(turn) = inner.order.next() {
            inner.tell(turn, Err(Refused::Outdated), &mut wakers);
        }
        for (_, side) in std::mem::take(&mut inner.sides) {
            inner.send_away(side, &mut wakers);
        }
        wakers.wake(inner);
    }

    /// Everybody's place in the queue, counted from 1.
    #[must_use]
    pub fn standing(&self) -> HashMap<u64, usize> {
        let orders: Vec<Order> = {
            let inner = self.lock();
            let all = [&inner.order].into_iter().chain(inner.sides.values());
            all.cloned().collect()
        };
        let places = orders
            .into_iter()
            .map(|order| order.list().into_iter().zip(1..));
        places.flatten().collect()
    }
}

impl Inner {
    /// A number that tells the places of one line apart.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// False when the line is closed, or a newer View aims elsewhere. A worker that has seen a flip need not wait
    /// for control to say so.
    pub(super) fn aim_at(&mut self, places: u64, epoch: u64) -> bool {
        if self.aim.places == places || epoch > self.aim.epoch {
            let epoch = epoch.max(self.aim.epoch);
            self.aim = Aim { places, epoch };
        }
        self.is_aimed_at(places)
    }

    pub(super) fn is_aimed_at(&self, places: u64) -> bool {
        self.aim.places == places && !self.is_closed
    }

    /// True unless the line is closed, or a newer View has sent those away who waited for certain places.
    pub(super) fn takes_sides(&self, epoch: u64) -> bool {
        epoch >= self.sides_since && !self.is_closed
    }

    /// How many wait for these places.
    pub(super) fn waiting(&self, places: u64) -> usize {
        let common = if self.is_aimed_at(places) {
            self.order.len()
        } else {
            0
        };
        common + self.sides.get(&places).map_or(0, Order::len)
    }

    /// Somebody waits from now on, for the places of this number or for those that are aimed at. Whoever gets a
    /// place in this very moment, because there is `room`, needs none here.
    pub(super) fn enter(
        &mut self,
        (origin, side): (Origin, Option<u64>),
        room: bool,
        wakers: &mut Wakers,
    ) -> Result<Turn, Refused> {
        let length = self.length;
        let order = self.order_of(side);
        let at_once = room && order.is_empty();
        let mut left = None;
        if order.len() >= length && !at_once {
            // A client that fills the line must not keep others out of it.
            let greediest = order.yields_to(origin);
            if let Some((greediest, newest)) = greediest {
                order.leave(greediest, newest);
                left = Some(newest);
            } else {
                self.forget_empty(side);
                return Err(Refused::Full);
            }
        }
        if let Some(newest) = left {
            self.tell(newest, Err(Refused::Full), wakers);
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.order_of(side).join(origin, turn);
        self.waiting.insert(turn, Waiter::new(origin, side));
        Ok(turn)
    }

    /// Somebody who lost what it got waits again.
    pub(super) fn enter_again(&mut self, (origin, side): (Origin, Option<u64>), turn: Turn) {
        self.order_of(side).join_again(turn);
        self.waiting.insert(turn, Waiter::new(origin, side));
    }

    /// Gives a place to the one whose turn it is. Somebody waits for these `places`.
    ///
    /// Those who belong to the slot come first: they are what is left of a canary that traffic has followed.
    pub(super) fn give(&mut self, place: Place, places: u64, wakers: &mut Wakers) {
        let own = self.sides.get_mut(&places).and_then(Order::next);
        self.forget_empty(Some(places));
        let common = || {
            let is_aimed = self.aim.places == places && !self.is_closed;
            is_aimed.then(|| self.order.next()).flatten()
        };
        if let Some(turn) = own.or_else(common) {
            self.tell(turn, Ok(place), wakers);
        }
    }

    /// Those who wait for these places because they belong there are to look at a View of `epoch` or later.
    pub(super) fn dismiss(&mut self, places: u64, epoch: u64, wakers: &mut Wakers) {
        self.sides_since = self.sides_since.max(epoch);
        if let Some(side) = self.sides.remove(&places) {
            self.send_away(side, wakers);
        }
    }

    fn send_away(&mut self, side: Order, wakers: &mut Wakers) {
        for turn in side.list() {
            self.tell(turn, Err(Refused::Outdated), wakers);
        }
    }

    fn order_of(&mut self, side: Option<u64>) -> &mut Order {
        match side {
            None => &mut self.order,
            Some(places) => self.sides.entry(places).or_default(),
        }
    }

    fn forget_empty(&mut self, side: Option<u64>) {
        if let Some(places) = side
            && self.sides.get(&places).is_some_and(Order::is_empty)
        {
            self.sides.remove(&places);
        }
    }

    fn leave(&mut self, waiter: &Waiter, turn: Turn) {
        match waiter.side {
            None => drop(self.order.leave(waiter.origin, turn)),
            Some(places) => {
                if let Some(order) = self.sides.get_mut(&places) {
                    order.leave(waiter.origin, turn);
                }
                self.forget_empty(waiter.side);
            }
        }
    }

    fn tell(&mut self, turn: Turn, outcome: Result<Place, Refused>, wakers: &mut Wakers) {
        if let Some(waiter) = self.waiting.get_mut(&turn) {
            waiter.outcome = Some(outcome);
            wakers.0.extend(waiter.waker.take());
        }
    }
}

impl Waiter {
    fn new(origin: Origin, side: Option<u64>) -> Self {
        Self {
            origin,
            side,
            outcome: None,
            waker: None,
        }
    }
}

impl Wakers {
    pub(super) fn wake(self, inner: MutexGuard<'_, Inner>) {
        drop(inner);
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl Spot {
    pub(super) fn is_in(&self, line: &Arc<Line>) -> bool {
        Arc::ptr_eq(&self.line, line)
    }

    #[must_use]
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// As [`Line::standing`] knows it.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }
}

impl Waiting {
    pub(super) fn new(line: Arc<Line>, turn: Turn) -> Self {
        Self {
            line,
            turn,
            is_over: false,
        }
    }

    #[must_use]
    pub fn spot(&self) -> Spot {
        Spot {
            line: Arc::clone(&self.line),
            turn: self.turn,
        }
    }
}

impl Future for Waiting {
    type Output = Result<Place, Refused>;

    /// A deadline is the caller's.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let line = Arc::clone(&self.line);
        let mut inner = line.lock();
        let Some(waiter) = inner.waiting.get_mut(&self.turn) else {
            return Poll::Ready(Err(Refused::Outdated));
        };
        if let Some(outcome) = waiter.outcome.take() {
            inner.waiting.remove(&self.turn);
            self.is_over = true;
            return Poll::Ready(outcome);
        }
        waiter.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut inner = self.line.lock();
        let waiter = inner.waiting.remove(&self.turn);
        if let Some(waiter) = &waiter {
            // The mark may stay for one who left: the next who gives back takes it off.
            inner.leave(waiter, self.turn);
        }
        drop(inner);
        // A place in it is given back here, outside the lock.
        drop(waiter);
    }
}

/// What tests look at.
#[cfg(test)]
impl Inner {
    /// Places that were given to somebody who has not looked yet.
    pub(super) fn given(&self) -> impl Iterator<Item = &Place> {
        let waiters = self.waiting.values();
        waiters.filter_map(|waiter| waiter.outcome.as_ref()?.as_ref().ok())
    }

    /// Nobody is in any of its lists.
    pub(super) fn is_forgotten(&self) -> bool {
        self.waiting.is_empty() && self.order.is_empty() && self.sides.is_empty()
    }
}
