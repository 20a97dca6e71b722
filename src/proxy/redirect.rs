//! To https: what a listener answers that serves nothing itself.

use super::fault::Fault;
use super::fields::Field;
use super::local::Local;
use super::prepare::Judge;
use super::request::RequestHead;
use super::response::Asked;
use percent_encoding::CONTROLS;
use percent_encoding::utf8_percent_encode;

/// Where those look who prove that a host is theirs, before it has a certificate (RFC 8555, section 8.3).
const PROOFS: &str = "/.well-known/acme-challenge/";

/// The same request over https; none when it may be served here.
pub(super) fn redirect(
    head: &RequestHead<'_>,
    judge: Judge<'_>,
    trusted: bool,
) -> Result<Option<Local>, Fault> {
    let Some(port) = judge.peer.redirects_to else {
        return Ok(None);
    };
    let is_secure = judge.peer.is_secure
        || (trusted && head.value(Field::ForwardedProto) == Some(b"https".as_slice()));
    if is_secure || head.path.starts_with(PROOFS) {
        return Ok(None);
    }
    if head.host.is_empty() {
        return Err(Fault::BadRequest("no Host to redirect to"));
    }
    let location = location(head, port);
    Ok(Some(Local {
        length: head.length,
        asked: Asked::of(head),
        framing: head.framing,
        status: 308,
        lines: format!("Location: {location}\r\nContent-Type: text/plain; charset=utf-8\r\n")
            .into(),
        body: format!("308 Permanent Redirect: {location}\n").into(),
    }))
}

fn location(head: &RequestHead<'_>, port: u16) -> String {
    let host = String::from_utf8_lossy(head.host_name());
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    // Bytes beyond ASCII have no place in a header.
    let path = match head.path {
        "*" => "/".into(),
        path => utf8_percent_encode(path, CONTROLS).to_string(),
    };
    format!("https://{host}{port}{path}")
}
