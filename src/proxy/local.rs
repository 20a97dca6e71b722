//! An answer of our own that is no fault: nobody upstream is asked.

use super::belongings::Proxy;
use super::client::Client;
use super::client::write_all;
use super::exchange::Ending;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::State;
use super::framing::Framing;
use super::record::Record;
use super::reply::reason;
use super::request::RequestHead;
use super::response::Asked;
use super::response::write_connection;
use super::response::write_length;
use crate::config::Limits;
use crate::tls::Challenges;

/// A whole answer, and what its request was.
#[derive(Debug)]
pub(super) struct Local {
    /// Bytes of the client's head.
    pub length: usize,
    pub asked: Asked,
    /// Of the request.
    pub framing: Framing,
    pub status: u16,
    /// Header lines, each ended by CRLF; neither framing nor Connection, which are ours to set.
    pub lines: Vec<u8>,
    pub body: Vec<u8>,
}

/// The answer to a certificate authority that asks whether a name is served here (RFC 8555, section 8.3).
/// None for tokens that nobody waits for: an upstream may have certificates of its own.
pub(super) fn proof(head: &RequestHead<'_>, challenges: &Challenges) -> Option<Local> {
    let token = head.path.strip_prefix(Challenges::PATH)?;
    let answer = challenges.answer(token)?;
    Some(Local {
        length: head.length,
        asked: Asked::of(head),
        framing: head.framing,
        status: 200,
        lines: b"Content-Type: application/octet-stream\r\nCache-Control: no-store\r\n".to_vec(),
        body: answer.into_bytes(),
    })
}

/// Sends it. A request's body that nobody reads ends the connection after the answer.
pub(super) async fn send(
    proxy: &Proxy,
    client: &mut Client,
    record: &Record,
    local: &Local,
) -> Result<Ending, Fault> {
    let flight = client.flight.clone();
    client.input.consume(record.unused_head.take());
    let was_taken = record.body_taken.get();
    let bodyless = was_taken || matches!(local.framing, Framing::None | Framing::Length(0));
    let mut asked = local.asked;
    asked.keep_alive &= bodyless && !proxy.stopping.get();
    record.body_taken.set(bodyless);
    let mut out = proxy.borrow_output();
    write(local, asked, &mut out);
    record.status.set(local.status);
    flight.at(State::Answering);
    let idle = Limits::default().idle_timeout;
    flight.arm(Timer::ClientIdle, idle);
    let progress = || flight.arm(Timer::ClientIdle, idle);
    let sent = write_all(&client.stream, &out, progress).await;
    flight.bytes_out.set(out.len() as u64);
    proxy.return_output(out);
    sent.map_err(|_| Fault::ClientGone)?;
    Ok(match (bodyless, asked.keep_alive) {
        (true, true) => Ending::KeepAlive,
        (true, false) => Ending::Close,
        (false, _) => Ending::Linger,
    })
}

fn write(local: &Local, asked: Asked, out: &mut Vec<u8>) {
    let status = local.status;
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    out.extend_from_slice(&local.lines);
    if status != 204 && status != 304 {
        write_length(local.body.len() as u64, out);
    }
    write_connection(asked, out);
    out.extend_from_slice(b"\r\n");
    if !asked.is_head {
        out.extend_from_slice(&local.body);
    }
}
