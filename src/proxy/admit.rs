//! Into a slot: a place where places are limited, then the count that no flip can miss.

use super::belongings::Proxy;
use super::client::Client;
use super::client::poll_gone;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::State;
use super::local::Local;
use super::prepare::Decision;
use super::prepare::Judge;
use super::prepare::Look;
use super::prepare::Prepared;
use super::prepare::prepare;
use super::seat::Seat;
use crate::live::Place;
use crate::live::Service;
use crate::live::Waiting;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// Gives the flight its seat. When the View changes under it, the head is read anew: the client's bytes are still there.
/// What is left to do then may be an answer of ours.
pub(super) async fn admit(
    proxy: &Rc<Proxy>,
    client: &mut Client,
    prepared: &mut Prepared,
    out: &mut Vec<u8>,
) -> Result<Option<Box<Local>>, Fault> {
    let flight = client.flight.clone();
    loop {
        let view = proxy.view();
        // A View that came in between may hold the services in another order.
        if view.epoch != prepared.epoch {
            let judge = Judge {
                view: &view,
                peer: &client.peer,
                flight: &flight,
                look: Look::Again,
                worker: proxy.worker(),
            };
            match prepare(client.input.bytes(), judge, out)?.ok_or(Fault::ClientGone)? {
                Decision::Forward(anew) => *prepared = anew,
                Decision::Answer(local) => return Ok(Some(local)),
                Decision::Refuse(refused) => return Err(refused.fault),
            }
        }
        let service = &view.services[prepared.service];
        let place = match take_place(service) {
            Taken::Unlimited => None,
            Taken::Place(place) => Some(place),
            Taken::Busy => {
                if flight.state.get() != State::Queued {
                    flight.at(State::Queued);
                    flight.arm(Timer::Queue, service.settings.queue.timeout);
                }
                match wait(service, client).await? {
                    Some(place) => Some(place),
                    None => continue,
                }
            }
        };
        if let Some(ticket) = proxy.reader.admit(&view, prepared.service) {
            flight.disarm();
            flight.arm_total(service.settings.timeouts.total);
            flight
                .seat
                .replace(Some(Seat::new(ticket, place, proxy.worker())));
            return Ok(None);
        }
    }
}

enum Taken {
    Unlimited,
    Place(Place),
    Busy,
}

fn take_place(service: &Service) -> Taken {
    match &service.active().places {
        None => Taken::Unlimited,
        Some(places) => places.try_take().map_or(Taken::Busy, Taken::Place),
    }
}

/// In line until there is a place; none when a flip re-aims those who wait.
async fn wait(service: &Service, client: &mut Client) -> Result<Option<Place>, Fault> {
    let Some(places) = &service.active().places else {
        return Ok(None);
    };
    let mut line = pin!(places.wait());
    let (stream, input) = (&client.stream, &mut client.input);
    poll_fn(|cx| {
        if let Poll::Ready(result) = line.as_mut().poll(cx) {
            return Poll::Ready(match result {
                Ok(place) => Ok(Some(place)),
                Err(Waiting::Reaimed) => Ok(None),
                Err(Waiting::Full) => Err(Fault::QueueFull),
            });
        }
        poll_gone(stream, input, cx).map(|()| Err(Fault::ClientGone))
    })
    .await
}
