//! What changes in an answer on its way to the client, besides its framing.

use super::answer::Exchange;
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
    Dress {
        edits: Edits::default(),
        outlet: Outlet::new(head.framing_for(exchange.asked)),
    }
}
