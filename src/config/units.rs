//! Times and sizes as people write them: `1h30m`, `500ms`, `64KiB`.

use std::time::Duration;

/// Longer than any setting needs; beyond it, sums of times could overflow a clock.
pub(super) const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Why a text is no time or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("is empty")]
    Empty,
    #[error("has no unit")]
    NoUnit,
    #[error("has the unknown unit `{0}`")]
    UnknownUnit(String),
    #[error("has no number before `{0}`")]
    NoNumber(String),
    #[error("is not a whole number")]
    Fraction,
    #[error("contains a space")]
    Space,
    #[error("has its units out of order")]
    Order,
    #[error("is too large")]
    TooLarge,
}

struct Unit {
    name: &'static str,
    /// Milliseconds or bytes.
    size: u64,
}

const TIMES: &[Unit] = &[
    unit("d", 86_400_000),
    unit("h", 3_600_000),
    unit("m", 60_000),
    unit("s", 1_000),
    unit("ms", 1),
];

/// In the order in which a size tries to be told.
const SIZES: &[Unit] = &[
    unit("TiB", 1 << 40),
    unit("TB", 1_000_000_000_000),
    unit("GiB", 1 << 30),
    unit("GB", 1_000_000_000),
    unit("MiB", 1 << 20),
    unit("MB", 1_000_000),
    unit("KiB", 1 << 10),
    unit("KB", 1_000),
    unit("B", 1),
];

const fn unit(name: &'static str, size: u64) -> Unit {
    Unit { name, size }
}

/// Reads `500ms`, `30s`, `2m`, `1h30m`, `7d`: whole numbers, the larger unit first, at most a year.
///
/// # Errors
/// [`UnitError`] reads as the end of a sentence that begins with the text.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = check(text)?;
    let mut total: u64 = 0;
    let mut larger: Option<u64> = None;
    while !rest.is_empty() {
        let part = Part::split(rest)?;
        let unit =
            find(TIMES, part.unit).ok_or_else(|| UnitError::UnknownUnit(part.unit.to_owned()))?;
        if larger.is_some_and(|larger| unit.size >= larger) {
            return Err(UnitError::Order);
        }
        larger = Some(unit.size);
        total = part
            .number
            .checked_mul(unit.size)
            .and_then(|value| total.checked_add(value))
            .ok_or(UnitError::TooLarge)?;
        rest = part.rest;
    }
    let total = Duration::from_millis(total);
    if total > LONGEST {
        return Err(UnitError::TooLarge);
    }
    Ok(total)
}

/// The shortest text that [`parse_duration`] reads as the same time; parts of a millisecond are left out.
#[must_use]
pub fn format_duration(time: Duration) -> String {
    let mut left = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for unit in TIMES {
        if left >= unit.size {
            text += &(left / unit.size).to_string();
            text += unit.name;
            left %= unit.size;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Reads `512B`, `64KiB`, `128MiB`, `1GB`: binary units have an `i`, decimal ones have none.
///
/// # Errors
/// [`UnitError`] reads as the end of a sentence that begins with the text.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let part = Part::split(check(text)?)?;
    if !part.rest.is_empty() {
        return Err(UnitError::UnknownUnit(format!(
            "{}{}",
            part.unit, part.rest
        )));
    }
    let unit =
        find(SIZES, part.unit).ok_or_else(|| UnitError::UnknownUnit(part.unit.to_owned()))?;
    part.number
        .checked_mul(unit.size)
        .ok_or(UnitError::TooLarge)
}

/// The text with the largest unit that loses nothing.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    SIZES
        .iter()
        .find(|unit| bytes != 0 && bytes.is_multiple_of(unit.size))
        .map_or_else(
            || format!("{bytes}B"),
            |unit| format!("{}{}", bytes / unit.size, unit.name),
        )
}

/// What the writer of a refused time may have meant; `None` when nobody can tell.
pub(super) fn guess_duration(text: &str) -> Option<String> {
    let plain: String = text.split_whitespace().collect::<String>().to_lowercase();
    if let Ok(seconds) = plain.parse::<f64>() {
        return whole_millis(seconds, 1_000.0);
    }
    let digits = plain.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = plain.split_at(digits);
    let name = match unit {
        "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        "week" | "weeks" | "w" => {
            let weeks: u64 = number.parse().ok()?;
            return parse_duration(&format!("{}d", weeks.checked_mul(7)?))
                .ok()
                .map(format_duration);
        }
        known => known,
    };
    let scale = find(TIMES, name)?.size;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a day in milliseconds fits exactly"
    )]
    whole_millis(number.parse().ok()?, scale as f64)
}

/// What the writer of a refused size may have meant; `None` when nobody can tell.
pub(super) fn guess_size(text: &str) -> Option<String> {
    let plain: String = text
        .split_whitespace()
        .collect::<String>()
        .to_ascii_uppercase();
    let digits = plain
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(plain.len());
    let (number, unit) = plain.split_at(digits);
    let name = match unit {
        "" | "B" | "BYTE" | "BYTES" => "B",
        "K" | "KIB" => "KiB",
        "M" | "MIB" => "MiB",
        "G" | "GIB" => "GiB",
        "T" | "TIB" => "TiB",
        "KB" | "MB" | "GB" | "TB" => unit,
        _ => return None,
    };
    parse_size(&format!("{number}{name}")).ok().map(format_size)
}

/// A number with its unit at the start of a text.
struct Part<'t> {
    number: u64,
    unit: &'t str,
    rest: &'t str,
}

impl<'t> Part<'t> {
    fn split(text: &'t str) -> Result<Self, UnitError> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(UnitError::NoUnit)?;
        let (number, tail) = text.split_at(digits);
        if tail.starts_with(['.', ',']) {
            return Err(UnitError::Fraction);
        }
        let (unit, rest) = tail.split_at(
            tail.find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len()),
        );
        if number.is_empty() {
            return Err(UnitError::NoNumber(unit.to_owned()));
        }
        let number = number.parse().map_err(|_| UnitError::TooLarge)?;
        Ok(Self { number, unit, rest })
    }
}

fn check(text: &str) -> Result<&str, UnitError> {
    match text {
        "" => Err(UnitError::Empty),
        text if text.contains(char::is_whitespace) => Err(UnitError::Space),
        text => Ok(text),
    }
}

fn find<'u>(units: &'u [Unit], name: &str) -> Option<&'u Unit> {
    units.iter().find(|unit| unit.name == name)
}

/// `number` times `scale` milliseconds, where that is a whole number in the allowed range.
fn whole_millis(number: f64, scale: f64) -> Option<String> {
    let millis = number * scale;
    let range = 0.0..=31_536_000_000.0;
    if !range.contains(&millis) || millis.fract() != 0.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was just checked"
    )]
    Some(format_duration(Duration::from_millis(millis as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn a_formatted_time_reads_back_as_itself(millis in 0u64..=31_536_000_000) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(time)), Ok(time));
        }

        #[test]
        fn a_formatted_size_reads_back_as_itself(bytes in any::<u64>(), shift in 0u32..63) {
            for bytes in [bytes, bytes >> shift << shift, bytes >> shift] {
                prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
            }
        }

        #[test]
        fn no_text_breaks_the_reader(text in "\\PC*") {
            let _ = (parse_duration(&text), parse_size(&text), guess_duration(&text), guess_size(&text));
        }

        #[test]
        fn every_guess_can_be_read(number in "[0-9]{1,20}(\\.[0-9]{1,3})?", unit in " ?[a-zA-Z]{0,7}") {
            let text = format!("{number}{unit}");
            if let Some(guess) = guess_duration(&text) {
                prop_assert!(parse_duration(&guess).is_ok(), "{} -> {}", text, guess);
            }
            if let Some(guess) = guess_size(&text) {
                prop_assert!(parse_size(&guess).is_ok(), "{} -> {}", text, guess);
            }
        }

        #[test]
        fn what_looks_like_a_time_is_read_or_refused_with_words(text in "[0-9dhms. ]{0,12}") {
            match parse_duration(&text) {
                Ok(time) => prop_assert!(time <= LONGEST),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn times_are_read() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90m", 5_400_000),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn bad_times_are_told_apart() {
        for (text, error) in [
            ("", UnitError::Empty),
            ("30", UnitError::NoUnit),
            ("30 s", UnitError::Space),
            ("1.5s", UnitError::Fraction),
            ("s", UnitError::NoNumber("s".into())),
            ("-5s", UnitError::NoNumber("-".into())),
            ("30sec", UnitError::UnknownUnit("sec".into())),
            ("30S", UnitError::UnknownUnit("S".into())),
            ("30m1h", UnitError::Order),
            ("30s30s", UnitError::Order),
            ("366d", UnitError::TooLarge),
            ("99999999999999999999s", UnitError::TooLarge),
            ("9999999999999999999d", UnitError::TooLarge),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_bad_ones_told_apart() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("128MiB", 134_217_728),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, error) in [
            ("64", UnitError::NoUnit),
            ("64K", UnitError::UnknownUnit("K".into())),
            ("64KiB1B", UnitError::UnknownUnit("KiB1B".into())),
            ("1.5MiB", UnitError::Fraction),
            ("99999999TiB", UnitError::TooLarge),
        ] {
            assert_eq!(parse_size(text), Err(error), "{text}");
        }
    }

    #[test]
    fn guesses_name_what_was_meant() {
        for (text, meant) in [
            ("30", "30s"),
            ("30 s", "30s"),
            ("30sec", "30s"),
            ("1.5s", "1s500ms"),
            ("2 Minutes", "2m"),
            ("1w", "7d"),
        ] {
            assert_eq!(guess_duration(text).as_deref(), Some(meant), "{text}");
        }
        assert_eq!(guess_duration("soon"), None);
        assert_eq!(guess_size("64k").as_deref(), Some("64KiB"));
        assert_eq!(guess_size("65536").as_deref(), Some("64KiB"));
        assert_eq!(guess_size("much"), None);
    }
}
