//! Copies header lines that stand next to each other in one go.

/// Collects header lines of one head and copies each run of neighbours at once.
#[derive(Debug)]
pub(super) struct Lines<'b> {
    bytes: &'b [u8],
    start: usize,
    end: usize,
}

impl<'b> Lines<'b> {
    /// `bytes` is the head that all fields were parsed from.
    #[must_use]
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            start: 0,
            end: 0,
        }
    }

    /// Appends one field, now or at the next `flush`. Lines that did not end in CRLF do so afterwards.
    pub(super) fn add(&mut self, field: &httparse::Header<'_>, out: &mut Vec<u8>) {
        let base = self.bytes.as_ptr() as usize;
        let start = field.name.as_ptr() as usize - base;
        // An empty value may point anywhere.
        let end = if field.value.is_empty() {
            start + field.name.len() + 1
        } else {
            field.value.as_ptr() as usize - base + field.value.len()
        };
        if self.bytes.get(end..end + 2) != Some(b"\r\n") {
            self.flush(out);
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
            return;
        }
        if start != self.end {
            self.flush(out);
            self.start = start;
        }
        self.end = end + 2;
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[self.start..self.end]);
        self.start = self.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_copied_whole_and_leave_out_what_was_not_added() {
        let head =
            b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nSkip: x\r\nEmpty:\r\nC:3  \r\nD: 4\nE: 5\r\n\r\n";
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut fields);
        assert!(request.parse(head).unwrap().is_complete());
        let mut out = Vec::new();
        let mut lines = Lines::new(head);
        for field in request.headers.iter().filter(|field| field.name != "Skip") {
            lines.add(field, &mut out);
        }
        lines.flush(&mut out);
        assert_eq!(out, b"A: 1\r\nB: 2\r\nEmpty:\r\nC: 3\r\nD: 4\r\nE: 5\r\n");
    }
}
