//! To an endpoint and back: which one, over which connection, and when once more. The only loop of a request.

use super::answer::Answered;
use super::answer::Exchange;
use super::answer::answer;
use super::belongings::Proxy;
use super::body::Body;
use super::body::Pace;
use super::body::Stopped;
use super::client::Client;
use super::client::write_all;
use super::exchange::Ending;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::idlers;
use super::lending::give_back;
use super::lending::lend;
use super::orphan;
use super::outgoing::introduction;
use super::prepare::Prepared;
use super::record::Record;
use super::sendfile;
use super::tunnel::tunnel;
use crate::config::Service as ServiceSettings;
use crate::config::Timeouts;
use crate::live::Endpoint;
use crate::net::Dial;
use crate::net::Stream;
use crate::tls;
use crate::upstream;
use crate::upstream::Call;
use crate::upstream::Lane;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

/// As much as one TLS record holds.
const RECORD: usize = 16 * 1024;

/// What became of one attempt.
pub(super) enum Failure {
    /// Not a byte was written: nobody has seen the request.
    Unwritten(io::Error),
    /// It was written, at least in part, and not a byte of an answer came.
    NoAnswer(Option<io::Error>),
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One request on its way up: what every attempt needs and none changes.
pub(super) struct Trip<'a> {
    pub proxy: &'a Rc<Proxy>,
    pub prepared: &'a Prepared,
    pub record: &'a Record,
    /// The head, and as much of the body as was here.
    pub out: &'a [u8],
}

/// Sends the request and passes the answer on.
///
/// A request that was never written goes on to the next endpoint, whatever its method. One that was
/// written on a used connection and got no byte of an answer is sent once more if it is idempotent and
/// still here as a whole: then the upstream closed the connection before it came.
pub(super) async fn forward(
    trip: &Trip<'_>,
    client: &mut Client,
    body: &mut Body,
) -> Result<Ending, Fault> {
    attempts(trip, client, body).await.map_err(Fault::owned)
}

async fn attempts(trip: &Trip<'_>, client: &mut Client, body: &mut Body) -> Result<Ending, Fault> {
    let (proxy, prepared) = (trip.proxy, trip.prepared);
    let flight = client.flight.clone();
    let Destination {
        settings,
        terms,
        member,
    } = destination(&flight, prepared)?;
    let introduction = introduction(&settings, &client.peer, prepared.client);
    let call = Call {
        terms: terms.as_deref(),
        dialer: tls::Dialer::Worker(proxy.worker()),
        introduction: &introduction,
        dial: Dial::within(settings.timeouts.connect),
    };
    let mut tried = Vec::new();
    let keepalive = settings.keepalive.of(prepared.member.as_ref());
    let mut reuse = keepalive.enabled && !prepared.asked.upgrade;
    let mut last = Fault::NoAnswer(None);
    loop {
        let Some(endpoint) = board(&flight, member, &tried) else {
            return Err(last);
        };
        let replayable = prepared.is_idempotent && body.is_replayable();
        let lane = lane(&endpoint.1, terms.as_deref());
        let (stream, used, lane) = match lend(proxy, lane, reuse, replayable) {
            Some(stream) => (stream, true, lane),
            None => match dial(proxy, &flight, &endpoint.1, (lane, call)).await {
                Ok((stream, lane)) => (stream, false, lane),
                Err(fault) => {
                    if fault.is_suspicious() {
                        endpoint.1.health.suspect();
                    }
                    tried.push(endpoint.0);
                    last = fault;
                    continue;
                }
            },
        };
        match attempt(trip, client, &stream, &settings.timeouts, body).await {
            Ok(mut answered) => {
                let (file, keep_alive) = (answered.file.take(), answered.keep_alive);
                let upstream = (stream, (&*endpoint.1, lane));
                let ending = settle(proxy, client, upstream, answered, body).await?;
                if let Some(file) = file {
                    Box::pin(sendfile::send(trip, client, (*file, keep_alive))).await?;
                }
                return Ok(ending);
            }
            Err(Failure::Fault(fault)) => {
                let left_waiting = matches!(fault, Fault::ClientGone) && body.is_complete();
                if left_waiting && flight.state.get() == State::Waiting {
                    orphan::keep(proxy, &flight, stream, settings.timeouts.first_byte);
                }
                return Err(fault);
            }
            Err(Failure::Unwritten(_)) if used && !body.streamed => {}
            Err(Failure::Unwritten(cause)) if !body.streamed => {
                tried.push(endpoint.0);
                last = Fault::Connect(cause);
            }
            Err(Failure::NoAnswer(_)) if used && replayable => reuse = false,
            Err(Failure::Unwritten(cause)) => return Err(Fault::NoAnswer(Some(cause))),
            Err(Failure::NoAnswer(cause)) => return Err(Fault::NoAnswer(cause)),
        }
    }
}

/// Which connections serve: of an endpoint with several addresses, those to the one whose turn it is.
fn lane(endpoint: &Endpoint, terms: Option<&tls::Upstream>) -> Lane {
    Lane {
        endpoint: endpoint.id,
        terms: terms.map_or(0, |terms| terms.terms),
        address: endpoint.pick(),
    }
}

/// Where a request goes, whichever endpoint it will be.
struct Destination {
    settings: Arc<ServiceSettings>,
    /// None where upstreams are spoken to without TLS.
    terms: Option<Arc<tls::Upstream>>,
    /// Its place in each slot.
    member: usize,
}

fn destination(flight: &Flight, prepared: &Prepared) -> Result<Destination, Fault> {
    let seat = flight.seat.borrow();
    let seat = seat.as_ref().ok_or(Fault::Stopping)?;
    let members = &seat.ticket.slot().members;
    let at = prepared
        .member
        .as_ref()
        .and_then(|name| members.iter().position(|member| member.name == *name));
    let service = seat.ticket.service();
    Ok(Destination {
        settings: service.settings.clone(),
        terms: service.tls.clone(),
        member: at.unwrap_or(0),
    })
}

/// Picks an endpoint that was not tried and counts the request there.
fn board(flight: &Flight, member: usize, tried: &[usize]) -> Option<(usize, Arc<Endpoint>)> {
    let seat = flight.seat.borrow();
    let seat = seat.as_ref()?;
    let at = upstream::pick(&seat.ticket.slot().members[member], tried)?;
    seat.board(member, at);
    seat.endpoint().map(|endpoint| (at, endpoint.clone()))
}

/// A new connection, and the lane that it is of: of several addresses another one may have been quicker.
async fn dial(
    proxy: &Proxy,
    flight: &Flight,
    endpoint: &Endpoint,
    (lane, mut call): (Lane, Call<'_>),
) -> Result<(Stream, Lane), Fault> {
    flight.at(State::Connecting);
    call.dial.first = lane.address;
    let connect = idlers::connect(proxy, &endpoint.address, call);
    match flight.dial(call.dial.within, connect).await {
        Ok(Ok(stream)) => {
            let address = endpoint.place_of(&stream);
            Ok((stream, Lane { address, ..lane }))
        }
        Ok(Err(cause)) => Err(Fault::Connect(cause).owned()),
        Err(timer) => Err(Fault::Timeout(timer)),
    }
}

/// One request over one connection.
async fn attempt(
    trip: &Trip<'_>,
    client: &mut Client,
    upstream: &Stream,
    timeouts: &Timeouts,
    body: &mut Body,
) -> Result<Answered, Failure> {
    let flight = client.flight.clone();
    let pace = Pace {
        flight: &flight,
        idle: timeouts.idle,
    };
    flight.at(State::Sending);
    pace.arm(Timer::UpstreamIdle);
    let written = &trip.record.written;
    let progress = || pace.arm(Timer::UpstreamIdle);
    let refused = send(upstream, (trip.out, written), progress).await?;
    let exchange = Exchange {
        proxy: trip.proxy,
        client: &client.stream,
        upstream,
        asked: trip.prepared.asked,
        upgrade: trip.prepared.upgrade.as_deref(),
        wishes: trip.prepared.wishes.as_deref(),
        timeouts,
        flight: &flight,
        record: trip.record,
        buffers_answer: trip.prepared.buffers.answer,
        peeks: trip.prepared.peeks,
        addressee: trip.prepared.addressee.as_ref(),
        mark: trip.prepared.mark.as_deref(),
    };
    if refused.is_some() || !body.has_rest() {
        exchange.is_sent();
        let answered = answer(&exchange, Some(&mut client.input)).await;
        return rated(answered, refused);
    }
    // What was kept needs nothing of the client, which is watched for its leaving then.
    let (input, early) = if body.is_complete() {
        (None, Some(&mut client.input))
    } else {
        (Some(&mut client.input), None)
    };
    let mut upload = pin!(body.stream(&client.stream, input, upstream, pace));
    let mut answer = pin!(answer(&exchange, early));
    let mut uploading = true;
    let mut refused = None;
    let both = poll_fn(|cx| {
        if uploading && let Poll::Ready(ended) = upload.as_mut().poll(cx) {
            uploading = false;
            exchange.is_sent();
            match ended {
                Ok(()) => trip.record.body_taken.set(true),
                Err(Stopped::Fault(fault)) => return Poll::Ready(Err(Failure::Fault(fault))),
                Err(Stopped::Refused(cause)) => refused = Some(cause),
            }
        }
        answer.as_mut().poll(cx)
    });
    let mut answered = both.await;
    if uploading && let Ok(answered) = &mut answered {
        // The upstream would take the next request for the rest of this body.
        answered.reusable = false;
    }
    rated(answered, refused)
}

/// Writes the head and what goes along with it. An upstream that stops reading may have answered already:
/// then the error comes back for later, and the answer is looked for first.
async fn send(
    upstream: &Stream,
    (out, written): (&[u8], &Cell<bool>),
    progress: impl Fn(),
) -> Result<Option<io::Error>, Failure> {
    // Of several records the upstream may read the first while the others are still under way.
    let is_in_records = out.len() > RECORD && upstream.is_tls();
    written.set(written.get() || is_in_records);
    let first = poll_fn(|cx| upstream.poll_write(cx, out)).await;
    match first {
        Ok(count) => {
            written.set(true);
            // What is left may be nothing; then it is only seen off.
            Ok(write_all(upstream, &out[count..], progress).await.err())
        }
        Err(cause) if is_in_records => Err(Failure::NoAnswer(Some(cause))),
        // A record that is not here as a whole is read by nobody.
        Err(cause) => Err(Failure::Unwritten(cause)),
    }
}

/// An upstream that took no more and gave no answer failed where it took no more; one that answered
/// all the same is between no two requests.
fn rated(
    answered: Result<Answered, Failure>,
    refused: Option<io::Error>,
) -> Result<Answered, Failure> {
    match (answered, refused) {
        (Err(Failure::NoAnswer(None)), refused) => Err(Failure::NoAnswer(refused)),
        (Ok(mut answered), Some(_)) => {
            answered.reusable = false;
            Ok(answered)
        }
        (answered, _) => answered,
    }
}

/// After the answer: the upstream's connection goes back to the pool or ends, a tunnel runs.
async fn settle(
    proxy: &Rc<Proxy>,
    client: &mut Client,
    (stream, (endpoint, lane)): (Stream, (&Endpoint, Lane)),
    answered: Answered,
    body: &Body,
) -> Result<Ending, Fault> {
    let flight = client.flight.clone();
    if let Some(changed) = answered.changed {
        return tunnel(client, &stream, changed, &flight)
            .await
            .map(|()| Ending::Close);
    }
    if answered.reusable && body.is_complete() {
        give_back(proxy, &flight, stream, lane);
    } else {
        drop(stream);
    }
    if let Some(backlog) = answered.backlog {
        if let Some(seat) = flight.seat.borrow().as_ref() {
            seat.is_done();
        }
        if answered.cut.as_ref().is_some_and(Fault::is_suspicious) {
            endpoint.health.suspect();
        }
        Box::pin(backlog.deliver(client)).await?;
    }
    if let Some(fault) = answered.cut {
        return Err(fault);
    }
    Ok(match (body.is_complete(), answered.keep_alive) {
        (true, true) => Ending::KeepAlive,
        (true, false) => Ending::Close,
        (false, _) => Ending::Linger,
    })
}

#[cfg(test)]
mod tests {
    use super::super::modes::Entry;
    use super::*;
    use crate::net::Buffer;
    use crate::proxy::Peer;
    use crate::proxy::framing::Framing;
    use crate::proxy::prepare::Buffers;
    use crate::proxy::response::Asked;
    use crate::switch::Epoch;
    use std::task::Context;
    use std::task::Waker;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    fn upload(length: u64) -> Prepared {
        Prepared {
            length: 0,
            epoch: Epoch(1),
            service: 0,
            slot: 0,
            is_bound: false,
            mark: None,
            client: [127, 0, 0, 1].into(),
            member: None,
            most_body: 0,
            framing: Framing::Length(length),
            asked: Asked {
                is_head: false,
                is_http11: true,
                upgrade: false,
                expects_continue: false,
                keep_alive: true,
            },
            upgrade: None,
            buffers: Buffers::default(),
            peeks: false,
            owes_continue: false,
            entry: Entry::AtOnce,
            is_idempotent: false,
            addressee: None,
            wishes: None,
        }
    }

    fn client(proxy: &Proxy) -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = Client {
            stream: ours.into(),
            input: Buffer::default(),
            peer: Peer::new(([127, 0, 0, 1], 1).into(), 80),
            flight: Flight::new(proxy.clock.clone(), ""),
        };
        (client, theirs)
    }

    /// Writes until the other side would have to read.
    fn fill_up(stream: &Stream) {
        let mut cx = Context::from_waker(Waker::noop());
        while stream.poll_write(&mut cx, &[b'x'; 4096]).is_ready() {}
    }

    #[tokio::test]
    async fn a_connection_that_did_not_take_the_whole_upload_is_never_used_again() {
        let proxy = Proxy::idle();
        let (mut client, mut browser) = client(&proxy);
        let (ours, mut backend) = UnixStream::pair().unwrap();
        let upstream = Stream::from(ours);
        let prepared = upload(4);
        let trip = Trip {
            proxy: &proxy,
            prepared: &prepared,
            record: &Record::begin(),
            out: b"POST / HTTP/1.1\r\n\r\n",
        };
        let timeouts = Timeouts::default();
        let mut body = Body::new(prepared.framing, 0);
        let flight = client.flight.clone();
        let mut attempt = pin!(attempt(&trip, &mut client, &upstream, &timeouts, &mut body));
        let mut goes_on = async || {
            let waits = poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx).is_pending()));
            assert!(waits.await);
            tokio::task::yield_now().await;
        };
        while flight.state.get() != State::Sending {
            goes_on().await;
        }
        fill_up(&upstream);
        browser.write_all(b"body").await.unwrap();
        while flight.bytes_in.get() < 4 {
            goes_on().await;
        }
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
        backend.write_all(answer).await.unwrap();
        let Ok(answered) = attempt.await else {
            panic!("it was answered")
        };
        assert!(!answered.reusable, "the rest of the body is still to come");
        let mut got = [0; 12];
        browser.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"HTTP/1.1 413");
    }
}
