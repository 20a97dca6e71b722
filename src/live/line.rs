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
#[derive(Debug)]
pub struct Line(Mutex<Inner>);

/// What the line's lock guards.
#[derive(Debug, Default)]
pub(super) struct Inner {
    order: Order,
    waiting: HashMap<Turn, Waiter>,
    /// How many may wait.
    length: usize,
    aim: Aim,
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
        self.lock().order.len()
    }

    /// Sends everybody away to look at the newest View; called when that holds no such line any more.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        let mut wakers = Wakers::default();
        while let Some(turn) = inner.order.next() {
            inner.tell(turn, Err(Refused::Outdated), &mut wakers);
        }
        wakers.wake(inner);
    }

    /// Everybody's place in the queue, counted from 1.
    #[must_use]
    pub fn standing(&self) -> HashMap<u64, usize> {
        let order = self.lock().order.clone();
        order.list().into_iter().zip(1..).collect()
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

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        self.order.len()
    }

    /// Somebody waits from now on. Whoever gets a place in this very moment, because there is `room`, needs none here.
    pub(super) fn enter(
        &mut self,
        origin: Origin,
        room: bool,
        wakers: &mut Wakers,
    ) -> Result<Turn, Refused> {
        let at_once = room && self.order.is_empty();
        if self.order.len() >= self.length && !at_once {
            // A client that fills the line must not keep others out of it.
            let (greediest, newest) = self.order.yields_to(origin).ok_or(Refused::Full)?;
            self.order.leave(greediest, newest);
            self.tell(newest, Err(Refused::Full), wakers);
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.order.join(origin, turn);
        self.waiting.insert(turn, Waiter::new(origin));
        Ok(turn)
    }

    /// Somebody who lost what it got waits again.
    pub(super) fn enter_again(&mut self, origin: Origin, turn: Turn) {
        self.order.join_again(turn);
        self.waiting.insert(turn, Waiter::new(origin));
    }

    /// Gives a place to the one whose turn it is. The line is not empty.
    pub(super) fn give(&mut self, place: Place, wakers: &mut Wakers) {
        if let Some(turn) = self.order.next() {
            self.tell(turn, Ok(place), wakers);
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
    fn new(origin: Origin) -> Self {
        Self {
            origin,
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
        if let Some(Waiter { origin, .. }) = &waiter {
            // The mark may stay for one who left: the next who gives back takes it off.
            inner.order.leave(*origin, self.turn);
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
        self.waiting.is_empty() && self.order.is_empty()
    }
}
