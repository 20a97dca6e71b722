//! The shared present, and one worker's eye on it.

use super::admission::EpochClock;
use super::admission::Kind;
use super::view::Service;
use super::view::Slot;
use super::view::View;
use arc_swap::ArcSwap;
use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The shared present. Made once at start.
#[derive(Debug)]
pub struct Live {
    view: ArcSwap<View>,
    clock: EpochClock,
    workers: usize,
}

impl Live {
    #[must_use]
    pub fn new(first: View, workers: usize) -> Self {
        let clock = EpochClock::new(first.epoch.0);
        Self {
            view: ArcSwap::from_pointee(first),
            clock,
            workers,
        }
    }

    /// Replaces the picture. Called by the conductor only.
    ///
    /// When it returns, no request will be counted on a slot that the new View does not hold:
    /// the counts of those it replaced can only fall.
    ///
    /// # Panics
    /// When the epoch does not increase.
    pub fn publish(&self, next: View) {
        let epoch = next.epoch.0;
        assert!(epoch > self.clock.now(), "an epoch is published once");
        self.view.store(Arc::new(next));
        self.clock.advance(epoch);
    }

    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }
}

/// A worker's own handle on a View: cloning it touches no memory that other workers write.
pub type ViewRef = Rc<Arc<View>>;

/// One worker's eye on [`Live`].
#[derive(Debug)]
pub struct LiveReader {
    live: Arc<Live>,
    worker: usize,
    view: RefCell<ViewRef>,
}

impl LiveReader {
    /// # Panics
    /// When `worker` is not below [`Live::workers`].
    #[must_use]
    pub fn new(live: Arc<Live>, worker: usize) -> Self {
        assert!(
            worker < live.workers,
            "a worker has a number below the number of workers"
        );
        let view = RefCell::new(Rc::new(live.view()));
        Self { live, worker, view }
    }

    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// The newest View.
    #[must_use]
    pub fn view(&self) -> ViewRef {
        if self.view.borrow().epoch.0 != self.live.clock.now() {
            *self.view.borrow_mut() = Rc::new(self.live.view());
        }
        Rc::clone(&self.view.borrow())
    }

    /// Counts one request on a slot of `service`, in one step that no flip can slip into.
    ///
    /// `service` is an index into the services of `seen`, `slot` one into the slots of that service. None
    /// when that View is no longer the newest: look up the service again in a new one, and choose again.
    #[must_use]
    pub fn admit(&self, seen: &ViewRef, service: usize, slot: usize) -> Option<Ticket> {
        let in_flight = &seen.services[service].slots[slot].in_flight;
        in_flight.enter(self.worker, Kind::Request);
        if self.live.clock.still(seen.epoch.0) {
            let kind = Cell::new(Kind::Request);
            return Some(Ticket {
                view: Rc::clone(seen),
                service,
                slot,
                worker: self.worker,
                kind,
                is_over: Cell::new(false),
            });
        }
        in_flight.leave(self.worker, Kind::Request);
        None
    }
}

/// One request counted on one generation, until its upstream has done its part: dropping it counts down.
///
/// Not `Send`: a count belongs to its worker.
#[derive(Debug)]
pub struct Ticket {
    view: ViewRef,
    service: usize,
    /// The slot it is counted on; not always the active one.
    slot: usize,
    worker: usize,
    kind: Cell<Kind>,
    /// Counted down already.
    is_over: Cell<bool>,
}

impl Ticket {
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.view.services[self.service]
    }

    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.service().slots[self.slot]
    }

    #[must_use]
    pub fn view(&self) -> &ViewRef {
        &self.view
    }

    /// Index into the services of that View.
    #[must_use]
    pub fn service_index(&self) -> usize {
        self.service
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind.get()
    }

    /// A second count on the same generation, made while the first still holds: no flip can slip between.
    #[must_use]
    pub fn twin(&self) -> Self {
        self.slot().in_flight.enter(self.worker, self.kind.get());
        Self {
            view: Rc::clone(&self.view),
            service: self.service,
            slot: self.slot,
            worker: self.worker,
            kind: self.kind.clone(),
            is_over: Cell::new(false),
        }
    }

    /// The upstream has sent its last byte, and we keep what the client has yet to take: counts down now.
    /// What it was counted on is still known by name.
    pub fn is_done(&self) {
        if !self.is_over.replace(true) {
            self.slot().in_flight.leave(self.worker, self.kind.get());
        }
    }

    /// See [`Ticket::is_done`].
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// A request turns out to be a transfer or a websocket.
    pub fn becomes(&self, kind: Kind) {
        let was = self.kind.replace(kind);
        if was != kind && !self.is_over.get() {
            self.slot().in_flight.change(self.worker, was, kind);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.is_done();
    }
}
