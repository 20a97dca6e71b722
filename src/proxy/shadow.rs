//! Copies of safe requests for an idle slot: sent when the client has its answer, compared, and thrown away.
//!
//! A copy is nobody's request. It has no seat, so that no drain waits for it; it takes no place that a request
//! could have; and it ends when the worker stops or the shadowing does.

use super::belongings::Proxy;
use super::client::Client;
use super::exchange::Ending;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::floor::Floor;
use super::forward::Trip;
use super::outgoing::introduction;
use super::record::Record;
use super::response::Asked;
use crate::config::Service as ServiceSettings;
use crate::live::Shadow;
use crate::live::ViewRef;
use crate::switch::MemberName;
use crate::telemetry::ShadowAnswer;
use crate::telemetry::ShadowPlace;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// This worker's copies under way.
#[derive(Debug, Default)]
pub(super) struct Copies(RefCell<Vec<Underway>>);

#[derive(Debug)]
struct Underway {
    flight: Rc<Flight>,
    shadow: Arc<Shadow>,
}

impl Copies {
    /// Called at each tick.
    pub(super) fn look(&self, (now, floor): (u64, Floor), is_stopping: bool) {
        for copy in self.0.borrow().iter() {
            if is_stopping || copy.shadow.tally.is_over() {
                copy.flight.stop();
            } else {
                copy.flight.look(now, floor);
            }
        }
    }
}

/// One request that is to be asked once more.
pub(super) struct Copy {
    pub(super) view: ViewRef,
    /// Index into the View's services.
    pub(super) service: usize,
    pub(super) shadow: Arc<Shadow>,
    /// Index into the members of the slot.
    pub(super) member: usize,
    pub(super) head: Vec<u8>,
    pub(super) introduction: Vec<u8>,
    pub(super) asked: Asked,
    pub(super) request_id: String,
    /// What the active slot said.
    pub(super) active: ShadowAnswer,
    /// Held for its drop.
    _place: ShadowPlace,
}

fn is_on(flight: &Flight) -> bool {
    let seat = flight.seat.borrow();
    let seat = seat.as_ref();
    seat.is_some_and(|seat| seat.ticket.service().shadow.is_some())
}

/// A request goes to its upstream. What it waited for before says nothing of that.
pub(super) fn before(flight: &Flight, record: &Record) {
    if is_on(flight) {
        record.sent.set(Some(Instant::now()));
    }
}

/// A request was answered, or was not: what follows for an idle slot.
pub(super) fn after(
    result: Result<Ending, Fault>,
    trip: &Trip<'_>,
    client: &Client,
) -> Result<Ending, Fault> {
    if result.is_ok()
        && is_on(&client.flight)
        && let Some(copy) = copy(trip, client)
    {
        send(trip.proxy, copy);
    }
    result
}

/// The request once more, if it is one to be copied and there is room for it.
fn copy(trip: &Trip<'_>, client: &Client) -> Option<Box<Copy>> {
    let prepared = trip.prepared;
    let seat = client.flight.seat.borrow();
    let ticket = &seat.as_ref()?.ticket;
    let service = ticket.service();
    let shadow = service.shadow.as_ref()?;
    let settings = &service.settings;
    let (method, target) = line(trip.out)?;
    let is_safe = matches!(method, "GET" | "HEAD")
        && prepared.framing.is_empty()
        && !prepared.asked.upgrade
        && !prepared.asked.expects_continue;
    if !is_safe
        || trip.proxy.stopping.get()
        || shadow.tally.is_over()
        // A canary's visitors are not answered by the active slot.
        || ticket.slot().name != service.active().name
        || !shadow.share.takes_one()
        || shadow.excluded.may_hold(target)
    {
        return None;
    }
    let active = active(trip.record)?;
    if active.bytes > settings.shadow.max_size {
        shadow.tally.too_large();
        return None;
    }
    let slot = service.slots.iter().find(|it| it.name == shadow.slot)?;
    let named = |name: &MemberName| slot.members.iter().position(|it| it.name == *name);
    let member = prepared.member.as_ref().and_then(named).unwrap_or(0);
    let place = shadow.tally.enter(settings.shadow.max_in_flight)?;
    Some(Box::new(Copy {
        view: ticket.view().clone(),
        service: ticket.service_index(),
        shadow: Arc::clone(shadow),
        member,
        head: marked(trip.out, settings),
        introduction: introduction(settings, &client.peer, prepared.client),
        asked: prepared.asked,
        request_id: client.flight.request_id.borrow().clone(),
        active,
        _place: place,
    }))
}

/// What the active slot answered. None when it was not asked, or told something else than an answer.
fn active(record: &Record) -> Option<ShadowAnswer> {
    let came = record.began + record.upstream.get()?;
    (record.answered.get() >= 200).then_some(ShadowAnswer {
        status: record.answered.get(),
        bytes: record.body.get(),
        took: came.saturating_duration_since(record.sent.get()?),
    })
}

/// Method and target of a head that was written by us.
pub(super) fn line(head: &[u8]) -> Option<(&str, &str)> {
    let end = memchr::memchr(b'\r', head)?;
    let line = std::str::from_utf8(&head[..end]).ok()?;
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?))
}

/// The head with the line that tells it from a request, and without what is not to be passed.
fn marked(head: &[u8], settings: &ServiceSettings) -> Vec<u8> {
    let shadow = &settings.shadow;
    let mut out = Vec::with_capacity(head.len() + shadow.header.len() + 8);
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" {
            out.extend_from_slice(shadow.header.as_bytes());
            out.extend_from_slice(b": 1\r\n\r\n");
            break;
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_known_by =
            name.eq_ignore_ascii_case(b"cookie") || name.eq_ignore_ascii_case(b"authorization");
        let is_mark = name.eq_ignore_ascii_case(shadow.header.as_bytes());
        if !is_mark && (shadow.cookies || !is_known_by) {
            out.extend_from_slice(line);
        }
    }
    out
}

/// Sends it on its way; nobody waits for it.
fn send(proxy: &Rc<Proxy>, copy: Box<Copy>) {
    let flight = Flight::new(proxy.clock.clone(), "");
    let timeout = copy.settings().shadow.timeout;
    flight.arm_total(Some(timeout));
    proxy.copies.0.borrow_mut().push(Underway {
        flight: flight.clone(),
        shadow: Arc::clone(&copy.shadow),
    });
    let enlisted = Enlisted {
        proxy: proxy.clone(),
        flight,
    };
    tokio::task::spawn_local(async move {
        let asked = enlisted.flight.guard(copy.ask(&enlisted.proxy)).await;
        let shadow = match asked {
            Ok(answer) => answer,
            Err(Fault::Timeout(Timer::Total)) => Err(format!("no answer within {timeout:?}")),
            // It was given up: that says nothing of the slot.
            Err(_) => return,
        };
        copy.compare(enlisted.proxy.worker(), shadow);
    });
}

/// A copy that the worker knows; dropping it takes it off the list.
struct Enlisted {
    proxy: Rc<Proxy>,
    flight: Rc<Flight>,
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        let mut copies = self.proxy.copies.0.borrow_mut();
        copies.retain(|copy| !Rc::ptr_eq(&copy.flight, &self.flight));
    }
}
