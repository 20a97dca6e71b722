//! HTTP/2 TOWARDS CLIENTS: one connection, many requests.
//!
//! Called by `edge/connection` for a connection that speaks it. Never answers or forwards by itself: each
//! stream becomes a [`Client`](crate::proxy::Client) of HTTP/1.1 whose connection is in memory, and is served by the one engine
//! that serves all others (`proxy/`). Rules: a client's window is what empties an answer, so nothing piles up;
//! an answer that was cut is reset, never ended; whoever keeps us busy without asking for anything is sent away.
//!
//! `connection` speaks the protocol by way of the `h2` crate, over a `line` that gathers what is written and
//! weighs what is read (`meter`). `stream` joins one request's engine with its `upload` and its `answer`.

mod answer;
mod connection;
mod head;
mod line;
mod meter;
mod outbox;
mod session;
mod stream;
mod trailers;
mod upload;

use crate::net::Buffer;

pub(super) use connection::serve;

/// What an HTTP/2 client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes of a connection say about its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Http1,
    Http2,
    /// More of them will tell.
    Unclear,
}

/// A client that knows that we speak HTTP/2 says so with its first bytes, TLS or not.
#[must_use]
pub(super) fn first(input: &Buffer) -> First {
    let bytes = input.bytes();
    if bytes.starts_with(PREFACE) {
        First::Http2
    } else if PREFACE.starts_with(bytes) {
        First::Unclear
    } else {
        First::Http1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_is_told_from_methods_that_begin_like_it() {
        let first = |bytes: &[u8]| {
            let mut input = Buffer::default();
            input.append(bytes);
            first(&input)
        };
        for http1 in [
            &b"GET /"[..],
            b"POST",
            b"PRO",
            b"PRIVATE",
            b"PRI * HTTP/1.1",
        ] {
            assert_eq!(first(http1), First::Http1, "{http1:?}");
        }
        assert_eq!(first(b"P"), First::Unclear);
        assert_eq!(first(&PREFACE[..23]), First::Unclear);
        assert_eq!(first(PREFACE), First::Http2);
        assert_eq!(first(&[PREFACE, b"\0\0"].concat()), First::Http2);
    }
}
