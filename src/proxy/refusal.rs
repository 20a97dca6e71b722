//! Answers from the cache that hold nothing of what is kept.

use super::framing::Framing;
use super::local::Local;
use super::prepare::Prepared;
use crate::cache::Entry;
use crate::content::Outcome;

/// The status of an answer from what is kept.
pub(super) fn status_of(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Whole => 200,
        Outcome::Part(_) => 206,
        Outcome::NotModified => 304,
        Outcome::Failed => 412,
        Outcome::Beyond => 416,
    }
}

/// What asks for something that is not there gets an answer with nothing of the content.
pub(super) fn refusal(outcome: Outcome, entry: &Entry, prepared: &Prepared) -> Option<Local> {
    let mut lines = Vec::new();
    match outcome {
        Outcome::Beyond => {
            lines.extend_from_slice(
                format!("Content-Range: bytes */{}\r\n", entry.length()).as_bytes(),
            );
        }
        Outcome::Failed => {}
        Outcome::Whole | Outcome::Part(_) | Outcome::NotModified => return None,
    }
    Some(Local {
        length: prepared.length,
        asked: prepared.asked,
        framing: Framing::None,
        status: status_of(outcome),
        lines,
        body: Vec::new(),
    })
}
