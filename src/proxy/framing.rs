//! Where a message's body ends (RFC 9112, section 6), and its bytes on the way through.

use super::chunked;
use super::chunked::BadChunk;
use super::chunked::Decoder;
use super::chunked::Piece;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    Length(u64),
    Chunked,
    /// Only answers: it ends with the connection.
    UntilClose,
}

impl Framing {
    /// Of a request: nothing follows its head.
    #[must_use]
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// The value of a Content-Length field: digits and nothing else.
#[must_use]
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}

/// Reads one body out of a connection's bytes.
#[derive(Debug)]
pub(super) enum BodyReader {
    Done,
    Length(u64),
    Chunked(Box<Decoder>),
    UntilClose,
}

impl BodyReader {
    #[must_use]
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    #[must_use]
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Takes what it can from the front of `input`: how many bytes that were, and what they are.
    ///
    /// # Errors
    /// [`BadChunk`]: the connection cannot be used any further.
    pub(super) fn next<'b>(
        &mut self,
        input: &'b [u8],
        trailers: &mut Vec<u8>,
    ) -> Result<(usize, Piece<'b>), BadChunk> {
        match self {
            Self::Done => Ok((0, Piece::End)),
            _ if input.is_empty() => Ok((0, Piece::More)),
            Self::UntilClose => Ok((input.len(), Piece::Data(input))),
            Self::Length(left) => {
                let take = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *left -= take as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok((take, Piece::Data(&input[..take])))
            }
            Self::Chunked(decoder) => {
                let (taken, piece) = decoder.next(input)?;
                if piece == Piece::End {
                    trailers.extend_from_slice(decoder.trailers());
                    *self = Self::Done;
                }
                Ok((taken, piece))
            }
        }
    }
}

/// Appends the end of a chunked body: the last chunk and those trailers that may pass.
///
/// `trailers` is a trailer section as [`BodyReader::next`] gave it, or empty.
pub(super) fn end_chunked(trailers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    let mut fields = [httparse::EMPTY_HEADER; chunked::MOST_TRAILER_FIELDS];
    if let Ok(httparse::Status::Complete((_, fields))) =
        httparse::parse_headers(trailers, &mut fields)
    {
        for field in fields.iter().filter(|field| may_trail(field.name)) {
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that frame, route, authenticate or control a message must not come after it (RFC 9110, section 6.5.1).
fn may_trail(name: &str) -> bool {
    const NEVER: [&str; 25] = [
        "transfer-encoding",
        "content-length",
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "content-encoding",
        "content-type",
        "content-range",
        "cache-control",
        "max-forwards",
        "range",
        "location",
        "vary",
        "forwarded",
        "x-real-ip",
        "x-request-id",
    ];
    let forwarded = name
        .get(..12)
        .is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded-"));
    !forwarded && !name.contains('_') && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        assert_eq!(content_length(b"0"), Some(0));
        assert_eq!(content_length(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            &b""[..],
            b"+1",
            b"-1",
            b" 1",
            b"1 ",
            b"0x1",
            b"1,1",
            b"18446744073709551616",
            b"\xff",
        ] {
            assert_eq!(
                content_length(bad),
                None,
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn framing_fields_never_pass_as_trailers() {
        let mut out = Vec::new();
        end_chunked(b"X-Sum: 1\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\nX_Y: 2\r\nX-Forwarded-For: a\r\n\r\n", &mut out);
        assert_eq!(out, b"0\r\nX-Sum: 1\r\n\r\n");
    }

    #[test]
    fn a_body_takes_its_own_bytes_only() {
        let mut reader = BodyReader::new(Framing::Length(3));
        assert_eq!(
            reader.next(b"abcGET", &mut Vec::new()),
            Ok((3, Piece::Data(b"abc")))
        );
        assert!(reader.is_done());
        assert_eq!(reader.next(b"GET", &mut Vec::new()), Ok((0, Piece::End)));
    }
}
