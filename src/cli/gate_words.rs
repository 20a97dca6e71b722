//! What gates tell, as sentences.

use super::sentence::{Sentence, say};
use super::style::Paint;
use super::words;
use crate::api::{EventKind, GateCheck, GateWaiting, GatesDone, Outcome, WaitingEndpoint};

pub(super) fn sentence(event: &EventKind) -> Sentence {
    match event {
        EventKind::GateCheck(check) => gate_check(check),
        EventKind::GateProgress(progress) => say(
            format!(
                "{} {}, attempt {} of {}: {}",
                progress.slot, progress.gate, progress.attempt, progress.attempts, progress.said
            ),
            Paint::Notable,
        ),
        EventKind::GateWaiting(waiting) => say(gate_waiting(waiting), Paint::Notable),
        EventKind::GatesReused { slot, age_ms } => say(
            format!(
                "{slot} passed its gates {} ago; they are not tried again",
                words::took(*age_ms)
            ),
            Paint::Plain,
        ),
        EventKind::GatesDone(done) => gates_done(done),
        _ => say("", Paint::Plain),
    }
}

/// `waiting for green: http 127.0.0.1:8169 connection refused (4 s of 30 s)`.
fn gate_waiting(waiting: &GateWaiting) -> String {
    let said = waiting.endpoints.iter().map(|it| {
        let WaitingEndpoint {
            member,
            endpoint,
            said,
        } = it;
        format!("{member} {endpoint} {said}")
    });
    let said: Vec<String> = said.collect();
    let [waited, limit] =
        [waiting.waited_ms, waiting.limit_ms].map(|ms| words::about(ms.div_ceil(1000)));
    let slot = &waiting.slot;
    format!(
        "waiting for {slot}: {} ({waited} of {limit})",
        said.join("; ")
    )
}

fn gate_check(check: &GateCheck) -> Sentence {
    let at = check.endpoint.as_ref();
    let at = at.map_or(String::new(), |endpoint| format!(" ({endpoint})"));
    let what = format!("{} {}, {}{at}", check.slot, check.gate, check.check);
    let took = words::took(check.took_ms);
    let remedy = check.remedy.as_ref();
    let remedy = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
    let said = &check.said;
    match check.outcome {
        Outcome::Passed => say(format!("{what}: {said} ({took})"), Paint::Good),
        Outcome::Warn => say(format!("{what} warns: {said}{remedy}"), Paint::Notable),
        Outcome::Inconclusive => say(
            format!("{what} is inconclusive: {said}{remedy}"),
            Paint::Bad,
        ),
        Outcome::Failed => say(format!("{what} failed: {said}{remedy}"), Paint::Bad),
    }
}

fn gates_done(done: &GatesDone) -> Sentence {
    let GatesDone {
        slot,
        gates,
        reasons,
        ..
    } = done;
    if done.passed {
        let all = words::many(*gates as u64, "gate");
        return say(format!("{slot} is healthy and through {all}"), Paint::Good);
    }
    let text = format!("a flip to {slot} would be refused: {}", reasons.join("; "));
    say(text, Paint::Bad)
}
