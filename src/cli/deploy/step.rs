//! What each step is.

use super::daemon::No;
use super::gates::{Gates, Heard};
use super::hold::Hold;
use super::journal::Record;
use super::program::{Purpose, Task};
use super::runner::{Runner, millis};
use super::watching;
use super::worst::Worst;
use crate::api::{FlipRequest, LabelRequest, Verdict};
use crate::config::{DeployStep, StepKind};
use std::time::Duration;
use tokio::time::Instant;

/// How often something is tried while the daemon comes and goes.
const TRIES: usize = 5;
/// For the daemon to notice that a connection has ended.
const LEASE: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(50);
/// How many different words of a slot that is starting are kept.
const WAITS: usize = 5;

impl Runner {
    /// Does step `at`. The result is why it could not be done.
    pub(super) async fn step(&mut self, at: usize) -> Result<(), String> {
        let step = self.story.plan.steps[at].clone();
        if matches!(step.kind, StepKind::Migrate | StepKind::Gates) && self.worst.is_none() {
            let socket = self.story.plan.socket.clone();
            self.worst = Some(Worst::watch(socket, &self.daemon));
        }
        match step.kind {
            StepKind::Gates => self.gates(at, &step).await,
            StepKind::Flip => self.flip(at).await,
            StepKind::Watch => self.watch(&step).await,
            _ => self.held_program(at, &step).await,
        }
    }

    /// Runs the program of a step, again when the daemon went away with the hold: only of a migration nobody but
    /// its operator knows whether it may run twice.
    async fn held_program(&mut self, at: usize, step: &DeployStep) -> Result<(), String> {
        let mut tries = 0;
        loop {
            if let Err(why) = self.keep_held(at).await {
                if tries == 0 {
                    let step = step.name.clone();
                    self.note_anyhow(&Record::NotBegun { step });
                }
                return Err(why);
            }
            tries += 1;
            let done = self.program(step).await;
            let is_lost = self.hold.as_ref().is_some_and(Hold::is_lost);
            if !is_lost || done.is_ok() || step.kind == StepKind::Migrate || tries == TRIES {
                return done;
            }
        }
    }

    /// Runs the program of a step, if it has one. When the clients are no longer held although they should be,
    /// it is ended: nobody may write while it works.
    async fn program(&mut self, step: &DeployStep) -> Result<(), String> {
        let Some(program) = &step.run else {
            return Ok(());
        };
        // Whatever it does to the slot, the gates have not seen it.
        self.proof = None;
        let task = Task {
            plan: &self.story.plan,
            places: &self.places,
            step,
            program,
            purpose: Purpose::Do,
            flipped: self.story.flipped.is_some(),
            held: self.is_held_all_the_time(),
        };
        let over = self.hold.as_ref().map(Hold::over);
        let released = async {
            match over {
                Some(over) => over.await,
                None => std::future::pending().await,
            }
        };
        let signals = self.signals.clone();
        let stop = async {
            tokio::select! {
                why = signals.stop() => why,
                why = released => why,
            }
        };
        task.run(stop).await
    }

    /// Whether no client can have written since before the migration.
    pub(super) fn is_held_all_the_time(&self) -> bool {
        let is_held = self.hold.as_ref().is_some_and(|hold| !hold.is_over());
        is_held && self.story.one_hold()
    }

    /// Holds the clients where they must be held while step `at` runs, until nothing is under way.
    async fn keep_held(&mut self, at: usize) -> Result<(), String> {
        if !self.story.is_held(at) {
            return Ok(());
        }
        self.hold_clients(Asker::Deploy).await
    }

    /// Once clients are held already, this only looks whether they still are.
    pub(super) async fn hold_clients(&mut self, asker: Asker) -> Result<(), String> {
        if let Some(hold) = &self.hold {
            if !hold.is_over() {
                return match asker {
                    Asker::Deploy if hold.is_late() => Err(hold.over().await),
                    _ => Ok(()),
                };
            }
            if !hold.is_lost() {
                return Err(hold.over().await);
            }
            // The daemon has started anew, and holds nobody.
            self.hold = None;
        }
        let since = Instant::now();
        let signals = self.signals.clone();
        let stop = async {
            match asker {
                Asker::Deploy => signals.stop().await,
                Asker::Undo => std::future::pending().await,
            }
        };
        tokio::select! {
            held = self.take_hold() => held?,
            why = stop => {
                self.hold = None;
                return Err(why);
            }
        }
        self.note(&Record::Drained {
            took_ms: millis(since.elapsed()),
        })?;
        match asker {
            Asker::Deploy => self.wait_for_database().await,
            Asker::Undo => Ok(()),
        }
    }

    async fn take_hold(&mut self) -> Result<(), String> {
        let mut tries = 0;
        loop {
            self.nobody_holds().await?;
            let plan = &self.story.plan;
            let taken =
                Hold::take(&self.daemon, plan.hold, plan.hold_with_undo(), plan.why()).await;
            tries += 1;
            let mut hold = match taken {
                Ok(hold) => hold,
                Err(No::Gone(_)) if tries < TRIES => continue,
                Err(no) => return Err(format!("the clients cannot be held: {}", no.words())),
            };
            self.note(&Record::Held)?;
            let drained = hold.drained().await;
            let is_lost = hold.is_lost();
            self.hold = Some(hold);
            match drained {
                Err(_) if is_lost && tries < TRIES => self.hold = None,
                drained => return drained,
            }
        }
    }

    /// Waits for a daemon that starts anew, and for the end of the hold of a runner that has just died.
    async fn nobody_holds(&self) -> Result<(), String> {
        let until = Instant::now() + LEASE;
        loop {
            let hold = self.daemon.service().await?.hold;
            if hold.is_none_or(|hold| hold.releasing) || Instant::now() > until {
                return Ok(());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn gates(&mut self, at: usize, step: &DeployStep) -> Result<(), String> {
        self.label().await?;
        let mut tries = 0;
        loop {
            self.keep_held(at).await?;
            tries += 1;
            match self.try_gates().await? {
                Ok(()) => break,
                Err(No::Gone(_)) if tries < TRIES => {
                    self.daemon.service().await?;
                }
                Err(no) => return Err(no.words()),
            }
        }
        self.held_program(at, step).await
    }

    /// Every gate of the slot, once it has started. The outer error ends the deploy.
    async fn try_gates(&mut self) -> Result<Result<(), No>, String> {
        let signals = self.signals.clone();
        let stop = signals.stop();
        let mut stop = std::pin::pin!(stop);
        let slot = self.story.plan.slot.clone();
        let mut gates = match Gates::of(&self.daemon, &slot).await {
            Ok(gates) => gates,
            Err(no) => return Ok(Err(no)),
        };
        let mut lines = Vec::new();
        let mut waits = Vec::new();
        loop {
            let heard = tokio::select! {
                heard = gates.next() => heard,
                why = &mut stop => return Err(why),
            };
            match heard {
                Ok(Heard::Waiting(said)) => {
                    // The journal keeps what it waits for, not each second of it.
                    if waits.len() < WAITS && !waits.contains(&said) {
                        waits.push(said.clone());
                        self.note(&Record::Waiting { said })?;
                    }
                }
                Ok(Heard::Check(line)) => lines.push(line),
                Ok(Heard::Done { refused, proof }) => {
                    self.proof = proof;
                    self.note(&Record::Gated { lines })?;
                    return refused.map_or(Ok(Ok(())), Err);
                }
                Err(no) => return Ok(Err(no)),
            }
        }
    }

    /// Says what is in the slot now.
    async fn label(&mut self) -> Result<(), String> {
        let plan = &self.story.plan;
        let Some(version) = plan.version.clone() else {
            return Ok(());
        };
        let slot = plan.slot.clone();
        let now = self.daemon.service().await?;
        let was = now.slots.into_iter().find(|it| it.name == slot);
        self.note(&Record::Labelled {
            slot: slot.clone(),
            was: was.and_then(|slot| slot.version),
        })?;
        self.put_label(slot, Some(version)).await
    }

    pub(super) async fn put_label(
        &self,
        slot: String,
        version: Option<String>,
    ) -> Result<(), String> {
        let body = LabelRequest { slot, version };
        for _ in 0..TRIES {
            match self.daemon.post("label", &body).await {
                Ok(_) => return Ok(()),
                Err(No::Refused(why)) => return Err(why),
                Err(No::Gone(_)) => {
                    self.daemon.service().await?;
                }
            }
        }
        Err("switchd comes and goes".to_owned())
    }

    async fn flip(&mut self, at: usize) -> Result<(), String> {
        for _ in 0..TRIES {
            self.reconcile().await?;
            if self.story.flipped.is_some() {
                self.release().await;
                return Ok(());
            }
            self.keep_held(at).await?;
            let plan = &self.story.plan;
            let request = FlipRequest {
                rehearse: false,
                to: plan.slot.clone(),
                reason: Some(plan.why()),
                expect_generation: Some(plan.generation),
                // A hold must not last until the last websocket has left.
                no_wait: true,
                acknowledge: plan.acknowledges.is_some(),
                proof: self.proof.take(),
                ..FlipRequest::default()
            };
            let since = Instant::now();
            let signals = self.signals.clone();
            let moved = tokio::select! {
                moved = self.daemon.moved("flip", &request) => moved,
                why = signals.stop() => return Err(why),
            };
            match moved {
                Ok(moved) if matches!(moved.verdict, Verdict::Done | Verdict::Unchanged) => {
                    let generation = self.daemon.service().await?.generation;
                    self.note(&Record::Flipped {
                        generation,
                        took_ms: millis(since.elapsed()),
                        gates_reused_ms: moved.gates_reused_ms,
                    })?;
                    self.release().await;
                    return Ok(());
                }
                Ok(moved) => {
                    // Traffic may have come to the slot by itself meanwhile: the next look tells.
                    let has_come = moved.verdict == Verdict::Cancelled && self.is_there().await;
                    if !has_come {
                        return Err(moved.reasons.join("\n"));
                    }
                }
                Err(No::Refused(why)) => return Err(why),
                // Whether it happened is told by the next look.
                Err(No::Gone(_)) => {}
            }
        }
        Err("switchd comes and goes".to_owned())
    }

    async fn is_there(&self) -> bool {
        let now = self.daemon.service().await;
        now.is_ok_and(|now| now.active == self.story.plan.slot)
    }

    async fn watch(&mut self, step: &DeployStep) -> Result<(), String> {
        let signals = self.signals.clone();
        let emptied = tokio::select! {
            emptied = watching::empty(&self.daemon, &self.story.plan) => emptied?,
            why = signals.stop() => return Err(why),
        };
        self.note_worst();
        self.note(&Record::Emptied {
            took_ms: emptied.took_ms,
            cut: emptied.cut,
            websockets: emptied.websockets,
        })?;
        let signals = self.signals.clone();
        let said = tokio::select! {
            said = watching::stay(&self.daemon, &self.story.plan) => said?,
            why = signals.stop() => return Err(why),
        };
        if let Some(words) = said {
            self.note(&Record::Watched { words })?;
        }
        self.program(step).await
    }
}

/// For what clients are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Deploy,
    /// Nobody stops an undo.
    Undo,
}
