//! The gate of a flip: every endpoint of a slot proves itself freshly, then the slot goes through its gates.

use super::gates::Ended;
use super::gates::Findings;
use super::gates::GatesMessage;
use super::gates::Hand;
use super::gates::Pace;
use super::gates::Teller;
use super::gates::Trial;
use super::jobs::Jobs;
use super::message::Message;
use super::prober::Target;
use super::prober::once;
use crate::api::EventKind;
use crate::switch::FlipId;
use crate::switch::Passed;
use crate::switch::ServiceName;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What has to be proved, and for whom.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) service: ServiceName,
    /// None by hand.
    pub(super) flip: Option<FlipId>,
    /// For the endpoints; each gate of the slot has its own time.
    pub(super) within: Duration,
    pub(super) trial: Arc<Trial>,
    /// Who asked for it, where it is for no flip.
    pub(super) hand: Option<Hand>,
    /// It is well anyway: one pass of each endpoint will do.
    pub(super) is_warm: bool,
}

/// Proves the slot and reports the verdict.
pub(super) async fn run(gate: Gate, jobs: Jobs) {
    let teller = Teller {
        jobs: jobs.clone(),
        service: gate.service.clone(),
        flip: gate.flip,
    };
    let mut reasons = prove(&gate, &teller).await.err().unwrap_or_default();
    let mut findings = Findings::default();
    // By hand all is told at once; for a flip the first "no" is enough. A slot that served until just now has
    // been through its gates.
    if !gate.is_warm && (reasons.is_empty() || gate.hand.is_some()) {
        let pace = match gate.hand {
            Some(_) => Pace::All,
            None => Pace::UntilOneFails,
        };
        let trial = Arc::clone(&gate.trial);
        let tried = teller.clone();
        let tried = tokio::spawn(async move { trial.run(&tried, pace).await });
        match tried.await {
            Ok(found) => findings = found,
            // The operation must not wait for ever for what has died.
            Err(_) => reasons.push("a gate broke off; look at the log of switchd".to_owned()),
        }
        reasons.extend(findings.reasons());
    }
    if reasons.is_empty() && findings.tried > 0 {
        // Gates may take minutes: what was proved before them is old by now.
        reasons = prove(&gate, &teller).await.err().unwrap_or_default();
    }
    let passed = Passed {
        fingerprint: findings.fingerprint.clone(),
    };
    let verdict = if reasons.is_empty() {
        Ok(passed)
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

/// `rise` passes in a row (one, of a slot that is well anyway) on every endpoint, all at the same time; the first failure of one decides.
///
/// The others finish the probe they are at, so that every reason is told.
async fn prove(gate: &Gate, teller: &Teller) -> Result<(), Vec<String>> {
    let deadline = Instant::now() + gate.within;
    let lost = Arc::new(AtomicBool::new(false));
    let unasked = Arc::<Mutex<Option<String>>>::default();
    let mut provers = JoinSet::new();
    for target in &gate.trial.targets {
        let proof = Proof {
            target: Arc::clone(target),
            needed: if gate.is_warm { 1 } else { target.health.rise },
            lost: Arc::clone(&lost),
            unasked: Arc::clone(&unasked),
            teller: teller.clone(),
        };
        provers.spawn(proof.run());
    }
    let mut reasons = Vec::new();
    loop {
        match tokio::time::timeout_at(deadline, provers.join_next()).await {
            Ok(Some(Ok(Ok(())))) => {}
            Ok(Some(Ok(Err(reason)))) => {
                lost.store(true, Ordering::Relaxed);
                reasons.push(reason);
            }
            Ok(Some(Err(_))) => reasons.push("a probe broke off".to_owned()),
            Ok(None) => break,
            Err(_) => {
                let within = gate.within;
                let unasked = unasked
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                let last = unasked.map_or(String::new(), |words| format!(": {words}"));
                reasons.push(format!(
                    "not proved after {within:?} (flip.gate_timeout){last}"
                ));
                break;
            }
        }
    }
    reasons.sort();
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(reasons)
    }
}

/// One endpoint's part of the gate.
struct Proof {
    target: Arc<Target>,
    /// Passes in a row.
    needed: u32,
    /// Another endpoint failed: no need to go on.
    lost: Arc<AtomicBool>,
    /// An endpoint that we could not even ask, and why.
    unasked: Arc<Mutex<Option<String>>>,
    teller: Teller,
}

impl Proof {
    async fn run(self) -> Result<(), String> {
        let needed = self.needed;
        let mut streak = 0;
        loop {
            let started = Instant::now();
            let report = once(&self.target, self.teller.jobs.clock).await;
            let (passed, is_no_result) = (report.result.clone(), report.is_no_result());
            streak += u32::from(passed.is_ok());
            let counted = if passed.is_ok() || is_no_result {
                streak
            } else {
                0
            };
            self.tell(report.as_status(), counted);
            let told = Message::Probed(report);
            self.teller.jobs.report(told).await;
            let failed = passed.err().map(|reason| {
                let key = &self.target.key;
                format!("{} {}: {reason}", key.member, key.address)
            });
            // What we lack ourselves comes back, and speaks neither for the slot nor against it.
            self.could_ask(failed.clone().filter(|_| is_no_result));
            if let Some(reason) = failed
                && !is_no_result
            {
                return Err(reason);
            }
            if streak >= needed || self.lost.load(Ordering::Relaxed) {
                return Ok(());
            }
            tokio::time::sleep_until(started + self.target.health.fast_interval).await;
        }
    }

    fn could_ask(&self, not: Option<String>) {
        *self.unasked.lock().unwrap_or_else(PoisonError::into_inner) = not;
    }

    fn tell(&self, result: crate::api::ProbeResult, streak: u32) {
        let key = &self.target.key;
        let kind = EventKind::Probe {
            slot: key.slot.to_string(),
            member: key.member.to_string(),
            endpoint: key.address.to_string(),
            result,
            streak,
            needed: self.needed,
        };
        self.teller.jobs.events.tell(self.teller.about(), kind);
    }
}
