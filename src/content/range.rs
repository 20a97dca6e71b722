//! Which part of a representation a client asks for (RFC 9110, section 14).

/// A part: the first byte and the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl ByteRange {
    #[must_use]
    pub fn whole(length: u64) -> Self {
        Self {
            start: 0,
            end: length,
        }
    }

    #[must_use]
    pub fn length(self) -> u64 {
        self.end - self.start
    }

    /// The value of Content-Range.
    #[must_use]
    pub fn content_range(self, length: u64) -> String {
        format!("bytes {}-{}/{length}", self.start, self.end - 1)
    }
}

/// What a Range field comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranged {
    /// None was asked for, or one that is not understood, or several: the whole is always right.
    Whole,
    Part(ByteRange),
    /// It begins behind the end: 416.
    Beyond,
}

/// What `range` asks for of a representation of `length` bytes.
#[must_use]
pub fn requested(range: &[u8], length: u64) -> Ranged {
    let unit = range.get(..6).unwrap_or_default();
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Ranged::Whole;
    }
    let range = range[6..].trim_ascii();
    let Some(dash) = range.iter().position(|byte| *byte == b'-') else {
        return Ranged::Whole;
    };
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    match (number(first), number(last)) {
        // The last so many bytes.
        (None, Some(0)) if first.is_empty() => Ranged::Beyond,
        (None, Some(_)) if first.is_empty() && length == 0 => Ranged::Beyond,
        (None, Some(count)) if first.is_empty() => Ranged::Part(ByteRange {
            start: length.saturating_sub(count),
            end: length,
        }),
        (Some(start), None) if last.is_empty() => part(start, u64::MAX, length),
        (Some(start), Some(last)) if start <= last => part(start, last, length),
        _ => Ranged::Whole,
    }
}

fn part(start: u64, last: u64, length: u64) -> Ranged {
    if start >= length {
        return Ranged::Beyond;
    }
    let end = last.saturating_add(1).min(length);
    Ranged::Part(ByteRange { start, end })
}

/// Digits and nothing else; what is larger than any file is as good as the largest number.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    fn part_of(start: u64, end: u64) -> Ranged {
        Ranged::Part(ByteRange { start, end })
    }

    #[test]
    fn one_range_is_cut_to_what_is_there() {
        for (range, expected) in [
            ("bytes=0-0", part_of(0, 1)),
            ("bytes=2-5", part_of(2, 6)),
            ("Bytes= 2-5 ", part_of(2, 6)),
            ("bytes=8-99999999999999999999999", part_of(8, 10)),
            ("bytes=9-", part_of(9, 10)),
            ("bytes=-3", part_of(7, 10)),
            ("bytes=-30", part_of(0, 10)),
            ("bytes=10-", Ranged::Beyond),
            ("bytes=10-20", Ranged::Beyond),
            ("bytes=-0", Ranged::Beyond),
        ] {
            assert_eq!(requested(range.as_bytes(), 10), expected, "{range}");
        }
        assert_eq!(requested(b"bytes=0-", 0), Ranged::Beyond);
        assert_eq!(requested(b"bytes=-1", 0), Ranged::Beyond);
    }

    #[test]
    fn what_is_not_one_range_of_bytes_is_the_whole() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "bytes=+1-2",
            "bytes=1--2",
            "items=0-1",
            "bytes 0-1",
        ] {
            assert_eq!(requested(range.as_bytes(), 10), Ranged::Whole, "{range}");
        }
    }

    #[test]
    fn a_content_range_names_its_last_byte() {
        let range = ByteRange { start: 2, end: 6 };
        assert_eq!(range.content_range(10), "bytes 2-5/10");
        assert_eq!(range.length(), 4);
        assert_eq!(ByteRange::whole(7).length(), 7);
    }

    proptest! {
        #[test]
        fn a_part_lies_inside_and_is_not_empty(junk in vec(any::<u8>(), 0..24), a in 0_u64..40, b in 0_u64..40, length in 0_u64..40) {
            let _ = requested(&junk, length);
            let range = format!("bytes={a}-{b}");
            match requested(range.as_bytes(), length) {
                Ranged::Part(part) => {
                    prop_assert!(part.start < part.end && part.end <= length);
                    prop_assert_eq!(part.start, a);
                    prop_assert_eq!(part.end, (b + 1).min(length));
                }
                Ranged::Beyond => prop_assert!(a >= length && a <= b),
                Ranged::Whole => prop_assert!(a > b),
            }
        }
    }
}
