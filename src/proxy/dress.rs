//! What changes in an answer on its way to the client, besides its framing.

use super::answer::Exchange;
use super::backlog::ACCEL_BUFFERING;
use super::backlog::may_be_kept;
use super::edits::Edits;
use super::heads;
use super::outlet::Outlet;
use super::response::ResponseHead;

/// One answer's changes.
pub(super) struct Dress {
    pub edits: Edits,
    pub outlet: Outlet,
    /// Taken as fast as the upstream gives it.
    pub is_kept: bool,
}

/// Decides by the final head; interim answers pass as they are.
pub(super) fn dress(head: &ResponseHead<'_>, exchange: &Exchange<'_>) -> Dress {
    let mut edits = Edits::default();
    let is_kept = exchange.buffers_answer && may_be_kept(head);
    if exchange.buffers_answer && head.find(ACCEL_BUFFERING).is_some() {
        edits.remove(ACCEL_BUFFERING);
    }
    if let Some(addressee) = exchange.addressee
        && !head.is_interim()
        && head.status != 101
        && let Some(seat) = exchange.flight.seat.borrow().as_ref()
    {
        let settings = &seat.ticket.service().settings;
        heads::edit(head, (settings, addressee), &mut edits);
    }
    Dress {
        edits,
        outlet: Outlet::new(head.framing_for(exchange.asked)),
        is_kept,
    }
}
