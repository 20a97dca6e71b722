//! One body on its way into a coding, piece by piece.

use crate::config::Coding;
use flate2::Compress;
use flate2::Compression as GzipLevel;
use flate2::FlushCompress;
use std::io;
use std::io::Write;
use zstd::stream::raw::CParameter;
use zstd::stream::raw::InBuffer;
use zstd::stream::raw::Operation;
use zstd::stream::raw::OutBuffer;

/// Output is made room for in steps of this.
const STEP: usize = 8 * 1024;
/// At these levels zstd would look back further than 2 MiB by itself; browsers stop at 8 MiB (RFC 9659).
const FAR_LEVEL: u8 = 9;
const ZSTD_WINDOW: u32 = 21;
/// Brotli looks back at most 1 MiB; at least so far that small bodies lose nothing.
const BROTLI_WINDOW: u32 = 20;
const LEAST_BROTLI_WINDOW: u32 = 16;
const BROTLI_BUFFER: usize = 16 * 1024;
const GZIP_WINDOW: u8 = 15;

/// One body being encoded. Holds up to a few MiB, less where the body's size is known to be small.
pub struct Encoder(Kind);

enum Kind {
    Zstd(zstd::stream::raw::Encoder<'static>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(Compress),
}

impl Encoder {
    /// `size` of the body, where it is known.
    ///
    /// # Errors
    /// The library's: no memory.
    pub fn new(coding: Coding, level: u8, size: Option<u64>) -> io::Result<Self> {
        Ok(Self(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::raw::Encoder::new(i32::from(level))?;
                if level >= FAR_LEVEL {
                    encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
                }
                encoder.set_pledged_src_size(size)?;
                Kind::Zstd(encoder)
            }
            Coding::Brotli => {
                let bits = size.map_or(BROTLI_WINDOW, |size| u64::BITS - size.leading_zeros());
                let params = brotli::enc::BrotliEncoderParams {
                    quality: i32::from(level),
                    lgwin: i32::try_from(bits.clamp(LEAST_BROTLI_WINDOW, BROTLI_WINDOW))
                        .unwrap_or_default(),
                    size_hint: size
                        .and_then(|size| usize::try_from(size).ok())
                        .unwrap_or(0),
                    ..Default::default()
                };
                let writer =
                    brotli::CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER, &params);
                Kind::Brotli(Box::new(writer))
            }
            Coding::Gzip => {
                let level = GzipLevel::new(u32::from(level));
                Kind::Gzip(Compress::new_gzip(level, GZIP_WINDOW))
            }
        }))
    }

    /// Takes the next piece; what is ready of the encoded body is appended to `out`.
    ///
    /// # Errors
    /// The library's; the body cannot be completed then.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            Kind::Zstd(encoder) => {
                let mut input = InBuffer::around(data);
                while input.pos() < data.len() {
                    step(out, |room| encoder.run(&mut input, room))?;
                }
                Ok(())
            }
            Kind::Brotli(writer) => {
                writer.write_all(data)?;
                out.append(writer.get_mut());
                Ok(())
            }
            Kind::Gzip(encoder) => deflate(encoder, data, FlushCompress::None, out),
        }
    }

    /// Appends all that was pushed so far in a form that can be decoded already.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            Kind::Zstd(encoder) => {
                while step(out, |room| encoder.flush(room))? > 0 {}
                Ok(())
            }
            Kind::Brotli(writer) => {
                writer.flush()?;
                out.append(writer.get_mut());
                Ok(())
            }
            Kind::Gzip(encoder) => deflate(encoder, &[], FlushCompress::Sync, out),
        }
    }

    /// Appends the end of the encoded body.
    ///
    /// # Errors
    /// As [`Encoder::push`]; also when the body was not as long as it was said to be.
    pub fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        match self.0 {
            Kind::Zstd(mut encoder) => {
                while step(out, |room| encoder.finish(room, false))? > 0 {}
                Ok(())
            }
            Kind::Brotli(writer) => {
                out.append(&mut writer.into_inner());
                Ok(())
            }
            Kind::Gzip(mut encoder) => deflate(&mut encoder, &[], FlushCompress::Finish, out),
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Zstd(_) => "Encoder(zstd)",
            Kind::Brotli(_) => "Encoder(br)",
            Kind::Gzip(_) => "Encoder(gzip)",
        })
    }
}

/// Lets zstd write behind what `out` holds.
fn step(
    out: &mut Vec<u8>,
    run: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
) -> io::Result<usize> {
    let held = out.len();
    out.reserve(STEP);
    let mut room = OutBuffer::around_pos(out, held);
    run(&mut room)
}

fn deflate(
    encoder: &mut Compress,
    data: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let begun = encoder.total_in();
    loop {
        out.reserve(STEP);
        let held = out.len();
        let taken = usize::try_from(encoder.total_in() - begun).unwrap_or(usize::MAX);
        let left = data.get(taken..).unwrap_or_default();
        let status = encoder.compress_vec(left, out, flush)?;
        let taken = encoder.total_in() - begun;
        // Room that was left says that nothing waits inside.
        let is_done = match flush {
            FlushCompress::Finish => status == flate2::Status::StreamEnd,
            _ => taken >= data.len() as u64 && out.len() < out.capacity(),
        };
        if is_done {
            return Ok(());
        }
        if out.len() == held && taken == begun && status == flate2::Status::BufError {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;
    use proptest::sample::select;
    use std::io::Read;

    /// As much of the body as can be decoded of what is here of it.
    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        // What is cut short is an error at its end.
        let _ = match coding {
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes)
                .unwrap()
                .read_to_end(&mut body),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut body),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut body),
        };
        body
    }

    fn text(size: usize) -> Vec<u8> {
        let words = ["odoo.define(", "function", " return ", "{};\n", "this."];
        let mut seed = 7_u32;
        let mut text = Vec::new();
        while text.len() < size {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.extend_from_slice(words[(seed >> 16) as usize % words.len()].as_bytes());
        }
        text.truncate(size);
        text
    }

    #[test]
    fn every_coding_gives_the_body_back_at_every_level() {
        let body = text(100_000);
        for (coding, levels) in [
            (Coding::Zstd, [1, 3, 9]),
            (Coding::Brotli, [0, 4, 5]),
            (Coding::Gzip, [1, 5, 9]),
        ] {
            for level in levels {
                for size in [None, Some(body.len() as u64)] {
                    let mut encoder = Encoder::new(coding, level, size).unwrap();
                    let mut out = b"before".to_vec();
                    for piece in body.chunks(30_011) {
                        encoder.push(piece, &mut out).unwrap();
                    }
                    encoder.finish(&mut out).unwrap();
                    let encoded = out.strip_prefix(b"before").unwrap();
                    assert!(encoded.len() < body.len() / 2, "{coding:?} {level}");
                    assert!(decoded(coding, encoded) == body, "{coding:?} {level}");
                }
            }
        }
    }

    #[test]
    fn what_was_flushed_can_be_read_before_the_body_ends() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, 4, None).unwrap();
            let mut out = Vec::new();
            for piece in ["one", "two", "three"] {
                encoder.push(piece.as_bytes(), &mut out).unwrap();
                encoder.flush(&mut out).unwrap();
                assert!(decoded(coding, &out).ends_with(piece.as_bytes()));
            }
        }
    }

    #[test]
    fn an_empty_body_is_a_whole_one() {
        for coding in Coding::ALL {
            let mut out = Vec::new();
            let encoder = Encoder::new(coding, 4, Some(0)).unwrap();
            encoder.finish(&mut out).unwrap();
            assert!(!out.is_empty());
            assert_eq!(decoded(coding, &out), b"");
        }
    }

    #[test]
    fn a_client_never_needs_a_window_above_8_mib() {
        // RFC 8878, section 3.1.1.1.2: the byte behind the frame header's descriptor.
        for level in [3, 9, 19] {
            let mut encoder = Encoder::new(Coding::Zstd, level, None).unwrap();
            let mut out = Vec::new();
            encoder.push(&text(50_000), &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            assert_eq!(out[4] & 0x20, 0, "no single segment: a window is told");
            let log = 10 + (out[5] >> 3);
            assert!(log <= 21, "{level}: {log}");
        }
    }

    proptest! {
        #[test]
        fn pieces_and_flushes_in_any_order_give_the_body_back(
            coding in select(&Coding::ALL[..]),
            pieces in vec((vec(any::<u8>(), 0..3000), any::<bool>()), 0..8),
        ) {
            let mut encoder = Encoder::new(coding, 3, None).unwrap();
            let mut out = Vec::new();
            let mut body = Vec::new();
            for (piece, flush) in &pieces {
                encoder.push(piece, &mut out).unwrap();
                body.extend_from_slice(piece);
                if *flush {
                    encoder.flush(&mut out).unwrap();
                    prop_assert!(decoded(coding, &out) == body);
                }
            }
            encoder.finish(&mut out).unwrap();
            prop_assert_eq!(decoded(coding, &out), body);
        }
    }
}
