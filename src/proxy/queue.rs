//! In line for a place: what a request's flight knows of its wait, and the wait itself.

use super::belongings::Proxy;
use super::client::Client;
use super::client::poll_gone;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::prepare::Prepared;
use crate::config::Service as ServiceSettings;
use crate::live::Line;
use crate::live::Origin;
use crate::live::Place;
use crate::live::Places;
use crate::live::Refused;
use crate::live::Service;
use crate::live::Spot;
use crate::live::ViewRef;
use crate::live::Waiting;
use crate::telemetry::SlotMetrics;
use crate::telemetry::Unserved;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

/// One request's time in line. Made when it cannot be served at once, kept until the request is over.
#[derive(Debug)]
pub struct Queued {
    pub service: Arc<ServiceSettings>,
    pub(super) metrics: Arc<SlotMetrics>,
    /// Whose line it is or was.
    line: Arc<Line>,
    /// None when it was refused at the door.
    spot: Option<Spot>,
    since: Instant,
    /// In waits before this one.
    earlier: Duration,
    is_over: bool,
}

impl Queued {
    /// In line, now or in the past.
    #[must_use]
    pub fn took(&self) -> Duration {
        if self.is_over {
            self.earlier
        } else {
            self.earlier + self.since.elapsed()
        }
    }

    /// Where it stands; none when it waits no longer.
    #[must_use]
    pub fn spot(&self) -> Option<&Spot> {
        self.spot.as_ref().filter(|_| !self.is_over)
    }

    /// Most of those who wait with it are one client's.
    pub(super) fn is_one_clients(&self) -> bool {
        self.line.is_one_clients()
    }

    /// It waits for something else meanwhile; its time in line does not go on.
    pub(super) fn pause(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.earlier = self.took();
        self.is_over = true;
    }

    /// It has a place.
    pub(super) fn is_served(&mut self, worker: usize) {
        if !self.is_over {
            self.end();
            self.metrics.waited(worker, self.earlier);
        }
    }

    /// It will get no place any more; nothing when it had one.
    pub(super) fn is_unserved(&mut self, worker: usize, reason: Unserved) {
        if !self.is_over {
            self.end();
            self.metrics.unserved(worker, reason);
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) struct Bid<'a> {
    pub view: &'a ViewRef,
    pub prepared: &'a Prepared,
    /// Where it is to go, as an index into the slots of its service.
    pub slot: usize,
}

impl<'a> Bid<'a> {
    pub(super) fn service(self) -> &'a Service {
        &self.view.services[self.prepared.service]
    }
}

/// The places that this request needs one of; none when nothing limits it.
pub(super) fn places(bid: Bid<'_>) -> Option<&Arc<Places>> {
    let (service, prepared) = (bid.service(), bid.prepared);
    let slot = &service.slots[bid.slot];
    let places = slot.places.as_ref()?;
    let limited = &service.settings.queue.members;
    if limited.is_empty() {
        return Some(places);
    }
    let first = slot.members.first().map(|member| &member.name);
    let member = prepared.member.as_ref().or(first)?;
    limited.contains(member).then_some(places)
}

/// In line until there is a place; none when the View has to be looked at again.
pub(super) async fn wait(
    proxy: &Proxy,
    bid: Bid<'_>,
    client: &mut Client,
) -> Result<Option<Place>, Fault> {
    let flight = client.flight.clone();
    let Some(places) = places(bid) else {
        return Ok(None);
    };
    let before = flight
        .queued
        .borrow()
        .as_ref()
        .and_then(|queued| queued.spot.clone());
    let origin = Origin::from(bid.prepared.client);
    let epoch = bid.view.epoch.0;
    let joined = if bid.slot == bid.service().active {
        places.join(origin, epoch, before.as_ref())
    } else {
        places.join_side(origin, epoch, before.as_ref())
    };
    match joined {
        Ok(waiting) => {
            enter(&flight, bid, (places, Some(waiting.spot())));
            let outcome = stand(client, &flight, waiting).await;
            flight.is_unwatched.set(false);
            match outcome? {
                Ok(place) => Ok(Some(place)),
                Err(Refused::Outdated) => Ok(None),
                Err(Refused::Full) => Err(full(proxy, &flight)),
            }
        }
        Err(Refused::Outdated) => Ok(None),
        Err(Refused::Full) => {
            enter(&flight, bid, (places, before));
            Err(full(proxy, &flight))
        }
    }
}

fn full(proxy: &Proxy, flight: &Flight) -> Fault {
    if let Some(queued) = flight.queued.borrow_mut().as_mut() {
        queued.is_unserved(proxy.worker(), Unserved::Full);
    }
    Fault::QueueFull
}

/// From now on it waits. One that comes back has no more time than what was left.
fn enter(flight: &Flight, bid: Bid<'_>, (places, spot): (&Places, Option<Spot>)) {
    let service = bid.service();
    let timeout = service.settings.queue.timeout;
    let mut queued = flight.queued.borrow_mut();
    let earlier = match queued.take() {
        // A look at the View between two waits is part of the wait, and its timer still runs.
        Some(mut known) if !known.is_over => {
            known.spot = spot;
            *queued = Some(known);
            return;
        }
        known => known.map_or(Duration::ZERO, |known| known.earlier),
    };
    *queued = Some(Box::new(Queued {
        service: Arc::clone(&service.settings),
        metrics: Arc::clone(&service.slots[bid.slot].metrics),
        line: Arc::clone(places.line()),
        spot,
        since: Instant::now(),
        earlier,
        is_over: false,
    }));
    flight.at(State::Queued);
    flight.arm(Timer::Queue, timeout.saturating_sub(earlier));
}

/// Until its turn comes or the client leaves.
pub(super) async fn stand(
    client: &mut Client,
    flight: &Flight,
    mut waiting: Waiting,
) -> Result<Result<Place, Refused>, Fault> {
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = Pin::new(&mut waiting).poll(cx) {
            return Poll::Ready(Ok(outcome));
        }
        poll_left(client, flight, cx).map(|()| Err(Fault::ClientGone))
    })
    .await
}

/// Has the client left? Behind a body that is not read before its turn comes, nothing tells at once: then it is
/// looked for at each tick.
fn poll_left(client: &mut Client, flight: &Flight, cx: &mut Context<'_>) -> Poll<()> {
    let (stream, input) = (&client.stream, &mut client.input);
    if poll_gone(stream, input, cx).is_ready() {
        return Poll::Ready(());
    }
    let has_more = stream.poll_readable(cx).is_ready();
    if has_more && stream.has_hung_up() {
        return Poll::Ready(());
    }
    flight.is_unwatched.set(has_more);
    Poll::Pending
}
