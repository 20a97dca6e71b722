//! Hostile frames: however they are cut, the same places are found between two messages, and a reader without
//! haste finds the same ones.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchd::proxy::Frames;

fuzz_target!(|bytes: &[u8]| {
    let slow = boundaries(bytes);
    for cut in [1, 2, 3, 7, 130, bytes.len().max(1)] {
        assert_eq!(found(bytes, cut), slow, "in pieces of {cut}");
    }
});

/// As the proxy looks for them while bytes pass in pieces of `cut`.
fn found(bytes: &[u8], cut: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut frames = Frames::default();
    let mut at = 0;
    for mut piece in bytes.chunks(cut) {
        while let Some(length) = frames.boundary(piece) {
            frames.pass(&piece[..length]);
            assert!(frames.is_between(), "a boundary is one once it has passed");
            piece = &piece[length..];
            at += length;
            found.push(at);
        }
        frames.pass(piece);
        at += piece.len();
    }
    found
}

/// One frame after the other, as RFC 6455 tells it, on whole bytes.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut boundaries = Vec::new();
    let mut in_message = false;
    let mut at = 0;
    while let Some((opcode, is_final, end)) = frame(bytes, at) {
        match (opcode, in_message) {
            (0, true) | (1 | 2, false) => in_message = !is_final,
            (9 | 10, _) => {}
            // A close, or no frame that may stand here.
            _ => return boundaries,
        }
        at = end;
        if !in_message {
            boundaries.push(at);
        }
    }
    boundaries
}

/// The whole frame at `at`: its opcode, whether it is final, and its end. None where it is not, or must not be.
fn frame(bytes: &[u8], at: usize) -> Option<(u8, bool, usize)> {
    let first = *bytes.get(at)?;
    let second = *bytes.get(at + 1)?;
    let mut next = at + 2;
    let mut number = |size: usize| -> Option<u64> {
        let written = bytes.get(next..next + size)?;
        next += size;
        Some(written.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    };
    let length = match second & 0x7f {
        126 => number(2)?,
        127 => number(8)?,
        short => u64::from(short),
    };
    if second & 0x80 != 0 {
        number(4)?;
    }
    let (opcode, is_final) = (first & 0x0f, first & 0x80 != 0);
    if length >> 63 != 0 || (opcode >= 8 && (!is_final || length > 125)) {
        return None;
    }
    let end = next.checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then_some((opcode, is_final, end))
}
