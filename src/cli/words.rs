//! Numbers and times as people say them.

use super::style::Look;
use super::table::printable;
use crate::api::CountsStatus;
use jiff::Timestamp;

/// What the loss of requests means, and what may be done about it.
pub(super) fn cut_off(lost: u64) -> String {
    let (were, them) = match lost {
        1 => ("was", "it"),
        _ => ("were", "them"),
    };
    format!(
        "{} {were} cut off: the application may have done {them}, and nobody was told; \
         drain_requests and drain_transfers in [service.NAME.flip] give more time",
        many(lost, "request")
    )
}

/// `3 requests, 1 transfer, 12 websockets`; `nothing` when all are zero.
pub(super) fn counts(counts: &CountsStatus) -> String {
    let parts: Vec<String> = [
        (counts.requests, "request"),
        (counts.transfers, "transfer"),
        (counts.websockets, "websocket"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, noun)| many(count, noun))
    .collect();
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    }
}

/// `1 request`, `2 requests`.
pub(super) fn many(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// A duration that was measured: `3 ms`, `1.2 s`, `2 min 5 s`, `3 h 10 min`.
pub(super) fn took(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long, roughly: `5 s`, `12 min`, `3 h`, `4 d`.
pub(super) fn about(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago an RFC 3339 time is, roughly; the text itself when it is none.
pub(super) fn since(text: &str, look: &Look) -> String {
    between(text, look, |then, now| now - then)
}

/// How far ahead an RFC 3339 time is, roughly; zero when it has passed.
pub(super) fn until(text: &str, look: &Look) -> String {
    between(text, look, |then, now| then - now)
}

fn between(text: &str, look: &Look, difference: impl Fn(i64, i64) -> i64) -> String {
    match text.parse::<Timestamp>() {
        Ok(then) => {
            let seconds = difference(then.as_second(), look.now.as_second());
            about(u64::try_from(seconds).unwrap_or(0))
        }
        Err(_) => text.to_owned(),
    }
}

/// An RFC 3339 time as the clock on this wall shows it: `2026-08-01 12:00:00`.
pub(super) fn date(text: &str, look: &Look) -> String {
    local(text, look, "%Y-%m-%d %H:%M:%S")
}

/// The time of day alone.
pub(super) fn clock(text: &str, look: &Look) -> String {
    local(text, look, "%H:%M:%S")
}

fn local(text: &str, look: &Look, format: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time
            .to_zoned(look.zone.clone())
            .strftime(format)
            .to_string(),
        Err(_) => text.to_owned(),
    }
}

/// Foreign text of several lines, to be put behind an indentation of two.
pub(super) fn paragraph(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n  ")
}

/// The same, behind an indentation of four.
pub(super) fn deep_paragraph(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n    ")
}

/// Foreign text of several lines, where there is room for one.
pub(super) fn in_one_line(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| printable(line.trim())).collect();
    lines.join(" ")
}

/// `17 B`, `1.5 KiB`, `4.0 GiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    #[test]
    fn counts_leave_out_what_is_not_there() {
        let some = CountsStatus {
            requests: 1,
            transfers: 0,
            websockets: 12,
        };
        assert_eq!(counts(&some), "1 request, 12 websockets");
        assert_eq!(counts(&CountsStatus::default()), "nothing");
    }

    #[test]
    fn durations_have_a_fitting_unit() {
        let texts = [7, 999, 1_250, 59_999, 65_000, 11_400_000].map(took);
        assert_eq!(
            texts,
            [
                "7 ms",
                "999 ms",
                "1.2 s",
                "59.9 s",
                "1 min 5 s",
                "3 h 10 min"
            ]
        );
        let texts = [0, 59, 61, 7_200, 200_000].map(about);
        assert_eq!(texts, ["0 s", "59 s", "1 min", "2 h", "2 d"]);
    }

    #[test]
    fn times_are_told_from_now_and_never_negative() {
        assert_eq!(since("2026-08-01T12:00:00Z", &look()), "5 min");
        assert_eq!(since("2026-08-01T13:00:00Z", &look()), "0 s");
        assert_eq!(until("2026-08-01T12:05:18.5Z", &look()), "18 s");
        assert_eq!(since("yesterday", &look()), "yesterday");
    }

    #[test]
    fn times_are_shown_in_the_zone_of_the_reader() {
        let mut look = look();
        look.zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            date("2026-08-01T23:00:00.123Z", &look),
            "2026-08-02 01:00:00"
        );
        assert_eq!(clock("2026-08-01T12:00:00Z", &look), "14:00:00");
    }

    #[test]
    fn bytes_have_a_fitting_unit() {
        let texts = [0, 1023, 1024, 1536, 1_048_575, 1_048_576, u64::MAX].map(bytes);
        assert_eq!(
            texts,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "1023.9 KiB",
                "1.0 MiB",
                "16383.9 PiB"
            ]
        );
    }
}
