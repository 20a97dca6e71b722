//! What is known of one request when it is over: for the metrics and the access log.

use super::belongings::Proxy;
use super::deed::Closed;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::hold;
use super::response::Asked;
use crate::switch::ClientId;
use crate::switch::Met;
use crate::telemetry::AccessRecord;
use crate::telemetry::Looked;
use crate::telemetry::Outcome;
use crate::telemetry::Parting;
use crate::telemetry::Protocol;
use crate::telemetry::Unserved;
use std::cell::Cell;
use std::cell::RefCell;
use std::time::Duration;
use std::time::Instant;

/// Filled in while a request runs.
#[derive(Debug)]
pub(super) struct Record {
    pub began: Instant,
    pub is_http2: Cell<bool>,
    pub asked: Cell<Option<Asked>>,
    /// Bytes of the request's head that are still in front of the client's next one.
    pub unused_head: Cell<usize>,
    /// 0 while nothing was sent to the client.
    pub status: Cell<u16>,
    /// The first byte of the upstream's answer, since the beginning.
    pub upstream: Cell<Option<Duration>>,
    /// The status of the upstream's final answer, whatever the client was told; 0 before.
    pub answered: Cell<u16>,
    /// When it was first sent upstream, if its copies are asked for.
    pub sent: Cell<Option<Instant>>,
    /// At least a byte of it was written to an upstream: whatever became of the answer, it may be done.
    pub written: Cell<bool>,
    /// Bytes of that answer's body.
    pub body: Cell<u64>,
    /// The client's body was taken whole: its connection can go on.
    pub body_taken: Cell<bool>,
    /// Since when more of its body is waited for, while it is.
    pub uploading: Cell<Option<Instant>>,
    /// How long its body was waited for.
    pub client_took: Cell<Duration>,
    /// What the cache had; none where it has no say.
    pub looked: Cell<Option<Looked>>,
    /// The answer is a JSON-RPC error that calls itself a success.
    pub rpc_error: Cell<bool>,
    /// What that error calls itself.
    pub error_name: RefCell<Option<Box<str>>>,
    /// Who asks, once that is known.
    pub client: Cell<Option<ClientId>>,
}

impl Record {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            is_http2: Cell::new(false),
            asked: Cell::new(None),
            unused_head: Cell::new(0),
            status: Cell::new(0),
            upstream: Cell::new(None),
            answered: Cell::new(0),
            sent: Cell::new(None),
            written: Cell::new(false),
            body: Cell::new(0),
            body_taken: Cell::new(false),
            uploading: Cell::new(None),
            client_took: Cell::new(Duration::ZERO),
            looked: Cell::new(None),
            rpc_error: Cell::new(false),
            error_name: RefCell::new(None),
            client: Cell::new(None),
        }
    }

    /// The body is not here yet: what passes until it is, is the client's time.
    pub(super) fn uploads(&self) {
        self.uploading.set(Some(Instant::now()));
    }

    /// All of the request is here, and sent.
    pub(super) fn is_uploaded(&self) {
        if let Some(since) = self.uploading.take() {
            self.client_took
                .set(self.client_took.get() + since.elapsed());
        }
    }

    fn protocol(&self) -> Protocol {
        match self.asked.get() {
            _ if self.is_http2.get() => Protocol::Http2,
            Some(asked) if !asked.is_http11 => Protocol::Http10,
            _ => Protocol::Http11,
        }
    }

    /// Counts and logs. A connection that ended before it asked for anything is no request.
    #[allow(
        clippy::too_many_lines,
        reason = "one line for each field of the access log"
    )]
    pub(super) fn close(&self, proxy: &Proxy, flight: &Flight, fault: Option<&Fault>) {
        let took = self.began.elapsed();
        let seat = flight.seat.borrow();
        let status = match (self.status.get(), fault) {
            (0, Some(Fault::ClientGone)) => 499,
            (status, _) => status,
        };
        let mut queued = flight.queued.borrow_mut();
        if let Some(queued) = queued.as_mut() {
            let reason = match fault {
                Some(Fault::Timeout(Timer::Queue)) => Unserved::Deadline,
                _ => Unserved::Left,
            };
            queued.is_unserved(proxy.worker(), reason);
            let is_late = matches!(fault, Some(Fault::QueueFull | Fault::Timeout(Timer::Queue)));
            if is_late && !queued.is_one_clients() {
                self.observe(&queued.metrics, flight, (proxy.worker(), Met::Failed, took));
            }
        }
        let held = hold::close(flight, fault);
        let (bytes_in, bytes_out) = (flight.bytes_in.get(), flight.bytes_out.get());
        let service = seat.as_ref().map(|seat| seat.ticket.service());
        let slot = seat.as_ref().map(|seat| seat.ticket.slot());
        if let Some(slot) = slot {
            let outcome = Outcome {
                status,
                fault: fault.is_some_and(|fault| fault.status() != 499),
                took,
                bytes_in,
                bytes_out,
            };
            slot.metrics.record(proxy.worker(), outcome);
            let in_line = queued.as_ref().map(|queued| queued.took());
            self.judge(
                slot,
                Closed {
                    worker: proxy.worker(),
                    status,
                    fault,
                    took,
                    waited: held + in_line.unwrap_or_default(),
                    state: flight.state.get(),
                    flight,
                },
            );
        } else if !matches!(self.looked.get(), Some(Looked::Hit | Looked::Waited)) {
            proxy.metrics.refused(status);
        }
        if let Some(looked) = self.looked.get() {
            proxy.metrics.content.looked(looked);
        }
        let mut log = proxy.log.borrow_mut();
        if !log.is_on() {
            return;
        }
        let said = flight.said.borrow();
        let websocket = flight.websocket.borrow();
        let behind = flight.held.borrow();
        let behind = behind.as_ref().map(|held| &held.service);
        let waited_for = queued.as_ref().map(|queued| &queued.service).or(behind);
        let bound_for = flight.bound_for.borrow();
        let service_name = service
            .map(|service| &service.settings)
            .or(waited_for)
            .or(bound_for.as_ref());
        log.write(&AccessRecord {
            client: &flight.client.borrow(),
            protocol: self.protocol(),
            method: &flight.method.borrow(),
            target: &flight.target.borrow(),
            host: &said.host,
            referer: &said.referer,
            agent: &said.agent,
            user: &said.user,
            status,
            bytes_in,
            bytes_out,
            took,
            upstream: self.upstream.get(),
            queued: queued
                .as_ref()
                .map_or(Duration::ZERO, |queued| queued.took()),
            held,
            service: service_name.map_or("", |settings| settings.name.as_str()),
            slot: slot.map_or("", |slot| slot.name.as_str()),
            endpoint: seat
                .as_ref()
                .and_then(|seat| seat.endpoint())
                .map_or("", |endpoint| &endpoint.label),
            request_id: &flight.request_id.borrow(),
            fault: fault.map(Fault::code),
            cache: self.looked.get().map(Looked::as_str),
            closed: websocket
                .as_ref()
                .and_then(|websocket| websocket.parting())
                .map(Parting::as_str),
        });
    }
}
