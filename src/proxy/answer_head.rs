//! The head of an answer: read, judged, and written for the client.

use super::answer::Exchange;
use super::answer::Read;
use super::backlog::Backlog;
use super::dress::Dress;
use super::dress::dress;
use super::fault::Fault;
use super::forward::Failure;
use super::framing::Framing;
use super::outlet::Outlet;
use super::peek::Peek;
use super::peek::peek;
use super::request::FieldRoom;
use super::request::MOST_FIELDS;
use super::response::ResponseHead;
use super::sendfile::Sending;
use super::sendfile::named;
use super::sessions;
use super::tunnel::Protocol;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::SMALL;
use std::cell::Cell;

/// Interim answers (1xx) before the real one; more is an upstream gone mad.
const MOST_INTERIM: u32 = 32;

/// What the head says about what follows.
pub(super) struct Meta {
    pub length: usize,
    pub status: u16,
    pub is_interim: bool,
    pub protocol: Protocol,
    pub framing: Framing,
    pub outlet: Outlet,
    /// Looks for an error in the body.
    pub peek: Option<Peek>,
    pub file: Option<Box<Sending>>,
    /// Where it is kept for the client.
    pub backlog: Option<Box<Backlog>>,
    pub reusable: bool,
    pub keep_alive: bool,
}

/// Reads until the final head is here, passing interim ones on; leaves it in `out`, written for the client.
pub(super) async fn head(
    exchange: &Exchange<'_>,
    input: &mut Buffer,
    out: &mut Vec<u8>,
    early: &mut Option<&mut Buffer>,
) -> Result<Meta, Failure> {
    let mut interim = 0;
    let mut begun = false;
    let size = Cell::new(SMALL);
    loop {
        while let Some(meta) = translate(input.bytes(), exchange, out)? {
            input.consume(meta.length);
            if !meta.is_interim {
                return Ok(meta);
            }
            interim += 1;
            if interim > MOST_INTERIM {
                return Err(Fault::BadAnswer("it has too many interim answers").into());
            }
            // HTTP/1.0 knows none, and a 100 is for those who wait for it.
            if exchange.asked.is_http11 && (meta.status != 100 || exchange.asked.expects_continue) {
                exchange.write(out).await?;
                exchange.still_waits();
            }
            out.clear();
        }
        if input.len() >= SMALL {
            size.set(LARGE);
        }
        match exchange.read(input, &size, early, &mut None).await {
            Ok(0) if begun => return Err(Fault::CutShort(None).into()),
            Ok(0) => return Err(Failure::NoAnswer(None)),
            Err(Read::Failed(cause)) if !begun => return Err(Failure::NoAnswer(Some(cause))),
            Err(read) => return Err(read.into_fault().into()),
            Ok(_) => {}
        }
        if !begun {
            begun = true;
            exchange
                .record
                .upstream
                .set(Some(exchange.record.began.elapsed()));
        }
    }
}

/// Reads one head and writes it into `out`; none when it is not complete.
fn translate(
    bytes: &[u8],
    exchange: &Exchange<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Meta>, Fault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut room: FieldRoom<'_> = [const { std::mem::MaybeUninit::uninit() }; MOST_FIELDS];
    let Some(head) = ResponseHead::read(bytes, &mut room, exchange.asked)? else {
        return Ok(None);
    };
    if head.status == 101 && !exchange.upgrade.is_some_and(|asked| head.changes_to(asked)) {
        return Err(Fault::BadAnswer(
            "it changes to a protocol that was not asked for",
        ));
    }
    sessions::guard(&head, exchange)?;
    let file = named((&head, bytes), exchange)?;
    let mut asked = exchange.asked;
    let dress = match file {
        // What the client gets of it is judged once the file is there.
        Some(_) => Dress::plain(&head, exchange),
        None => dress(&head, exchange),
    };
    let framing = dress.outlet.framing();
    // What is left of an upload is read and forgotten: a request behind it would be too.
    asked.keep_alive &= framing != Framing::UntilClose
        && exchange.record.body_taken.get()
        && !exchange.proxy.stopping.get();
    head.write_edited((bytes, &dress.edits), (asked, framing), out);
    if matches!(head.status, 502 | 504)
        && let Some(endpoint) = exchange
            .flight
            .seat
            .borrow()
            .as_ref()
            .and_then(|seat| seat.endpoint())
    {
        endpoint.health.suspect();
    }
    let is_kept = dress.is_kept && !head.is_interim();
    let backlog = is_kept.then(|| Backlog::of(exchange)).flatten();
    Ok(Some(Meta {
        length: head.length,
        status: head.status,
        is_interim: head.is_interim(),
        protocol: match head.status {
            101 if head.changes_to(b"websocket") => Protocol::Websocket,
            _ => Protocol::Other,
        },
        framing: head.framing,
        outlet: dress.outlet,
        peek: peek(&head, exchange),
        file,
        backlog,
        reusable: head.keep_alive,
        keep_alive: asked.keep_alive,
    }))
}
