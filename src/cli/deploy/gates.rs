//! The daemon's gates for the new slot, before traffic moves.

use super::daemon::{Daemon, No};
use crate::api::{EventKind, StreamEvent};
use crate::cli::sentence::Sentence;
use serde_json::json;

/// What the gates said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) lines: Vec<String>,
    /// Why not; none when they passed.
    pub(super) refused: Option<String>,
}

/// Runs every gate of the service against `slot`; nothing changes by it.
pub(super) async fn run(daemon: &Daemon, slot: &str) -> Result<Said, No> {
    let mut lines = match daemon.operate("gate", &json!({ "slot": slot })).await {
        Err(No::Refused(why)) if why.contains("there is no") => return Ok(Said::default()),
        other => other?,
    };
    let mut said = Said::default();
    while let Some(line) = lines.next().await? {
        let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
            continue;
        };
        if let EventKind::GatesDone(done) = &event.kind {
            if !done.passed {
                said.refused = Some(done.reasons.join("\n"));
            }
            return Ok(said);
        }
        let text = Sentence::of(&event).text;
        if !text.is_empty() && !matches!(event.kind, EventKind::Probe { .. }) {
            said.lines.push(text);
        }
    }
    Err(No::Gone(
        "switchd ended the stream before the gates were through".to_owned(),
    ))
}
