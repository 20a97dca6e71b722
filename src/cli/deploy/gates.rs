//! The daemon's gates for the new slot, before traffic moves.

use super::daemon::{Daemon, No};
use crate::api::{EventKind, GateRequest, GateWaiting, GatesDone, StreamEvent};
use crate::cli::client::Lines;
use crate::cli::sentence::Sentence;

/// Gates that are being tried.
#[derive(Debug)]
pub(super) struct Gates {
    lines: Lines,
}

/// What is heard of them.
#[derive(Debug)]
pub(super) enum Heard {
    /// The slot is not ready yet: what its addresses say.
    Waiting(String),
    /// One thing that a gate looked at.
    Check(String),
    /// All were tried.
    Done {
        /// Why not; none when they passed.
        refused: Option<String>,
        /// So that the flip need not try them again.
        proof: Option<String>,
    },
}

impl Gates {
    /// Runs every gate of the service against `slot`, once it has started; nothing changes by it.
    pub(super) async fn of(daemon: &Daemon, slot: &str) -> Result<Self, No> {
        let request = GateRequest {
            slot: slot.to_owned(),
            no_wait_for_start: false,
        };
        let lines = daemon.operate("gate", &request).await?;
        Ok(Self { lines })
    }

    /// Cancel safe only in that the gates go on.
    pub(super) async fn next(&mut self) -> Result<Heard, No> {
        while let Some(line) = self.lines.next().await? {
            let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
                continue;
            };
            match &event.kind {
                EventKind::GateWaiting(waiting) => return Ok(Heard::Waiting(said(waiting))),
                EventKind::GateCheck(_) => return Ok(Heard::Check(Sentence::of(&event).text)),
                EventKind::GatesDone(done) => {
                    return Ok(Heard::Done {
                        refused: refused(done),
                        proof: done.proof.clone(),
                    });
                }
                _ => {}
            }
        }
        let words = "switchd ended the stream before the gates were through";
        Err(No::Gone(words.to_owned()))
    }
}

/// Without the seconds: the same words for the same state.
fn said(waiting: &GateWaiting) -> String {
    let said = waiting.endpoints.iter();
    let said: Vec<String> = said
        .map(|it| format!("{} {} {}", it.member, it.endpoint, it.said))
        .collect();
    said.join("; ")
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
