//! An answer, as the engine wrote it for HTTP/1.1, into frames.
//!
//! The client's window is what takes bytes out of the engine's stream. Body bytes are cut from it, not copied.

use super::head::is_of_connection;
use super::outbox::Portion;
use super::session::Session;
use super::trailers::trailers;
use crate::net::Remote;
use crate::proxy::Decoder;
use crate::proxy::MOST_FIELDS;
use crate::proxy::Piece;
use bytes::Buf;
use bytes::Bytes;
use h2::Reason;
use h2::SendStream;
use h2::server::SendResponse;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

/// One answer on its way.
pub(super) struct Answer {
    session: Rc<Session>,
    respond: SendResponse<Portion>,
    /// Once the head is out.
    send: Option<SendStream<Portion>>,
    is_head: bool,
    /// Of a websocket: what the upstream has to answer with.
    accept: Option<String>,
    phase: Phase,
    /// It is over, for this reason.
    over: Option<Halt>,
}

/// What the next bytes of the engine are.
#[derive(Debug)]
enum Phase {
    Head,
    Counted(u64),
    Chunked(Box<Chunks>),
    /// Whatever comes, until the engine ends its side.
    Tunnel,
}

/// Where a chunked body is. In front of the stream stand `ready` bytes of data, `gap` of framing, `next` of data.
#[derive(Debug, Default)]
struct Chunks {
    decoder: Decoder,
    ready: usize,
    gap: usize,
    next: usize,
    is_ended: bool,
}

/// Why an answer does not go on, for now or for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// The engine has written no more.
    NeedsBytes,
    /// The client takes no more.
    NeedsRoom,
    /// The last byte was given away for sending.
    Ended,
    /// Nobody takes the rest.
    Gone,
}

impl From<h2::Error> for Halt {
    fn from(_: h2::Error) -> Self {
        Self::Gone
    }
}

impl Answer {
    pub(super) fn new(
        session: Rc<Session>,
        respond: SendResponse<Portion>,
        is_head: bool,
        accept: Option<String>,
    ) -> Self {
        Self {
            session,
            respond,
            send: None,
            is_head,
            accept,
            phase: Phase::Head,
            over: None,
        }
    }

    /// What was sent is no whole answer: the client must notice.
    pub(super) fn cut(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Sends what there is.
    pub(super) fn advance(&mut self, remote: &Remote, cx: &mut Context<'_>) -> Halt {
        if let Some(over) = self.over {
            return over;
        }
        loop {
            let next = match &mut self.phase {
                Phase::Head => self.head(remote, cx),
                Phase::Counted(left) => {
                    let left = *left;
                    self.counted(left, remote, cx)
                }
                Phase::Chunked(_) => self.chunked(remote, cx),
                Phase::Tunnel => self.tunnel(remote, cx),
            };
            if let Err(halt) = next {
                return self.halt(halt, cx);
            }
        }
    }

    /// Notes an end. A stream that waits may have been given up by the client.
    fn halt(&mut self, halt: Halt, cx: &mut Context<'_>) -> Halt {
        let halt = match halt {
            Halt::NeedsBytes | Halt::NeedsRoom if self.is_given_up(cx) => Halt::Gone,
            halt => halt,
        };
        if matches!(halt, Halt::Ended | Halt::Gone) {
            self.over = Some(halt);
        }
        halt
    }

    /// Has the client reset this stream, or gone as a whole?
    pub(super) fn is_given_up(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).is_ready(),
            None => self.respond.poll_reset(cx).is_ready(),
        }
    }

    /// Passes one head on; an interim one is followed by another.
    fn head(&mut self, remote: &Remote, cx: &Context<'_>) -> Result<(), Halt> {
        let bytes = remote.outward(|out| {
            let end = memchr::memmem::find(out, b"\r\n\r\n")? + 4;
            Some(out.split_to(end).freeze())
        });
        // The engine writes no other thing than a head.
        let (head, body) = translate(&bytes.ok_or(Halt::NeedsBytes)?).ok_or(Halt::Gone)?;
        remote.took(cx);
        if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(head);
        }
        if head.status().is_informational() {
            self.respond.send_informational(head)?;
            return Ok(());
        }
        if self.accept.is_some() && head.status().is_success() {
            // To the client it would say that the tunnel is open.
            return self.refuse("the upstream did not change to a websocket");
        }
        let bodyless = self.is_head || matches!(head.status().as_u16(), 204 | 304);
        let phase = match body {
            _ if bodyless => Phase::Counted(0),
            Body::Chunked => Phase::Chunked(Box::default()),
            Body::Length(length) => Phase::Counted(length),
        };
        let is_all = matches!(phase, Phase::Counted(0));
        self.send = Some(self.respond.send_response(head, is_all)?);
        self.phase = phase;
        if is_all { Err(Halt::Ended) } else { Ok(()) }
    }

    /// A websocket is open, to the client with a 200 (RFC 8441, section 5).
    fn switched(&mut self, mut head: Response<()>) -> Result<(), Halt> {
        let told = head.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        let Some(accept) = self.accept.take() else {
            return Err(Halt::Gone);
        };
        if told.is_none_or(|told| told.as_bytes() != accept.as_bytes()) {
            return self.refuse("the upstream's Sec-WebSocket-Accept is wrong");
        }
        *head.status_mut() = StatusCode::OK;
        self.send = Some(self.respond.send_response(head, false)?);
        self.phase = Phase::Tunnel;
        Ok(())
    }

    /// An answer of our own in place of one that the client would misunderstand.
    fn refuse(&mut self, why: &'static str) -> Result<(), Halt> {
        tracing::debug!(error = why, client = %self.session.peer.text, "websocket refused");
        let body = Bytes::from(format!("502 Bad Gateway: {why}\n"));
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::BAD_GATEWAY;
        let fields = head.headers_mut();
        fields.insert("x-switchd-fault", HeaderValue::from_static("bad-answer"));
        fields.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        let mut send = self.respond.send_response(head, false)?;
        send.send_data(self.session.outbox.portion(body), true)?;
        self.send = Some(send);
        Err(Halt::Ended)
    }

    fn counted(&mut self, left: u64, remote: &Remote, cx: &mut Context<'_>) -> Result<(), Halt> {
        let here = remote.outward(|out| out.len());
        let here = usize::try_from(left).map_or(here, |left| here.min(left));
        let is_last = here as u64 == left;
        let sent = self.pass(here, is_last, remote, cx)?;
        let left = left - sent as u64;
        self.phase = Phase::Counted(left);
        if left == 0 { Err(Halt::Ended) } else { Ok(()) }
    }

    fn chunked(&mut self, remote: &Remote, cx: &mut Context<'_>) -> Result<(), Halt> {
        let Phase::Chunked(chunks) = &mut self.phase else {
            return Ok(());
        };
        let has_taken = remote.outward(|out| {
            let before = out.len();
            while chunks.next == 0 && !chunks.is_ended {
                let at = chunks.ready + chunks.gap;
                match chunks.decoder.next(&out[at..]) {
                    Ok((taken, Piece::Data(data))) => {
                        chunks.gap += taken - data.len();
                        chunks.next = data.len();
                    }
                    Ok((taken, Piece::End)) => {
                        chunks.gap += taken;
                        chunks.is_ended = true;
                    }
                    Ok((taken, Piece::More)) => {
                        chunks.gap += taken;
                        break;
                    }
                    // The engine writes no such thing.
                    Err(_) => return Err(Halt::Gone),
                }
                if chunks.ready == 0 {
                    chunks.come_closer(out);
                }
            }
            if chunks.ready == 0 {
                chunks.come_closer(out);
            }
            Ok(out.len() < before)
        })?;
        // Said without need, it would wake an engine that finds no room, again and again.
        if has_taken {
            remote.took(cx);
        }
        let (ready, is_ended) = (chunks.ready, chunks.is_ended && chunks.next == 0);
        if ready == 0 && !is_ended {
            return Err(Halt::NeedsBytes);
        }
        let trailers = if is_ended {
            trailers(chunks.decoder.trailers())
        } else {
            None
        };
        if ready == 0 {
            return Err(self.end(trailers));
        }
        let sent = self.pass(ready, is_ended && trailers.is_none(), remote, cx)?;
        let Phase::Chunked(chunks) = &mut self.phase else {
            return Ok(());
        };
        chunks.ready -= sent;
        if chunks.ready == 0 && is_ended && trailers.is_none() {
            return Err(Halt::Ended);
        }
        Ok(())
    }

    /// Behind the last byte.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Halt {
        let Some(send) = &mut self.send else {
            return Halt::Gone;
        };
        let ended = match trailers {
            Some(trailers) => send.send_trailers(trailers),
            None => send.send_data(self.session.outbox.portion(Bytes::new()), true),
        };
        ended.map_or_else(Halt::from, |()| Halt::Ended)
    }

    fn tunnel(&mut self, remote: &Remote, cx: &mut Context<'_>) -> Result<(), Halt> {
        let here = remote.outward(|out| out.len());
        if here == 0 && remote.is_finished() {
            return Err(self.end(None));
        }
        self.pass(here, false, remote, cx)?;
        Ok(())
    }

    /// Sends as much as the client's windows and our own bound allow of the `here` bytes in front: how many.
    fn pass(
        &mut self,
        here: usize,
        is_last: bool,
        remote: &Remote,
        cx: &mut Context<'_>,
    ) -> Result<usize, Halt> {
        if here == 0 {
            return Err(Halt::NeedsBytes);
        }
        let send = self.send.as_mut().ok_or(Halt::Gone)?;
        send.reserve_capacity(here);
        let mut window = send.capacity();
        while window == 0 {
            window = match send.poll_capacity(cx) {
                Poll::Ready(Some(window)) => window?,
                Poll::Ready(None) => return Err(Halt::Gone),
                Poll::Pending => return Err(Halt::NeedsRoom),
            };
        }
        let room = self.session.outbox.room(cx);
        if room == 0 {
            return Err(Halt::NeedsRoom);
        }
        let count = here.min(window).min(room);
        let bytes = remote.outward(|out| out.split_to(count).freeze());
        remote.took(cx);
        self.session.line.sent(count, window < here);
        let portion = self.session.outbox.portion(bytes);
        send.send_data(portion, is_last && count == here)?;
        Ok(count)
    }
}

impl Chunks {
    /// What is in front of the next data goes; `gap` alone when there is none yet.
    fn come_closer(&mut self, out: &mut impl Buf) {
        out.advance(self.gap);
        self.gap = 0;
        self.ready = std::mem::take(&mut self.next);
    }
}

/// How the engine says where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
}

/// Reads a head. Values are shares of its own bytes.
fn translate(bytes: &Bytes) -> Option<(Response<()>, Body)> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut room)
        .ok()?;
    let mut body = Body::Length(0);
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(parsed.code?).ok()?;
    let mut fields = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let Ok(name) = HeaderName::from_bytes(field.name.as_bytes()) else {
            continue;
        };
        match name {
            header::TRANSFER_ENCODING => body = Body::Chunked,
            header::CONTENT_LENGTH => {
                let text = std::str::from_utf8(field.value).ok()?;
                body = Body::Length(text.parse().ok()?);
            }
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        if let Ok(value) = value
            && !is_of_connection(&name)
        {
            fields.append(name, value);
        }
    }
    *head.headers_mut() = fields;
    Some((head, body))
}
