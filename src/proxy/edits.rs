//! What changes among the fields of a head on its way through.

/// Fields that do not pass, and fields that are added. Empty as long as nothing changes: then it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Edits {
    removed: Vec<Box<str>>,
    added: Vec<u8>,
}

impl Edits {
    /// No field of this name passes, in any case.
    pub(super) fn remove(&mut self, name: &str) {
        self.removed.push(name.into());
    }

    /// One more line. The caller vouches that neither holds a line break.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) {
        self.added.extend_from_slice(name.as_bytes());
        self.added.extend_from_slice(b": ");
        self.added.extend_from_slice(value);
        self.added.extend_from_slice(b"\r\n");
    }

    /// One line in place of all of this name.
    pub(super) fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    pub(super) fn removes(&self, name: &str) -> bool {
        self.removed
            .iter()
            .any(|removed| removed.eq_ignore_ascii_case(name))
    }

    pub(super) fn write_added(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.added);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_set_replaces_all_of_its_name() {
        let mut edits = Edits::default();
        edits.set("Vary", b"Origin");
        edits.add("Vary", b"Accept-Encoding");
        assert!(edits.removes("vary") && !edits.removes("var"));
        let mut out = Vec::new();
        edits.write_added(&mut out);
        assert_eq!(out, b"Vary: Origin\r\nVary: Accept-Encoding\r\n");
    }
}
