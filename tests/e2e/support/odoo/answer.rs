//! What Odoo answers, and the bytes that its two servers make of it.

use super::content::Content;
use super::socket::Socket;
use std::io;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::sleep_until;

/// An answer of the application.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) lines: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
    /// Odoo dates what it takes from disk, and the server dates everything.
    pub(super) is_dated_twice: bool,
}

pub(super) enum Payload {
    /// Not even a length: 204 and 304.
    None,
    /// That part of a content.
    Part(Content, Range<u64>),
    /// No length: its end is the connection's.
    Unmeasured {
        silence: Duration,
        content: Content,
        end: End,
    },
}

/// How an unmeasured answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}

/// How the request's server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// HTTP/1.0 and closed.
    Prefork,
    /// HTTP/1.1 and closed.
    Threaded,
    /// HTTP/1.1 and kept.
    Gevent,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            lines: Vec::new(),
            payload: Payload::Part(Content::Bytes(Vec::new()), 0..0),
            is_dated_twice: false,
        }
    }

    pub(super) fn bytes(status: u16, mimetype: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status)
            .with("Content-Type", mimetype)
            .content(Content::Bytes(body.into()))
    }

    pub(super) fn html(status: u16, text: &str) -> Self {
        let page = format!("<!DOCTYPE html>\n<html><body>{text}</body></html>\n");
        Self::bytes(status, "text/html; charset=utf-8", page)
    }

    pub(super) fn redirect(status: u16, location: &str) -> Self {
        Self::html(status, "Redirecting...").with("Location", location)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.lines.push((name, value.into()));
        self
    }

    /// As a body with its length.
    pub(super) fn content(mut self, content: Content) -> Self {
        let whole = 0..content.len();
        self.payload = Payload::Part(content, whole);
        self
    }

    pub(super) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    pub(super) fn dated_twice(mut self) -> Self {
        self.is_dated_twice = true;
        self
    }

    fn head(&self, dialect: Dialect, closes: bool) -> Vec<u8> {
        let version = match dialect {
            Dialect::Prefork => "HTTP/1.0",
            Dialect::Threaded | Dialect::Gevent => "HTTP/1.1",
        };
        let date = format!("Date: {}\r\n", now());
        let mut head = format!("{version} {} {}\r\n", self.status, reason(self.status));
        if dialect != Dialect::Gevent {
            head += "Server: Werkzeug/2.2.2 Python/3.11.2\r\n";
        }
        head += &date;
        for (name, value) in &self.lines {
            head.extend([*name, ": ", value, "\r\n"]);
        }
        if let Payload::Part(_, range) = &self.payload {
            let length = (range.end - range.start).to_string();
            head.extend(["Content-Length: ", &length, "\r\n"]);
        }
        if self.is_dated_twice {
            head += &date;
        }
        if closes {
            head += "Connection: close\r\n";
        }
        head += "\r\n";
        head.into_bytes()
    }

    /// Whether the connection ends after this answer.
    pub(super) fn closes(&self, dialect: Dialect) -> bool {
        dialect != Dialect::Gevent || matches!(self.payload, Payload::Unmeasured { .. })
    }

    /// Sends it; of a HEAD's answer the head alone. The result is how the connection has to end.
    pub(super) async fn send(
        &self,
        socket: &mut Socket,
        dialect: Dialect,
        is_head: bool,
    ) -> io::Result<End> {
        let closes = self.closes(dialect);
        let head = self.head(dialect, closes);
        match &self.payload {
            Payload::None => socket.send(&head).await?,
            Payload::Part(content, range) => {
                send_part(
                    socket,
                    head,
                    content,
                    if is_head { 0..0 } else { range.clone() },
                )
                .await?;
            }
            Payload::Unmeasured {
                silence,
                content,
                end,
            } => {
                sleep_until(Instant::now() + *silence).await;
                send_part(socket, head, content, 0..content.len()).await?;
                return Ok(*end);
            }
        }
        Ok(End::Fin)
    }
}

/// Block by block, as a WSGI server does: each has the socket's patience for itself.
async fn send_part(
    socket: &mut Socket,
    head: Vec<u8>,
    content: &Content,
    range: Range<u64>,
) -> io::Result<()> {
    const BLOCK: u64 = 64 * 1024;
    let mut first = head;
    let mut at = range.start;
    loop {
        let end = range.end.min(at + BLOCK);
        first.extend(content.piece(at..end));
        socket.send(&first).await?;
        first.clear();
        at = end;
        if at >= range.end {
            return Ok(());
        }
    }
}

pub(super) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

fn reason(status: u16) -> &'static str {
    let status = http::StatusCode::from_u16(status).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("UNKNOWN")
}
