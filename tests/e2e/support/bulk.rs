//! A client of long bodies: it sends and takes them without keeping them, as slowly as it is asked to.

use super::DEADLINE;
use super::message::Head;
use super::odoo::Content;
use super::odoo::Digest;
use super::wire::find;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Interval;
use tokio::time::timeout;

/// How much is sent or read at a time.
const PIECE: u64 = 64 * 1024;
/// A slow one sends or reads so often.
const BEAT: Duration = Duration::from_millis(50);

pub(crate) struct Bulk {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// Bytes per second.
pub(crate) struct Pace {
    beat: Interval,
    each: u64,
}

impl Pace {
    pub(crate) fn new(per_second: u64) -> Self {
        let beats = 1000 / u64::try_from(BEAT.as_millis()).unwrap();
        Self {
            beat: tokio::time::interval(BEAT),
            each: per_second / beats,
        }
    }
}

impl Bulk {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("the proxy listens");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends a head.
    pub(crate) async fn begin(&mut self, line: &str, lines: &str) {
        let head = format!("{line} HTTP/1.1\r\nHost: app.test\r\n{lines}\r\n");
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// Sends that part of the pattern.
    pub(crate) async fn send(&mut self, part: Range<u64>) {
        let content = Content::Pattern(part.end);
        let mut at = part.start;
        while at < part.end {
            let end = part.end.min(at + PIECE);
            let piece = content.piece(at..end);
            timeout(DEADLINE, self.stream.write_all(&piece))
                .await
                .expect("somebody reads what is sent")
                .unwrap();
            at = end;
        }
    }

    /// The same, slowly: one step, and how far it came.
    pub(crate) async fn send_some(&mut self, part: Range<u64>, pace: &mut Pace) -> u64 {
        pace.beat.tick().await;
        let end = part.end.min(part.start + pace.each);
        self.send(part.start..end).await;
        end
    }

    pub(crate) async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                return Head::parse(std::mem::replace(&mut self.unread, rest));
            }
            assert!(self.more(PIECE).await, "the stream ended in the head");
        }
    }

    /// False at the end of the stream.
    async fn more(&mut self, most: u64) -> bool {
        let most = usize::try_from(most.min(PIECE)).unwrap();
        let before = self.unread.len();
        self.unread.resize(before + most, 0);
        let read = timeout(DEADLINE, self.stream.read(&mut self.unread[before..]));
        let count = read.await.expect("something comes").unwrap();
        self.unread.truncate(before + count);
        count > 0
    }

    /// Takes that many bytes of a body, fewer where the stream ends first.
    pub(crate) async fn take(&mut self, count: u64, body: &mut Digest) {
        let end = body.length + count;
        while body.length < end {
            if self.unread.is_empty() && !self.more(end - body.length).await {
                return;
            }
            let wanted = usize::try_from(end - body.length).unwrap();
            let rest = self.unread.split_off(wanted.min(self.unread.len()));
            body.add(&self.unread);
            self.unread = rest;
        }
    }

    /// The same, slowly: one step.
    pub(crate) async fn take_some(&mut self, body: &mut Digest, pace: &mut Pace) {
        pace.beat.tick().await;
        self.take(pace.each, body).await;
    }
}
