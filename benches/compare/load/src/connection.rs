//! One client connection, and one request with its whole answer.

use memchr::memmem;
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CHUNK: usize = 64 * 1024;

/// What is sent, made once.
pub struct Target {
    address: SocketAddr,
    head: Vec<u8>,
    body: usize,
    chunk: Vec<u8>,
}

impl Target {
    pub fn new(address: SocketAddr, path: &str, body: usize) -> Self {
        let first = match body {
            0 => format!("GET {path} HTTP/1.1\r\n"),
            _ => format!("POST {path} HTTP/1.1\r\nContent-Length: {body}\r\n"),
        };
        // The headers of a plain browser request.
        let head = format!(
            "{first}Host: bench.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\n\
             Accept-Language: en\r\nCookie: session_id=0123456789abcdef0123456789abcdef\r\n\r\n"
        );
        Self {
            address,
            head: head.into_bytes(),
            body,
            chunk: vec![b'u'; CHUNK],
        }
    }
}

/// A whole answer with status 200.
pub struct Answer {
    /// Of the body, or of the request's body when that is what is measured.
    pub bytes: u64,
    /// The first letter of `X-Slot`; `-` without one.
    pub slot: char,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Connect,
    /// A kept connection was closed under the request, without a byte of an answer.
    Reset,
    /// The answer broke off, or never came.
    Broken,
    /// An answer, but not a 200.
    Status(u16),
}

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    is_fresh: bool,
}

/// Sends over `kept`, or over a new connection that is kept when the answer allows it.
/// Has no deadline of its own.
pub async fn exchange(kept: &mut Option<Connection>, target: &Target) -> Result<Answer, Failure> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(target.address).await?,
    };
    let (answer, keeps) = connection.exchange(target).await?;
    if keeps {
        connection.is_fresh = false;
        *kept = Some(connection);
    }
    Ok(answer)
}

async fn connect(address: SocketAddr) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|_| Failure::Connect)?;
    stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
    Ok(Connection {
        stream,
        buffer: Vec::with_capacity(CHUNK),
        is_fresh: true,
    })
}

impl Connection {
    async fn exchange(&mut self, target: &Target) -> Result<(Answer, bool), Failure> {
        self.buffer.clear();
        let sent = self.send(target).await;
        // A server may answer and close before it has read all: then the answer counts.
        let head = self.head().await;
        let Ok(Some(end)) = head else {
            return Err(match (self.is_fresh, self.buffer.is_empty()) {
                (false, true) => Failure::Reset,
                _ => Failure::Broken,
            });
        };
        sent.map_err(|_| Failure::Broken)?;
        let head = Head::read(&self.buffer[..end]).ok_or(Failure::Broken)?;
        let mut missing = (end as u64 + head.length).saturating_sub(self.buffer.len() as u64);
        while missing > 0 {
            self.buffer.clear();
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Failure::Broken),
                Ok(read) => missing = missing.saturating_sub(read as u64),
            }
        }
        if head.status != 200 {
            return Err(Failure::Status(head.status));
        }
        let bytes = head.length.max(target.body as u64);
        let slot = head.slot;
        Ok((Answer { bytes, slot }, head.keeps))
    }

    async fn send(&mut self, target: &Target) -> io::Result<()> {
        self.stream.write_all(&target.head).await?;
        let mut left = target.body;
        while left > 0 {
            let chunk = &target.chunk[..left.min(CHUNK)];
            self.stream.write_all(chunk).await?;
            left -= chunk.len();
        }
        Ok(())
    }

    /// Where the head ends; none when the connection ended before it did.
    async fn head(&mut self) -> io::Result<Option<usize>> {
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                return Ok(Some(at + 4));
            }
        }
    }
}

struct Head {
    status: u16,
    length: u64,
    slot: char,
    keeps: bool,
}

impl Head {
    /// None for what the upstreams of this comparison never send, chunks among it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let status = lines.next()?.get(9..12)?.parse().ok()?;
        let mut head = Self {
            status,
            length: u64::MAX,
            slot: '-',
            keeps: true,
        };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.parse().ok()?;
            } else if name.eq_ignore_ascii_case("x-slot") {
                head.slot = value.chars().next()?;
            } else if name.eq_ignore_ascii_case("connection") {
                head.keeps = !value.eq_ignore_ascii_case("close");
            }
        }
        (head.length != u64::MAX).then_some(head)
    }
}
