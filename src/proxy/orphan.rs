//! A request whose client has left, and which the upstream still works on: it counts until it is over.

use super::belongings::Proxy;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::seat::Seat;
use crate::net::Stream;
use std::rc::Rc;
use std::time::Duration;

/// Keeps the flight's seat until the upstream answers, closes, or `wait` is over; nobody reads the answer.
///
/// An upstream that is at work on a request goes on when we hang up: a slot with such a request is not empty.
pub(super) fn keep(proxy: &Rc<Proxy>, flight: &Flight, upstream: Stream, wait: Duration) {
    let orphan = Flight::new(proxy.clock.clone(), &flight.client.borrow());
    orphan.id.set(flight.id.get());
    orphan.started.set(flight.started.get());
    orphan
        .request_id
        .replace(flight.request_id.borrow().clone());
    orphan.method.replace(flight.method.borrow().clone());
    orphan.target.replace(flight.target.borrow().clone());
    // The access record still needs the slot's name, so the count moves only when the record is closed:
    // until then both hold one.
    orphan
        .seat
        .replace(flight.seat.borrow().as_ref().map(Seat::twin));
    orphan.at(State::Waiting);
    orphan.arm(Timer::FirstByte, wait);
    let enlisted = proxy.enlist(orphan);
    tokio::task::spawn_local(async move {
        let answered = async {
            upstream
                .readable()
                .await
                .map_err(|_| super::fault::Fault::ClientGone)
        };
        // However it ends, nobody waits for it.
        let _ = enlisted.flight.guard(answered).await;
        drop(enlisted.flight.seat.take());
    });
}
