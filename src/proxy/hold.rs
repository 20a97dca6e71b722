//! Held: what a request's flight knows of its wait while its service is held, and the wait itself.

use super::client::Client;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::queue::Bid;
use super::queue::stand;
use crate::config::Service as ServiceSettings;
use crate::live::DrainPass;
use crate::live::Guest;
use crate::live::Hold;
use crate::live::Origin;
use crate::live::Place;
use crate::live::Refused;
use crate::live::Service;
use crate::live::Spot;
use crate::live::Waited;
use std::sync::Arc;
use std::time::Duration;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// Somebody holds the service.
    Hold,
    /// Its active slot cannot be connected.
    Outage,
    /// It may be read only, and this writes.
    ReadOnly,
}

impl Behind {
    fn of(self, service: &Service) -> Option<&Arc<Hold>> {
        match self {
            Self::Hold => service.hold.as_ref(),
            Self::Outage => service.outage.as_ref(),
            Self::ReadOnly => writes(service),
        }
    }
}

/// One request's time behind a hold. Made when it is held, kept until the request is over.
#[derive(Debug)]
pub struct Held {
    pub service: Arc<ServiceSettings>,
    /// None once its wait is over.
    guest: Option<Guest>,
    spot: Option<Spot>,
    /// It was let go.
    place: Option<Place>,
    /// In waits before this one.
    earlier: Duration,
    /// Of those, for what could not be connected.
    out: Duration,
    behind: Behind,
}

impl Held {
    /// Held, now or in the past.
    #[must_use]
    pub fn took(&self) -> Duration {
        let now = self.guest.as_ref();
        self.earlier + now.map_or(Duration::ZERO, |guest| guest.since().elapsed())
    }

    /// Where it stands; none when it waits no longer.
    #[must_use]
    pub fn spot(&self) -> Option<&Spot> {
        self.spot.as_ref().filter(|_| self.guest.is_some())
    }

    fn is_let_go_by(&self, hold: &Hold) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| place.is_of(&hold.places))
    }

    /// Nothing when its wait was over before.
    fn ends(&mut self, how: Waited) {
        let took = self.took();
        if self.behind == Behind::Outage {
            self.out += took.saturating_sub(self.earlier);
        }
        self.earlier = took;
        if let Some(guest) = self.guest.take() {
            guest.leaves(how);
        }
    }
}

/// Whether a request has to wait, as this View has it.
pub(super) fn is_held(flight: &Flight, service: &Service) -> bool {
    let Some(hold) = &service.hold else {
        return false;
    };
    let held = flight.held.borrow();
    let was_let_go = held.as_ref().is_some_and(|held| held.is_let_go_by(hold));
    !was_let_go && !passes(flight, service)
}

fn passes(flight: &Flight, service: &Service) -> bool {
    let hold = &service.settings.hold;
    hold.lets_pass(&flight.method.borrow(), &flight.target.borrow())
}

/// What lets a request pass that has to wait otherwise: the hold drains, and what is under way may need it.
pub(super) fn drain_pass<'v>(flight: &Flight, bid: Bid<'v>) -> Option<&'v Arc<DrainPass>> {
    let service = bid.service();
    let pass = service.drain_pass.as_ref()?;
    // A websocket would stay, and a body has a client's time.
    if bid.prepared.upgrade.is_some() || !bid.prepared.framing.is_empty() {
        return None;
    }
    let hold = &service.settings.hold;
    hold.lets_pass_while_draining(&flight.method.borrow(), &flight.target.borrow())
        .then_some(pass)
}

fn writes(service: &Service) -> Option<&Arc<Hold>> {
    let read_only = service.modes.as_ref()?.read_only.as_ref()?;
    read_only.writes.as_ref()
}

/// Whether those who write wait, as this View has it.
pub(super) fn may_not_write(service: &Service) -> bool {
    writes(service).is_some()
}

/// Whether a request that could not be connected may wait for a slot that can be, as this View has it.
pub(super) fn may_wait_out(flight: &Flight, service: &Service) -> bool {
    let held = flight.held.borrow();
    let out = held.as_ref().map_or(Duration::ZERO, |held| held.out);
    service.outage.is_some() && out < service.settings.hold.on_outage
}

/// Waits until it is let go or the View has to be looked at again.
pub(super) async fn wait(
    bid: Bid<'_>,
    client: &mut Client,
    (behind, kept): (Behind, usize),
) -> Result<(), Fault> {
    let flight = client.flight.clone();
    let service = bid.service();
    let Some(hold) = behind.of(service) else {
        return Ok(());
    };
    let before = enter(&flight, service, (behind, hold), kept as u64)?;
    let origin = Origin::from(bid.prepared.client);
    let waiting = match hold.places.join(origin, bid.view.epoch.0, before.as_ref()) {
        Ok(waiting) => waiting,
        Err(Refused::Outdated) => return Ok(()),
        Err(Refused::Full) => return Err(full(&flight)),
    };
    note(&flight, |held| held.spot = Some(waiting.spot()));
    let outcome = stand(client, &flight, waiting).await;
    flight.is_unwatched.set(false);
    match outcome? {
        Ok(place) => note(&flight, |held| {
            held.ends(Waited::Released);
            held.place = Some(place);
        }),
        Err(Refused::Outdated) => {}
        Err(Refused::Full) => return Err(full(&flight)),
    }
    Ok(())
}

fn note(flight: &Flight, what: impl FnOnce(&mut Held)) {
    if let Some(held) = flight.held.borrow_mut().as_mut() {
        what(held);
    }
}

fn full(flight: &Flight) -> Fault {
    note(flight, |held| held.ends(Waited::Full));
    Fault::HoldFull
}

/// From now on it waits; `kept` bytes of it are here. Gives where it stood, if it has been here before. One that
/// comes back has no more time than what was left.
fn enter(
    flight: &Flight,
    service: &Service,
    (behind, hold): (Behind, &Hold),
    kept: u64,
) -> Result<Option<Spot>, Fault> {
    let mut held = flight.held.borrow_mut();
    if let Some(held) = held.as_mut() {
        let guest = held.guest.as_ref();
        if guest.is_some_and(|guest| guest.is_in(&hold.lobby)) {
            // A look at the View between two waits is part of the wait, and its timer still runs.
            return Ok(held.spot.clone());
        }
        held.ends(Waited::Released);
    }
    let (earlier, out, before) = match held.take() {
        Some(held) => (held.earlier, held.out, held.spot),
        None => (Duration::ZERO, Duration::ZERO, None),
    };
    if let Some(queued) = flight.queued.borrow_mut().as_mut() {
        queued.pause();
    }
    let guest = hold.lobby.enter(kept + flight.bytes_in.get());
    let is_full = guest.is_none();
    *held = Some(Box::new(Held {
        service: Arc::clone(&service.settings),
        guest,
        spot: before.clone(),
        place: None,
        earlier,
        out,
        behind,
    }));
    if is_full {
        return Err(Fault::HoldFull);
    }
    flight.at(State::Held);
    let settings = &service.settings.hold;
    match behind {
        Behind::Hold | Behind::ReadOnly => {
            let spent = earlier.saturating_sub(out);
            flight.arm(Timer::Hold, settings.max_wait.saturating_sub(spent));
        }
        Behind::Outage => flight.arm(Timer::Outage, settings.on_outage.saturating_sub(out)),
    }
    Ok(before)
}

/// It is counted on a slot: whoever holds from now on does not mean it.
pub(super) fn is_through(flight: &Flight) {
    note(flight, |held| held.place = None);
}

/// The request is over: how long it was held, and that it is no more.
pub(super) fn close(flight: &Flight, fault: Option<&Fault>) -> Duration {
    let mut held = flight.held.borrow_mut();
    let Some(held) = held.as_mut() else {
        return Duration::ZERO;
    };
    held.ends(match fault {
        Some(Fault::Timeout(Timer::Hold | Timer::Outage)) => Waited::Late,
        _ => Waited::Left,
    });
    held.earlier
}
