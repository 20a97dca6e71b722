//! Who else listens on a slot's port, in words.

use super::sentence::{Sentence, say};
use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{EventKind, ServiceStatus};

pub(super) fn sentence(event: &EventKind) -> Sentence {
    match event {
        EventKind::OwnerChanged {
            slot,
            endpoint,
            listening,
            expected,
        } => say(
            format!("{listening} listens on {endpoint}, the port of {slot}, not {expected}"),
            Paint::Bad,
        ),
        EventKind::OwnerRestored { slot } => say(
            format!("no stranger listens on the port of {slot} any more"),
            Paint::Good,
        ),
        _ => say("", Paint::Plain),
    }
}

/// Their lines in `status`.
pub(super) fn lines(service: &ServiceStatus, look: &Look) -> Vec<String> {
    let each = service.slots.iter().filter_map(|slot| {
        let stranger = slot.stranger.as_ref()?;
        let text = format!(
            "{} listens on {}, the port of {}, for {}, not {}; nothing moves there by itself: {}",
            stranger.listening,
            stranger.endpoint,
            slot.name,
            words::since(&stranger.since, look),
            stranger.expected,
            stranger.remedy,
        );
        Some(look.style.paint(Paint::Bad, &printable(&text)))
    });
    each.collect()
}
