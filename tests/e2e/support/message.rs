//! HTTP messages as they were on the wire.

use std::fmt;

/// A request or response head.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) raw: Vec<u8>,
    pub(crate) first_line: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// `raw` up to and with the empty line.
    pub(crate) fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let headers = fields(lines);
        Self {
            raw,
            first_line,
            headers,
        }
    }

    /// All lines of one header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Of a response.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    pub(crate) fn version(&self) -> &str {
        self.word(0)
    }

    /// Of a request.
    pub(crate) fn method(&self) -> &str {
        self.word(0)
    }

    /// Of a request, with its query.
    pub(crate) fn target(&self) -> &str {
        self.word(1)
    }

    /// Of a request, without its query.
    pub(crate) fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    fn word(&self, index: usize) -> &str {
        self.first_line.split(' ').nth(index).unwrap_or_default()
    }

    pub(crate) fn names_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .iter()
            .flat_map(|line| line.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// How a request's body ends.
    pub(crate) fn request_framing(&self) -> Framing {
        if self.names_token("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        match self.get("content-length").and_then(|n| n.parse().ok()) {
            Some(length) => Framing::Length(length),
            None => Framing::Length(0),
        }
    }

    /// How the body of a response to `method` ends.
    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        let status = self.status();
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Framing::Length(0);
        }
        if self.names_token("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        match self.get("content-length").and_then(|n| n.parse().ok()) {
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw.escape_ascii())
    }
}

/// Header or trailer lines, up to the empty one.
pub(crate) fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Did the body end as its framing says?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    /// The connection ended before the body did.
    Cut,
}

#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// Without the chunks' framing.
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) end: End,
}

/// What a client got.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// 1xx heads that came before.
    pub(crate) interim: Vec<Head>,
    pub(crate) head: Head,
    pub(crate) body: Body,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.data).into_owned()
    }

    /// Which [`super::Backend`] answered; empty when none did.
    pub(crate) fn backend(&self) -> &str {
        self.head.get("x-backend").unwrap_or_default()
    }
}
