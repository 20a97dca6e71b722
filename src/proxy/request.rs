//! A client's request head: read, accepted or refused, and written anew for the upstream.
//!
//! The bytes are parsed by httparse. What a message means is decided here, and strictly: a head
//! that two parsers could read in two ways is refused, never repaired (RFC 9112, sections 3, 6 and 11.2).

use super::fault::Fault;
use super::fields::Connection;
use super::fields::Field;
use super::fields::classify;
use super::fields::options;
use super::framing::Framing;
use super::framing::content_length;
use super::lines::Lines;
use std::mem::MaybeUninit;
use std::net::Ipv6Addr;

/// More header lines than this are refused whatever the operator's limit is.
pub const MOST_FIELDS: usize = 256;

/// Room for the parser; uninitialised, so it costs nothing.
pub type FieldRoom<'b> = [MaybeUninit<httparse::Header<'b>>; MOST_FIELDS];

/// A request head that may be forwarded.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct RequestHead<'b> {
    pub length: usize,
    pub method: &'b str,
    /// As the client wrote it.
    pub target: &'b str,
    /// What the upstream is asked for: origin form, or `*`.
    pub path: &'b str,
    pub is_http11: bool,
    /// With port, as the client wrote it; empty only in HTTP/1.0.
    pub host: &'b str,
    pub framing: Framing,
    pub connection: Connection,
    /// The protocol that the client wants to change to.
    pub upgrade: Option<&'b [u8]>,
    pub expects_continue: bool,
    pub takes_trailers: bool,
    /// Its name and password were for us: Authorization does not pass.
    pub keeps_credentials: bool,
    fields: &'b [httparse::Header<'b>],
    kinds: [Field; MOST_FIELDS],
}

/// Bounds on a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    pub bytes: usize,
    pub fields: usize,
}

impl<'b> RequestHead<'b> {
    /// Reads one head from the front of `bytes`. None when it is not complete yet.
    ///
    /// # Errors
    /// The fault says what is wrong with it; the connection must not be used any further.
    pub fn read(
        bytes: &'b [u8],
        room: &'b mut FieldRoom<'b>,
        limits: HeadLimits,
    ) -> Result<Option<Self>, Fault> {
        let mut parsed = httparse::Request::new(&mut []);
        let status = httparse::ParserConfig::default().parse_request_with_uninit_headers(
            &mut parsed,
            bytes,
            room,
        );
        let length = match status {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() >= limits.bytes => {
                return Err(Fault::HeadTooLarge("it is longer than limits.header_size"));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(too_many()),
            Err(error) => return Err(Fault::BadRequest(words(error))),
        };
        if length > limits.bytes {
            return Err(Fault::HeadTooLarge("it is longer than limits.header_size"));
        }
        if parsed.headers.len() > limits.fields {
            return Err(too_many());
        }
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Fault::BadRequest("no request line"));
        };
        let mut head = RequestHead {
            length,
            method,
            target,
            path: target,
            is_http11: version == 1,
            host: "",
            framing: Framing::None,
            connection: Connection::default(),
            upgrade: None,
            expects_continue: false,
            takes_trailers: false,
            keeps_credentials: false,
            fields: parsed.headers,
            kinds: [Field::Other; MOST_FIELDS],
        };
        head.examine()?;
        head.check_target()?;
        Ok(Some(head))
    }

    /// One look at each field.
    fn examine(&mut self) -> Result<(), Fault> {
        let mut hosts = 0;
        let mut length = None;
        let mut codings = 0;
        let fields = self.fields;
        for (field, kind) in fields.iter().zip(&mut self.kinds) {
            *kind = classify(field.name);
            match *kind {
                Field::Host => {
                    hosts += 1;
                    self.host = std::str::from_utf8(field.value)
                        .map_err(|_| Fault::BadRequest("Host is not ASCII"))?;
                }
                Field::ContentLength => {
                    let value = content_length(field.value)
                        .ok_or(Fault::BadRequest("Content-Length is not a number"))?;
                    if length.is_some_and(|known| known != value) {
                        return Err(Fault::BadRequest("Content-Lengths differ"));
                    }
                    length = Some(value);
                }
                Field::TransferEncoding => {
                    codings += 1;
                    if !field.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Fault::BadRequest(
                            "Transfer-Encoding is not exactly chunked",
                        ));
                    }
                }
                Field::Connection => self.connection.add(field.value),
                Field::Upgrade => self.upgrade = Some(field.value),
                Field::Te => {
                    self.takes_trailers |=
                        options(field.value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                }
                Field::Expect if field.value.eq_ignore_ascii_case(b"100-continue") => {
                    self.expects_continue = self.is_http11;
                }
                Field::Expect => return Err(Fault::Expectation),
                _ => {}
            }
        }
        match hosts {
            0 if self.is_http11 => return Err(Fault::BadRequest("no Host")),
            0 | 1 => {}
            _ => return Err(Fault::BadRequest("more than one Host")),
        }
        self.framing = match (codings, length) {
            (0, None) => Framing::None,
            (0, Some(length)) => Framing::Length(length),
            (_, Some(_)) => {
                return Err(Fault::BadRequest(
                    "both Content-Length and Transfer-Encoding",
                ));
            }
            (_, None) if !self.is_http11 => {
                return Err(Fault::BadRequest("Transfer-Encoding in HTTP/1.0"));
            }
            (1, None) => Framing::Chunked,
            _ => return Err(Fault::BadRequest("more than one Transfer-Encoding")),
        };
        self.settle_upgrade();
        Ok(())
    }

    /// An upgrade must be asked for by Connection too, and a body has no place in front of a tunnel.
    /// `h2c` would carry requests that nobody looked at.
    fn settle_upgrade(&mut self) {
        let asked = self.is_http11
            && self.connection.upgrade
            && matches!(self.framing, Framing::None | Framing::Length(0));
        self.upgrade = self.upgrade.filter(|protocol| {
            asked
                && !protocol.is_empty()
                && !options(protocol).any(|name| name.eq_ignore_ascii_case(b"h2c"))
        });
    }

    fn check_target(&mut self) -> Result<(), Fault> {
        match self.method {
            "CONNECT" => return Err(Fault::Method("CONNECT")),
            "TRACE" => return Err(Fault::Method("TRACE")),
            _ => {}
        }
        if !self.host.is_empty() || self.is_http11 {
            check_host(self.host)?;
        }
        if memchr::memchr(b'#', self.target.as_bytes()).is_some() {
            return Err(Fault::BadRequest("the target holds a fragment"));
        }
        if self.target.starts_with('/') || (self.target == "*" && self.method == "OPTIONS") {
            return Ok(());
        }
        let (scheme, rest) = self
            .target
            .split_once("://")
            .ok_or(Fault::BadRequest("the target is neither a path nor a URL"))?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(Fault::BadRequest("the target's scheme is not http"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !authority.eq_ignore_ascii_case(self.host) {
            return Err(Fault::BadRequest(
                "the target and Host name different hosts",
            ));
        }
        self.path = match path {
            "" if self.method == "OPTIONS" => "*",
            "" => "/",
            // A query without a path has no origin form of its own; nobody sends it.
            _ if path.starts_with('?') => return Err(Fault::BadRequest("the target has no path")),
            _ => path,
        };
        Ok(())
    }

    /// The host without its port, as services are told apart by it.
    #[must_use]
    pub fn host_name(&self) -> &'b [u8] {
        let host = self.host.as_bytes();
        match host.first() {
            Some(b'[') => host
                .split_inclusive(|byte| *byte == b']')
                .next()
                .unwrap_or(host),
            _ => host.split(|byte| *byte == b':').next().unwrap_or(host),
        }
    }

    /// All fields, in order.
    #[must_use]
    pub fn fields(&self) -> &'b [httparse::Header<'b>] {
        self.fields
    }

    /// The value of the first field of this kind.
    #[must_use]
    pub fn value(&self, kind: Field) -> Option<&'b [u8]> {
        let at = self.kinds[..self.fields.len()]
            .iter()
            .position(|known| *known == kind)?;
        Some(self.fields[at].value)
    }

    /// The values of all fields of this kind, in order.
    #[must_use]
    pub fn values(&self, kind: Field) -> impl DoubleEndedIterator<Item = &'b [u8]> {
        let fields = self.fields.iter().zip(self.kinds);
        let of_kind: Vec<_> = fields
            .filter(|(_, known)| *known == kind)
            .map(|(field, _)| field.value)
            .collect();
        of_kind.into_iter()
    }

    /// Whether the connection may be used for another request afterwards.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        !self.connection.close && (self.is_http11 || self.connection.keep_alive)
    }

    /// The value of the first field of this name, in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'b [u8]> {
        let mut fields = self.fields.iter();
        let found = fields.find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| field.value)
    }

    /// Appends the fields that pass: neither hop by hop, nor framing, nor ours to set.
    pub fn write_passing(&self, bytes: &[u8], out: &mut Vec<u8>, trusted: bool) {
        self.write_passing_but(bytes, out, trusted, |_| false);
    }

    /// The same without the fields whose names are `removed`.
    pub(super) fn write_passing_but(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        trusted: bool,
        removed: impl Fn(&str) -> bool,
    ) {
        let named = Named::of(self.connection, self.fields, &self.kinds);
        let mut lines = Lines::new(bytes);
        for (field, kind) in self.fields.iter().zip(self.kinds) {
            let passes = match kind {
                Field::Other => !named.contains(field.name),
                Field::Date | Field::UserAgent | Field::Referer => true,
                Field::Expect => self.expects_continue,
                Field::Authorization => !self.keeps_credentials && !named.contains(field.name),
                Field::Forwarded => trusted,
                _ => false,
            };
            if passes && !removed(field.name) {
                lines.add(field, out);
            }
        }
        lines.flush(out);
    }
}

/// The field names that Connection lists, which end here (RFC 9110, section 7.6.1).
pub(super) struct Named<'b> {
    fields: &'b [httparse::Header<'b>],
    kinds: &'b [Field],
}

impl<'b> Named<'b> {
    #[must_use]
    pub(super) fn of(
        connection: Connection,
        fields: &'b [httparse::Header<'b>],
        kinds: &'b [Field],
    ) -> Self {
        if connection.names_others {
            Self { fields, kinds }
        } else {
            Self {
                fields: &[],
                kinds: &[],
            }
        }
    }

    #[must_use]
    pub(super) fn contains(&self, name: &str) -> bool {
        let mut listed = self
            .fields
            .iter()
            .zip(self.kinds)
            .filter(|(_, kind)| **kind == Field::Connection);
        listed.any(|(field, _)| {
            options(field.value).any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
        })
    }
}

fn check_host(host: &str) -> Result<(), Fault> {
    // The colons of an IPv6 address stand inside its brackets.
    let in_brackets = host.find(']').map(|at| at + 1);
    let name_end = in_brackets.or_else(|| host.find(':')).unwrap_or(host.len());
    let (name, port) = host.split_at(name_end);
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    let name_is_good = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(is_name),
    };
    let port_is_good = match port.strip_prefix(':') {
        // `host:` is the host with its default port (RFC 3986, section 3.2.3).
        Some("") => true,
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    if name_is_good && port_is_good {
        return Ok(());
    }
    Err(Fault::BadRequest("Host is not a host name"))
}

fn too_many() -> Fault {
    Fault::HeadTooLarge("it has more lines than limits.header_count")
}

fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header name holds a byte that is not allowed",
        httparse::Error::HeaderValue => "a header value holds a control byte",
        httparse::Error::NewLine => "a line is not ended by CRLF",
        httparse::Error::Token => "the request line is not METHOD TARGET VERSION",
        httparse::Error::Version => "the version is not HTTP/1.0 or HTTP/1.1",
        _ => "the head is not HTTP/1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_at_most_one_port() {
        for good in [
            "a",
            "erp.example.com:8443",
            "127.0.0.1",
            "[::1]",
            "[::1]:80",
            "a:",
            "under_score.example",
        ] {
            assert!(check_host(good).is_ok(), "{good}");
        }
        for bad in [
            "", ":80", "a:b", "a:65536", "a:+80", "a:80:80", "[::1", "::1", "[x]", "[::1]x", "a b",
            "a/b", "a@b", "a]", "\u{e4}",
        ] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }
}
