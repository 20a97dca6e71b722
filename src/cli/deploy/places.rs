//! Where deploys of one service are kept, and who works there.

use super::folder::{Folder, is_untrusted};
use super::journal;
use super::story::Story;
use crate::cli::failure::{Exit, Failure};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of one service: a journal, a log and a receipt for each deploy.
#[derive(Debug, Clone)]
pub(super) struct Places {
    folder: Arc<Folder>,
}

impl Places {
    /// None when nothing has been deployed yet.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>, Failure> {
        match Folder::open(dir) {
            Ok(folder) => Ok(Some(Self::at(folder))),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(unusable(dir, &cause)),
        }
    }

    pub(super) fn create(dir: &Path) -> Result<Self, Failure> {
        let folder = Folder::create(dir);
        folder.map(Self::at).map_err(|cause| unusable(dir, &cause))
    }

    /// Where the journal lies that is written there, and the deploy that it is of.
    pub(super) fn of_journal(journal: &Path) -> Result<(Self, String), Failure> {
        let (dir, id) = (journal.parent(), journal.file_stem());
        let (Some(dir), Some(id)) = (dir, id.and_then(|id| id.to_str())) else {
            return Err(Failure::Usage("that is no journal".to_owned()));
        };
        let folder = Folder::open(dir).map_err(|cause| unusable(dir, &cause))?;
        Ok((Self::at(folder), id.to_owned()))
    }

    pub(super) fn at(folder: Folder) -> Self {
        Self {
            folder: Arc::new(folder),
        }
    }

    /// What is called so is opened here alone.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(super) fn journal(&self, id: &str) -> PathBuf {
        self.folder.path().join(journal_name(id))
    }

    /// With `json` or `md`.
    pub(super) fn receipt(&self, id: &str, ending: &str) -> PathBuf {
        self.folder.path().join(receipt_name(id, ending))
    }

    /// Locked while a program of a step runs.
    pub(super) fn program_lock(&self) -> PathBuf {
        self.folder.path().join(PROGRAM_LOCK)
    }

    /// None while a program of a step runs.
    pub(super) fn lock_program(&self) -> Result<Option<File>, Failure> {
        let lock = self.folder.lock(PROGRAM_LOCK);
        lock.map_err(|cause| self.unusable(&cause))
    }

    /// Every deploy, oldest first.
    pub(super) fn ids(&self) -> Result<Vec<String>, Failure> {
        let names = self.folder.names().map_err(|cause| self.unusable(&cause))?;
        let mut ids: Vec<String> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
            .collect();
        ids.sort_by_key(|id| order(id));
        Ok(ids)
    }

    /// The deploy called `id`, or the last one.
    pub(super) fn story(&self, id: Option<&str>) -> Result<Story, Failure> {
        let ids = self.ids()?;
        let id = match id {
            Some(id) if ids.iter().any(|known| known == id) => id,
            Some(id) => {
                return Err(Failure::Usage(format!(
                    "there is no deploy {id} in {}\n  look which there are: switchctl deploy --status",
                    self.folder.path().display()
                )));
            }
            None => ids.last().map(String::as_str).ok_or_else(|| {
                Failure::Usage(format!(
                    "nothing has been deployed yet: {} holds no deploy",
                    self.folder.path().display()
                ))
            })?,
        };
        journal::read(self, id)
    }

    /// Whoever holds it is the one that deploys this service; none while somebody else does.
    pub(super) fn lock(&self) -> Result<Option<File>, Failure> {
        let lock = self.folder.lock("deploy.lock");
        lock.map_err(|cause| self.unusable(&cause))
    }

    pub(super) fn unusable(&self, cause: &io::Error) -> Failure {
        unusable(self.folder.path(), cause)
    }

    /// Forgets the oldest deploys but `keep`; those that were not finished stay.
    pub(super) fn prune(&self, keep: usize) {
        let ids = self.ids().unwrap_or_default();
        for id in &ids[..ids.len().saturating_sub(keep)] {
            let is_over = journal::read(self, id).is_ok_and(|story| story.is_over());
            if !is_over {
                continue;
            }
            for name in [
                log_name(id),
                receipt_name(id, "json"),
                receipt_name(id, "md"),
                journal_name(id),
            ] {
                // What is not there any more is as forgotten as can be.
                let _ = self.folder.remove(&name);
            }
        }
    }
}

const PROGRAM_LOCK: &str = "program.lock";

pub(super) fn journal_name(id: &str) -> String {
    format!("{id}.jsonl")
}

/// What the programs of a deploy wrote.
pub(super) fn log_name(id: &str) -> String {
    format!("{id}.log")
}

/// With `json` or `md`.
pub(super) fn receipt_name(id: &str, ending: &str) -> String {
    format!("{id}.{ending}")
}

fn unusable(dir: &Path, cause: &io::Error) -> Failure {
    let dir = dir.display();
    if is_untrusted(cause) {
        return Failure::Ended {
            exit: Exit::Refused,
            text: format!(
                "refused, and nothing was run: {cause}\n  journals of deploys lie in {dir}, and they say what is taken \
                 back: the folder, all above it and all in it must belong to root or to whoever deploys, and nobody \
                 else may write there\n  mend that after a look at what lies there, or name another folder in \
                 [service.NAME.deploy] dir"
            ),
        };
    }
    Failure::Usage(format!(
        "cannot use {dir}: {cause}\n  journals and receipts of deploys are kept there: let this user write to it, or \
         name another folder in [service.NAME.deploy] dir"
    ))
}

/// `20260801-120000-2` comes after `20260801-120000`, and `-10` after `-2`.
fn order(id: &str) -> (String, u64) {
    let mut parts = id.splitn(3, '-');
    let day = parts.next().unwrap_or_default();
    let time = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|number| number.parse().ok());
    (format!("{day}-{time}"), number.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deploys_of_one_second_keep_their_order() {
        let mut ids = [
            "20260801-120000-10",
            "20260801-120001",
            "20260801-120000-2",
            "20260801-120000",
        ];
        ids.sort_by_key(|id| order(id));
        assert_eq!(
            ids,
            [
                "20260801-120000",
                "20260801-120000-2",
                "20260801-120000-10",
                "20260801-120001"
            ]
        );
    }
}
