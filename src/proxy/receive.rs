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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::live::HostTable;
    use crate::live::Live;
    use crate::live::LiveReader;
    use crate::live::Member;
    use crate::live::Service;
    use crate::live::Slot;
    use crate::live::View;
    use crate::net::Buffer;
    use crate::proxy::Peer;
    use crate::proxy::prepare::Decision;
    use crate::proxy::prepare::Judge;
    use crate::proxy::prepare::Look;
    use crate::proxy::prepare::prepare;
    use crate::spool::Account;
    use crate::spool::Shelf;
    use crate::switch::Epoch;
    use crate::switch::Generation;
    use crate::telemetry::AccessLog;
    use crate::telemetry::LineFormat;
    use crate::telemetry::LogTarget;
    use crate::telemetry::SlotMetrics;
    use std::path::Path;
    use std::pin::pin;
    use std::rc::Rc;
    use std::sync::Arc;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    const CONFIG: &str = r#"
[[listener]]
address = "127.0.0.1:8080"
[service.app.slots.blue]
http = ["127.0.0.1:3000"]
[service.app.slots.green]
http = ["127.0.0.1:4000"]
[service.app.buffering]
requests = true
memory = "1KiB"
"#;

    fn view() -> View {
        let settings = parse(CONFIG, Path::new("switchd.toml")).unwrap();
        let service = &settings.services[0];
        let slot = |slot: &crate::config::Slot| {
            let members = slot.members.iter().map(|member| Member {
                name: member.name.clone(),
                endpoints: Vec::new(),
            });
            let name = (slot.name.clone(), Generation(1));
            let metrics = Arc::new(SlotMetrics::new(1));
            Arc::new(Slot::new(name, members.collect(), 1, None, metrics))
        };
        View {
            epoch: Epoch(1),
            hosts: HostTable::new(&settings.services),
            services: vec![Service {
                settings: Arc::new(service.clone()),
                active: 0,
                tls: None,
                slots: service.slots.iter().map(slot).collect(),
            }],
            limits: settings.limits.clone(),
            spool: settings.spool.clone(),
            ..View::default()
        }
    }

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
            let reader = LiveReader::new(Arc::new(Live::new(view(), 1)), 0);
            let log = AccessLog::start(LogTarget::Off, LineFormat::Json).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let shelf = Shelf::new(Arc::new(Account::new(dir.path())));
            let proxy = Proxy::new(reader, log.writer(), Arc::default());
            let proxy = Rc::new(proxy.keeping_bodies_on(shelf));
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut client = Client {
                stream: ours.into(),
                input: Buffer::default(),
                peer: Peer::new(([127, 0, 0, 1], 1).into(), 80),
                flight: Flight::new(proxy.clock.clone(), ""),
            };
            let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
            theirs.write_all(head.as_bytes()).await.unwrap();
            client.fill().await.unwrap();
            let flight = client.flight.clone();
            let _timers_run = proxy.enlist(flight.clone());
            let judge = Judge {
                view: &proxy.view(),
                peer: &client.peer,
                flight: &flight,
                look: Look::First,
            };
            let prepared = prepare(client.input.bytes(), judge, &mut Vec::new());
            let Ok(Some(Decision::Forward(prepared))) = prepared else {
                panic!("it is a request")
            };
            let record = Record::begin();
            record.unused_head.set(prepared.length);
            assert!(is_needed(&prepared, &client));
            let receiving = pin!(receive(&proxy, &mut client, &prepared, &record));
            let mut receiving = pin!(flight.guard(receiving));
            // More than may wait in memory, so that only the disk can help.
            let body = vec![b'x'; 900_000];
            let mut sending = pin!(theirs.write_all(&body));
            let mut now = 0;
            let fault = loop {
                let polled = poll_fn(|cx| {
                    let _ = sending.as_mut().poll(cx);
                    Poll::Ready(receiving.as_mut().poll(cx))
                });
                if let Poll::Ready(received) = polled.await {
                    break received.err();
                }
                tokio::task::yield_now().await;
                // The worker's clock goes on: it is not held up.
                now += 100;
                proxy.tick(now);
            };
            assert!(
                matches!(fault, Some(Fault::Timeout(Timer::Spool))),
                "{fault:?}"
            );
            assert!(now >= 30_000, "{now}");
            assert_eq!(fault.unwrap().status(), 507);
        });
        drop(release);
        runtime.shutdown_background();
    }
}
