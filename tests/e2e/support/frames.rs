//! Both ends of a websocket by hand: each frame as it is on the wire.

use super::Backend;
use super::link::Link;
use super::message::Head;
use super::script::{Reply, Step};
use super::wire::Wire;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;
use tokio::io::ReadHalf;
use tokio::sync::mpsc;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

const ASK: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Websockets that may be asked for before a test looks.
const MOST: usize = 1024;

/// One frame, its payload without its mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) fin: bool,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Of a Close frame: its code and its reason.
    ///
    /// # Panics
    /// When it is another one.
    pub(crate) fn close(&self) -> (u16, String) {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        let (code, reason) = self.payload.split_first_chunk().expect("a code");
        (
            u16::from_be_bytes(*code),
            String::from_utf8(reason.to_vec()).unwrap(),
        )
    }

    pub(crate) fn text(&self) -> String {
        assert!(self.opcode == TEXT && self.fin, "{self:?}");
        String::from_utf8(self.payload.clone()).unwrap()
    }
}

/// As a client sends it.
pub(crate) fn masked(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = unmasked(opcode, fin, payload);
    let header = frame.len() - payload.len();
    frame[1] |= 0x80;
    let body = frame.split_off(header);
    frame.extend(key);
    frame.extend(
        body.iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// As a server sends it.
pub(crate) fn unmasked(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | if fin { 0x80 } else { 0 }];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..=125) => frame.extend(length.to_be_bytes().last()),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

pub(crate) fn close_payload(code: u16) -> Vec<u8> {
    code.to_be_bytes().to_vec()
}

impl Wire {
    /// The next frame; none at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let header = self.bytes(2).await;
        let [first, second] = header[..] else {
            assert!(header.is_empty(), "the stream ended in a header");
            // It has ended: nothing was only late.
            assert_eq!(self.rest().await, b"");
            return None;
        };
        let length = match second & 0x7f {
            126 => number(&self.bytes(2).await),
            127 => number(&self.bytes(8).await),
            short => usize::from(short),
        };
        let masked = second & 0x80 != 0;
        let key = if masked { self.bytes(4).await } else { vec![0] };
        let mut payload = self.bytes(length).await;
        assert_eq!(payload.len(), length, "the stream ended in a frame");
        for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        Some(Frame {
            opcode: first & 0x0f,
            fin: first & 0x80 != 0,
            masked,
            payload,
        })
    }

    /// The next frame, which must be there.
    pub(crate) async fn next_frame(&mut self) -> Frame {
        self.frame().await.expect("one more frame")
    }
}

/// Hears one direction, as strictly as a browser does.
pub(crate) struct Ear {
    stream: BufReader<ReadHalf<Link>>,
    begun: Option<Frame>,
}

impl Ear {
    pub(crate) fn new(stream: ReadHalf<Link>) -> Self {
        Self {
            stream: BufReader::new(stream),
            begun: None,
        }
    }

    /// The next message of a server, or the next control frame; none when the stream ended in order.
    ///
    /// # Panics
    /// When the frames are none that a server may send, or a close stands inside a message.
    pub(crate) async fn message(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            assert!(!frame.masked, "{frame:?}");
            if frame.opcode >= CLOSE {
                let is_close = frame.opcode == CLOSE;
                assert!(!is_close || self.begun.is_none(), "a close in a message");
                return Some(frame);
            }
            let fin = frame.fin;
            if let Some(begun) = &mut self.begun {
                assert_eq!(frame.opcode, CONTINUATION, "a message in a message");
                begun.payload.extend(frame.payload);
            } else {
                assert_ne!(frame.opcode, CONTINUATION, "the end of no message");
                self.begun = Some(frame);
            }
            if fin {
                return self.begun.take();
            }
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        let mut header = [0; 2];
        match self.stream.read_exact(&mut header).await {
            Ok(_) => {}
            Err(end) => {
                assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof, "a clean end");
                assert!(self.begun.is_none(), "the stream ended in a message");
                return None;
            }
        }
        let [first, second] = header;
        let length = match second & 0x7f {
            126 => self.stream.read_u16().await.unwrap().into(),
            127 => self.stream.read_u64().await.unwrap(),
            short => short.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.unwrap();
        Some(Frame {
            opcode: first & 0x0f,
            fin: first & 0x80 != 0,
            masked: second & 0x80 != 0,
            payload,
        })
    }
}

fn number(bytes: &[u8]) -> usize {
    let number = bytes
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number).unwrap()
}

/// The upstream's ends of the websockets that a backend was asked for on `/ws`.
pub(crate) struct Upstreams(mpsc::Receiver<Wire>);

impl Upstreams {
    /// The backend says yes to every handshake, and leaves the rest to the test.
    pub(crate) fn of(backend: &Backend) -> Self {
        let (to, opened) = mpsc::channel(MOST);
        backend.on("/ws", Reply::steps([Step::send(AGREE), Step::Hand(to)]));
        Self(opened)
    }

    pub(crate) async fn next(&mut self) -> Wire {
        let next = tokio::time::timeout(super::DEADLINE, self.0.recv());
        next.await
            .expect("a websocket arrives")
            .expect("the backend runs")
    }

    /// A client's end and the upstream's of a new websocket.
    pub(crate) async fn open(&mut self, proxy: SocketAddr) -> (Wire, Wire) {
        let (client, head) = handshake(proxy).await;
        assert_eq!(head.status(), 101);
        (client, self.next().await)
    }
}

/// Asks for a websocket on `/ws`.
pub(crate) async fn handshake(proxy: SocketAddr) -> (Wire, Head) {
    let mut client = Wire::connect(proxy).await;
    let answer = client.ask(super::request("GET /ws", ASK, "")).await;
    (client, answer.head)
}

/// The head of such a request.
pub(crate) fn asked() -> String {
    super::request("GET /ws", ASK, "")
}
