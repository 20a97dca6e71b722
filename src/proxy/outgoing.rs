//! The head that an upstream is sent: the client's own words that pass, and ours.

use super::client::Peer;
use super::fields::Field;
use super::framing::Framing;
use super::heads;
use super::request::RequestHead;
use super::response::write_length;
use crate::config::HeaderRules;
use crate::config::Service as ServiceSettings;
use crate::net::nowhere;
use crate::net::write_introduction;
use std::net::IpAddr;

/// What the upstream is told besides the client's own words.
pub(super) struct Told<'a> {
    /// Whether the upstream's connection may be kept.
    pub keep_alive: bool,
    /// Of the operator.
    pub rules: &'a HeaderRules,
    pub trusted: bool,
    pub client: Option<IpAddr>,
    pub request_id: &'a str,
}

/// The PROXY header for a client, where upstreams are told.
pub(super) fn introduction(settings: &ServiceSettings, peer: &Peer, client: IpAddr) -> Vec<u8> {
    let mut header = Vec::new();
    if let Some(version) = settings.upstream_proxy_protocol {
        let source = if client == peer.address {
            peer.source
        } else {
            // Whom a trusted proxy names; nobody knows its port.
            (client, 0).into()
        };
        let destination = peer.destination.unwrap_or_else(nowhere);
        write_introduction(version, Some((source, destination)), &mut header);
    }
    header
}

/// Writes the head that the upstream is sent into `out`.
pub(super) fn write(
    head: &RequestHead<'_>,
    bytes: &[u8],
    peer: &Peer,
    told: &Told<'_>,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.reserve(head.length + 512);
    for part in [
        head.method,
        " ",
        head.path,
        " HTTP/1.1\r\nHost: ",
        head.host,
        "\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    heads::write_passing(head, bytes, (told.rules, told.trusted), out);
    write_forwarded(head, peer, told, out);
    line(b"X-Request-ID: ", told.request_id.as_bytes(), out);
    match head.framing {
        Framing::Length(length) => write_length(length, out),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
    write_connection(head, told.keep_alive, out);
    out.extend_from_slice(b"\r\n");
}

/// Who asks for what, over what: ours to say, unless a trusted proxy said it before.
fn write_forwarded(head: &RequestHead<'_>, peer: &Peer, told: &Told<'_>, out: &mut Vec<u8>) {
    let before = |kind| if told.trusted { head.value(kind) } else { None };
    out.extend_from_slice(b"X-Forwarded-For: ");
    if told.trusted {
        for list in head.values(Field::ForwardedFor) {
            out.extend_from_slice(list);
            out.extend_from_slice(b", ");
        }
    }
    line(b"", peer.text.as_bytes(), out);
    let host = before(Field::ForwardedHost).unwrap_or(head.host.as_bytes());
    line(b"X-Forwarded-Host: ", host, out);
    line(
        b"X-Forwarded-Proto: ",
        before(Field::ForwardedProto).unwrap_or(peer.scheme().as_bytes()),
        out,
    );
    let port = before(Field::ForwardedPort).unwrap_or(peer.port.as_bytes());
    line(b"X-Forwarded-Port: ", port, out);
    match told.client {
        Some(client) => line(b"X-Real-IP: ", client.to_string().as_bytes(), out),
        None => line(
            b"X-Real-IP: ",
            before(Field::RealIp).unwrap_or(peer.text.as_bytes()),
            out,
        ),
    }
    if peer.is_asked {
        write_certificate(peer, out);
    }
}

/// Who the client has proved to be.
fn write_certificate(peer: &Peer, out: &mut Vec<u8>) {
    let Some(certificate) = &peer.certificate else {
        return line(b"X-Client-Verify: ", b"NONE", out);
    };
    line(b"X-Client-Verify: ", b"SUCCESS", out);
    line(b"X-Client-Subject: ", certificate.subject.as_bytes(), out);
    let fingerprint = certificate.fingerprint.as_bytes();
    line(b"X-Client-Fingerprint: ", fingerprint, out);
}

fn write_connection(head: &RequestHead<'_>, keep_alive: bool, out: &mut Vec<u8>) {
    if let Some(protocol) = head.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        line(b"Upgrade: ", protocol, out);
        return;
    }
    match (keep_alive, head.takes_trailers) {
        (true, false) => {}
        (true, true) => out.extend_from_slice(b"Connection: te\r\nTE: trailers\r\n"),
        (false, false) => out.extend_from_slice(b"Connection: close\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: close, te\r\nTE: trailers\r\n"),
    }
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
