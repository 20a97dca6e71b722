//! Websocket frames, read strictly and written plainly.

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CONTINUATION: u8 = 0;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) is_final: bool,
    pub(super) has_rsv: bool,
    pub(super) opcode: u8,
    pub(super) is_masked: bool,
    pub(super) payload: Vec<u8>,
}

/// The frame at the front of `bytes` and its length; none when it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let is_masked = second & 0x80 != 0;
    let (length, mut at) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
            4,
        ),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap());
            (usize::try_from(length).unwrap(), 10)
        }
        short => (usize::from(short), 2),
    };
    let mask: [u8; 4] = if is_masked {
        at += 4;
        bytes.get(at - 4..at)?.try_into().unwrap()
    } else {
        [0; 4]
    };
    let payload = bytes.get(at..at + length)?;
    let unmasked = payload.iter().zip(mask.iter().cycle());
    let frame = Frame {
        is_final: first & 0x80 != 0,
        has_rsv: first & 0x70 != 0,
        opcode: first & 0x0f,
        is_masked,
        payload: unmasked.map(|(byte, mask)| byte ^ mask).collect(),
    };
    Some((frame, at + length))
}

/// A frame of the server: never masked.
pub(super) fn write(opcode: u8, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if is_final { 0x80 } else { 0 }];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < 126 => bytes.push(length),
        (_, Ok(length)) => {
            bytes.push(126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// What a close frame says; 0 and nothing where it is empty.
pub(super) fn close_words(payload: &[u8]) -> (u16, String) {
    match payload {
        [high, low, reason @ ..] => (
            u16::from_be_bytes([*high, *low]),
            String::from_utf8_lossy(reason).into_owned(),
        ),
        _ => (0, String::new()),
    }
}

pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    write(CLOSE, true, &payload)
}
