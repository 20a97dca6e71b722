//! What an answer says of the slot it came from: its name, and the cookie of a new visitor.

use super::edits::Edits;
use super::fields::options;
use super::flight::Flight;
use super::response::ResponseHead;
use crate::switch::Generation;

/// What the answer to one request is to say.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// The service says on every answer from which slot it came.
    pub says_slot: bool,
    /// None when the visitor knows where it belongs, or need not.
    pub visit: Option<Visit>,
}

/// A visitor's first request.
#[derive(Debug)]
pub(super) struct Visit {
    /// Of the slot that it was to go to.
    pub generation: Generation,
    /// The value of the line that keeps it there.
    pub cookie: Box<[u8]>,
}

impl Mark {
    /// Adds its lines to a head. The request has its seat.
    fn put_on(&self, head: &ResponseHead<'_>, flight: &Flight, edits: &mut Edits) {
        let seat = flight.seat.borrow();
        let Some(seat) = seat.as_ref() else { return };
        if let Some(visit) = &self.visit
            // It may have had to go elsewhere: then it has yet to come to stay.
            && seat.ticket.slot().generation == visit.generation
            && !is_for_all(head)
        {
            edits.add("Set-Cookie", &visit.cookie);
        }
        let settings = &seat.ticket.service().settings;
        if self.says_slot
            && let Some(name) = &settings.preview.slot_header
        {
            edits.set(name, seat.ticket.slot().name.as_str().as_bytes());
        }
    }
}

/// Adds what there is to say of the slot, where there is anything.
pub(super) fn put_on(
    mark: Option<&Mark>,
    head: &ResponseHead<'_>,
    (flight, edits): (&Flight, &mut Edits),
) {
    if let Some(mark) = mark {
        mark.put_on(head, flight, edits);
    }
}

/// Caches between us and the client may keep it, and would hand one visitor's cookie to all.
fn is_for_all(head: &ResponseHead<'_>) -> bool {
    let mut lives = false;
    for directive in head.all("cache-control").flat_map(options) {
        let mut parts = directive.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("private") || is("no-store") || is("no-cache") {
            return false;
        }
        let value = parts.next().unwrap_or_default().trim_ascii();
        lives |= is("public") || is("s-maxage") || is("immutable");
        lives |= is("max-age") && value != b"0";
    }
    lives
}
