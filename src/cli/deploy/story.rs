//! What a journal comes to.

use super::journal::{Entry, Outcome, Record};
use super::plan::Plan;
use crate::config::DeployStep;
use crate::config::StepKind;
use std::collections::BTreeMap;

/// How far a deploy came.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) plan: Plan,
    pub(super) began: String,
    pub(super) steps: BTreeMap<String, StepStory>,
    /// Of the runner that was there last.
    pub(super) pid: Option<u32>,
    /// The generation that the flip made.
    pub(super) flipped: Option<u64>,
    pub(super) labelled: Option<Labelled>,
    /// Clients may have written since `migrate` began: a hold ended, or another process took over.
    gap: bool,
    was_held: bool,
    pub(super) undoing: Option<String>,
    pub(super) outcome: Option<Outcome>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct StepStory {
    /// Where its output begins in the log.
    pub(super) log: u64,
    pub(super) state: StepState,
    pub(super) took_ms: Option<u64>,
    pub(super) why: Option<String>,
    /// Nothing of it was done.
    pub(super) is_untouched: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StepState {
    #[default]
    Waiting,
    Started,
    Finished,
    Failed,
    /// Taken back, or with nothing to take back.
    Undone,
    NotUndone,
}

/// The label that a slot had before.
#[derive(Debug, Clone)]
pub(super) struct Labelled {
    pub(super) slot: String,
    pub(super) was: Option<String>,
}

impl Story {
    /// None when the plan is missing.
    pub(super) fn of(entries: Vec<Entry>) -> Option<Self> {
        let first = entries.first()?;
        let Record::Planned(plan) = &first.record else {
            return None;
        };
        let mut story = Self {
            plan: (**plan).clone(),
            began: first.at.clone(),
            steps: BTreeMap::new(),
            pid: None,
            flipped: None,
            labelled: None,
            gap: false,
            was_held: false,
            undoing: None,
            outcome: None,
            entries: Vec::new(),
        };
        for entry in entries {
            story.add(entry);
        }
        Some(story)
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.follow(&entry.record);
        self.entries.push(entry);
    }

    /// Takes notice of one record.
    pub(super) fn follow(&mut self, record: &Record) {
        match record {
            Record::Running { pid } => {
                self.pid = Some(*pid);
                self.gap |= self.was_held;
            }
            Record::Held => {
                self.gap |= self.was_held;
                self.was_held = true;
            }
            Record::Released { .. } => self.gap = true,
            Record::Started { step, log } => {
                let step = self.steps.entry(step.clone()).or_default();
                step.state = StepState::Started;
                step.log = *log;
                step.is_untouched = false;
            }
            Record::NotBegun { step } => {
                self.steps.entry(step.clone()).or_default().is_untouched = true;
            }
            Record::Finished { step, took_ms } => {
                let step = self.steps.entry(step.clone()).or_default();
                step.state = StepState::Finished;
                step.took_ms = Some(*took_ms);
            }
            Record::Failed { step, took_ms, why } => {
                let step = self.steps.entry(step.clone()).or_default();
                step.state = StepState::Failed;
                step.took_ms = Some(*took_ms);
                step.why = Some(why.clone());
            }
            Record::Labelled { slot, was } => {
                // The first one knows what was there before the deploy.
                self.labelled.get_or_insert_with(|| Labelled {
                    slot: slot.clone(),
                    was: was.clone(),
                });
            }
            Record::Flipped { generation, .. } => self.flipped = Some(*generation),
            Record::Undoing { why } => {
                self.undoing.get_or_insert_with(|| why.clone());
            }
            Record::Undone { step, .. } => {
                self.steps.entry(step.clone()).or_default().state = StepState::Undone;
            }
            Record::NotUndone { step, why } => {
                let step = self.steps.entry(step.clone()).or_default();
                step.state = StepState::NotUndone;
                step.why = Some(why.clone());
            }
            Record::Ended { outcome, .. } => self.outcome = Some(*outcome),
            _ => {}
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    pub(super) fn is_untouched(&self, step: &str) -> bool {
        self.steps.get(step).is_some_and(|step| step.is_untouched)
    }

    pub(super) fn state(&self, step: &str) -> StepState {
        self.steps
            .get(step)
            .map_or(StepState::Waiting, |step| step.state)
    }

    /// Whether one and the same hold has lasted since before the migration, as far as the journal knows.
    pub(super) fn one_hold(&self) -> bool {
        self.was_held && !self.gap
    }

    pub(super) fn is_finished(&self, step: &str) -> bool {
        self.state(step) == StepState::Finished
    }

    /// The step of a kind that comes once at most.
    pub(super) fn step(&self, kind: StepKind) -> Option<&DeployStep> {
        self.plan.steps.iter().find(|step| step.kind == kind)
    }

    /// Whether clients are held while step `at` runs: from `migrate` to `flip`.
    pub(super) fn is_held(&self, at: usize) -> bool {
        let place = |kind| self.plan.steps.iter().position(|step| step.kind == kind);
        let migrate = place(StepKind::Migrate);
        let flip = place(StepKind::Flip);
        self.flipped.is_none()
            && migrate.is_some_and(|migrate| migrate <= at)
            && flip.is_some_and(|flip| at <= flip)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn clients_are_held_from_the_migration_to_the_flip_and_no_longer() {
        let entry = Entry {
            at: "2026-08-01T12:00:00Z".to_owned(),
            record: Record::Planned(Box::new(plan())),
        };
        let mut story = Story::of(vec![entry]).unwrap();
        assert!(!story.one_hold());
        story.follow(&Record::Held);
        assert!(story.one_hold());
        let mut resumed = story.clone();
        resumed.follow(&Record::Running { pid: 2 });
        assert!(!resumed.one_hold(), "the one who held them was killed");
        let mut again = story.clone();
        again.follow(&Record::Held);
        assert!(!again.one_hold(), "the daemon was killed");
        let held = |story: &Story| [0, 1, 2, 3].map(|at| story.is_held(at));
        assert_eq!(held(&story), [false, true, true, false]);
        story.follow(&Record::Flipped {
            generation: 4,
            took_ms: 1,
            gates_reused_ms: None,
        });
        assert_eq!(held(&story), [false; 4]);
    }
}
