//! One request, from its head to the last byte of its answer.

use super::admit::admit;
use super::admit::readmit;
use super::asker::Asker;
use super::belongings::Proxy;
use super::body::Body;
use super::cached;
use super::client::Client;
use super::client::write_all;
use super::fault::Fault;
use super::fault::Side;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::forward::Trip;
use super::forward::forward;
use super::heads;
use super::heads::Addressee;
use super::local;
use super::modes;
use super::prepare::Decision;
use super::prepare::Judge;
use super::prepare::Look;
use super::prepare::prepare;
use super::receive;
use super::receive::receive;
use super::record::Record;
use super::reply::Reply;
use super::response::Asked;
use super::shadow;
use crate::config::Errors;
use crate::telemetry::client_id;
use crate::upstream::connect_failure_in_words;
use std::pin::pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The next request may come.
    KeepAlive,
    /// Said goodbye in order.
    Close,
    /// The client may still be sending: read on for a while, or it will not see the answer.
    Linger,
    /// The answer is incomplete: the client must notice.
    Cut,
}

/// How long an answer of ours may take to be taken by the client.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client is assumed to be before its head was read.
const UNKNOWN: Asked = Asked {
    is_head: false,
    is_http11: true,
    upgrade: false,
    expects_continue: false,
    keep_alive: false,
};

/// Reads the rest of a head that has begun to arrive, and answers the request.
pub async fn exchange(proxy: &Rc<Proxy>, client: &mut Client) -> Ending {
    let flight = client.flight.clone();
    let record = Record::begin();
    record.is_http2.set(client.peer.is_http2);
    flight.begin(proxy.fresh_id(), record.began);
    if *flight.client.borrow() != *client.peer.text {
        // A trusted proxy spoke for another client before.
        flight.client.replace(client.peer.text.to_string());
    }
    let mut out = proxy.borrow_output();
    // Pinned here: a guard that owned it would make every connection larger by as much again.
    let answered = {
        let answer = pin!(answer(proxy, client, &record, &mut out));
        flight.guard(answer).await
    };
    let ending = match &answered {
        Ok(ending) => *ending,
        Err(fault) => end(proxy, client, (&record, &out), fault).await,
    };
    record.close(proxy, &flight, answered.as_ref().err());
    proxy.return_output(out);
    flight.is_served.set(true);
    flight.clear();
    ending
}

/// Answers what has begun to arrive with a fault, whatever it is: nothing of it is read.
pub async fn refuse(proxy: &Proxy, client: &mut Client, fault: &Fault) -> Ending {
    let flight = client.flight.clone();
    let record = Record::begin();
    flight.begin(proxy.fresh_id(), record.began);
    let ending = end(proxy, client, (&record, &[]), fault).await;
    record.close(proxy, &flight, Some(fault));
    flight.clear();
    ending
}

async fn answer(
    proxy: &Rc<Proxy>,
    client: &mut Client,
    record: &Record,
    out: &mut Vec<u8>,
) -> Result<Ending, Fault> {
    let flight = client.flight.clone();
    let mut prepared = match read_head(proxy, client, &flight, out).await? {
        Decision::Forward(prepared) => prepared,
        Decision::Answer(local) => {
            record.asked.set(Some(local.asked));
            record.unused_head.set(local.length);
            return Box::pin(local::send(proxy, client, record, &local)).await;
        }
        Decision::Refuse(refused) => {
            record.asked.set(Some(refused.asked));
            record.unused_head.set(refused.length);
            record.body_taken.set(refused.framing.is_empty());
            return Err(refused.fault);
        }
        // What is needed to decide was here.
        Decision::Peek(_) => return Err(Fault::ReadOnly),
    };
    record.asked.set(Some(prepared.asked));
    record.client.set(Some(client_id(prepared.client)));
    record.body_taken.set(prepared.framing.is_empty());
    record.unused_head.set(prepared.length);
    if prepared.wishes.is_some()
        && let Some(ending) = Box::pin(cached::answer(proxy, client, record, &prepared)).await?
    {
        return Ok(ending);
    }
    let received = if receive::is_needed(&prepared, client) {
        record.uploads();
        let received = Box::pin(receive(proxy, client, &prepared, record)).await?;
        record.is_uploaded();
        Some(received)
    } else {
        None
    };
    let kept = received.as_ref().map(|received| &*received.head);
    if let Some(local) = admit(proxy, client, (&mut prepared, kept), out).await? {
        return Box::pin(local::send(proxy, client, record, &local)).await;
    }
    let mut body = if let Some(received) = received {
        received.admitted(&flight, out)
    } else {
        client.input.consume(record.unused_head.take());
        let mut body = Body::new(prepared.framing, prepared.most_body);
        // What is here of the body goes along with the head.
        body.take(&mut client.input, out, &flight)?;
        client.input.release();
        record.body_taken.set(body.is_complete());
        if !body.is_complete() {
            record.uploads();
        }
        body
    };
    loop {
        let trip = Trip {
            proxy,
            prepared: &prepared,
            record,
            out,
        };
        shadow::before(&flight, record);
        let fault = match forward(&trip, client, &mut body).await {
            Err(fault @ (Fault::Connect(_) | Fault::Timeout(Timer::Connect))) => fault,
            result => return shadow::after(result, &trip, client),
        };
        // It was never written, and traffic may have moved in the meantime: then it goes there.
        if !Box::pin(readmit(proxy, client, &prepared)).await? {
            return Err(fault);
        }
    }
}

async fn read_head(
    proxy: &Rc<Proxy>,
    client: &mut Client,
    flight: &Flight,
    out: &mut Vec<u8>,
) -> Result<Decision, Fault> {
    let mut look = Look::First;
    loop {
        let view = proxy.view();
        let judge = Judge {
            view: &view,
            peer: &client.peer,
            flight,
            look,
            worker: proxy.worker(),
        };
        if let Some(decision) = prepare(client.input.bytes(), judge, out)? {
            // The head is complete: its timer must not end the request.
            flight.disarm();
            let mut refused = match decision {
                Decision::Refuse(refused) if refused.comparison.is_some() => refused,
                Decision::Peek(peek) => {
                    Box::pin(modes::take(client, peek)).await?;
                    look = Look::Again;
                    continue;
                }
                decision => return Ok(decision),
            };
            if let Some(comparison) = refused.comparison.take()
                && Box::pin(comparison.carry_out(flight)).await?
            {
                look = Look::Again;
                continue;
            }
            return Ok(Decision::Refuse(refused));
        }
        flight.at(State::Reading);
        match client.fill().await {
            Ok(0) | Err(_) => return Err(Fault::ClientGone),
            Ok(_) => {}
        }
    }
}

/// Tells the client, the log and the prober. `sent` is what the upstream was to get, if it came to that.
async fn end(
    proxy: &Proxy,
    client: &mut Client,
    (record, sent): (&Record, &[u8]),
    fault: &Fault,
) -> Ending {
    let flight = client.flight.clone();
    report(proxy, &flight, fault);
    let is_told = record.status.get() == 0
        && !matches!(fault, Fault::ClientGone | Fault::Timeout(Timer::KeepAlive));
    let told = is_told.then(|| tell(proxy, client, (record, sent), fault));
    // A request that got no seat is over: its head must not be read as the next one.
    client.input.consume(record.unused_head.take());
    let Some(Told { answer, keep_alive }) = told else {
        // Whoever counts bytes or chunks sees that some are missing; a close alone tells nothing to the others.
        let counted = record.asked.get().is_some_and(|asked| asked.is_http11);
        return if counted || record.status.get() == 0 {
            Ending::Close
        } else {
            Ending::Cut
        };
    };
    record.status.set(fault.status());
    flight.arm(Timer::ClientIdle, REPLY_TIMEOUT);
    // It may be what is over.
    flight.arm_total(None);
    let written = async {
        write_all(&client.stream, &answer, || {})
            .await
            .map_err(|_| Fault::ClientGone)
    };
    let written = flight.guard(written).await;
    flight.bytes_out.set(answer.len() as u64);
    match written {
        Ok(()) if keep_alive => Ending::KeepAlive,
        Ok(()) => Ending::Linger,
        Err(_) => Ending::Close,
    }
}

struct Told {
    answer: Vec<u8>,
    keep_alive: bool,
}

/// The answer for a fault, as the asker takes it and as its service writes errors.
fn tell(proxy: &Proxy, client: &Client, (record, sent): (&Record, &[u8]), fault: &Fault) -> Told {
    static NOBODYS: LazyLock<Errors> = LazyLock::new(Errors::default);
    let asker = match sent {
        // It was refused by its head, which is still there.
        [] => Asker::read(client.input.bytes()),
        sent => Asker::read(sent),
    };
    let mut request = record.asked.get().unwrap_or(Asked {
        is_head: asker.as_ref().is_some_and(|asker| asker.is_head),
        ..UNKNOWN
    });
    request.keep_alive &=
        record.body_taken.get() && fault.side() != Side::Client && !proxy.stopping.get();
    let view = proxy.view();
    let service = asker
        .as_ref()
        .and_then(|asker| Some((asker, view.hosts.find(&asker.host)?)))
        .map(|(asker, at)| (asker, &*view.services[at].settings));
    let mut lines = Vec::new();
    if let Some((asker, settings)) = service {
        let addressee = Addressee {
            // What the upstream was to get was written by us, and tells it for proxies that are trusted too.
            is_secure: client.peer.is_secure || (!sent.is_empty() && asker.is_https),
            origin: asker.origin.clone(),
        };
        heads::write_own(settings, &addressee, &mut lines);
    }
    let reply = Reply {
        id: &client.flight.request_id.borrow(),
        was_written: record.written.get(),
        asker: asker.as_ref(),
        errors: service.map_or(&NOBODYS, |(_, settings)| &settings.errors),
        lines: &lines,
    };
    let mut answer = Vec::new();
    reply.write(fault, request, &mut answer);
    Told {
        answer,
        keep_alive: request.keep_alive,
    }
}

/// Whoever has to mend it is not whoever keeps the upstream.
fn lacking(proxy: &Proxy, flight: &Flight, cause: &std::io::Error) {
    if proxy.may_log() {
        let words = connect_failure_in_words(cause);
        let request_id = flight.request_id.borrow();
        tracing::error!(error = words, %request_id, "request not served for lack of resources");
    }
}

fn report(proxy: &Proxy, flight: &Flight, fault: &Fault) {
    if let Fault::OutOfResources(cause) = fault {
        lacking(proxy, flight, cause);
    }
    if !fault.is_suspicious() {
        return;
    }
    let seat = flight.seat.borrow();
    let Some(seat) = seat.as_ref() else { return };
    let endpoint = seat.endpoint();
    if let Some(endpoint) = endpoint {
        endpoint.health.suspect();
    }
    let left = proxy.loggable.get();
    if left > 0 {
        proxy.loggable.set(left - 1);
        let cause = std::error::Error::source(fault).map(ToString::to_string);
        tracing::warn!(
            service = %seat.ticket.service().settings.name,
            slot = %seat.ticket.slot().name,
            endpoint = endpoint.map_or("", |endpoint| &endpoint.label),
            fault = fault.code(),
            error = cause.as_deref().unwrap_or(""),
            took_ms = flight.started.get().elapsed().as_millis(),
            request_id = %flight.request_id.borrow(),
            "upstream fault"
        );
    }
}
