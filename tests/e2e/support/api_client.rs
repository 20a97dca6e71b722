//! The admin socket, spoken to by hand.

use super::DEADLINE;
use super::message::Framing;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::path::PathBuf;
use switchd::api::EventKind;
use switchd::api::StreamEvent;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The answer to one call.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

impl Reply {
    /// # Panics
    /// When the body is something else.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("unexpected answer ({error}): {self:?}"))
    }
}

/// A call whose answer comes line by line.
pub(crate) struct EventStream {
    reader: BufReader<UnixStream>,
    chunked: bool,
    /// What is left of the chunk being read.
    left: usize,
    line: Vec<u8>,
}

/// One call on a connection of its own.
pub(crate) async fn call(socket: &Path, request: &str, body: &str) -> std::io::Result<Reply> {
    let mut stream = EventStream::open(socket, request, body).await?;
    let head = stream.head().await?;
    let mut text = String::new();
    while let Some(line) = stream.line().await? {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Reply {
        status: head.status(),
        content_type: head.get("content-type").unwrap_or_default().to_owned(),
        text,
    })
}

impl EventStream {
    async fn open(socket: &Path, request: &str, body: &str) -> std::io::Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        let length = body.len();
        let text = format!(
            "{request} HTTP/1.1\r\nHost: switchd\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await?;
        Ok(Self {
            reader: BufReader::new(stream),
            chunked: false,
            left: 0,
            line: Vec::new(),
        })
    }

    /// # Panics
    /// When the call is refused.
    pub(crate) async fn start(socket: PathBuf, request: &str, body: &str) -> Self {
        let mut stream = Self::open(&socket, request, body).await.unwrap();
        let head = stream.head().await.unwrap();
        if head.status() != 200 {
            let text = stream.line().await.unwrap();
            panic!("{request}: {head:?} {text:?}");
        }
        stream
    }

    async fn head(&mut self) -> std::io::Result<super::Head> {
        let mut raw = Vec::new();
        while !raw.ends_with(b"\r\n\r\n") {
            let read = timeout(DEADLINE, self.reader.read_until(b'\n', &mut raw)).await??;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = super::Head::parse(raw);
        match head.response_framing("GET") {
            Framing::Chunked => self.chunked = true,
            Framing::Length(length) => self.left = usize::try_from(length).unwrap(),
            Framing::UntilClose => self.left = usize::MAX,
        }
        Ok(head)
    }

    /// None at the end.
    async fn line(&mut self) -> std::io::Result<Option<String>> {
        loop {
            if self.left == 0 && !self.next_chunk().await? {
                return Ok(self.rest());
            }
            match timeout(DEADLINE, self.reader.read_u8()).await? {
                Ok(b'\n') => {
                    self.left -= 1;
                    return Ok(Some(self.take_line()));
                }
                Ok(byte) => {
                    self.left -= 1;
                    self.line.push(byte);
                }
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(self.rest());
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn next_chunk(&mut self) -> std::io::Result<bool> {
        if !self.chunked {
            return Ok(false);
        }
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            let read = timeout(DEADLINE, self.reader.read_line(&mut line)).await??;
            if read == 0 {
                return Ok(false);
            }
        }
        self.left = usize::from_str_radix(line.trim(), 16).unwrap();
        Ok(self.left > 0)
    }

    fn take_line(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.line)).unwrap()
    }

    fn rest(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take_line())
    }

    /// The next event; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<StreamEvent> {
        let line = self.line().await.expect("the stream goes on or ends")?;
        let event = serde_json::from_str(&line);
        Some(event.unwrap_or_else(|error| panic!("unexpected event ({error}): {line}")))
    }

    /// Reads on until `wanted` accepts an event.
    ///
    /// # Panics
    /// When the stream ends before.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&EventKind) -> bool) -> StreamEvent {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            if wanted(&event.kind) {
                return event;
            }
            seen.push(event.kind);
        }
        panic!("the stream ended before the event; it told {seen:?}");
    }

    /// A flip's end: it was done, and so many requests were cut.
    ///
    /// # Panics
    /// When it ended otherwise.
    pub(crate) async fn ends_with_cut(self, wanted: u64) {
        let end = self.all().await.pop();
        assert!(
            matches!(end, Some(EventKind::Done { cut, .. }) if cut == wanted),
            "{end:?}"
        );
    }

    /// All that is left, to the end.
    pub(crate) async fn all(mut self) -> Vec<EventKind> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event.kind);
        }
        events
    }
}
