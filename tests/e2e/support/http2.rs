//! HTTP/2 from the clients' side: one that keeps the rules, and one that sends whatever frames it is told to.

use super::DEADLINE;
use bytes::Bytes;
use h2::Reason;
use h2::RecvStream;
use h2::SendStream;
use h2::client::Builder;
use h2::client::ResponseFuture;
use h2::client::SendRequest;
use http::HeaderMap;
use http::Request;
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client that keeps the rules, on one connection without TLS.
pub(crate) struct Http2 {
    send: SendRequest<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Http2Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.head.headers.get(name)?;
        Some(value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Which [`super::Backend`] answered; empty when none did.
    pub(crate) fn backend(&self) -> &str {
        self.get("x-backend").unwrap_or_default()
    }
}

/// A request for `app.test`.
pub(crate) fn h2_request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://app.test{path}"))
}

impl Http2 {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::connect_with(to, &Builder::new()).await
    }

    pub(crate) async fn connect_with(to: SocketAddr, builder: &Builder) -> Self {
        let stream = TcpStream::connect(to).await.expect("the proxy listens");
        stream.set_nodelay(true).unwrap();
        Self::over(stream, builder).await
    }

    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        builder: &Builder,
    ) -> Self {
        let (send, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self { send }
    }

    /// Another hand on the same connection.
    pub(crate) fn sender(&self) -> SendRequest<Bytes> {
        self.send.clone()
    }

    /// Sends a head. Without `more` that is all of the request.
    pub(crate) async fn begin(
        &self,
        request: http::request::Builder,
        more: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        begin(self.sender(), request, more).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Http2Answer, h2::Error> {
        self.ask(h2_request("GET", path), &[]).await
    }

    /// One request with its whole body, and the whole answer.
    pub(crate) async fn ask(
        &self,
        request: http::request::Builder,
        body: &[u8],
    ) -> Result<Http2Answer, h2::Error> {
        ask(self.sender(), request, body).await
    }
}

pub(crate) async fn begin(
    send: SendRequest<Bytes>,
    request: http::request::Builder,
    more: bool,
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    let mut send = timeout(DEADLINE, send.ready())
        .await
        .expect("a stream may begin")?;
    send.send_request(request.body(()).unwrap(), !more)
}

pub(crate) async fn ask(
    send: SendRequest<Bytes>,
    request: http::request::Builder,
    body: &[u8],
) -> Result<Http2Answer, h2::Error> {
    let (response, mut stream) = begin(send, request, !body.is_empty()).await?;
    let body = Bytes::copy_from_slice(body);
    let upload = async {
        if !body.is_empty() {
            // What came before the whole was sent may be the answer.
            let _ = send_all(&mut stream, body, true).await;
        }
    };
    let ((), answer) = tokio::join!(upload, whole(response));
    answer
}

/// As much at a time as the windows allow.
pub(crate) async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    is_last: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len().min(64 * 1024));
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let room = timeout(DEADLINE, room).await.expect("the window opens");
        let Some(room) = room else { break };
        let piece = bytes.split_to(room?.min(bytes.len()));
        let last = is_last && bytes.is_empty();
        stream.send_data(piece, last)?;
    }
    Ok(())
}

/// Reads an answer to its end.
pub(crate) async fn whole(response: ResponseFuture) -> Result<Http2Answer, h2::Error> {
    let response = timeout(DEADLINE, response).await.expect("it is answered")?;
    let (head, mut stream) = response.into_parts();
    let (body, trailers) = rest(&mut stream).await?;
    Ok(Http2Answer {
        head,
        body,
        trailers,
    })
}

/// Reads a body to its end.
pub(crate) async fn rest(
    stream: &mut RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = timeout(DEADLINE, stream.data()).await.expect("it goes on") {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = timeout(DEADLINE, stream.trailers())
        .await
        .expect("it ends")?;
    Ok((body, trailers))
}

/// The frames that the tests send by hand.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame as it is on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & END_STREAM != 0
    }

    /// Of `RST_STREAM` and GOAWAY.
    pub(crate) fn reason(&self) -> Reason {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        let code: [u8; 4] = self.payload[at..at + 4].try_into().unwrap();
        u32::from_be_bytes(code).into()
    }

    /// Of GOAWAY.
    pub(crate) fn last_stream(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

/// A frame's bytes, whatever sense it makes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literal fields: neither compressed nor checked.
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn length(length: usize, out: &mut Vec<u8>) {
    if length < 127 {
        out.push(u8::try_from(length).unwrap());
        return;
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// The four fields that every request begins with.
pub(crate) fn get_fields(path: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (":method", b"GET".to_vec()),
        (":scheme", b"http".to_vec()),
        (":authority", b"app.test".to_vec()),
        (":path", path.as_bytes().to_vec()),
    ]
}

/// The HEADERS of a GET without a body.
pub(crate) fn get_frame(stream: u32, path: &str) -> Vec<u8> {
    let fields = get_fields(path);
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, &value[..]))
        .collect();
    frame(
        kind::HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &block(&fields),
    )
}

/// A client that sends exactly what it is told to.
pub(crate) struct Frames {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Frames {
    /// Says hello, with SETTINGS of these pairs.
    pub(crate) async fn connect(to: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(to).await.expect("the proxy listens");
        stream.set_nodelay(true).unwrap();
        let mut frames = Self {
            stream,
            unread: Vec::new(),
        };
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, &payload)].concat();
        frames.send(&hello).await;
        frames
    }

    /// # Panics
    /// When the other side has hung up.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(DEADLINE, self.stream.write_all(bytes))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The next frame; none at the end of the connection, however it ended.
    ///
    /// # Panics
    /// When nothing comes.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.unread));
            match read.await.expect("a frame, or the end") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.unread.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
            payload: self.unread.get(9..9 + length)?.to_vec(),
        };
        self.unread.drain(..9 + length);
        Some(frame)
    }

    /// The first frame that is the one.
    ///
    /// # Panics
    /// When the connection ends before.
    pub(crate) async fn until(&mut self, what: &str, is_it: impl Fn(&Frame) -> bool) -> Frame {
        while let Some(frame) = self.next().await {
            if is_it(&frame) {
                return frame;
            }
        }
        panic!("the connection ended before {what}");
    }

    /// How a stream ended: none for `END_STREAM`, else why it was reset.
    pub(crate) async fn end_of(&mut self, stream: u32) -> Option<Reason> {
        let is_end = |frame: &Frame| {
            frame.stream == stream && (frame.ends_stream() || frame.kind == kind::RST_STREAM)
        };
        let end = self.until("the end of the stream", is_end).await;
        (end.kind == kind::RST_STREAM).then(|| end.reason())
    }

    /// Why the connection was ended: the last GOAWAY before it. None when it ended without.
    pub(crate) async fn sent_away(&mut self) -> Option<Reason> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            if frame.kind == kind::GOAWAY {
                reason = Some(frame.reason());
            }
        }
        reason
    }
}
