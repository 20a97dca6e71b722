//! What happened, as hooks tell it: one arm for each kind of event.

use super::of_service::of_service;
use super::state_disk;
use super::watched;
use crate::api::EventKind;
use crate::api::ReleaseCause;
use crate::api::StreamEvent;
use crate::api::Verdict;
use crate::config::HookEvent;
use std::collections::HashMap;

/// Operations that are remembered from their start to their end.
const UNDER_WAY: usize = 64;

/// One thing worth telling.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Notice {
    /// A hook that is subscribed to one of these is told, once. The first is the notice's name.
    pub(super) names: Vec<HookEvent>,
    pub(super) severity: Severity,
    /// One sentence.
    pub(super) summary: String,
    /// The slot that it is about, where there is one.
    pub(super) slot: Option<String>,
    /// What it puts an end to.
    pub(super) resolves: Option<HookEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Notice {
    pub(super) fn new(name: HookEvent, severity: Severity, summary: String) -> Self {
        Self {
            names: vec![name],
            severity,
            summary,
            slot: None,
            resolves: None,
        }
    }

    pub(super) fn about(self, slot: &str) -> Self {
        Self {
            slot: Some(slot.to_owned()),
            ..self
        }
    }

    pub(super) fn resolving(self, event: HookEvent) -> Self {
        Self {
            resolves: Some(event),
            ..self
        }
    }

    pub(super) fn also(mut self, name: HookEvent) -> Self {
        self.names.push(name);
        self
    }

    pub(super) fn test(by: &str) -> Self {
        let summary = format!("this is a test, asked for by {by}");
        Self::new(HookEvent::Test, Severity::Info, summary)
    }
}

/// What an operation said when it started.
#[derive(Debug, Clone)]
struct Begun {
    direction: String,
    from: String,
    to: String,
    by: String,
    reason: Option<String>,
}

impl Begun {
    fn words(&self) -> String {
        let Self {
            direction,
            from,
            to,
            by,
            reason,
        } = self;
        let why = reason.as_ref().map(|why| format!(": {why}"));
        format!(
            "{direction} from {from} to {to}, asked for by {by}{}",
            why.unwrap_or_default()
        )
    }
}

/// Knows which operation an event belongs to.
#[derive(Debug, Default)]
pub(super) struct Reader {
    under_way: HashMap<(String, u64), Begun>,
}

impl Reader {
    /// None for what no hook is told of. A new event that hooks shall tell is one more arm.
    pub(super) fn read(&mut self, event: &StreamEvent) -> Option<Notice> {
        use HookEvent as Name;
        use Severity::{Critical, Info, Warning};
        Some(match &event.kind {
            EventKind::Started { .. } => self.started(event)?,
            EventKind::Done { .. } => self.done(event)?,
            // Whoever is on call need not hear that a slot starts together with the daemon.
            EventKind::Staying { starting: true, .. } => return None,
            EventKind::Staying { slot, reason, .. } => {
                let told = format!("traffic stays on {slot}, which is not well: {reason}");
                Notice::new(Name::Staying, Critical, told).about(slot)
            }
            EventKind::Quarantined { slot, reason } => {
                let told = format!("{slot} is in quarantine: {reason}");
                Notice::new(Name::Quarantine, Warning, told).about(slot)
            }
            EventKind::QuarantineEnded { slot } => {
                let told = format!("the quarantine of {slot} is over");
                let notice = Notice::new(Name::QuarantineEnded, Info, told).about(slot);
                notice.resolving(Name::Quarantine)
            }
            EventKind::Watch {
                slot,
                verdict,
                reasons,
                moves_nothing,
                ..
            } => watched::watch((slot, verdict), reasons, *moves_nothing)?,
            EventKind::GatesDone(done) if !done.passed => {
                let told = format!(
                    "{} does not pass its gates: {}",
                    done.slot,
                    done.reasons.join("; ")
                );
                Notice::new(Name::GateFailed, Warning, told).about(&done.slot)
            }
            EventKind::Released { .. } => hold(&event.kind)?,
            EventKind::CanaryOver { .. } | EventKind::CanaryHalted { .. } => canary(&event.kind)?,
            EventKind::Mode { .. }
            | EventKind::OwnerChanged { .. }
            | EventKind::OwnerRestored { .. }
            | EventKind::SharedDown { .. }
            | EventKind::SharedUp { .. }
            | EventKind::OutageBegan { .. }
            | EventKind::OutageEnded { .. } => of_service(&event.kind)?,
            _ => of_daemon(&event.kind)?,
        })
    }

    fn started(&mut self, event: &StreamEvent) -> Option<Notice> {
        let EventKind::Started {
            direction,
            from,
            to,
            by,
            reason,
            ..
        } = &event.kind
        else {
            return None;
        };
        let begun = Begun {
            direction: direction.clone(),
            from: from.clone(),
            to: to.clone(),
            by: by.clone(),
            reason: reason.clone(),
        };
        let notice = if direction == "failback" {
            let why = reason.as_deref().unwrap_or("it is not well");
            let told = format!("traffic leaves {from} for {to} by itself: {why}");
            Notice::new(HookEvent::Failback, Severity::Critical, told).about(from)
        } else {
            let told = format!("{} started", begun.words());
            Notice::new(HookEvent::FlipStarted, Severity::Info, told).about(to)
        };
        // Ids only grow: should ends ever have been missed, the oldest is forgotten.
        if self.under_way.len() >= UNDER_WAY
            && let Some(oldest) = self.under_way.keys().min_by_key(|(_, flip)| *flip).cloned()
        {
            self.under_way.remove(&oldest);
        }
        let key = (event.service.clone(), event.flip?);
        self.under_way.insert(key, begun);
        Some(notice)
    }

    fn done(&mut self, event: &StreamEvent) -> Option<Notice> {
        use HookEvent as Name;
        let EventKind::Done {
            verdict,
            active,
            reasons,
            took_ms,
            drained_ms,
            cut,
        } = &event.kind
        else {
            return None;
        };
        let begun = self
            .under_way
            .remove(&(event.service.clone(), event.flip?))?;
        let (words, why) = (begun.words(), reasons.join("; "));
        let (name, severity, told) = match verdict {
            Verdict::Unchanged => return None,
            Verdict::Done => {
                let drained = drained_ms.map(|ms| format!(", drained {ms} ms later"));
                let told = format!(
                    "{words}: done, {active} has the traffic after {took_ms} ms{}, {cut} requests cut off",
                    drained.unwrap_or_default()
                );
                (Name::FlipFinished, Severity::Info, told)
            }
            Verdict::MovedBack => (
                Name::FlipFinished,
                Severity::Critical,
                format!("{words}: traffic moved back by itself, {active} has it"),
            ),
            Verdict::Refused => (
                Name::FlipRefused,
                Severity::Warning,
                format!("{words}: refused, {active} keeps the traffic: {why}"),
            ),
            Verdict::Cancelled => (
                Name::FlipRefused,
                Severity::Warning,
                format!("{words}: cancelled before traffic moved: {why}"),
            ),
            Verdict::Failed => (
                Name::FlipRefused,
                Severity::Critical,
                format!("{words}: failed, {active} keeps the traffic: {why}"),
            ),
        };
        let notice = Notice::new(name, severity, told).about(&begun.to);
        Some(match verdict {
            // Only the gate refuses what was started.
            Verdict::Refused => notice.also(Name::GateFailed),
            _ => notice,
        })
    }
}

/// None for one that ended as it was meant to.
fn hold(event: &EventKind) -> Option<Notice> {
    let EventKind::Released {
        why,
        held_ms,
        requests,
        ..
    } = event
    else {
        return None;
    };
    let why = match why {
        ReleaseCause::Deadline => "its time was up",
        ReleaseCause::LeaseLost => "the connection that held it is gone",
        _ => return None,
    };
    let told =
        format!("a hold ended by itself after {held_ms} ms, {why}; {requests} requests went on");
    Some(Notice::new(HookEvent::HoldExpired, Severity::Warning, told))
}

fn canary(event: &EventKind) -> Option<Notice> {
    Some(match event {
        EventKind::CanaryOver {
            slot,
            promoted,
            reason,
        } => {
            let severity = if *promoted {
                Severity::Info
            } else {
                Severity::Warning
            };
            let what = if *promoted {
                "all traffic follows"
            } else {
                "it ended"
            };
            let why = reason.as_ref().map(|why| format!(": {why}"));
            let told = format!(
                "the canary on {slot} is over, {what}{}",
                why.unwrap_or_default()
            );
            Notice::new(HookEvent::CanaryOver, severity, told).about(slot)
        }
        EventKind::CanaryHalted { slot, percent } => {
            let told = format!("the canary on {slot} stays at {percent} %: its next step failed");
            Notice::new(HookEvent::CanaryHalted, Severity::Warning, told).about(slot)
        }
        _ => return None,
    })
}

/// What is no step of an operation, and not about one slot.
fn of_daemon(event: &EventKind) -> Option<Notice> {
    use HookEvent as Name;
    use Severity::{Info, Warning};
    Some(match event {
        EventKind::CertificateExpiring { certificate } => {
            Notice::new(Name::CertificateExpiring, Warning, certificate.clone())
        }
        EventKind::CertificatesNotTaken { problems } => {
            let told = format!(
                "certificates not taken, those in force stay in force: {}",
                problems.join("; ")
            );
            Notice::new(Name::CertificatesRejected, Warning, told)
        }
        EventKind::CertificatesReloaded { changes } => {
            let told = format!("certificates reloaded: {}", changes.join("; "));
            let notice = Notice::new(Name::CertificatesTaken, Info, told);
            notice.resolving(Name::CertificatesRejected)
        }
        EventKind::ReloadFailed { problems } => {
            let told = format!(
                "config not taken, what was in force stays in force: {}",
                problems.join("; ")
            );
            Notice::new(Name::ConfigRejected, Warning, told)
        }
        EventKind::Reloaded { changes, .. } => {
            let told = match &changes[..] {
                [] => "config reloaded; nothing changed".to_owned(),
                changes => format!("config reloaded: {}", changes.join("; ")),
            };
            Notice::new(Name::ConfigTaken, Info, told).resolving(Name::ConfigRejected)
        }
        EventKind::StateNotWritten { .. } | EventKind::StateWritten => state_disk::notice(event),
        EventKind::OrderRefused {
            command,
            by,
            reasons,
        } => {
            let told = format!(
                "{command} refused, asked for by {by}: {}",
                reasons.join("; ")
            );
            Notice::new(Name::FlipRefused, Warning, told)
        }
        EventKind::Missed { events } => {
            let told = format!("{events} events were lost on the way to the hooks");
            Notice::new(Name::Missed, Warning, told)
        }
        _ => return None,
    })
}
