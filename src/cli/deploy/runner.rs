//! The process that does the work, in a session of its own: no terminal can end it.

use super::daemon::Daemon;
use super::hold::Hold;
use super::journal::{self, Journal, Outcome, Record};
use super::places::Places;
use super::receipt;
use super::signals::Signals;
use super::story::{StepState, Story};
use super::work::Work;
use super::worst::Worst;
use crate::cli::failure::{Exit, Failure};
use crate::cli::session::Session;
use std::fs::File;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How long the last program of an interrupted deploy may take to end.
const ENDING: Duration = Duration::from_secs(45);
/// Whoever only looks whether the deploy runs holds the lock for a moment.
const LOOKING: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Runner {
    journal: Journal,
    pub(super) story: Story,
    pub(super) places: Places,
    pub(super) daemon: Daemon,
    pub(super) signals: Signals,
    pub(super) hold: Option<Hold>,
    pub(super) worst: Option<Worst>,
    /// That the slot has passed its gates, until anything may have changed it.
    pub(super) proof: Option<String>,
    since: Instant,
}

/// Takes the deploy of `path` to its end, wherever it stands.
pub(super) async fn run(session: &Session, path: &Path) -> Result<(), Failure> {
    // From here on Ctrl-C of the terminal reaches the viewer alone, and its end nobody here. It cannot fail: who
    // has just been started leads no group.
    rustix::process::setsid().map_err(|cause| Failure::Output(cause.into()))?;
    let signals = Signals::listen()?;
    let work = Work::receive()?;
    let (places, id) = Places::of_journal(path)?;
    let _lock = lock(&places).await?;
    let cannot = |cause| places.unusable(&cause);
    let mut journal = Journal::open(&places, &id).map_err(cannot)?;
    let mut story = journal::read(&places, &id)?;
    if story.is_over() {
        return Ok(());
    }
    work.give_to(&mut story.plan);
    let pid = std::process::id();
    journal.write(&Record::Running { pid }).map_err(cannot)?;
    wait_for_program(&places).await?;
    let daemon = Daemon::new(session.client.socket().to_owned(), &story.plan.service);
    let runner = Runner {
        journal,
        story,
        places,
        daemon,
        signals,
        hold: None,
        worst: None,
        proof: None,
        since: Instant::now(),
    };
    runner.finish().await
}

async fn lock(places: &Places) -> Result<File, Failure> {
    let until = Instant::now() + LOOKING;
    loop {
        if let Some(lock) = places.lock()? {
            return Ok(lock);
        }
        if Instant::now() > until {
            return Err(Failure::Usage(
                "another deploy of this service runs".to_owned(),
            ));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Nothing of an interrupted step works any more when the next one begins.
async fn wait_for_program(places: &Places) -> Result<(), Failure> {
    let until = Instant::now() + ENDING;
    loop {
        if places.lock_program()?.is_some() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Failure::Ended {
                exit: Exit::Refused,
                text: format!(
                    "a program of the interrupted deploy still runs after {ENDING:?}: who locks {}?",
                    places.program_lock().display()
                ),
            });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

impl Runner {
    async fn finish(mut self) -> Result<(), Failure> {
        let failed = match self.story.undoing.clone() {
            Some(why) => Some(why),
            None => self.forward().await.err(),
        };
        let outcome = match failed {
            None => Outcome::Done,
            Some(why) => self.back(&why).await,
        };
        self.release().await;
        self.note_worst();
        let took_ms = millis(self.since.elapsed());
        self.note(&Record::Ended { outcome, took_ms })
            .map_err(|why| Failure::Ended {
                exit: Exit::Refused,
                text: why,
            })?;
        receipt::write(&self.places, &self.story);
        self.places.prune(self.story.plan.keep);
        Ok(())
    }

    /// Every step that is not finished yet. The result is why it cannot go on.
    async fn forward(&mut self) -> Result<(), String> {
        self.reconcile().await?;
        for at in 0..self.story.plan.steps.len() {
            let name = self.story.plan.steps[at].name.clone();
            if self.story.is_finished(&name) {
                continue;
            }
            self.begin(&name)?;
            let since = Instant::now();
            let done = self.step(at).await;
            let took_ms = millis(since.elapsed());
            match done {
                Ok(()) => self.note(&Record::Finished {
                    step: name,
                    took_ms,
                })?,
                Err(why) => {
                    self.note(&Record::Failed {
                        step: name.clone(),
                        took_ms,
                        why: why.clone(),
                    })?;
                    return Err(format!("{name}: {why}"));
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, step: &str) -> Result<(), String> {
        let log = super::program::size(&self.places, &self.story.plan.id);
        self.note(&Record::Started {
            step: step.to_owned(),
            log,
        })
    }

    /// Puts it on disk, and takes notice.
    pub(super) fn note(&mut self, record: &Record) -> Result<(), String> {
        self.journal.write(record).map_err(|cause| {
            format!(
                "cannot write the journal {}: {cause}",
                self.journal.path().display()
            )
        })?;
        self.story.add(journal::Entry {
            at: journal::now().to_string(),
            record: record.clone(),
        });
        Ok(())
    }

    /// As [`Self::note`], where nothing could be done about a disk that is full.
    pub(super) fn note_anyhow(&mut self, record: &Record) {
        if self.note(record).is_err() {
            self.story.follow(record);
        }
    }

    pub(super) fn was_begun(&self, step: &str) -> bool {
        !matches!(
            self.story.state(step),
            StepState::Waiting | StepState::Undone
        )
    }

    /// Lets held clients go on.
    pub(super) async fn release(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        let Some(figures) = hold.release(&self.daemon).await else {
            return;
        };
        self.note_anyhow(&Record::Released {
            held_ms: figures.held_ms,
            requests: figures.requests,
            refused: figures.refused,
            longest_ms: figures.longest_ms,
        });
    }

    pub(super) fn note_worst(&mut self) {
        let seen = self.worst.take().and_then(|worst| worst.seen());
        if let Some(worst) = seen {
            self.note_anyhow(&Record::Worst {
                ms: worst.ms,
                what: worst.what,
            });
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
