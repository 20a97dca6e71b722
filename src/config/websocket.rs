//! What becomes of a service's websockets when traffic leaves their slot.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::settings::Flip;
use super::table::Table;
use super::units::format_duration;
use super::value::{Choice, Value, Zero};
use std::time::Duration;

/// What holds for the websockets of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Websocket {
    pub on_flip: OnFlip,
    /// Of the Close frame; never 1000, which tells clients to stay away.
    pub close_code: u16,
    /// At most 123 bytes.
    pub close_reason: String,
    /// From the first that is closed to the last; shorter than the drain.
    pub spread: Duration,
    /// How long either end may take to answer a Close.
    pub close_timeout: Duration,
}

/// What a flip does to websockets of the slot that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFlip {
    /// They are closed over the time of `spread`, and come back to the new slot.
    Move,
    /// They stay, and are closed in the same way at the end of the drain.
    Keep,
    /// They are closed at once.
    Cut,
}

/// Service restart (RFC 6455, IANA registry).
const RESTART: u16 = 1012;
/// What fits a Close frame beside its code.
const LONGEST_REASON: usize = 123;

const MODES: [Choice<OnFlip>; 3] = [
    Choice {
        word: "move",
        means: OnFlip::Move,
    },
    Choice {
        word: "keep",
        means: OnFlip::Keep,
    },
    Choice {
        word: "cut",
        means: OnFlip::Cut,
    },
];

pub(super) const WEBSOCKET: Section = section(
    "service.NAME.websocket",
    &[
        key("on_flip", r#""move""#),
        key("close_code", "1012"),
        key("close_reason", r#""the service moves""#),
        key("spread", r#""10s""#),
        key("close_timeout", r#""5s""#),
    ],
);

impl Default for Websocket {
    fn default() -> Self {
        Self {
            on_flip: OnFlip::Move,
            close_code: RESTART,
            close_reason: String::new(),
            spread: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
        }
    }
}

pub(super) fn read(service: &Table<'_>, flip: &Flip) -> Websocket {
    let table = service.table("websocket", &WEBSOCKET);
    let default = Websocket::default();
    // A default that does not fit a short drain is no mistake: nobody wrote it.
    let fits = default.spread.min(flip.drain_websockets / 2);
    Websocket {
        on_flip: table
            .get("on_flip")
            .and_then(|value| value.choice(&MODES))
            .unwrap_or(default.on_flip),
        close_code: table
            .get("close_code")
            .and_then(|value| close_code(&value))
            .unwrap_or(default.close_code),
        close_reason: table
            .get("close_reason")
            .and_then(|value| close_reason(&value))
            .unwrap_or(default.close_reason),
        spread: table
            .get("spread")
            .and_then(|value| spread(&value, flip.drain_websockets))
            .unwrap_or(fits),
        close_timeout: table.duration("close_timeout", Zero::Refused, default.close_timeout),
    }
}

fn close_code(value: &Value<'_>) -> Option<u16> {
    let code = value.number(0..=u64::from(u16::MAX))?;
    let code = u16::try_from(code).ok()?;
    let help = "1012 says that the service restarts; clients of Odoo come back fastest from 4002";
    match code {
        1001 | 1011..=1014 | 3000..=4999 => return Some(code),
        1000 => value.wrong(
            "`close_code` must not be 1000: clients take it for the end and do not come back",
            help,
        ),
        _ => value.wrong(
            format!(
                "`close_code` cannot be {code}: it is not one that a server may close with for reasons of its own"
            ),
            format!("write 1001, 1011 to 1014, or 3000 to 4999; {help}"),
        ),
    }
    None
}

fn close_reason(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.len() <= LONGEST_REASON {
        return Some(text.to_owned());
    }
    value.wrong(
        format!("`close_reason` is {} bytes long", text.len()),
        format!("a Close frame has room for {LONGEST_REASON}: shorten it"),
    );
    None
}

fn spread(value: &Value<'_>, drain: Duration) -> Option<Duration> {
    let spread = value.duration(Zero::Allowed)?;
    if spread < drain || spread.is_zero() {
        return Some(spread);
    }
    value.wrong(
        format!(
            "`spread` is not shorter than `drain_websockets` ({}): the last would be cut without a word",
            format_duration(drain)
        ),
        "shorten `spread`, or lengthen `drain_websockets` in the service's [flip]",
    );
    None
}

pub(super) fn changes(lines: &mut Differences, old: &Websocket, new: &Websocket) {
    let mode = |mode: OnFlip| {
        let word = MODES.iter().find(|choice| choice.means == mode);
        word.map_or("", |choice| choice.word)
    };
    let (a, b) = (mode(old.on_flip), mode(new.on_flip));
    lines.value("websocket on_flip", &a, &b);
    lines.value("websocket close_code", &old.close_code, &new.close_code);
    let quoted = |text: &str| format!("{text:?}");
    let (a, b) = (quoted(&old.close_reason), quoted(&new.close_reason));
    lines.value("websocket close_reason", &a, &b);
    lines.time("websocket spread", old.spread, new.spread);
    let (a, b) = (old.close_timeout, new.close_timeout);
    lines.time("websocket close_timeout", a, b);
}
