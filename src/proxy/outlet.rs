//! An answer's body on its way to the client: out of the upstream's framing, into the client's.

use super::capture::Capture;
use super::chunked;
use super::coder::Coder;
use super::framing::Framing;
use super::framing::end_chunked;
use crate::config::Coding;

/// Body bytes that are sent together with the head.
const TOGETHER: usize = 16 * 1024;

/// What the body of one answer passes through.
#[derive(Debug)]
pub(super) struct Outlet {
    /// Towards the client.
    framing: Framing,
    coder: Option<Box<Coder>>,
    /// Sees the body as it came.
    capture: Option<Box<Capture>>,
}

/// What became of a piece of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is in the output.
    Taken,
    /// Nothing changes it, and it is long: it goes as it is, behind the output.
    Direct,
}

impl Outlet {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            coder: None,
            capture: None,
        }
    }

    /// The body goes through `coder`, and on in chunks.
    pub(super) fn encoding(coder: Box<Coder>) -> Self {
        Self {
            framing: Framing::Chunked,
            coder: Some(coder),
            capture: None,
        }
    }

    /// The body is copied for the cache, in the form that the client gets, too.
    pub(super) fn capture(&mut self, capture: Box<Capture>) {
        if let Some(coder) = &mut self.coder {
            coder.copies();
        }
        self.capture = Some(capture);
    }

    /// What the client got of a body that was encoded and remembered.
    pub(super) fn take_copy(&mut self) -> Option<(Coding, Vec<u8>)> {
        self.coder.as_mut()?.take_copy()
    }

    /// What has to be done with what was pushed before it is in the output.
    pub(super) fn coder(&mut self) -> Option<&mut Coder> {
        self.coder.as_deref_mut()
    }

    /// How the client sees where the body ends.
    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes the next piece of the body; `out` may hold what comes before it.
    pub(super) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Pushed {
        if let Some(capture) = &mut self.capture
            && !capture.take(data)
        {
            self.capture = None;
        }
        if let Some(coder) = &mut self.coder {
            coder.push(data);
            return Pushed::Taken;
        }
        if self.framing == Framing::Chunked {
            chunked::encode(data, out);
            return Pushed::Taken;
        }
        if out.len() + data.len() > TOGETHER {
            return Pushed::Direct;
        }
        out.extend_from_slice(data);
        Pushed::Taken
    }

    /// The body is complete.
    pub(super) fn end(&mut self, trailers: &[u8], out: &mut Vec<u8>) {
        if let Some(capture) = self.capture.take()
            && matches!(trailers, b"" | b"\r\n")
        {
            capture.finish(self.take_copy());
        }
        if self.framing == Framing::Chunked {
            end_chunked(trailers, out);
        }
    }
}
