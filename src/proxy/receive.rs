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
use std::time::Duration;

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
    if !prepared.buffers.request {
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
    let (idle, limit) = (settings.timeouts.idle, prepared.most_body);
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
    take(client, &mut body, &mut spool, idle).await?;
    flight.disarm();
    record.body_taken.set(true);
    Ok(Received { head, body, spool })
}

/// All of `body`, from the client to where it is kept.
async fn take(
    client: &mut Client,
    body: &mut Body,
    spool: &mut Spool,
    idle: Duration,
) -> Result<(), Fault> {
    let flight = client.flight.clone();
    loop {
        spool.fill(|back| body.take(&mut client.input, back, &flight))?;
        client.input.release();
        if body.is_complete() {
            return Ok(());
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::net::Buffer;
    use crate::proxy::Clock;
    use crate::proxy::Peer;
    use crate::proxy::floor::Floor;
    use crate::spool::Account;
    use crate::spool::Shelf;
    use std::pin::pin;
    use std::sync::Arc;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    /// One blocking thread, which somebody else has: what a disk that hangs looks like.
    #[test]
    fn a_disk_that_hangs_ends_the_request_in_time_and_holds_up_nothing_else() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        runtime.spawn_blocking(move || hangs.recv());
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let shelf = Shelf::new(Arc::new(Account::new(dir.path())));
            let spooling = Spooling::below(dir.path());
            let bounds = bounds(&Buffering::default(), &spooling);
            let mut spool = Spool::new(&shelf, bounds, Whose::Request);
            let mut body = Body::new(Framing::Length(1_000_000), 0);
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut client = Client {
                stream: ours.into(),
                input: Buffer::default(),
                peer: Peer::new(([127, 0, 0, 1], 1).into(), 80),
                flight: Flight::new(Clock::default(), ""),
            };
            let flight = client.flight.clone();
            let taking = take(&mut client, &mut body, &mut spool, Duration::from_mins(1));
            let mut taking = pin!(flight.guard(taking));
            // More than may wait in memory, so that only the disk can help.
            let bytes = vec![b'x'; 900_000];
            let mut sending = pin!(theirs.write_all(&bytes));
            let mut now = 0;
            let floor = Floor::of(&Limits::default());
            let fault = loop {
                let polled = poll_fn(|cx| {
                    let _ = sending.as_mut().poll(cx);
                    Poll::Ready(taking.as_mut().poll(cx))
                });
                if let Poll::Ready(taken) = polled.await {
                    break taken.unwrap_err();
                }
                tokio::task::yield_now().await;
                // The worker's clock goes on: it is not held up.
                now += 100;
                flight.look(now, floor);
            };
            assert!(
                matches!(fault, Fault::Timeout(Timer::Spool)),
                "{fault:?} after {now} ms"
            );
            assert_eq!(fault.status(), 507);
        });
        drop(release);
        runtime.shutdown_background();
    }
}
