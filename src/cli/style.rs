//! How words look.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// With colours or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Coloured,
}

/// What a word means; the colour follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Good,
    Bad,
    /// Worth a look.
    Notable,
    Strong,
    Faint,
}

impl Style {
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => "",
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Notable => "33",
            Paint::Strong => "1",
            Paint::Faint => "2",
        };
        match self {
            Self::Coloured if !code.is_empty() && !text.is_empty() => {
                format!("\x1b[{code}m{text}\x1b[0m")
            }
            _ => text.to_owned(),
        }
    }
}

impl Paint {
    /// Of `healthy`, `unhealthy`, `unknown` and `absent`.
    pub(super) fn of_health(health: &str) -> Self {
        match health {
            "healthy" => Self::Good,
            "unhealthy" => Self::Bad,
            _ => Self::Notable,
        }
    }
}

/// Everything besides the document that decides how it looks.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) style: Style,
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Five minutes past noon, without colours.
    pub(in crate::cli) fn look() -> Look {
        Look {
            style: Style::Plain,
            now: "2026-08-01T12:05:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        }
    }

    #[test]
    fn plain_style_never_writes_an_escape() {
        for paint in [
            Paint::Good,
            Paint::Bad,
            Paint::Notable,
            Paint::Strong,
            Paint::Faint,
        ] {
            assert_eq!(Style::Plain.paint(paint, "x"), "x");
            assert!(Style::Coloured.paint(paint, "x").starts_with('\x1b'));
        }
    }
}
