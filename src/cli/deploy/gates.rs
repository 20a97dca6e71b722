//! The daemon's gates for the new slot, before traffic moves.

use super::daemon::{Daemon, No};
use crate::api::{EventKind, GatesDone, SlotRequest, StreamEvent};
use crate::cli::sentence::Sentence;

/// What the gates said.
#[derive(Debug)]
pub(super) struct Said {
    /// One for each thing that a gate looked at.
    pub(super) lines: Vec<String>,
    /// Why not; none when they passed.
    pub(super) refused: Option<String>,
}

/// Runs every gate of the service against `slot`; nothing changes by it.
pub(super) async fn run(daemon: &Daemon, slot: &str) -> Result<Said, No> {
    let request = SlotRequest {
        slot: slot.to_owned(),
    };
    let mut lines = daemon.operate("gate", &request).await?;
    let mut said = Vec::new();
    while let Some(line) = lines.next().await? {
        let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
            continue;
        };
        match &event.kind {
            EventKind::GateCheck(_) => said.push(Sentence::of(&event).text),
            EventKind::GatesDone(done) => {
                return Ok(Said {
                    lines: said,
                    refused: refused(done),
                });
            }
            _ => {}
        }
    }
    let words = "switchd ended the stream before the gates were through";
    Err(No::Gone(words.to_owned()))
}

fn refused(done: &GatesDone) -> Option<String> {
    if done.passed {
        return None;
    }
    if done.reasons.is_empty() {
        return Some("the gates refused it without a reason".to_owned());
    }
    Some(done.reasons.join("\n"))
}
