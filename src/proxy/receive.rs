//! A request's body, taken whole before the request asks for a slot.
//!
//! So a slow upload occupies nobody upstream, and goes wherever traffic goes when it is complete.

use super::belongings::Proxy;
use super::body::Body;
use super::body::DISK_PATIENCE;
use super::body::TRANSFER;
use super::body::poll_more;
use super::client::Client;
use super::client::write_all;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::framing::Framing;
use super::prepare::Prepared;
use super::record::Record;
use crate::config::Buffering;
use crate::config::Spooling;
use crate::live::Kind;
use crate::spool::Bounds;
use crate::spool::Spool;
use crate::spool::Whose;
use std::future::poll_fn;
use std::task::Poll;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request that is here as a whole.
pub(super) struct Received {
    /// As the client sent it: a View that changes before the request is admitted makes us look again.
    pub head: Box<[u8]>,
    body: Body,
    spool: Box<Spool>,
}

impl Received {
    /// The body to send: a short one goes along with the head in `out`.
    pub(super) fn admitted(self, flight: &Flight, out: &mut Vec<u8>) -> Body {
        let mut body = self.body;
        match self.spool.into_small() {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(spool) => body.rests_in(spool),
        }
        if body.received() > TRANSFER {
            flight.becomes(Kind::Transfer);
        }
        body
    }
}

/// Whether a body is wanted whole and is not: one that came along with its head is.
pub(super) fn is_needed(prepared: &Prepared, client: &Client) -> bool {
    if !prepared.buffers_request {
        return false;
    }
    let here = (client.input.len() - prepared.length) as u64;
    !matches!(prepared.framing, Framing::Length(length) if length <= here)
}

/// What one body may take.
pub(super) fn bounds(buffering: &Buffering, spooling: &Spooling) -> Bounds {
    Bounds {
        memory: buffering.memory,
        disk: buffering.max_disk,
        total_memory: spooling.max_memory,
        total_disk: spooling.max_size,
    }
}

/// Takes the body from the client, to memory and then to disk.
pub(super) async fn receive(
    proxy: &Proxy,
    client: &mut Client,
    prepared: &Prepared,
    record: &Record,
) -> Result<Received, Fault> {
    let flight = client.flight.clone();
    let view = proxy.view();
    let settings = &view.services[prepared.service].settings;
    let bounds = bounds(&settings.buffering, &view.spool);
    flight.bound_for.replace(Some(settings.clone()));
    let (idle, limit) = (settings.timeouts.idle, view.limits.body_bytes);
    let mut spool = Box::new(Spool::new(&proxy.shelf, bounds, Whose::Request));
    // A View is not held for as long as a client likes to take.
    drop(view);
    if let Framing::Length(length) = prepared.framing {
        spool.expect(length)?;
    }
    flight.at(State::Receiving);
    let head = client.input.bytes()[..prepared.length].into();
    client.input.consume(record.unused_head.take());
    if prepared.owes_continue && client.input.is_empty() {
        flight.arm(Timer::ClientIdle, idle);
        let told = write_all(&client.stream, CONTINUE, || {}).await;
        told.map_err(|_| Fault::ClientGone)?;
    }
    let mut body = Body::new(prepared.framing, limit);
    loop {
        spool.fill(|back| body.take(&mut client.input, back, &flight))?;
        client.input.release();
        if body.is_complete() {
            break;
        }
        flight.arm(Timer::Spool, DISK_PATIENCE);
        poll_fn(|cx| spool.poll_room(cx)).await?;
        flight.arm(Timer::ClientIdle, idle);
        let (stream, input) = (&client.stream, &mut client.input);
        poll_fn(|cx| {
            // What waits in memory goes to disk while the client thinks.
            if let Poll::Ready(Err(error)) = spool.poll_room(cx) {
                return Poll::Ready(Err(error.into()));
            }
            poll_more(stream, input, cx)
        })
        .await?;
    }
    flight.disarm();
    record.body_taken.set(true);
    Ok(Received { head, body, spool })
}
