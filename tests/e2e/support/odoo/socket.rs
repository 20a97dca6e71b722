//! A connection as Odoo's servers read and write it: line by line, with the patience of a Python socket.

use super::super::message::Framing;
use super::super::message::Head;
use super::super::wire::find;
use super::content::Digest;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How much is read or written at a time.
const PIECE: usize = 64 * 1024;

/// Bodies are kept up to here for those who read them; of longer ones only the digest is known.
const MOST_KEPT: usize = 1 << 20;

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
    /// The longest wait for one read or one write; none waits for ever.
    patience: Option<Duration>,
}

/// What a server takes of a head, and its answers to more.
pub(super) struct HeadLimits {
    pub(super) url: usize,
    pub(super) line: usize,
    pub(super) lines: usize,
    pub(super) long_line: u16,
    pub(super) many_lines: u16,
}

pub(super) const PREFORK_LIMITS: HeadLimits = HeadLimits {
    url: 65_536,
    line: 65_536,
    // The empty line counts for Python's limit of 100.
    lines: 99,
    long_line: 431,
    many_lines: 431,
};

pub(super) const GEVENT_LIMITS: HeadLimits = HeadLimits {
    url: 8_300,
    line: 65_536,
    lines: 98,
    long_line: 400,
    many_lines: 400,
};

/// Why there is no request.
pub(super) enum NoHead {
    /// Not a byte came; the other side hung up, or patience ended.
    Silent {
        hung_up: bool,
    },
    /// It broke off within the head: there is no answer to that.
    BrokenOff,
    Refused(u16),
}

/// A request's body as far as it came.
#[derive(Default)]
pub(super) struct Arrived {
    pub(super) digest: Digest,
    pub(super) is_whole: bool,
    /// Its first bytes, all of them where it is short.
    pub(super) kept: Vec<u8>,
}

impl Arrived {
    fn add(&mut self, bytes: &[u8]) {
        self.digest.add(bytes);
        let room = MOST_KEPT - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(super) fn is_kept_whole(&self) -> bool {
        self.is_whole && self.kept.len() as u64 == self.digest.length
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream, patience: Option<Duration>) -> Self {
        stream.set_nodelay(true).ok();
        Self {
            stream,
            unread: Vec::new(),
            patience,
        }
    }

    async fn within<T>(
        patience: Option<Duration>,
        io: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        match patience {
            None => io.await,
            Some(patience) => timeout(patience, io)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// False at the end of the stream.
    pub(super) async fn more(&mut self) -> io::Result<bool> {
        self.unread.reserve(PIECE);
        let read = self.stream.read_buf(&mut self.unread);
        Ok(Self::within(self.patience, read).await? > 0)
    }

    pub(super) async fn head(&mut self, limits: &HeadLimits) -> Result<Head, NoHead> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                self.refuse_excess(limits, end)?;
                return Ok(Head::parse(self.take(end + 4)));
            }
            self.refuse_excess(limits, self.unread.len())?;
            match self.more().await {
                Ok(true) => {}
                Ok(false) | Err(_) if !self.unread.is_empty() => return Err(NoHead::BrokenOff),
                Ok(false) => return Err(NoHead::Silent { hung_up: true }),
                Err(error) => {
                    let hung_up = error.kind() != io::ErrorKind::TimedOut;
                    return Err(NoHead::Silent { hung_up });
                }
            }
        }
    }

    fn refuse_excess(&self, limits: &HeadLimits, end: usize) -> Result<(), NoHead> {
        let mut lines = self.unread[..end].split(|byte| *byte == b'\n');
        let longer = |line: &[u8], most: usize| line.len() >= most;
        if lines.next().is_some_and(|line| longer(line, limits.url)) {
            return Err(NoHead::Refused(414));
        }
        let mut count = 0;
        for line in lines {
            count += 1;
            if longer(line, limits.line) {
                return Err(NoHead::Refused(limits.long_line));
            }
        }
        if count > limits.lines {
            return Err(NoHead::Refused(limits.many_lines));
        }
        Ok(())
    }

    /// Reads a body until its end, or until patience ends.
    pub(super) async fn body(&mut self, framing: Framing) -> Arrived {
        let mut arrived = Arrived::default();
        let ended = match framing {
            Framing::Length(length) => self.counted(length, &mut arrived).await,
            Framing::Chunked => self.chunked(&mut arrived).await,
            Framing::UntilClose => Ok(()),
        };
        arrived.is_whole = ended.is_ok();
        arrived
    }

    async fn counted(&mut self, length: u64, arrived: &mut Arrived) -> io::Result<()> {
        let end = arrived.digest.length + length;
        while arrived.digest.length < end {
            if self.unread.is_empty() && !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let wanted = usize::try_from(end - arrived.digest.length).unwrap_or(usize::MAX);
            let piece = self.take(wanted.min(self.unread.len()));
            arrived.add(&piece);
        }
        Ok(())
    }

    async fn chunked(&mut self, arrived: &mut Arrived) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.counted(size, arrived).await?;
            self.line().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = self.take(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What was read and not taken.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// What came with the head and was not asked for is lost.
    pub(super) fn forget_unread(&mut self) {
        self.unread.clear();
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            Self::within(self.patience, self.stream.write_all(piece)).await?;
        }
        Ok(())
    }

    /// FIN. What the other side still sends is read away beside the worker, so that no RST overtakes the answer.
    pub(super) fn finish(mut self) {
        tokio::spawn(async move {
            self.stream.shutdown().await.ok();
            self.patience = Some(Duration::from_secs(10));
            while self.more().await.unwrap_or(false) {
                self.unread.clear();
            }
        });
    }

    /// RST.
    pub(super) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).ok();
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }
}
