//! The chunked transfer coding (RFC 9112, section 7.1), read strictly.
//!
//! Strict means: CRLF and nothing else ends a line, a size is one to sixteen hex digits without sign or
//! space, and an extension holds no control bytes. Whatever two parsers could read in two ways is refused.

/// How many digits a chunk's size may have.
const MOST_DIGITS: u8 = 16;
/// How long a chunk's extensions may be, all of a body's together.
const MOST_EXTENSION: usize = 4 * 1024;
/// How long the trailer section may be.
const MOST_TRAILERS: usize = 16 * 1024;
/// How many fields the trailer section may hold.
pub(super) const MOST_TRAILER_FIELDS: usize = 64;

/// The bytes are no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    #[error("a chunk size is not hexadecimal digits ended by CRLF")]
    Size,
    #[error("a chunk is not followed by CRLF")]
    End,
    #[error("chunk extensions are longer than {MOST_EXTENSION} bytes or hold control bytes")]
    Extension,
    #[error("the trailer section is longer than {MOST_TRAILERS} bytes or malformed")]
    Trailers,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'b> {
    /// More bytes are needed.
    More,
    Data(&'b [u8]),
    /// The body is complete.
    End,
}

/// Takes a chunked body apart, however its bytes are cut.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    digits: u8,
    extension: usize,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    Trailers,
    End,
}

impl Decoder {
    /// Takes what it can from the front of `input`: how many bytes that were, and what they are.
    ///
    /// # Errors
    /// [`BadChunk`]; the connection cannot be used any further.
    pub fn next<'b>(&mut self, input: &'b [u8]) -> Result<(usize, Piece<'b>), BadChunk> {
        let mut at = 0;
        loop {
            if let State::Data(left) = self.state {
                let take = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(input.len() - at);
                if take == 0 {
                    return Ok((at, Piece::More));
                }
                let left = left - take as u64;
                self.state = if left == 0 {
                    State::DataCr
                } else {
                    State::Data(left)
                };
                return Ok((at + take, Piece::Data(&input[at..at + take])));
            }
            if self.state == State::End {
                return Ok((at, Piece::End));
            }
            let Some(&byte) = input.get(at) else {
                return Ok((at, Piece::More));
            };
            at += 1;
            self.state = self.step(byte)?;
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        match (self.state, byte) {
            (State::Start, _) => {
                self.digits = 0;
                digit(byte).map(State::Size).ok_or(BadChunk::Size)
            }
            (State::Size(size) | State::Extension(size), b'\r') => Ok(State::SizeLf(size)),
            (State::Size(size), b';') => Ok(State::Extension(size)),
            (State::Size(size), _) => {
                let digit = digit(byte).ok_or(BadChunk::Size)?;
                self.digits += 1;
                // Sixteen digits fill the word; a seventeenth would push one out.
                if self.digits >= MOST_DIGITS {
                    return Err(BadChunk::Size);
                }
                Ok(State::Size(size << 4 | digit))
            }
            (State::Extension(size), _) => {
                self.extension += 1;
                let bad = (byte < b' ' && byte != b'\t')
                    || byte == 0x7f
                    || self.extension > MOST_EXTENSION;
                if bad {
                    Err(BadChunk::Extension)
                } else {
                    Ok(State::Extension(size))
                }
            }
            (State::SizeLf(0), b'\n') => Ok(State::Trailers),
            (State::SizeLf(size), b'\n') => Ok(State::Data(size)),
            (State::SizeLf(_), _) => Err(BadChunk::Size),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Start),
            (State::DataCr | State::DataLf, _) => Err(BadChunk::End),
            (State::Trailers, _) => self.trailer(byte),
            (State::Data(_) | State::End, _) => unreachable!("handled before a byte is taken"),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, BadChunk> {
        let ends_line = self.trailers.last() == Some(&b'\r');
        if (byte == b'\n') != ends_line || self.trailers.len() >= MOST_TRAILERS {
            return Err(BadChunk::Trailers);
        }
        self.trailers.push(byte);
        if self.trailers != b"\r\n" && !self.trailers.ends_with(b"\r\n\r\n") {
            return Ok(State::Trailers);
        }
        let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILER_FIELDS];
        match httparse::parse_headers(&self.trailers, &mut fields) {
            Ok(httparse::Status::Complete(_)) => Ok(State::End),
            _ => Err(BadChunk::Trailers),
        }
    }

    /// The trailer section with its empty line, once the body is complete.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }
}

fn digit(byte: u8) -> Option<u64> {
    (byte as char).to_digit(16).map(u64::from)
}

/// Appends one chunk. Nothing for no data: an empty chunk would end the body.
pub(super) fn encode(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 20);
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[data.len() >> (4 * place) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `cuts` of the input one after the other: the data and the trailers, or the error.
    fn decode(input: &[u8], cut: usize) -> Result<Option<(Vec<u8>, usize)>, BadChunk> {
        let mut decoder = Decoder::default();
        let mut data = Vec::new();
        let mut used = 0;
        for part in input.chunks(cut.max(1)) {
            let mut at = 0;
            loop {
                let (taken, piece) = decoder.next(&part[at..])?;
                at += taken;
                used += taken;
                match piece {
                    Piece::More => break,
                    Piece::Data(bytes) => data.extend_from_slice(bytes),
                    Piece::End => return Ok(Some((data, used))),
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn a_body_is_the_same_however_its_bytes_are_cut() {
        let body = b"5;a=b\r\nhello\r\n0b\r\n, big world\r\n0\r\nX-Sum: 1\r\n\r\nGET /";
        for cut in 1..body.len() {
            assert_eq!(
                decode(body, cut),
                Ok(Some((b"hello, big world".to_vec(), body.len() - 5))),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        for (body, error) in [
            (&b"-1\r\nx"[..], BadChunk::Size),
            (b"0x5\r\nhello", BadChunk::Size),
            (b" 5\r\nhello", BadChunk::Size),
            (b"5 \r\nhello", BadChunk::Size),
            (b"\r\nhello", BadChunk::Size),
            (b"5\nhello", BadChunk::Size),
            (b"5\rhello", BadChunk::Size),
            (b"10000000000000005\r\nhello", BadChunk::Size),
            (b"00000000000000005\r\nhello", BadChunk::Size),
            (b"5;\n\r\nhello", BadChunk::Extension),
            (b"5\r\nhelloX\r\n", BadChunk::End),
            (b"5\r\nhello\n0\r\n\r\n", BadChunk::End),
            (b"0\r\nX: 1\n\r\n", BadChunk::Trailers),
            (b"0\r\n\n", BadChunk::Trailers),
            (b"0\r\nX: \r1\r\n\r\n", BadChunk::Trailers),
        ] {
            assert_eq!(
                decode(body, 1),
                Err(error),
                "{:?}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn sixteen_digits_are_a_size_and_extensions_and_trailers_are_bounded() {
        assert_eq!(decode(b"ffffffffffffffff\r\nabc", 4), Ok(None));
        assert_eq!(
            decode(format!("1;{}\r\n", "x".repeat(5000)).as_bytes(), 100),
            Err(BadChunk::Extension)
        );
        assert_eq!(
            decode(
                format!("0\r\nX: {}\r\n\r\n", "x".repeat(20_000)).as_bytes(),
                100
            ),
            Err(BadChunk::Trailers)
        );
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_decoded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8), cut in 1_usize..64) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                encode(chunk, &mut wire);
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(&wire, cut), Ok(Some((chunks.concat(), wire.len()))));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..64) {
            let _ = decode(&bytes, cut);
        }

        /// Where hyper's parser and ours both accept a body, they agree on it; we accept nothing that it refuses.
        #[test]
        fn hyper_reads_every_body_that_we_accept_in_the_same_way(body in "([0-9a-fA-F]{1,2}(;[a-z=]{0,3})?\r\n[a-z]{0,12}\r\n){0,3}0\r\n(X: y\r\n)?\r\n") {
            let ours = decode(body.as_bytes(), 7);
            let theirs = hyper_reads(body.as_bytes());
            if let Ok(Some((data, _))) = ours {
                prop_assert_eq!(Some(data), theirs);
            }
        }
    }

    /// The body as hyper's server reads it, if it does.
    fn hyper_reads(body: &[u8]) -> Option<Vec<u8>> {
        use http_body_util::BodyExt;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let request = [
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            body,
        ]
        .concat();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(64 * 1024);
            tokio::io::AsyncWriteExt::write_all(&mut client, &request)
                .await
                .unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut client)
                .await
                .unwrap();
            let read = std::rc::Rc::new(std::cell::RefCell::new(None));
            let seen = read.clone();
            let service = hyper::service::service_fn(
                move |request: hyper::Request<hyper::body::Incoming>| {
                    let seen = seen.clone();
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        *seen.borrow_mut() = Some(body.to_vec());
                        Ok::<_, hyper::Error>(hyper::Response::new(
                            http_body_util::Empty::<&[u8]>::new(),
                        ))
                    }
                },
            );
            let io = hyper_util::rt::TokioIo::new(server);
            let _ = hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(io, service)
                .await;
            read.take()
        })
    }
}
