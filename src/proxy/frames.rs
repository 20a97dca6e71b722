//! Where a websocket's messages begin and end (RFC 6455, section 5), seen in bytes as they pass.
//!
//! Looks at headers only and holds no payload. What the peers do to each other is not judged here: bytes that
//! cannot be framed are told as such, and from there on nothing is known.

/// The longest header: two bytes, a length of eight, a mask of four.
const HEADER: usize = 14;
/// The longest payload of a control frame.
const CONTROL: usize = 125;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// One direction of a websocket, as far as it has passed.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// What is still to come of the payload of the frame under way.
    payload: u64,
    messages: u64,
    /// Of the frame under way; `held` bytes of it are here while it is incomplete.
    header: [u8; HEADER],
    held: u8,
    /// A message has begun, and its last frame has not ended.
    in_message: bool,
    sight: Sight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sight {
    #[default]
    Clear,
    /// A Close frame has passed: nothing may follow it.
    Closed,
    /// These are no frames that we understand.
    Lost,
}

impl Frames {
    /// Takes in what has passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// A frame of our own may stand here: no frame and no message is under way, and the direction is not closed.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.sight == Sight::Clear && self.payload == 0 && self.held == 0 && !self.in_message
    }

    /// How many of the coming `bytes` pass until a frame of our own may stand behind them; none if there is no
    /// such place among them.
    #[must_use]
    pub fn boundary(&self, bytes: &[u8]) -> Option<usize> {
        let mut ahead = self.clone();
        let mut at = 0;
        while at < bytes.len() {
            at += ahead.step(&bytes[at..]);
            if ahead.is_between() {
                return Some(at);
            }
        }
        None
    }

    /// A Close frame has passed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sight == Sight::Closed
    }

    /// What has passed is no sequence of frames that we understand.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.sight == Sight::Lost
    }

    /// Messages that have passed whole; control frames are none.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Takes in bytes up to the end of one frame, at least one byte; how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        if self.sight == Sight::Clear && self.payload == 0 {
            taken = self.take_header(bytes);
            if self.held > 0 {
                return taken;
            }
        }
        if self.sight != Sight::Clear {
            return bytes.len();
        }
        let here = (bytes.len() - taken) as u64;
        let count = self.payload.min(here);
        self.payload -= count;
        if self.payload == 0 {
            self.end_frame();
        }
        // Not more than there are bytes, so it fits.
        taken + usize::try_from(count).unwrap_or(bytes.len())
    }

    fn take_header(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let held = usize::from(self.held);
            let wanted = match held {
                0 | 1 => 2,
                _ => header_length(self.header[1]),
            };
            if held == wanted {
                self.begin_frame(wanted);
                return taken;
            }
            let count = (wanted - held).min(bytes.len() - taken);
            if count == 0 {
                return taken;
            }
            self.header[held..held + count].copy_from_slice(&bytes[taken..taken + count]);
            taken += count;
            // At most fourteen.
            self.held += u8::try_from(count).unwrap_or(0);
        }
    }

    /// The header is complete; none is held any more.
    fn begin_frame(&mut self, header_length: usize) {
        self.held = 0;
        let [first, second] = [self.header[0], self.header[1]];
        let mask = if second & MASKED == 0 { 0 } else { 4 };
        let long = &self.header[2..header_length - mask];
        self.payload = match long {
            [] => u64::from(second & !MASKED),
            long => long
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let whole = first & FIN != 0 && self.payload <= CONTROL as u64;
        let is_sound = match first & 0x0f {
            CONTINUATION => self.in_message,
            TEXT | BINARY => !std::mem::replace(&mut self.in_message, true),
            CLOSE | PING | PONG => whole,
            _ => false,
        };
        // The highest bit of a length must not be set.
        if !is_sound || self.payload > u64::MAX >> 1 {
            self.sight = Sight::Lost;
        }
    }

    fn end_frame(&mut self) {
        let first = self.header[0];
        match first & 0x0f {
            CLOSE => self.sight = Sight::Closed,
            CONTINUATION | TEXT | BINARY if first & FIN != 0 => {
                self.in_message = false;
                self.messages += 1;
            }
            _ => {}
        }
    }
}

fn header_length(second: u8) -> usize {
    let long = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    2 + long + mask
}

/// A Close frame. With a `mask` it is one that a client may send.
///
/// `reason` is cut to what fits, 123 bytes.
#[must_use]
pub fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let fits = reason.floor_char_boundary(CONTROL - 2);
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..fits]);
    // At most 125.
    let length = u8::try_from(payload.len()).unwrap_or(0);
    let mut frame = vec![FIN | CLOSE, length];
    if let Some(mask) = mask {
        frame[1] |= MASKED;
        frame.extend_from_slice(&mask);
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
    }
    frame.append(&mut payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::protocol::WebSocket;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

    /// One frame as a client or a server writes it, by the other implementation.
    fn written(opcode: OpCode, fin: bool, length: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
        let header = FrameHeader {
            is_final: fin,
            opcode,
            mask,
            ..FrameHeader::default()
        };
        let frame = Frame::from_payload(header, vec![0x88_u8; length].into());
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    /// A direction's bytes, and behind which of them a frame of ours may stand.
    #[derive(Debug, Clone, Default)]
    struct Told {
        bytes: Vec<u8>,
        boundaries: Vec<usize>,
        messages: u64,
    }

    /// One message: the lengths of its fragments, with a ping between them where it is told.
    #[derive(Debug, Clone)]
    struct Spoken {
        fragments: Vec<(usize, bool)>,
        ping_behind: bool,
    }

    fn spoken() -> impl Strategy<Value = Spoken> {
        let length = prop_oneof![
            4 => 0_usize..20,
            2 => 120_usize..130,
            1 => 65_530_usize..65_540,
        ];
        let fragments = prop::collection::vec((length, any::<bool>()), 1..5);
        (fragments, any::<bool>()).prop_map(|(fragments, ping_behind)| Spoken {
            fragments,
            ping_behind,
        })
    }

    fn told(messages: &[Spoken], mask: Option<[u8; 4]>) -> Told {
        let mut told = Told::default();
        let ping = written(OpCode::Control(Control::Ping), true, 3, mask);
        for message in messages {
            let last = message.fragments.len() - 1;
            for (number, (length, ping_behind)) in message.fragments.iter().enumerate() {
                let opcode = match number {
                    0 => Data::Binary,
                    _ => Data::Continue,
                };
                let fin = number == last;
                let frame = written(OpCode::Data(opcode), fin, *length, mask);
                told.bytes.extend(frame);
                if *ping_behind && !fin {
                    told.bytes.extend(&ping);
                }
            }
            told.messages += 1;
            told.boundaries.push(told.bytes.len());
            if message.ping_behind {
                told.bytes.extend(&ping);
                told.boundaries.push(told.bytes.len());
            }
        }
        told
    }

    proptest! {
        #[test]
        fn the_boundaries_are_found_however_the_bytes_are_cut(
            messages in prop::collection::vec(spoken(), 0..8),
            mask in any::<Option<[u8; 4]>>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let told = told(&messages, mask);
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(told.bytes.len() + 1)).collect();
            at.extend([0, told.bytes.len()]);
            at.sort_unstable();
            let mut frames = Frames::default();
            prop_assert!(frames.is_between(), "nothing has passed");
            for piece in at.windows(2) {
                let (from, to) = (piece[0], piece[1]);
                let next = told.boundaries.iter().find(|end| **end > from && **end <= to);
                let found = frames.boundary(&told.bytes[from..to]).map(|length| from + length);
                prop_assert_eq!(found, next.copied());
                frames.pass(&told.bytes[from..to]);
                let is_boundary = to == 0 || told.boundaries.contains(&to);
                prop_assert_eq!(frames.is_between(), is_boundary, "behind byte {}", to);
            }
            prop_assert_eq!(frames.messages(), told.messages);
            prop_assert!(!frames.is_lost() && !frames.is_closed());
        }

        #[test]
        fn whatever_passes_is_seen_alike_in_one_piece_and_byte_by_byte(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let (mut whole, mut pieces) = (Frames::default(), Frames::default());
            whole.pass(&bytes);
            for byte in &bytes {
                pieces.pass(&[*byte]);
            }
            prop_assert_eq!(whole.is_between(), pieces.is_between());
            prop_assert_eq!(whole.is_lost(), pieces.is_lost());
            prop_assert_eq!(whole.messages(), pieces.messages());
        }

        #[test]
        fn every_close_frame_is_read_by_others_as_it_was_meant(
            code in 3000_u16..5000,
            reason in ".{0,200}",
            mask in any::<Option<[u8; 4]>>(),
        ) {
            let frame = close_frame(code, &reason, mask);
            prop_assert!(frame.len() <= HEADER + CONTROL);
            let role = if mask.is_some() { Role::Server } else { Role::Client };
            let stream = std::io::Cursor::new(frame.clone());
            let read = WebSocket::from_raw_socket(stream, role, None).read().unwrap();
            let Message::Close(Some(CloseFrame { code: told, reason: words })) = read else {
                panic!("{read:?}")
            };
            prop_assert_eq!(u16::from(told), code);
            prop_assert!(reason.starts_with(words.as_str()));
            prop_assert!(words.len() == reason.len() || words.len() > CONTROL - 6);
            let mut frames = Frames::default();
            frames.pass(&frame);
            prop_assert!(frames.is_closed() && !frames.is_between());
        }
    }

    #[test]
    fn a_close_between_two_fragments_ends_the_direction_in_its_message() {
        let mut frames = Frames::default();
        frames.pass(&written(OpCode::Data(Data::Text), false, 10, None));
        assert!(!frames.is_between());
        let close = close_frame(1001, "", None);
        assert_eq!(frames.boundary(&close), None);
        frames.pass(&close);
        assert!(frames.is_closed() && !frames.is_between());
        frames.pass(b"whatever follows");
        assert!(frames.is_closed() && !frames.is_lost());
    }

    #[test]
    fn what_is_no_frame_is_told_and_never_taken_for_a_boundary() {
        let fragment = written(OpCode::Data(Data::Text), false, 1, None);
        let text = written(OpCode::Data(Data::Text), true, 1, None);
        let rest = written(OpCode::Data(Data::Continue), true, 1, None);
        for (what, bytes) in [
            ("a continuation of nothing", rest),
            ("a message inside a message", [fragment, text].concat()),
            ("a ping in fragments", vec![0x09, 0]),
            ("a ping that is too long", vec![0x89, 126, 0, 126]),
            ("an unknown opcode", vec![0x83, 0]),
            ("an unknown control opcode", vec![0x8b, 0]),
            (
                "a length of more than 63 bits",
                vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            ),
        ] {
            let mut frames = Frames::default();
            assert_eq!(frames.boundary(&bytes), None, "{what}");
            frames.pass(&bytes);
            assert!(frames.is_lost() && !frames.is_between(), "{what}");
            frames.pass(&[0x81, 0]);
            assert!(frames.is_lost() && !frames.is_between(), "{what}");
        }
    }

    #[test]
    fn the_largest_lengths_neither_overflow_nor_end_early() {
        let mut frames = Frames::default();
        frames.pass(&[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        frames.pass(&vec![0; 100_000]);
        assert!(!frames.is_lost() && !frames.is_between());
        // Reserved bits belong to an extension, and a length may be longer written than needed.
        let mut frames = Frames::default();
        frames.pass(&[0xc1, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'x']);
        assert!(frames.is_between());
        assert_eq!(frames.messages(), 1);
    }
}
