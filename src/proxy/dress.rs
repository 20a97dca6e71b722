//! What changes in an answer on its way to the client, besides its framing.

use super::answer::Exchange;
use super::compress::compress;
use super::edits::Edits;
use super::outlet::Outlet;
use super::response::ResponseHead;

/// One answer's changes.
pub(super) struct Dress {
    pub edits: Edits,
    pub outlet: Outlet,
}

/// Decides by the final head; interim answers pass as they are.
pub(super) fn dress(head: &ResponseHead<'_>, exchange: &Exchange<'_>) -> Dress {
    let mut dress = Dress {
        edits: Edits::default(),
        outlet: Outlet::new(head.framing_for(exchange.asked)),
    };
    if let Some(wishes) = exchange.wishes
        && let Some(seat) = exchange.flight.seat.borrow().as_ref()
        && !head.is_interim()
    {
        let settings = &seat.ticket.service().settings;
        compress(head, exchange, (&settings.compression, wishes), &mut dress);
    }
    dress
}
