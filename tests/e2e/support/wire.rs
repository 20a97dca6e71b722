//! A connection that sends exact bytes and shows exact bytes.

use super::DEADLINE;
use super::link::Link;
use super::message::{Answer, Body, End, Framing, Head, fields};
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConnection;

/// Everything that arrived on one connection, as it arrived.
pub(crate) type Tap = Arc<Mutex<Vec<u8>>>;

/// How much is read at a time, at least.
const PIECE: usize = 16 * 1024;

pub(crate) struct Wire {
    stream: Link,
    unread: Vec<u8>,
    tap: Tap,
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("the proxy listens");
        Self::over(stream)
    }

    /// From an address of this machine's own: any of 127.0.0.0/8.
    pub(crate) async fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from, 0)).expect("loopback");
        let stream = socket.connect(to).await.expect("the proxy listens");
        Self::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self::across(Link::Plain(stream))
    }

    pub(crate) fn across(stream: Link) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            tap: Tap::default(),
        }
    }

    pub(crate) fn tap(&self) -> Tap {
        Arc::clone(&self.tap)
    }

    /// The other side may have hung up already: what follows is read, not written, to find out.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.ok();
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        timeout(DEADLINE, sent)
            .await
            .unwrap_or_else(|_| Err(late("nobody reads what is sent")))
    }

    /// Says that nothing more comes from here.
    pub(crate) async fn finish_sending(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Ends what is sent as TCP does, whatever runs over it.
    pub(crate) fn hang_up(&self) {
        socket2::SockRef::from(self.stream.tcp())
            .shutdown(std::net::Shutdown::Write)
            .ok();
    }

    /// Goes away as rudely as TCP allows.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(self.stream.tcp())
            .set_linger(Some(std::time::Duration::ZERO))
            .ok();
    }

    pub(crate) fn into_parts(self) -> (Link, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// Of a client that speaks TLS.
    pub(crate) fn session(&self) -> &ClientConnection {
        self.stream.session()
    }

    /// False at the end of the stream.
    async fn more(&mut self) -> io::Result<bool> {
        let before = self.unread.len();
        self.unread.reserve(PIECE);
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.unread))
            .await
            .unwrap_or_else(|_| Err(late("nothing arrives")))?;
        let new = &self.unread[before..];
        self.tap.lock().unwrap().extend_from_slice(new);
        Ok(read > 0)
    }

    /// None when the stream ended before a head began.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                return Ok(Some(Head::parse(self.take(end + 4))));
            }
            if !self.more().await? {
                return if self.unread.is_empty() {
                    Ok(None)
                } else {
                    Err(cut())
                };
            }
        }
    }

    pub(crate) async fn body(&mut self, framing: Framing) -> io::Result<Body> {
        let mut body = Body {
            data: Vec::new(),
            trailers: Vec::new(),
            end: End::Clean,
        };
        let ended = match framing {
            Framing::Length(length) => self.counted(length, &mut body).await,
            Framing::Chunked => self.chunked(&mut body).await,
            Framing::UntilClose => self.until_close(&mut body).await,
        };
        match ended {
            Ok(()) => Ok(body),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            Err(_) => {
                body.end = End::Cut;
                Ok(body)
            }
        }
    }

    async fn counted(&mut self, length: u64, body: &mut Body) -> io::Result<()> {
        while (body.data.len() as u64) < length {
            self.fill().await?;
            let wanted = usize::try_from(length).unwrap() - body.data.len();
            let piece = self.take(wanted.min(self.unread.len()));
            body.data.extend(piece);
        }
        Ok(())
    }

    async fn until_close(&mut self, body: &mut Body) -> io::Result<()> {
        loop {
            let piece = self.take(self.unread.len());
            body.data.extend(piece);
            if !self.more().await? {
                return Ok(());
            }
        }
    }

    async fn chunked(&mut self, body: &mut Body) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16)
                .map_err(|_| io::Error::other(format!("a bad chunk: {line:?}")))?;
            if size == 0 {
                break;
            }
            let before = body.data.len() as u64;
            self.counted(before + size, body).await?;
            self.line().await?;
        }
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        body.trailers = fields(lines.iter().map(String::as_str));
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let mut line = self.take(end + 2);
                line.truncate(end);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if !self.more().await? {
                return Err(cut());
            }
        }
    }

    /// Nothing has arrived that was not read yet.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let more = timeout(Duration::ZERO, self.more()).await;
        more.is_err() && self.unread.is_empty()
    }

    /// At least `wanted` bytes, without regard to framing; fewer when the stream ends first.
    pub(crate) async fn bytes(&mut self, wanted: usize) -> Vec<u8> {
        while self.unread.len() < wanted {
            if !self.more().await.unwrap_or(false) {
                break;
            }
        }
        self.take(wanted.min(self.unread.len()))
    }

    /// Everything until the stream ends, cleanly or not.
    ///
    /// # Panics
    /// When it stays open.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.more().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    assert_ne!(
                        error.kind(),
                        io::ErrorKind::TimedOut,
                        "the connection stays open"
                    );
                    break;
                }
            }
        }
        self.take(self.unread.len())
    }

    /// The answer to a request of `method` that was sent before.
    pub(crate) async fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head().await?.ok_or_else(cut)?;
            if (100..200).contains(&head.status()) && head.status() != 101 {
                interim.push(head);
            } else {
                break head;
            }
        };
        let body = match head.status() {
            101 => self.body(Framing::Length(0)).await?,
            _ => self.body(head.response_framing(method)).await?,
        };
        Ok(Answer {
            interim,
            head,
            body,
        })
    }

    /// # Panics
    /// When no head arrives.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let answer = self.try_answer(method).await;
        answer.unwrap_or_else(|error| panic!("no answer to {method}: {error}"))
    }

    /// Sends a whole request and reads its answer.
    pub(crate) async fn ask(&mut self, raw: impl AsRef<[u8]>) -> Answer {
        let raw = raw.as_ref();
        let method = raw.split(|b| *b == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(method).into_owned();
        self.send(raw).await;
        self.answer(&method).await
    }

    /// As [`Wire::ask`]; none when the connection was closed in order before anything was sent.
    ///
    /// # Panics
    /// When the connection breaks after the request was sent.
    pub(crate) async fn ask_politely(&mut self, method: &str, raw: &str) -> Option<Answer> {
        if matches!(self.stream.tcp().try_read(&mut [0; 1]), Ok(0)) {
            return None;
        }
        self.send(raw).await;
        Some(self.answer(method).await)
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.unread.is_empty() && !self.more().await? {
            return Err(cut());
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }
}

/// A request with a Host, `extra` header lines (each ended by CRLF) and a counted body.
pub(crate) fn request(line: &str, extra: &str, body: &str) -> String {
    let length = match (
        body.len(),
        line.starts_with("GET") || line.starts_with("HEAD"),
    ) {
        (0, true) => String::new(),
        (length, _) => format!("Content-Length: {length}\r\n"),
    };
    format!("{line} HTTP/1.1\r\nHost: app.test\r\n{length}{extra}\r\n{body}")
}

/// One GET on a connection of its own.
pub(crate) async fn get(from: SocketAddr, path: &str) -> Answer {
    Wire::connect(from)
        .await
        .ask(request(&format!("GET {path}"), "Connection: close\r\n", ""))
        .await
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended too early")
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what.to_owned())
}

/// What only an upstream does.
impl Wire {
    /// Waits for whatever comes next and forgets it; false at the end of the stream.
    pub(crate) async fn try_body_byte(&mut self) -> io::Result<bool> {
        self.unread.clear();
        self.unread.reserve(PIECE);
        let read = self.stream.read_buf(&mut self.unread).await?;
        self.tap.lock().unwrap().extend_from_slice(&self.unread);
        Ok(read > 0)
    }

    pub(crate) async fn echo(mut self) -> io::Result<()> {
        loop {
            let piece = self.take(self.unread.len());
            self.try_send(piece).await?;
            if !self.more().await? {
                self.finish_sending().await;
                return Ok(());
            }
        }
    }
}
