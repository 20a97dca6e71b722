//! The disk of the state: what is written there, what waits for it, and telling before that matters.

use super::clock::millis;
use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::jobs::Jobs;
use super::message::Answer;
use super::message::Message;
use crate::api::EventKind;
use crate::api::StateStatus;
use crate::journal::TrialWrite;
use crate::switch::Actor;
use crate::switch::Direction;
use crate::switch::Event;
use crate::switch::Moment;
use crate::switch::Operation;
use crate::switch::Transition;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often it is looked after: what waits for room is written soon after there is some.
const EVERY: Duration = Duration::from_secs(2);
/// How often writing is tried out, in turns of [`EVERY`], while all is well.
const TRIALS: u32 = 5;
/// A disk that takes longer than this for a few bytes hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the conductor is told and asked about the disk.
#[derive(Debug)]
pub(super) enum DiskMessage {
    /// Catch up what waits; is something wrong?
    Tend(Answer<bool>),
    /// How can be found out whether it can be written?
    Trial(Answer<TrialWrite>),
    Tried(Result<(), String>),
}

/// That the state cannot be written, as it was told.
#[derive(Debug)]
pub(super) struct DiskTrouble {
    since: Moment,
    words: String,
}

/// Looks after the disk until it is aborted. What may hang runs where nobody waits for it.
pub(super) async fn look_after(jobs: Jobs) {
    let mut turn = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(is_wrong) = ask(&jobs, DiskMessage::Tend).await else {
            return;
        };
        turn += 1;
        if !is_wrong && turn % TRIALS != 0 {
            continue;
        }
        let Some(trial) = ask(&jobs, DiskMessage::Trial).await else {
            return;
        };
        let mut trying = tokio::task::spawn_blocking(move || trial.run());
        let tried = tokio::time::timeout(PATIENCE, &mut trying).await;
        let tried = if let Ok(tried) = tried {
            tried
        } else {
            let words = format!("the disk has not taken a byte for {PATIENCE:?}");
            let hangs = DiskMessage::Tried(Err(words));
            jobs.report(Message::Disk(hangs)).await;
            // One that hangs is not tried a second time meanwhile.
            trying.await
        };
        let tried = tried.unwrap_or(Ok(()));
        jobs.report(Message::Disk(DiskMessage::Tried(tried))).await;
    }
}

/// None when there is nobody left to ask.
async fn ask<T>(jobs: &Jobs, question: impl FnOnce(Answer<T>) -> DiskMessage) -> Option<T> {
    let (to, answer) = oneshot::channel();
    jobs.report(Message::Disk(question(to))).await;
    answer.await.ok()
}

/// A disk must not keep traffic on a dead slot beside a healthy one, nor where an operator forces it away: such a move
/// is published although nothing of it could be written, and written as soon as that is possible.
fn goes_unwritten(operation: &Operation) -> bool {
    let leaves_by_itself = operation.by == Actor::itself()
        && matches!(operation.direction, Direction::Failback | Direction::Abort);
    leaves_by_itself || operation.forced
}

impl Conductor {
    pub(super) fn disk(&mut self, message: DiskMessage) {
        // Whoever asked and left needs no answer.
        match message {
            DiskMessage::Tend(answer) => {
                let tended = self.journal.tend();
                let _ = answer.send(tended.is_err());
            }
            DiskMessage::Trial(answer) => drop(answer.send(self.journal.trial_write())),
            DiskMessage::Tried(result) => self.journal.tried(result),
        }
        self.look_at_disk();
    }

    /// Tells when the state cannot be written any more, and when it can again.
    pub(super) fn look_at_disk(&mut self) {
        let trouble = self.journal.trouble();
        let about = About::daemon();
        match (trouble, &mut self.disk_trouble) {
            (Some(words), Some(told)) => told.words = words,
            (Some(words), told @ None) => {
                tracing::error!(error = words, "the state cannot be written");
                *told = Some(DiskTrouble {
                    since: self.jobs.clock.now(),
                    words: words.clone(),
                });
                let kind = EventKind::StateNotWritten { problem: words };
                self.jobs.events.tell(about, kind);
            }
            (None, told) => {
                if told.take().is_some() {
                    tracing::info!("the state can be written again");
                    self.jobs.events.tell(about, EventKind::StateWritten);
                }
            }
        }
    }

    pub(super) fn state_status(&self) -> StateStatus {
        let trouble = self.disk_trouble.as_ref();
        StateStatus {
            dir: self.settings.state.dir.display().to_string(),
            writable: trouble.is_none(),
            since: trouble.map(|it| stamp(it.since)),
            problem: trouble.map(|it| it.words.clone()),
            waiting_lines: self.journal.waiting_lines() as u64,
        }
    }

    pub(super) fn record(&mut self, at: usize, transition: &Transition) -> Option<Event> {
        let started = Instant::now();
        let service = self.services[at].name.clone();
        let written = self.journal.record(&service, &transition.state);
        let result = written.map_err(|error| error.in_words());
        self.look_at_disk();
        match (&transition.operation, result) {
            (Some(operation), Ok(())) => {
                let flip = operation.flip;
                self.journalled(at, flip, millis(started.elapsed()));
                let result = Ok(());
                Some(Event::Recorded { flip, result })
            }
            (Some(operation), Err(error)) if goes_unwritten(operation) => {
                tracing::error!(%service, from = %operation.from, to = %operation.to, error,
                    "traffic moves although the state cannot be written; after a crash it begins on the slot that it left");
                self.journal.record_later(&service, &transition.state);
                let (flip, result) = (operation.flip, Ok(()));
                Some(Event::Recorded { flip, result })
            }
            (Some(operation), Err(error)) => {
                tracing::error!(%service, error, "cannot record the state");
                let (flip, result) = (operation.flip, Err(error));
                Some(Event::Recorded { flip, result })
            }
            (None, Err(error)) => {
                // What is in force is written as soon as that is possible: nobody waits for it.
                tracing::warn!(%service, error, "the state is written later");
                self.journal.record_later(&service, &transition.state);
                None
            }
            (None, Ok(())) => None,
        }
    }
}
