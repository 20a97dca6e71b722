//! One worker's belongings: everything that its requests share, and no other worker touches.

use super::flight::Clock;
use super::flight::Flight;
use super::floor::Floor;
use super::shadow::Copies;
use super::threads::ENCODERS;
use super::threads::FILES;
use super::threads::Threads;
use crate::cache::Store;
use crate::live::LiveReader;
use crate::live::ViewRef;
use crate::spool::Account;
use crate::spool::Shelf;
use crate::telemetry::AccessWriter;
use crate::telemetry::EdgeMetrics;
use crate::upstream::Pools;
use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// One worker's belongings.
#[derive(Debug)]
pub struct Proxy {
    pub reader: LiveReader,
    pub pools: Pools,
    pub log: RefCell<AccessWriter>,
    pub metrics: Arc<EdgeMetrics>,
    /// Where bodies are kept.
    pub shelf: Shelf,
    pub clock: Clock,
    /// No keep-alive any more: the worker is on its way out.
    pub stopping: Cell<bool>,
    /// What is kept for all workers; none keeps nothing.
    pub(super) cache: Option<Arc<Store>>,
    /// Bodies that are being encoded.
    pub(super) encoding: Rc<Cell<usize>>,
    pub(super) encoders: Threads,
    pub(super) files: Threads,
    /// Requests that are asked once more, of an idle slot.
    pub(super) copies: Copies,
    flights: RefCell<Vec<Rc<Flight>>>,
    /// Flights of requests that are over, for those to come on HTTP/2 connections.
    resting: RefCell<Vec<Rc<Flight>>>,
    /// Output buffers between two requests.
    spare: RefCell<Vec<Vec<u8>>>,
    next_id: Cell<u64>,
    /// Faults that may still be written to the log in this second.
    pub(super) loggable: Cell<u32>,
}

/// Flights that are kept.
const RESTING: usize = 256;
/// Output buffers that are kept, and up to which size.
const SPARE: usize = 64;
const SPARE_BYTES: usize = 64 * 1024;
/// Upstream faults that one worker logs per second; the access log has them all.
const LOGGED_FAULTS: u32 = 20;

impl Proxy {
    #[must_use]
    pub fn new(reader: LiveReader, log: AccessWriter, metrics: Arc<EdgeMetrics>) -> Self {
        // The worker's number stands in the low bits, so that ids are unique over all workers.
        let next_id = Cell::new(256 + reader.worker() as u64);
        Self {
            reader,
            pools: Pools::default(),
            log: RefCell::new(log),
            metrics,
            shelf: Shelf::new(Arc::new(Account::new(&std::env::temp_dir()))),
            clock: Clock::default(),
            stopping: Cell::new(false),
            cache: None,
            encoding: Rc::default(),
            encoders: Threads::new(ENCODERS),
            files: Threads::new(FILES),
            copies: Copies::default(),
            flights: RefCell::default(),
            resting: RefCell::default(),
            spare: RefCell::default(),
            next_id,
            loggable: Cell::new(LOGGED_FAULTS),
        }
    }

    /// Bodies are kept there, in place of the system's folder for temporary files.
    #[must_use]
    pub fn keeping_bodies_on(mut self, bodies: Shelf) -> Self {
        self.shelf = bodies;
        self
    }

    /// Answers are kept there for the next client.
    #[must_use]
    pub fn keeping_answers_in(mut self, cache: Arc<Store>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// One that serves nothing, for what needs one only to be there.
    #[cfg(test)]
    pub(crate) fn idle() -> Rc<Self> {
        use crate::live::Live;
        use crate::live::View;
        use crate::switch::Epoch;
        use crate::telemetry::AccessLog;
        use crate::telemetry::LineFormat;
        use crate::telemetry::LogTarget;
        let view = View {
            epoch: Epoch(1),
            ..View::default()
        };
        let reader = LiveReader::new(Arc::new(Live::new(view, 1)), 0);
        let log = AccessLog::start(LogTarget::Off, LineFormat::Json).unwrap();
        Rc::new(Self::new(reader, log.writer(), Arc::default()))
    }

    #[must_use]
    pub fn worker(&self) -> usize {
        self.reader.worker()
    }

    #[must_use]
    pub fn view(&self) -> ViewRef {
        self.reader.view()
    }

    pub(super) fn fresh_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 256)
    }

    /// Shows a flight to the worker: from now on its timers run.
    #[must_use]
    pub fn enlist(self: &Rc<Self>, flight: Rc<Flight>) -> Enlisted {
        let mut flights = self.flights.borrow_mut();
        flight.listed_at.set(flights.len());
        flights.push(flight.clone());
        Enlisted {
            proxy: self.clone(),
            flight,
        }
    }

    /// A flight for one request of a connection that has many; see [`Proxy::return_flight`].
    #[must_use]
    pub fn borrow_flight(&self, client: &str) -> Rc<Flight> {
        let resting = self.resting.borrow_mut().pop();
        resting.unwrap_or_else(|| Flight::new(self.clock.clone(), client))
    }

    /// Takes it back for another request, unless somebody still looks at it.
    pub fn return_flight(&self, flight: Rc<Flight>) {
        let mut resting = self.resting.borrow_mut();
        if Rc::strong_count(&flight) == 1 && resting.len() < RESTING {
            flight.rest();
            resting.push(flight);
        }
    }

    /// Every connection, idle ones too.
    #[must_use]
    pub fn flights(&self) -> Vec<Rc<Flight>> {
        self.flights.borrow().clone()
    }

    /// So many connections, any of them, each once.
    #[must_use]
    pub(super) fn some_flights(&self, most: usize) -> Vec<Rc<Flight>> {
        let flights = self.flights.borrow();
        // A stretch of a list in no order, from anywhere: as good as a choice.
        let start = fastrand::usize(..flights.len().max(1));
        let stretch = flights.iter().cycle().skip(start);
        stretch.take(most.min(flights.len())).cloned().collect()
    }

    /// Moves the clock on, looks at every flight, and cleans up. Called once per tick.
    pub fn tick(&self, now: u64) {
        let second = now / 1000 != self.clock.replace(now) / 1000;
        let floor = Floor::of(&self.view().limits);
        for flight in self.flights.borrow().iter() {
            flight.look(now, floor);
        }
        self.copies.look((now, floor), self.stopping.get());
        self.log.borrow_mut().flush();
        if second {
            self.loggable.set(LOGGED_FAULTS);
            let view = self.view();
            if let Some(cache) = &self.cache {
                cache.set_room(view.cache);
            }
            let slots = view.services.iter().flat_map(|service| &service.slots);
            let members = slots.flat_map(|slot| &slot.members);
            let known: Vec<_> = members.flat_map(|member| &member.endpoints).collect();
            self.pools.sweep(now, |lane| {
                let endpoint = known.iter().find(|endpoint| endpoint.id == lane.endpoint);
                endpoint.is_some_and(|endpoint| endpoint.is_at(lane.address))
            });
        }
    }

    /// Whether one more trouble may be told of in this second; the metrics have them all.
    #[must_use]
    pub fn may_log(&self) -> bool {
        let left = self.loggable.get();
        self.loggable.set(left.saturating_sub(1));
        left > 0
    }

    /// Connections that have a request under way.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.flights
            .borrow()
            .iter()
            .filter(|flight| flight.state.get().is_request())
            .count()
    }

    #[must_use]
    pub fn connections(&self) -> usize {
        self.flights.borrow().len()
    }

    pub(super) fn borrow_output(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn return_output(&self, mut output: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE && output.capacity() <= SPARE_BYTES {
            output.clear();
            spare.push(output);
        }
    }
}

/// A flight that the worker knows; dropping it takes it off the list.
#[derive(Debug)]
pub struct Enlisted {
    proxy: Rc<Proxy>,
    pub flight: Rc<Flight>,
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        let mut flights = self.proxy.flights.borrow_mut();
        let at = self.flight.listed_at.get();
        flights.swap_remove(at);
        if let Some(moved) = flights.get(at) {
            moved.listed_at.set(at);
        }
    }
}
