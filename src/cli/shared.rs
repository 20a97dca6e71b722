//! What all slots need, in words.

use super::sentence::{Sentence, say};
use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{EventKind, SharedTroubleStatus};

/// Of what all slots need.
pub(super) fn sentence(event: &EventKind) -> Sentence {
    match event {
        EventKind::SharedDown { reason, .. } => say(
            format!(
                "what all slots need fails: {reason}; nothing moves by itself until it is back"
            ),
            Paint::Bad,
        ),
        EventKind::SharedUp { address, lasted_ms } => {
            let what = address.as_deref().unwrap_or("what all slots need");
            say(
                format!("{what} is back after {}", words::took(*lasted_ms)),
                Paint::Good,
            )
        }
        _ => say("", Paint::Plain),
    }
}

/// Its line in `status` while it fails.
pub(super) fn line(trouble: &SharedTroubleStatus, look: &Look) -> String {
    let since = words::since(&trouble.since, look);
    let reason = &trouble.reason;
    let text = match trouble.address {
        Some(_) => format!(
            "what all slots need fails, for {since}: {reason}; nothing moves by itself until it is back, and a \
             flip does not help: start it, or check the network to it"
        ),
        None => format!(
            "all slots fail alike, for {since}: {reason}; nothing moves by itself until one of them is well"
        ),
    };
    look.style.paint(Paint::Bad, &printable(&text))
}
