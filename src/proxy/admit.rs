//! Into a slot: a place where places are limited, then the count that no flip can miss.

use super::belongings::Proxy;
use super::client::Client;
use super::fault::Fault;
use super::flight::Flight;
use super::hold;
use super::hold::Behind;
use super::local::Local;
use super::modes::Entry;
use super::prepare::Decision;
use super::prepare::Judge;
use super::prepare::Look;
use super::prepare::Prepared;
use super::prepare::prepare;
use super::queue;
use super::queue::Bid;
use super::seat::Seat;
use crate::live::Place;
use crate::live::ViewRef;
use std::rc::Rc;

/// Gives the flight its seat. When the View changes under it, the head is read anew: the client's bytes are
/// still there, or in `original` when its body was received already.
/// What is left to do then may be an answer of ours.
pub(super) async fn admit(
    proxy: &Rc<Proxy>,
    client: &mut Client,
    (prepared, original): (&mut Prepared, Option<&[u8]>),
    out: &mut Vec<u8>,
) -> Result<Option<Box<Local>>, Fault> {
    let flight = client.flight.clone();
    let mut place = None;
    loop {
        let view = proxy.view();
        // A View that came in between may hold the services in another order.
        if view.epoch != prepared.epoch {
            let judge = Judge {
                view: &view,
                peer: &client.peer,
                flight: &flight,
                worker: proxy.worker(),
                look: original.map_or(Look::Again, |_| Look::Received),
            };
            let bytes = original.unwrap_or(client.input.bytes());
            match prepare(bytes, judge, out)?.ok_or(Fault::ClientGone)? {
                Decision::Forward(anew) => *prepared = anew,
                Decision::Answer(local) => return Ok(Some(local)),
                Decision::Refuse(refused) => return Err(refused.fault),
                // It came when everything could be asked; what it is, nobody can tell now.
                Decision::Peek(_) => return Err(Fault::ReadOnly),
            }
        }
        let bid = Bid {
            view: &view,
            prepared,
            slot: prepared.slot,
        };
        place = match sit_down(proxy, &flight, bid, place) {
            Seating::Done => return Ok(None),
            Seating::Moved(place) => place,
            // Whatever the wait brings is looked at in the newest View.
            Seating::Busy => Box::pin(queue::wait(proxy, bid, client)).await?,
            Seating::Held(behind) => {
                let kept = out.len() + client.input.len();
                Box::pin(hold::wait(bid, client, (behind, kept))).await?;
                None
            }
        };
    }
}

/// Once more for a request whose slot cannot be connected to: a seat on the active slot, when that is another one
/// than before, as it is for the visitors of a canary, or on the old one when it was waited for. False when there
/// is none but the old one.
pub(super) async fn readmit(
    proxy: &Rc<Proxy>,
    client: &mut Client,
    prepared: &Prepared,
) -> Result<bool, Fault> {
    let flight = client.flight.clone();
    if prepared.is_bound {
        return Ok(false);
    }
    let Some(old) = flight.seat.take() else {
        return Ok(false);
    };
    let name = old.ticket.service().settings.name.clone();
    let left = old.ticket.slot().generation;
    let is_same = |view: &ViewRef| {
        let service = view.services.get(prepared.service);
        service
            .filter(|service| service.settings.name == name)
            .map(|service| service.active().generation)
    };
    let view = proxy.view();
    let Some(active) = is_same(&view) else {
        flight.seat.replace(Some(old));
        return Ok(false);
    };
    let bid = Bid {
        view: &view,
        prepared,
        slot: 0,
    };
    let is_out = active == left;
    if is_out && !hold::may_wait_out(&flight, bid.service()) {
        flight.seat.replace(Some(old));
        return Ok(false);
    }
    // Its place is for others: it may have to wait for one elsewhere.
    drop(old);
    if is_out {
        let stay = (Behind::Outage, prepared.length);
        Box::pin(hold::wait(bid, client, stay)).await?;
    }
    drop(view);
    let mut place = None;
    loop {
        let view = proxy.view();
        if is_same(&view).is_none() {
            return Ok(false);
        }
        let bid = Bid {
            view: &view,
            prepared,
            slot: view.services[prepared.service].active,
        };
        place = match sit_down(proxy, &flight, bid, place) {
            Seating::Done => return Ok(true),
            Seating::Moved(place) => place,
            Seating::Busy => Box::pin(queue::wait(proxy, bid, client)).await?,
            Seating::Held(behind) => {
                let stay = (behind, prepared.length);
                Box::pin(hold::wait(bid, client, stay)).await?;
                None
            }
        };
    }
}

enum Seating {
    Done,
    /// The View is no longer the newest; the place it has may still do.
    Moved(Option<Place>),
    /// No place is free.
    Busy,
    /// Nobody is let in for now.
    Held(Behind),
}

/// Takes a place where one is needed, unless the one it `has` does, and counts the request: one step.
fn sit_down(proxy: &Proxy, flight: &Flight, bid: Bid<'_>, has: Option<Place>) -> Seating {
    let Bid {
        view,
        prepared,
        slot,
    } = bid;
    let service = bid.service();
    let mut drain_pass = None;
    if service.hold.is_some() && hold::is_held(flight, service) {
        drain_pass = hold::drain_pass(flight, bid);
        if drain_pass.is_none() {
            return Seating::Held(Behind::Hold);
        }
    }
    if prepared.entry == Entry::OnceWritable && hold::may_not_write(service) {
        return Seating::Held(Behind::ReadOnly);
    }
    let place = match queue::places(bid) {
        None => None,
        Some(places) => {
            let usable = has.filter(|place| place.is_of(places));
            match usable.or_else(|| places.try_take()) {
                Some(place) => Some(place),
                None => return Seating::Busy,
            }
        }
    };
    let Some(ticket) = proxy.reader.admit(view, prepared.service, slot) else {
        return Seating::Moved(place);
    };
    if let Some(queued) = flight.queued.borrow_mut().as_mut() {
        queued.is_served(proxy.worker());
    }
    hold::is_through(flight);
    flight.disarm();
    flight.arm_total(service.settings.timeouts.total);
    let seat = Seat::new(ticket, place, proxy.worker());
    if let Some(pass) = drain_pass {
        seat.passes(pass.begin());
    }
    flight.seat.replace(Some(seat));
    Seating::Done
}
