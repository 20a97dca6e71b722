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
    let mend = match trouble.address {
        Some(_) => "start it, or check the network to it",
        None => "look at what the slots share, such as the database",
    };
    let text = format!(
        "what all slots need fails, for {}: {}; nothing moves by itself until it is back, and a flip does not \
         help: {mend}",
        words::since(&trouble.since, look),
        trouble.reason,
    );
    look.style.paint(Paint::Bad, &printable(&text))
}
