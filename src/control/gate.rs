//! The gate of a flip: every endpoint of a slot proves itself freshly, then the slot goes through its gates.

use super::clock::millis;
use super::gates::Ended;
use super::gates::Findings;
use super::gates::GatesMessage;
use super::gates::Hand;
use super::gates::Pace;
use super::gates::Reused;
use super::gates::Teller;
use super::gates::Trial;
use super::jobs::Jobs;
use super::message::Message;
use super::readiness::Passes;
use super::readiness::Readiness;
use crate::api::EventKind;
use crate::switch::FlipId;
use crate::switch::ServiceName;
use crate::switch::Starting;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What has to be proved, and for whom.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) service: ServiceName,
    /// None by hand.
    pub(super) flip: Option<FlipId>,
    /// For the endpoints, a start included; each gate of the slot has its own time.
    pub(super) within: Duration,
    pub(super) trial: Arc<Trial>,
    /// Who asked for it, where it is for no flip.
    pub(super) hand: Option<Hand>,
    /// It is well anyway: one pass of each endpoint will do.
    pub(super) is_warm: bool,
    pub(super) starting: Starting,
    /// The gates were passed just now, and nothing has changed.
    pub(super) reused: Option<Reused>,
}

/// What came of it: what the gates found, and why no traffic may move.
#[derive(Debug, Default)]
struct Outcome {
    findings: Findings,
    /// None when it may.
    reasons: Vec<String>,
}

/// Proves the slot and reports the verdict. Dropping it ends every probe and gate.
pub(super) async fn run(gate: Gate, jobs: Jobs) {
    let teller = Teller {
        jobs: jobs.clone(),
        service: gate.service.clone(),
        flip: gate.flip,
    };
    let Outcome { findings, reasons } = judge(&gate, &teller).await;
    let verdict = if reasons.is_empty() {
        Ok(findings.passed())
    } else {
        Err(reasons.clone())
    };
    let ended = Ended {
        service: gate.service.clone(),
        slot: gate.trial.slot.clone(),
        flip: gate.flip,
        findings,
        reasons,
        hand: gate.hand,
    };
    let ended = GatesMessage::Ended(Box::new(ended));
    jobs.report(Message::Gates(ended)).await;
    if let Some(flip) = gate.flip {
        let service = gate.service;
        let gated = Message::Gated {
            service,
            flip,
            verdict,
        };
        jobs.report(gated).await;
    }
}

async fn judge(gate: &Gate, teller: &Teller) -> Outcome {
    let readiness = Readiness {
        targets: &gate.trial.targets,
        slot: &gate.trial.slot,
        starting: gate.starting,
        began: Instant::now(),
        within: gate.within,
        teller,
        asker: gate.hand.as_ref(),
    };
    if let Some(outcome) = reuse(gate, &readiness).await {
        return outcome;
    }
    let passes = if gate.is_warm {
        Passes::One
    } else {
        Passes::InARow
    };
    loop {
        let unready = readiness.wait(passes).await.err();
        let mut reasons = unready.map_or_else(Vec::new, |unready| unready.reasons);
        let is_ready = reasons.is_empty();
        // By hand all is told at once; for a flip the first "no" is enough. A slot that served until just now has
        // been through its gates.
        if gate.is_warm || (!is_ready && gate.hand.is_none()) {
            return Outcome {
                reasons,
                ..Outcome::default()
            };
        }
        let findings = match try_gates(gate, teller).await {
            Ok(findings) => findings,
            Err(died) => {
                reasons.push(died);
                Findings::default()
            }
        };
        reasons.extend(findings.reasons());
        if findings.tried > 0 && is_ready {
            // Gates may take minutes: what was proved before them is old by now. And a slot that has gone again
            // while they asked it says nothing by what they got.
            match readiness.look().await {
                Err(gone) if readiness.may_come_back(&gone) => continue,
                Err(gone) if reasons.is_empty() => reasons = gone.reasons,
                Ok(()) | Err(_) => {}
            }
        }
        return Outcome { findings, reasons };
    }
}

/// None where there is nothing to rely on, or an address does not answer any more: then all is tried.
async fn reuse(gate: &Gate, readiness: &Readiness<'_>) -> Option<Outcome> {
    let Reused { age, passed } = gate.reused.as_ref()?;
    readiness.look().await.ok()?;
    let teller = readiness.teller;
    let kind = EventKind::GatesReused {
        slot: gate.trial.slot.to_string(),
        age_ms: millis(*age),
    };
    teller.jobs.events.tell(teller.about(), kind);
    Some(Outcome {
        findings: Findings {
            fingerprint: passed.fingerprint.clone(),
            left: passed.left.clone(),
            reused: Some(*age),
            ..Findings::default()
        },
        reasons: Vec::new(),
    })
}

async fn try_gates(gate: &Gate, teller: &Teller) -> Result<Findings, String> {
    let pace = match gate.hand {
        Some(_) => Pace::All,
        None => Pace::UntilOneFails,
    };
    let trial = Arc::clone(&gate.trial);
    let teller = teller.clone();
    // In a task of its own, which ends with this one: the operation must not wait for ever for what has died.
    let mut tried = JoinSet::new();
    tried.spawn(async move { trial.run(&teller, pace).await });
    match tried.join_next().await {
        Some(Ok(findings)) => Ok(findings),
        _ => Err("a gate broke off; look at the log of switchd".to_owned()),
    }
}
