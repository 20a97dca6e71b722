//! The gate of a flip: every endpoint of a slot proves itself freshly.

use super::events::About;
use super::jobs::Jobs;
use super::message::Message;
use super::prober::Target;
use super::prober::once;
use crate::api::EventKind;
use crate::switch::FlipId;
use crate::switch::Passed;
use crate::switch::ServiceName;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What has to be proved, and for whom.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) service: ServiceName,
    pub(super) flip: FlipId,
    pub(super) targets: Vec<Arc<Target>>,
    pub(super) within: Duration,
}

/// Proves the slot and reports the verdict.
pub(super) async fn run(gate: Gate, jobs: Jobs) {
    let verdict = prove(&gate, &jobs).await.map(|()| Passed::default());
    let Gate { service, flip, .. } = gate;
    jobs.report(Message::Gated {
        service,
        flip,
        verdict,
    })
    .await;
}

/// `rise` passes in a row on every endpoint, all at the same time; the first failure of one decides.
///
/// The others finish the probe they are at, so that every reason is told.
async fn prove(gate: &Gate, jobs: &Jobs) -> Result<(), Vec<String>> {
    let deadline = Instant::now() + gate.within;
    let lost = Arc::new(AtomicBool::new(false));
    let mut provers = JoinSet::new();
    for target in &gate.targets {
        let proof = Proof {
            target: Arc::clone(target),
            flip: gate.flip,
            lost: Arc::clone(&lost),
            jobs: jobs.clone(),
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
                reasons.push(format!("not proved after {within:?} (flip.gate_timeout)"));
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
    flip: FlipId,
    /// Another endpoint failed: no need to go on.
    lost: Arc<AtomicBool>,
    jobs: Jobs,
}

impl Proof {
    async fn run(self) -> Result<(), String> {
        let needed = self.target.health.rise;
        for streak in 1..=needed {
            let started = Instant::now();
            let report = once(&self.target, self.jobs.clock).await;
            let passed = report.result.clone();
            self.tell(report.as_status(), if passed.is_ok() { streak } else { 0 });
            self.jobs.report(Message::Probed(report)).await;
            if let Err(reason) = passed {
                let key = &self.target.key;
                return Err(format!("{} {}: {reason}", key.member, key.address));
            }
            if streak < needed {
                tokio::time::sleep_until(started + self.target.health.fast_interval).await;
            }
            if self.lost.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }

    fn tell(&self, result: crate::api::ProbeResult, streak: u32) {
        let key = &self.target.key;
        let kind = EventKind::Probe {
            slot: key.slot.to_string(),
            member: key.member.to_string(),
            endpoint: key.address.to_string(),
            result,
            streak,
            needed: self.target.health.rise,
        };
        let about = About::flip(key.service.as_str(), self.flip);
        self.jobs.events.tell(about, kind);
    }
}
