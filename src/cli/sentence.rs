//! Events as sentences.

use super::canary;
use super::hold;
use super::machine;
use super::modes;
use super::reload;
use super::shadow;
use super::shared;
use super::strangers;
use super::style::Paint;
use super::table::printable;
use super::watch;
use super::words;
use crate::api::{
    EventKind, GateCheck, GateWaiting, GatesDone, Outcome, StreamEvent, Verdict, WaitingEndpoint,
};

/// One event in words, and how weighty it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub(super) text: String,
    pub(super) paint: Paint,
}

impl Sentence {
    pub(super) fn of(event: &StreamEvent) -> Self {
        let said = match &event.kind {
            EventKind::Started { .. }
            | EventKind::Probe { .. }
            | EventKind::GatePassed { .. }
            | EventKind::GateCheck(_)
            | EventKind::GateProgress(_)
            | EventKind::GateWaiting(_)
            | EventKind::GatesDone(_)
            | EventKind::Journalled { .. }
            | EventKind::Published { .. } => before_the_move(&event.kind),
            EventKind::Draining { .. }
            | EventKind::CutOff { .. }
            | EventKind::Drained { .. }
            | EventKind::Settled
            | EventKind::Done { .. } => after_the_move(&event.kind),
            EventKind::Held { .. }
            | EventKind::Holding { .. }
            | EventKind::HoldDrained { .. }
            | EventKind::Releasing { .. }
            | EventKind::Released { .. }
            | EventKind::OutageBegan { .. }
            | EventKind::OutageEnded { .. } => hold::sentence(&event.kind),
            EventKind::Mode {
                mode,
                on,
                by,
                message,
            } => modes::sentence(mode, *on, by, message.as_deref()),
            EventKind::Watch { .. } | EventKind::Confirmed { .. } => watch::said(&event.kind),
            _ => beside(&event.kind),
        };
        Self {
            text: printable(&said.text),
            ..said
        }
    }
}

pub(super) fn say(text: impl Into<String>, paint: Paint) -> Sentence {
    Sentence {
        text: text.into(),
        paint,
    }
}

fn before_the_move(event: &EventKind) -> Sentence {
    match event {
        EventKind::Started {
            direction,
            from,
            to,
            by,
            reason,
        } => {
            let why = reason
                .as_deref()
                .map(|r| format!(": {r}"))
                .unwrap_or_default();
            let what = match direction.as_str() {
                "canary" => format!("canary on {to} beside {from}"),
                "abort" => format!("end of the canary on {from}"),
                direction => format!("{direction} from {from} to {to}"),
            };
            say(format!("{what}, asked for by {by}{why}"), Paint::Strong)
        }
        EventKind::Probe {
            slot,
            member,
            endpoint,
            result,
            streak,
            needed,
        } => {
            let words = if result.passed {
                format!("{} ({streak} of {needed})", result.result)
            } else {
                format!("failed: {}", result.result)
            };
            say(
                format!("{slot} {member} {endpoint} {words}"),
                if result.passed {
                    Paint::Plain
                } else {
                    Paint::Bad
                },
            )
        }
        EventKind::GatePassed { slot, took_ms } => say(
            format!("{slot} is proven healthy ({})", words::took(*took_ms)),
            Paint::Good,
        ),
        EventKind::GateCheck(check) => gate_check(check),
        EventKind::GateProgress(progress) => say(
            format!(
                "{} {}, attempt {} of {}: {}",
                progress.slot, progress.gate, progress.attempt, progress.attempts, progress.said
            ),
            Paint::Notable,
        ),
        EventKind::GateWaiting(waiting) => say(gate_waiting(waiting), Paint::Notable),
        EventKind::GatesDone(done) => gates_done(done),
        EventKind::Journalled { took_ms } => say(
            format!("written to the journal ({})", words::took(*took_ms)),
            Paint::Plain,
        ),
        EventKind::Published {
            from,
            to,
            generation,
            ..
        } => say(
            format!("{to} is live as generation {generation}; no new request reaches {from}"),
            Paint::Good,
        ),
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

fn after_the_move(event: &EventKind) -> Sentence {
    match event {
        EventKind::Draining { slot, left, .. } => say(
            format!("{slot} drains: {} left", words::counts(left)),
            Paint::Plain,
        ),
        EventKind::CutOff { slot, cut, .. } => say(
            format!("{slot}: cut off {}, out of time", words::counts(cut)),
            Paint::Notable,
        ),
        EventKind::Drained {
            slot, cut, took_ms, ..
        } => match cut {
            0 => say(
                format!("{slot} is drained ({})", words::took(*took_ms)),
                Paint::Good,
            ),
            _ => say(
                format!("{slot} is empty ({}), {cut} cut off", words::took(*took_ms)),
                Paint::Notable,
            ),
        },
        EventKind::Settled => say("settled: nothing drains, nothing is watched", Paint::Plain),
        EventKind::Done {
            verdict,
            active,
            reasons,
            ..
        } => {
            let because = if reasons.is_empty() {
                String::new()
            } else {
                format!(": {}", reasons.join("; "))
            };
            let (words, paint) = match verdict {
                Verdict::Done => ("done", Paint::Good),
                Verdict::Unchanged => ("nothing to do", Paint::Plain),
                Verdict::Refused => ("refused", Paint::Bad),
                Verdict::Failed => ("failed", Paint::Bad),
                Verdict::MovedBack => ("moved back by itself", Paint::Bad),
            };
            say(format!("{words}; {active} is active{because}"), paint)
        }
        _ => say("", Paint::Plain),
    }
}

/// What is no step of an operation.
fn beside(event: &EventKind) -> Sentence {
    match event {
        EventKind::Health {
            slot,
            health,
            reason,
        } => {
            let why = reason
                .as_deref()
                .map(|r| format!(": {r}"))
                .unwrap_or_default();
            say(format!("{slot} is {health}{why}"), Paint::of_health(health))
        }
        EventKind::Quarantined { slot, reason } => {
            say(format!("{slot} is in quarantine: {reason}"), Paint::Bad)
        }
        EventKind::QuarantineEnded { slot } => {
            say(format!("the quarantine of {slot} is over"), Paint::Good)
        }
        EventKind::Acknowledged { slot, by } => {
            say(format!("{slot} acknowledged by {by}"), Paint::Plain)
        }
        EventKind::Labelled { slot, version, by } => say(
            match version {
                Some(version) => format!("{slot} runs {version}, says {by}"),
                None => format!("{slot} has no version any more, says {by}"),
            },
            Paint::Plain,
        ),
        EventKind::Staying {
            slot,
            reason,
            starting,
        } => {
            let paint = if *starting {
                Paint::Notable
            } else {
                Paint::Bad
            };
            say(format!("traffic stays on {slot}: {reason}"), paint)
        }
        EventKind::OwnerChanged { .. } | EventKind::OwnerRestored { .. } => {
            strangers::sentence(event)
        }
        EventKind::SharedDown { .. } | EventKind::SharedUp { .. } => shared::sentence(event),
        EventKind::ShadowOn { .. } | EventKind::ShadowOff { .. } => shadow::sentence(event),
        EventKind::Canary { .. }
        | EventKind::CanaryOver { .. }
        | EventKind::CanaryHalted { .. }
        | EventKind::PreviewLink { .. } => canary::sentence(event),
        EventKind::Reloaded {
            changes,
            needs_restart,
        } => say(
            format!(
                "config reloaded: {}",
                reload::reloaded(changes, needs_restart)
            ),
            Paint::Plain,
        ),
        EventKind::ReloadFailed { .. }
        | EventKind::CertificatesReloaded { .. }
        | EventKind::CertificatesNotTaken { .. } => reload::sentence(event),
        EventKind::StateNotWritten { .. } | EventKind::StateWritten => machine::sentence(event),
        EventKind::Missed { events } => say(
            format!(
                "{} missing here: this reader was too slow",
                words::many(*events, "event")
            ),
            Paint::Notable,
        ),
        event => aside(event),
    }
}

fn aside(event: &EventKind) -> Sentence {
    match event {
        EventKind::OrderRefused {
            command,
            by,
            reasons,
        } => say(
            format!(
                "{command} refused, asked for by {by}: {}",
                reasons.join("; ")
            ),
            Paint::Notable,
        ),
        EventKind::CertificateExpiring { certificate } => say(certificate, Paint::Notable),
        EventKind::HookTest { by } => say(format!("a hook is tested by {by}"), Paint::Plain),
        _ => say("", Paint::Plain),
    }
}
