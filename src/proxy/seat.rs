//! What a request occupies upstream: a count on its slot, one on its endpoint and, where there is a limit, a place.

use crate::live::Endpoint;
use crate::live::Kind;
use crate::live::Passing;
use crate::live::Place;
use crate::live::Ticket;
use crate::switch::MemberName;
use std::cell::Cell;
use std::sync::Arc;

/// One request's seat. Dropping it gives everything back.
pub struct Seat {
    /// It passed a hold, because what is under way may need it. Dropped before the count of its slot.
    passing: Cell<Option<Passing>>,
    pub ticket: Ticket,
    /// Held for its drop.
    place: Cell<Option<Place>>,
    worker: usize,
    aboard: Cell<Option<At>>,
    /// The upstream has done its part: only the names are left.
    is_over: Cell<bool>,
}

/// A place in the slot's members and in that member's endpoints.
#[derive(Debug, Clone, Copy)]
struct At {
    member: usize,
    endpoint: usize,
}

impl Seat {
    #[must_use]
    pub fn new(ticket: Ticket, place: Option<Place>, worker: usize) -> Self {
        Self {
            passing: Cell::new(None),
            ticket,
            place: Cell::new(place),
            worker,
            aboard: Cell::new(None),
            is_over: Cell::new(false),
        }
    }

    /// It passes a hold: a drain waits for others before it.
    pub fn passes(&self, passing: Passing) {
        self.passing.set(Some(passing));
    }

    /// Counts the request on an endpoint instead of the one before.
    pub fn board(&self, member: usize, endpoint: usize) {
        self.alight();
        self.aboard.set(Some(At { member, endpoint }));
        if let Some(endpoint) = self.endpoint() {
            endpoint.in_flight.enter(self.worker, Kind::Request);
        }
    }

    /// The endpoint that has the request, or had it last.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        let at = self.aboard.get()?;
        self.ticket
            .slot()
            .members
            .get(at.member)?
            .endpoints
            .get(at.endpoint)
    }

    /// The member that has the request, or had it last.
    #[must_use]
    pub fn member(&self) -> Option<&MemberName> {
        let at = self.aboard.get()?;
        let members = &self.ticket.slot().members;
        members.get(at.member).map(|member| &member.name)
    }

    /// A seat for the same request, which takes over the place; both count until they are dropped.
    #[must_use]
    pub fn twin(&self) -> Self {
        let twin = Self::new(self.ticket.twin(), self.place.take(), self.worker);
        twin.passing.set(self.passing.take());
        if let Some(at) = self.aboard.get() {
            twin.board(at.member, at.endpoint);
        }
        twin
    }

    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Gives the place to the next request, while the counts stay: a tunnel is no request in flight.
    pub fn give_up_place(&self) {
        self.place.take();
    }

    /// The upstream has sent its last byte, and what the client has yet to take is ours: gives everything
    /// back. The endpoint and the slot are still known, for the log.
    pub fn is_done(&self) {
        self.place.take();
        self.passing.take();
        self.ticket.is_done();
        if !self.is_over.replace(true)
            && let Some(endpoint) = self.endpoint()
        {
            endpoint.in_flight.leave(self.worker, Kind::Request);
        }
    }

    fn alight(&self) {
        if self.is_over.get() {
            return;
        }
        if let Some(endpoint) = self.endpoint() {
            endpoint.in_flight.leave(self.worker, Kind::Request);
        }
        self.aboard.set(None);
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("ticket", &self.ticket)
            .field("aboard", &self.aboard)
            .finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.alight();
    }
}
