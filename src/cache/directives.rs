//! What Cache-Control says (RFC 9111, section 5.2).

/// The directives that matter here. Several fields are one list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one directive, for itself"
)]
pub(super) struct Directives {
    pub public: bool,
    pub private: bool,
    pub no_store: bool,
    pub no_cache: bool,
    pub immutable: bool,
    pub must_revalidate: bool,
    /// Seconds.
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
}

impl Directives {
    pub(super) fn add(&mut self, value: &[u8]) {
        let mut rest = value;
        while !rest.is_empty() {
            let (directive, behind) = split(rest);
            self.take(directive.trim_ascii());
            rest = behind;
        }
    }

    fn take(&mut self, directive: &[u8]) {
        let equals = directive.iter().position(|byte| *byte == b'=');
        let (name, argument) = match equals {
            Some(at) => (&directive[..at], Some(&directive[at + 1..])),
            None => (directive, None),
        };
        let name = name.trim_ascii().to_ascii_lowercase();
        // A directive that names fields is taken for the whole answer: that is always safe.
        match &name[..] {
            b"public" => self.public = true,
            b"private" => self.private = true,
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"immutable" => self.immutable = true,
            b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
            b"max-age" => self.max_age = Some(seconds(argument, self.max_age)),
            b"s-maxage" => self.s_maxage = Some(seconds(argument, self.s_maxage)),
            _ => {}
        }
    }
}

/// The first member of a list, and what is behind its comma. A quoted text may hold commas.
fn split(list: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&list[..at], &list[at + 1..]),
            _ => {}
        }
    }
    (list, &[])
}

/// What is no number is the shortest time there is, and of several the shortest counts.
fn seconds(argument: Option<&[u8]>, before: Option<u64>) -> u64 {
    let digits = argument.unwrap_or_default().trim_ascii();
    let digits = digits
        .strip_prefix(b"\"")
        .and_then(|digits| digits.strip_suffix(b"\""))
        .unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let seconds = if is_number {
        // More digits than a number takes: for ever.
        text.parse().unwrap_or(u64::MAX)
    } else {
        0
    };
    before.map_or(seconds, |before| before.min(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::proptest;

    fn read(values: &[&str]) -> Directives {
        let mut directives = Directives::default();
        for value in values {
            directives.add(value.as_bytes());
        }
        directives
    }

    #[test]
    fn directives_are_read_in_any_case_and_over_several_fields() {
        let read = read(&["Public , MAX-AGE=60", "immutable, s-maxage=\"30\""]);
        assert!(read.public && read.immutable && !read.private);
        assert_eq!((read.max_age, read.s_maxage), (Some(60), Some(30)));
    }

    #[test]
    fn what_is_doubtful_counts_against_keeping() {
        assert_eq!(read(&["max-age=soon"]).max_age, Some(0));
        assert_eq!(read(&["max-age"]).max_age, Some(0));
        assert_eq!(read(&["max-age=-5"]).max_age, Some(0));
        assert_eq!(read(&["max-age=60, max-age=5"]).max_age, Some(5));
        assert_eq!(
            read(&["max-age=99999999999999999999"]).max_age,
            Some(u64::MAX)
        );
        assert!(read(&["private=\"set-cookie, x\", max-age=5"]).private);
        assert!(read(&["no-cache=\"Set-Cookie\""]).no_cache);
    }

    #[test]
    fn what_stands_in_quotes_is_no_directive() {
        let read = read(&["ext=\"a, public, \\\", immutable\", max-age=7"]);
        assert!(!read.public && !read.immutable);
        assert_eq!(read.max_age, Some(7));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(value in vec(any::<u8>(), 0..40)) {
            Directives::default().add(&value);
        }
    }
}
