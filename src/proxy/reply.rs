//! Answers of our own: what a client sees when a request cannot be answered by an upstream.

use super::fault::Fault;
use super::fault::whole_seconds;
use super::response::Asked;
use super::response::write_connection;
use super::response::write_length;

/// Appends the whole answer for `fault`.
///
/// `Retry-After` stands where waiting helps; `X-Switchd-Fault` names the cause, and which timeout it was.
pub(super) fn for_fault(fault: &Fault, id: &str, asked: Asked, out: &mut Vec<u8>) {
    let status = fault.status();
    let reason = reason(status);
    let body = format!("{status} {reason}: {fault}\nrequest {id}\n");
    out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    out.extend_from_slice(
        b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n",
    );
    out.extend_from_slice(
        format!(
            "X-Switchd-Fault: {}\r\nX-Request-ID: {id}\r\n",
            fault.code()
        )
        .as_bytes(),
    );
    match fault {
        Fault::Method(_) => {
            out.extend_from_slice(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
        }
        Fault::Unauthorized { realm } => out.extend_from_slice(
            format!("WWW-Authenticate: Basic realm=\"{realm}\", charset=\"UTF-8\"\r\n").as_bytes(),
        ),
        Fault::RateLimited { wait, .. } => {
            let wait = whole_seconds(*wait);
            out.extend_from_slice(format!("Retry-After: {wait}\r\n").as_bytes());
        }
        Fault::Connect(_) | Fault::QueueFull | Fault::Spool(_) | Fault::Timeout(_)
            if status >= 500 =>
        {
            out.extend_from_slice(b"Retry-After: 5\r\n");
        }
        _ => {}
    }
    write_length(body.len() as u64, out);
    write_connection(asked, out);
    out.extend_from_slice(b"\r\n");
    if !asked.is_head {
        out.extend_from_slice(body.as_bytes());
    }
}

pub(super) fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}
