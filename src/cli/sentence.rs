//! Events as sentences.

use super::canary;
use super::gate_words;
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
use crate::api::{EventKind, StreamEvent, Verdict};

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
            | EventKind::Journalled { .. }
            | EventKind::Published { .. } => before_the_move(&event.kind),
            EventKind::GateCheck(_)
            | EventKind::GateProgress(_)
            | EventKind::GateWaiting(_)
            | EventKind::GatesReused { .. }
            | EventKind::GatesDone(_) => gate_words::sentence(&event.kind),
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
            quarantine,
        } => {
            let why = reason
                .as_deref()
                .map(|r| format!(": {r}"))
                .unwrap_or_default();
            let mended = quarantine
                .as_deref()
                .map(|why| format!("; {to} is in quarantine: {why}"))
                .unwrap_or_default();
            let what = match direction.as_str() {
                "canary" => format!("canary on {to} beside {from}"),
                "abort" => format!("end of the canary on {from}"),
                direction => format!("{direction} from {from} to {to}"),
            };
            say(
                format!("{what}, asked for by {by}{why}{mended}"),
                Paint::Strong,
            )
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
                Verdict::Cancelled => ("cancelled before traffic moved", Paint::Notable),
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
        event => aside(event),
    }
}

fn aside(event: &EventKind) -> Sentence {
    match event {
        EventKind::StateNotWritten { .. } | EventKind::StateWritten => machine::sentence(event),
        EventKind::Missed { events } => say(
            format!(
                "{} missing here: this reader was too slow",
                words::many(*events, "event")
            ),
            Paint::Notable,
        ),
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
