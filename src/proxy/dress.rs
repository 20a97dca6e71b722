//! What changes in an answer on its way to the client, besides its framing.

use super::answer::Exchange;
use super::backlog::ACCEL_BUFFERING;
use super::backlog::may_be_kept;
use super::belongings::Proxy;
use super::capture::capture;
use super::coder::Coder;
use super::compress;
use super::edits::Edits;
use super::flight::Flight;
use super::framing::Framing;
use super::heads;
use super::heads::Addressee;
use super::mark::Mark;
use super::mark::put_on;
use super::outlet::Outlet;
use super::record::Record;
use super::response::ResponseHead;
use super::wishes::Wishes;
use crate::config::Service as ServiceSettings;

/// One answer's changes.
pub(super) struct Dress {
    pub edits: Edits,
    pub outlet: Outlet,
    /// Taken as fast as the upstream gives it.
    pub is_kept: bool,
}

impl Dress {
    /// Only the head changes; its body has yet to be found.
    pub(super) fn edited(edits: Edits) -> Self {
        Self {
            edits,
            outlet: Outlet::new(Framing::None),
            is_kept: false,
        }
    }

    /// Nothing changes.
    pub(super) fn plain(head: &ResponseHead<'_>, exchange: &Exchange<'_>) -> Self {
        Self {
            edits: Edits::default(),
            outlet: Outlet::new(head.framing_for(exchange.asked)),
            is_kept: false,
        }
    }
}

/// Decides by the final head; interim answers pass as they are.
pub(super) fn dress(head: &ResponseHead<'_>, exchange: &Exchange<'_>) -> Dress {
    let mut edits = Edits::default();
    let is_kept = exchange.buffers_answer && may_be_kept(head);
    if exchange.buffers_answer && head.find(ACCEL_BUFFERING).is_some() {
        edits.remove(ACCEL_BUFFERING);
    }
    let mut dress = Dress {
        edits,
        outlet: Outlet::new(head.framing_for(exchange.asked)),
        is_kept,
    };
    if let Some(wishes) = exchange.wishes
        && let Some(seat) = exchange.flight.seat.borrow().as_ref()
        && !head.is_interim()
    {
        let scene = Scene {
            proxy: exchange.proxy,
            flight: exchange.flight,
            record: exchange.record,
            addressee: exchange.addressee,
            mark: exchange.mark,
        };
        let wanted = (&*seat.ticket.service().settings, wishes);
        content(head, scene, wanted, (&mut dress, head.content_length()));
    }
    // Last, for what was taken out above must not come back by it.
    if let Some(addressee) = exchange.addressee
        && !head.is_interim()
        && head.status != 101
        && let Some(seat) = exchange.flight.seat.borrow().as_ref()
    {
        let settings = &seat.ticket.service().settings;
        heads::edit(head, (settings, addressee), &mut dress.edits);
    }
    if !head.is_interim() {
        put_on(exchange.mark, head, (exchange.flight, &mut dress.edits));
    }
    dress
}

/// Where an answer passes.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub proxy: &'a Proxy,
    pub flight: &'a Flight,
    pub record: &'a Record,
    /// None when the answer's head passes as it is.
    pub addressee: Option<&'a Addressee>,
    pub mark: Option<&'a Mark>,
}

/// What is encoded for the client, and what is copied for the next one. `length` of the body, where it is known.
pub(super) fn content(
    head: &ResponseHead<'_>,
    scene: Scene<'_>,
    (settings, wishes): (&ServiceSettings, &Wishes),
    (dress, length): (&mut Dress, Option<u64>),
) {
    let compression = &settings.compression;
    let wanted = (compression, wishes);
    let coding = compress::chosen((head, length), wanted, &mut dress.edits);
    if let Some(coding) = coding {
        let is_bodyless = head.framing == Framing::None;
        let coder = if is_bodyless {
            None
        } else {
            Coder::new(scene.proxy, compression, coding, length)
        };
        if is_bodyless || coder.is_some() {
            compress::encoded(head, coding, &mut dress.edits);
        }
        if let Some(coder) = coder {
            dress.outlet = Outlet::encoding(coder);
        }
    }
    if let Some(shared) = &wishes.shared
        && let Some(capture) = capture(head, scene, (&settings.cache, shared), &mut dress.edits)
    {
        dress.outlet.capture(capture);
    }
}
