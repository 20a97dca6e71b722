//! The programs of a deploy: always those of the config as it is now, never any of a journal.

use super::meant::Meant;
use super::plan::Plan;
use super::story::{StepState, Story};
use crate::cli::failure::{Exit, Failure};
use crate::config::DeployStep;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

/// What a runner is handed by whoever starts it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    /// Programs run in its folder.
    config: PathBuf,
    steps: Vec<DeployStep>,
}

impl Work {
    pub(super) fn of(meant: &Meant) -> Self {
        Self {
            config: meant.config.clone(),
            steps: meant.service().deploy.steps.clone(),
        }
    }

    pub(super) fn send(&self, pipe: impl io::Write) -> io::Result<()> {
        Ok(serde_json::to_writer(pipe, self)?)
    }

    /// From whoever started this process.
    pub(super) fn receive() -> Result<Self, Failure> {
        serde_json::from_reader(io::stdin().lock()).map_err(|cause| {
            Failure::Usage(format!(
                "a runner is started by `switchctl deploy` alone, which tells it what to do: {cause}"
            ))
        })
    }

    pub(super) fn give_to(self, plan: &mut Plan) {
        plan.config = self.config;
        plan.steps = self.steps;
    }

    /// That a deploy which was begun with other steps does not go on with these, unless it is taken back and that is
    /// what somebody wants.
    pub(super) fn fits(&self, story: &Story, with_current: bool) -> Result<(), Failure> {
        let id = &story.plan.id;
        let refused = |text: String| {
            let exit = Exit::Refused;
            Err(Failure::Ended { exit, text })
        };
        if story.plan.steps_hash == hash(&self.steps, &self.config) {
            return Ok(());
        }
        if !with_current {
            return refused(format!(
                "the steps in {} are not those that deploy {id} began with: nothing was run\n  bring the config back as \
                 it was and ask again; or take the deploy back with the steps of now: switchctl deploy --undo \
                 --with-current-steps",
                self.config.display()
            ));
        }
        let mut begun = story.plan.steps.iter();
        let missing = begun.find(|old| {
            let same = |new: &DeployStep| new.name == old.name && new.kind == old.kind;
            story.state(&old.name) != StepState::Waiting && !self.steps.iter().any(same)
        });
        match missing {
            None => Ok(()),
            Some(step) => refused(format!(
                "deploy {id} began the step {}, and {} has none of that name: nothing was run\n  write it there again, \
                 with an `undo` that takes back what it did",
                step.name,
                self.config.display()
            )),
        }
    }
}

/// Of everything that decides what runs, and where.
pub(super) fn hash(steps: &[DeployStep], config: &Path) -> String {
    let home = config.parent().map(|home| home.display().to_string());
    let text = serde_json::to_vec(&(steps, home)).unwrap_or_default();
    let mut hex = String::new();
    for byte in digest(&SHA256, &text).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
