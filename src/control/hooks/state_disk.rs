//! That the state cannot be written, as hooks tell it.

use super::notices::Notice;
use super::notices::Severity;
use crate::api::EventKind;
use crate::config::HookEvent;

/// Of one of the two events of the disk.
pub(super) fn notice(event: &EventKind) -> Notice {
    match event {
        EventKind::StateNotWritten { problem } => {
            let told = format!("the state cannot be written: {problem}");
            Notice::new(HookEvent::StateNotWritten, Severity::Critical, told)
        }
        _ => Notice::new(
            HookEvent::StateWritten,
            Severity::Info,
            "the state can be written again".to_owned(),
        )
        .resolving(HookEvent::StateNotWritten),
    }
}
