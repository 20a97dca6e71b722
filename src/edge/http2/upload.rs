//! A request's body, out of DATA frames, into the stream that the engine reads.

use super::head::Malformed;
use super::head::one_line;
use crate::net::Remote;
use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use std::task::Context;
use std::task::Poll;

/// How a request's body goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upload {
    /// There is none, or nothing more of it.
    None,
    /// Its length stands in the head; `h2` holds the client to it.
    Raw,
    Chunked,
    /// Bytes of a websocket; their end is the end.
    Tunnel,
}

impl Upload {
    /// Brings what has come, as long as the engine reads. The client may send more only once that is taken.
    pub(super) fn advance(&mut self, body: &mut RecvStream, remote: &Remote, cx: &mut Context<'_>) {
        while *self != Self::None && remote.wants() {
            match body.poll_data(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(bytes))) => {
                    // Fails for a stream that is over: then nobody sends any more.
                    let _ = body.flow_control().release_capacity(bytes.len());
                    self.bring(bytes, remote, cx);
                }
                Poll::Ready(Some(Err(_))) => {
                    *self = Self::None;
                    remote.reset(cx);
                }
                Poll::Ready(None) => self.end(body, remote, cx),
            }
        }
    }

    fn bring(self, bytes: Bytes, remote: &Remote, cx: &Context<'_>) {
        if self != Self::Chunked {
            remote.bring(bytes, cx);
        } else if !bytes.is_empty() {
            remote.bring(format!("{:x}\r\n", bytes.len()).into(), cx);
            remote.bring(bytes, cx);
            remote.bring(Bytes::from_static(b"\r\n"), cx);
        }
    }

    fn end(&mut self, body: &mut RecvStream, remote: &Remote, cx: &mut Context<'_>) {
        let ended = std::mem::replace(self, Self::None);
        if ended == Self::Tunnel {
            remote.end(cx);
        }
        if ended != Self::Chunked {
            return;
        }
        match body.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => match last_chunk(trailers.as_ref()) {
                Ok(chunk) => remote.bring(chunk.into(), cx),
                Err(_) => remote.reset(cx),
            },
            // They come with the end, which is here.
            Poll::Ready(Err(_)) | Poll::Pending => remote.reset(cx),
        }
    }
}

/// The engine decides which trailers pass.
fn last_chunk(trailers: Option<&HeaderMap>) -> Result<Vec<u8>, Malformed> {
    let mut chunk = b"0\r\n".to_vec();
    for (name, value) in trailers.into_iter().flatten() {
        chunk.extend_from_slice(name.as_str().as_bytes());
        chunk.extend_from_slice(b": ");
        chunk.extend_from_slice(one_line(value)?);
        chunk.extend_from_slice(b"\r\n");
    }
    chunk.extend_from_slice(b"\r\n");
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_stand_behind_the_last_chunk() {
        assert_eq!(last_chunk(None).unwrap(), b"0\r\n\r\n");
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        assert_eq!(
            last_chunk(Some(&trailers)).unwrap(),
            b"0\r\nx-sum: 1\r\n\r\n"
        );
    }
}
