//! An upstream's answer head: read, accepted or refused, and written anew for the client.

use super::edits::Edits;
use super::fault::Fault;
use super::fields::Connection;
use super::fields::Field;
use super::fields::classify;
use super::fields::options;
use super::framing::Framing;
use super::framing::content_length;
use super::lines::Lines;
use super::reply::reason;
use super::request::FieldRoom;
use super::request::MOST_FIELDS;
use super::request::Named;
use super::request::RequestHead;
use crate::net::LARGE;

/// Bytes of an answer's head; more is refused.
pub(super) const MOST_HEAD: usize = LARGE;

/// What the request was, as far as its answer's meaning depends on it (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "five independent facts of one request head"
)]
pub struct Asked {
    pub is_head: bool,
    pub is_http11: bool,
    pub upgrade: bool,
    pub expects_continue: bool,
    /// The client's connection may be used again.
    pub keep_alive: bool,
}

impl Asked {
    #[must_use]
    pub(super) fn of(head: &RequestHead<'_>) -> Self {
        Self {
            is_head: head.method == "HEAD",
            is_http11: head.is_http11,
            upgrade: head.upgrade.is_some(),
            expects_continue: head.expects_continue,
            keep_alive: head.keeps_alive(),
        }
    }
}

/// An answer head that may be passed on.
#[derive(Debug)]
pub struct ResponseHead<'b> {
    pub length: usize,
    pub status: u16,
    pub framing: Framing,
    /// The upstream's connection may be used again after the body.
    pub keep_alive: bool,
    reason: &'b str,
    connection: Connection,
    fields: &'b [httparse::Header<'b>],
    kinds: [Field; MOST_FIELDS],
}

impl<'b> ResponseHead<'b> {
    /// Reads one head from the front of `bytes`. None when it is not complete yet.
    ///
    /// # Errors
    /// [`Fault::BadAnswer`] says what is wrong with it.
    pub fn read(
        bytes: &'b [u8],
        room: &'b mut FieldRoom<'b>,
        asked: Asked,
    ) -> Result<Option<Self>, Fault> {
        let mut parsed = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            bytes,
            room,
        );
        let length = match status {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() >= MOST_HEAD => {
                return Err(Fault::BadAnswer("its head is too long"));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Fault::BadAnswer("its head has too many lines"));
            }
            Err(_) => return Err(Fault::BadAnswer("its head is malformed")),
        };
        let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
            return Err(Fault::BadAnswer("it has no status line"));
        };
        if !(100..=599).contains(&status) {
            return Err(Fault::BadAnswer("its status is not between 100 and 599"));
        }
        let mut head = ResponseHead {
            length,
            status,
            framing: Framing::None,
            keep_alive: false,
            reason: parsed.reason.unwrap_or_default(),
            connection: Connection::default(),
            fields: parsed.headers,
            kinds: [Field::Other; MOST_FIELDS],
        };
        head.examine(version == 1, asked)?;
        Ok(Some(head))
    }

    fn examine(&mut self, is_http11: bool, asked: Asked) -> Result<(), Fault> {
        let mut length = None;
        let mut codings = 0;
        let fields = self.fields;
        for (field, kind) in fields.iter().zip(&mut self.kinds) {
            *kind = classify(field.name);
            match *kind {
                Field::ContentLength => {
                    let value = content_length(field.value)
                        .ok_or(Fault::BadAnswer("its Content-Length is not a number"))?;
                    if length.is_some_and(|known| known != value) {
                        return Err(Fault::BadAnswer("its Content-Lengths differ"));
                    }
                    length = Some(value);
                }
                Field::TransferEncoding => {
                    codings += 1;
                    if !field.value.eq_ignore_ascii_case(b"chunked") || codings > 1 || !is_http11 {
                        return Err(Fault::BadAnswer(
                            "its Transfer-Encoding is not exactly chunked",
                        ));
                    }
                }
                Field::Connection => self.connection.add(field.value),
                _ => {}
            }
        }
        if codings > 0 && length.is_some() {
            return Err(Fault::BadAnswer(
                "it has both Content-Length and Transfer-Encoding",
            ));
        }
        let bodyless = asked.is_head || self.status < 200 || matches!(self.status, 204 | 304);
        self.framing = match (codings, length) {
            _ if bodyless => Framing::None,
            (1, _) => Framing::Chunked,
            (_, Some(length)) => Framing::Length(length),
            (_, None) => Framing::UntilClose,
        };
        let persistent = if is_http11 {
            !self.connection.close
        } else {
            self.connection.keep_alive
        };
        self.keep_alive = persistent && self.framing != Framing::UntilClose;
        if self.status == 101 && !asked.upgrade {
            return Err(Fault::BadAnswer("it changes protocols without being asked"));
        }
        Ok(())
    }

    /// The value of the first field of this name, in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'b [u8]> {
        let mut fields = self.fields.iter();
        fields
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// The values of all fields of this name, in any case and in their order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        let fields = self.fields.iter();
        fields
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// A 101 must change to one of the protocols that were asked for (RFC 9110, section 15.2.2).
    #[must_use]
    pub fn changes_to(&self, asked: &[u8]) -> bool {
        let fields = self.fields.iter().zip(self.kinds);
        let mut chosen = fields
            .filter(|(_, kind)| *kind == Field::Upgrade)
            .flat_map(|(field, _)| options(field.value));
        chosen.next().is_some_and(|protocol| {
            options(asked).any(|known| known.eq_ignore_ascii_case(protocol))
        })
    }

    /// Name and value of every field, in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// Name and value of those that pass on, dates once, without what frames the body.
    pub(super) fn passing(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        let named = Named::of(self.connection, self.fields, &self.kinds);
        let mut dated = false;
        let fields = self.fields.iter().zip(self.kinds);
        let passing =
            fields.filter(move |(field, kind)| passes(field.name, *kind, &named, &mut dated));
        passing.map(|(field, _)| (field.name, field.value))
    }

    /// A field names a file to send in place of the body.
    pub(super) fn names_file(&self) -> bool {
        self.kinds[..self.fields.len()].contains(&Field::SendFile)
    }

    /// The same answer with another status.
    pub(super) fn restate(&mut self, status: u16) {
        if self.status != status {
            self.status = status;
            self.reason = reason(status);
        }
    }

    /// What its Content-Length says, whether a body follows or not.
    #[must_use]
    pub(super) fn content_length(&self) -> Option<u64> {
        let at = self.kinds[..self.fields.len()]
            .iter()
            .position(|kind| *kind == Field::ContentLength)?;
        content_length(self.fields[at].value)
    }

    /// How the body goes on to the client.
    #[must_use]
    pub fn framing_for(&self, asked: Asked) -> Framing {
        match self.framing {
            Framing::UntilClose | Framing::Chunked if asked.is_http11 => Framing::Chunked,
            Framing::Chunked => Framing::UntilClose,
            framing => framing,
        }
    }

    /// Appends the head as the client gets it when nothing changes. `bytes` is what the head was read from.
    pub fn write(&self, bytes: &[u8], asked: Asked, out: &mut Vec<u8>) {
        let framing = self.framing_for(asked);
        self.write_edited((bytes, &Edits::default()), (asked, framing), out);
    }

    /// The same with changes among its fields, and with the framing that its body will have.
    pub(super) fn write_edited(
        &self,
        (bytes, edits): (&[u8], &Edits),
        (asked, framing): (Asked, Framing),
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(itoa::Buffer::new().format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        self.write_passing(bytes, edits, out);
        edits.write_added(out);
        match framing {
            Framing::Length(length) => write_length(length, out),
            Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::None if !self.is_interim() && self.status != 101 => {
                self.write_empty_framing((asked, edits), out);
            }
            Framing::None | Framing::UntilClose => {}
        }
        if self.status == 101 {
            self.write_upgrade(out);
        } else if !self.is_interim() {
            write_connection(asked, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn write_passing(&self, bytes: &[u8], edits: &Edits, out: &mut Vec<u8>) {
        let named = Named::of(self.connection, self.fields, &self.kinds);
        let mut lines = Lines::new(bytes);
        let mut dated = false;
        for (field, kind) in self.fields.iter().zip(self.kinds) {
            if passes(field.name, kind, &named, &mut dated) && !edits.removes(field.name) {
                lines.add(field, out);
            }
        }
        lines.flush(out);
    }

    /// The framing fields of an answer to HEAD and of a 304 describe the body that a GET would have had.
    fn write_empty_framing(&self, (asked, edits): (Asked, &Edits), out: &mut Vec<u8>) {
        if self.status == 204 || edits.removes("Content-Length") {
            return;
        }
        let framing = self.fields.iter().zip(self.kinds);
        for (field, kind) in framing {
            match kind {
                Field::ContentLength => {
                    out.extend_from_slice(b"Content-Length: ");
                    out.extend_from_slice(field.value);
                    out.extend_from_slice(b"\r\n");
                    return;
                }
                Field::TransferEncoding if asked.is_http11 => {
                    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                    return;
                }
                _ => {}
            }
        }
    }

    fn write_upgrade(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        for (field, _) in self
            .fields
            .iter()
            .zip(self.kinds)
            .filter(|(_, kind)| *kind == Field::Upgrade)
        {
            out.extend_from_slice(b"Upgrade: ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Whether a field goes on to the client. Only the first date does.
fn passes(name: &str, kind: Field, named: &Named<'_>, dated: &mut bool) -> bool {
    match kind {
        Field::Other | Field::Underscore => !named.contains(name),
        // Some upstreams date their answers twice; a recipient may take two for none.
        Field::Date => !std::mem::replace(dated, true),
        Field::Connection
        | Field::ContentLength
        | Field::TransferEncoding
        | Field::Upgrade
        | Field::Te
        | Field::HopByHop
        | Field::SendFile => false,
        _ => true,
    }
}

/// Appends a Content-Length line.
pub(super) fn write_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a Connection line where the version's default is not what is meant.
pub(super) fn write_connection(asked: Asked, out: &mut Vec<u8>) {
    match (asked.is_http11, asked.keep_alive) {
        (true, true) | (false, false) => {}
        (true, false) => out.extend_from_slice(b"Connection: close\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
    }
}
