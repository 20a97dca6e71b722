//! Taking back what was done, the last step first.
//!
//! A step that failed is taken back too: it may have done half of its work. When traffic cannot be moved back
//! nothing more is taken back, as what comes before is what the traffic stands on.

use super::journal::{Outcome, Record, Undone};
use super::program::{Purpose, Task};
use super::runner::{Runner, millis};
use super::step::Asker;
use crate::api::{FlipRequest, ServiceStatus, Verdict};
use crate::config::{DeployStep, StepKind};
use std::time::Duration;
use tokio::time::Instant;

/// For an operation of somebody that is just gating or publishing.
const BUSY: Duration = Duration::from_mins(2);
const AGAIN: Duration = Duration::from_millis(100);
const TRIES: usize = 5;

impl Runner {
    pub(super) async fn back(&mut self, why: &str) -> Outcome {
        if self.story.undoing.is_none() {
            self.note_anyhow(&Record::Undoing {
                why: why.to_owned(),
            });
        }
        let mut outcome = Outcome::Undone;
        for at in (0..self.story.plan.steps.len()).rev() {
            let step = self.story.plan.steps[at].clone();
            if !self.was_begun(&step.name) {
                continue;
            }
            let since = Instant::now();
            match self.take_back(&step, why).await {
                Ok(how) => self.note_anyhow(&Record::Undone {
                    step: step.name,
                    how,
                    took_ms: millis(since.elapsed()),
                }),
                Err(why) => {
                    outcome = Outcome::Stuck;
                    self.note_anyhow(&Record::NotUndone {
                        step: step.name,
                        why,
                    });
                    if step.kind == StepKind::Flip {
                        break;
                    }
                }
            }
            if step.kind == StepKind::Migrate {
                self.release().await;
            }
        }
        outcome
    }

    async fn take_back(&mut self, step: &DeployStep, why: &str) -> Result<Undone, String> {
        match step.kind {
            _ if self.story.is_untouched(&step.name) => Ok(Undone::Nothing),
            StepKind::Flip => self.flip_back(why).await,
            StepKind::Gates => {
                let own = self.undo_program(step, why).await?;
                match self.unlabel().await? {
                    Undone::Done => Ok(Undone::Done),
                    Undone::Nothing => Ok(own),
                }
            }
            StepKind::Migrate if step.undo.is_some() && self.daemon_is_there().await => {
                // What it takes back is under the clients' feet, just as what it did.
                self.hold_clients(Asker::Undo).await?;
                self.undo_program(step, why).await
            }
            _ => self.undo_program(step, why).await,
        }
    }

    /// Without it there are no clients, either.
    async fn daemon_is_there(&self) -> bool {
        self.daemon.service().await.is_ok()
    }

    async fn undo_program(&mut self, step: &DeployStep, why: &str) -> Result<Undone, String> {
        let Some(program) = &step.undo else {
            return Ok(Undone::Nothing);
        };
        let task = Task {
            plan: &self.story.plan,
            places: &self.places,
            step,
            program,
            purpose: Purpose::Undo(why),
            flipped: self.story.flipped.is_some(),
            held: self.is_held_all_the_time(),
        };
        // What it brings back must not be written over by clients, nor they by it.
        let ended = self.hold.as_ref().filter(|hold| !hold.is_over());
        let ended = ended.map(super::hold::Hold::ended);
        let stop = async {
            match ended {
                Some(ended) if step.kind == StepKind::Migrate => ended.await,
                _ => std::future::pending().await,
            }
        };
        task.run(stop).await?;
        Ok(Undone::Done)
    }

    async fn unlabel(&mut self) -> Result<Undone, String> {
        let Some(labelled) = self.story.labelled.clone() else {
            return Ok(Undone::Nothing);
        };
        self.put_label(labelled.slot, labelled.was).await?;
        Ok(Undone::Done)
    }

    async fn flip_back(&mut self, why: &str) -> Result<Undone, String> {
        let plan = self.story.plan.clone();
        let migrates_back = self
            .story
            .step(StepKind::Migrate)
            .is_some_and(|step| step.undo.is_some() && self.was_begun(&step.name));
        for _ in 0..TRIES {
            let now = self.quiet().await?;
            if now.active != plan.slot {
                return Ok(if self.story.flipped.is_some() {
                    self.moved_back(&now, why);
                    Undone::Done
                } else {
                    Undone::Nothing
                });
            }
            if migrates_back {
                // The old slot must not serve before what it stands on is back.
                self.hold_clients(Asker::Undo).await?;
            }
            let request = FlipRequest {
                rehearse: false,
                to: plan.old_slot.clone(),
                reason: Some(format!("{} is taken back: {why}", plan.why())),
                no_wait: true,
                ..FlipRequest::default()
            };
            match self.daemon.moved("flip", &request).await {
                Ok(moved) if matches!(moved.verdict, Verdict::Done | Verdict::Unchanged) => {
                    let now = self.daemon.service().await?;
                    self.moved_back(&now, why);
                    return Ok(Undone::Done);
                }
                Ok(moved) => {
                    return Err(format!(
                        "traffic stays on {}: {}\n{} was not proven; what came before is left as it is",
                        plan.slot,
                        moved.reasons.join("\n"),
                        plan.old_slot
                    ));
                }
                Err(super::daemon::No::Refused(why)) => {
                    return Err(format!("traffic stays on {}: {why}", plan.slot));
                }
                // Whether it happened is told by the next look.
                Err(super::daemon::No::Gone(_)) => {}
            }
        }
        Err(format!(
            "traffic may still be on {}: switchd comes and goes",
            plan.slot
        ))
    }

    fn moved_back(&mut self, now: &ServiceStatus, why: &str) {
        self.note_anyhow(&Record::MovedBack {
            generation: now.generation,
            why: why.to_owned(),
        });
    }

    /// Waits for a flip that was asked for and is not decided yet.
    async fn quiet(&self) -> Result<ServiceStatus, String> {
        let until = Instant::now() + BUSY;
        loop {
            let now = self.daemon.service().await?;
            let is_busy = matches!(now.phase.as_str(), "gating" | "publishing");
            if !is_busy || Instant::now() > until {
                return Ok(now);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
