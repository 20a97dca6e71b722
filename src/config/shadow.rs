//! Copies of safe requests for an idle slot.

use super::change::Differences;
use super::headers;
use super::keys::{Section, key, section};
use super::prefixes;
use super::table::Table;
use super::units::{format_duration, format_size};
use super::value::{Value, Zero, clip};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is copied, and how far the answers may differ. Nothing is, before an operator asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// Where `switchctl shadow SLOT` names none.
    pub share: Share,
    /// Never copied: these paths and all below them.
    pub exclude: Vec<String>,
    /// Copies under way at once, over all workers; at least one.
    pub max_in_flight: usize,
    /// From the beginning of a copy to the last byte of its answer.
    pub timeout: Duration,
    /// Requests with a larger answer are not copied.
    pub max_size: u64,
    /// Percent by which the sizes of two answers may differ.
    pub size_tolerance: u64,
    /// A copy carries what its client is known by.
    pub cookies: bool,
    /// The name of the line that tells a copy from a request.
    pub header: String,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            share: Share(1000),
            exclude: Vec::new(),
            max_in_flight: 4,
            timeout: Duration::from_secs(10),
            max_size: 8 << 20,
            size_tolerance: 10,
            cookies: true,
            header: "X-Switchd-Shadow".to_owned(),
        }
    }
}

/// A part of all requests, more than nothing: hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

/// What a [`Share`] is a part of.
const WHOLE: u32 = 10_000;

impl Share {
    /// None for what is not between 0.01 and 100.
    #[must_use]
    pub fn of_percent(percent: f64) -> Option<Self> {
        let hundredths = (percent * 100.0).round();
        let is_share = (1.0..=f64::from(WHOLE)).contains(&hundredths);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 10,000"
        )]
        is_share.then_some(Self(hundredths as u32))
    }

    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// Whether the next one is a part of it.
    #[must_use]
    pub fn takes_one(self) -> bool {
        self.0 == WHOLE || fastrand::u32(..WHOLE) < self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent())
    }
}

impl FromStr for Share {
    type Err = &'static str;

    /// `10%`, `0.5 %`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').map(|number| number.trim().parse());
        let Some(Ok(percent)) = number else {
            return Err("write a number and %, as in \"10%\"");
        };
        Self::of_percent(percent).ok_or("write a share between \"0.01%\" and \"100%\"")
    }
}

pub(super) const SHADOW: Section = section(
    "service.NAME.shadow",
    &[
        key("percent", r#""10%""#),
        key("exclude", r#"["/web/session"]"#),
        key("max_in_flight", "4"),
        key("timeout", r#""10s""#),
        key("max_size", r#""8MiB""#),
        key("size_tolerance", r#""10%""#),
        key("cookies", "true"),
        key("header", r#""X-Switchd-Shadow""#),
    ],
);

pub(super) fn read(service: &Table<'_>) -> Shadow {
    let table = service.table("shadow", &SHADOW);
    let default = Shadow::default();
    let share = table.get("percent").and_then(|value| share(&value));
    let tolerance = table.get("size_tolerance").and_then(|it| tolerance(&it));
    let header = table.get("header").and_then(|value| header(&value));
    let max_size = table.get("max_size").and_then(|value| value.size());
    Shadow {
        share: share.unwrap_or(default.share),
        exclude: prefixes::read(&table, "exclude", default.exclude),
        max_in_flight: table.number("max_in_flight", 1..=1000, default.max_in_flight),
        timeout: table.duration("timeout", Zero::Refused, default.timeout),
        max_size: max_size.unwrap_or(default.max_size),
        size_tolerance: tolerance.unwrap_or(default.size_tolerance),
        cookies: table.flag("cookies", default.cookies),
        header: header.unwrap_or(default.header),
    }
}

fn share(value: &Value<'_>) -> Option<Share> {
    let text = value.text()?;
    let share = text.parse();
    if let Err(help) = share {
        value.wrong(
            format!(
                "`{}` is no share of requests: \"{}\"",
                value.name(),
                clip(text)
            ),
            help,
        );
    }
    share.ok()
}

fn tolerance(value: &Value<'_>) -> Option<u64> {
    let text = value.text()?;
    let percent = text.strip_suffix('%').and_then(|it| it.parse().ok());
    let percent = percent.filter(|percent| *percent <= 100);
    if percent.is_none() {
        value.wrong(
            format!("`{}` is no percentage: \"{}\"", value.name(), clip(text)),
            "write a whole number between \"0%\" and \"100%\"",
        );
    }
    percent
}

fn header(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let Some(unfit) = headers::unfit_for_requests(text) else {
        return Some(text.to_owned());
    };
    value.wrong(
        format!("header `{}` {}", clip(text), unfit.what),
        "write header = \"X-Switchd-Shadow\", for example",
    );
    None
}

pub(super) fn changes(lines: &mut Differences, old: &Shadow, new: &Shadow) {
    lines.value("shadow percent", &old.share, &new.share);
    let shown = |paths: &[String]| match paths {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    lines.value("shadow exclude", &shown(&old.exclude), &shown(&new.exclude));
    lines.value(
        "shadow max_in_flight",
        &old.max_in_flight,
        &new.max_in_flight,
    );
    let time = |shadow: &Shadow| format_duration(shadow.timeout);
    lines.value("shadow timeout", &time(old), &time(new));
    let size = |shadow: &Shadow| format_size(shadow.max_size);
    lines.value("shadow max_size", &size(old), &size(new));
    let tolerance = |shadow: &Shadow| format!("{}%", shadow.size_tolerance);
    lines.value("shadow size_tolerance", &tolerance(old), &tolerance(new));
    lines.value("shadow cookies", &old.cookies, &new.cookies);
    lines.value("shadow header", &old.header, &new.header);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_with_its_sign() {
        for (text, percent) in [
            ("10%", 10.0),
            ("0.5 %", 0.5),
            ("100%", 100.0),
            ("0.01%", 0.01),
        ] {
            let share: Share = text.parse().unwrap();
            assert!((share.percent() - percent).abs() < 1e-9, "{text}");
        }
        for text in ["", "10", "0%", "101%", "0.001%", "-1%", "NaN%", "a%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!("2.50%".parse::<Share>().unwrap().to_string(), "2.5%");
    }

    #[test]
    fn a_share_takes_its_part() {
        let tenth: Share = "10%".parse().unwrap();
        let taken = (0..100_000).filter(|_| tenth.takes_one()).count();
        assert!((9_000..11_000).contains(&taken), "{taken}");
        let whole: Share = "100%".parse().unwrap();
        assert!((0..1000).all(|_| whole.takes_one()));
    }
}
