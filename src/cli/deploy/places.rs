//! Where deploys of one service are kept, and who works there.

use super::journal;
use super::story::Story;
use crate::cli::failure::Failure;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of one service: a journal, a log and a receipt for each deploy.
#[derive(Debug, Clone)]
pub(super) struct Places {
    dir: PathBuf,
}

impl Places {
    pub(super) fn new(dir: &Path, service: &str) -> Self {
        Self {
            dir: dir.join(service),
        }
    }

    /// Where `journal` lies.
    pub(super) fn of_journal(journal: &Path) -> Self {
        Self {
            dir: journal.parent().unwrap_or(Path::new("/")).to_owned(),
        }
    }

    pub(super) fn create(&self) -> Result<(), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.dir)
            .map_err(|cause| self.unusable(&cause))
    }

    pub(super) fn journal(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.jsonl"))
    }

    /// What the programs of a deploy wrote.
    pub(super) fn log(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.log"))
    }

    /// With `json` or `md`.
    pub(super) fn receipt(&self, id: &str, ending: &str) -> PathBuf {
        self.dir.join(format!("{id}.{ending}"))
    }

    /// Locked while a program of a step runs.
    pub(super) fn program_lock(&self) -> PathBuf {
        self.dir.join("program.lock")
    }

    /// Every deploy, oldest first.
    pub(super) fn ids(&self) -> Result<Vec<String>, Failure> {
        let entries = match self.dir.read_dir() {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(self.unusable(&cause)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<String> = names
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
                    self.dir.display()
                )));
            }
            None => ids.last().map(String::as_str).ok_or_else(|| {
                Failure::Usage(format!(
                    "nothing has been deployed yet: {} holds no deploy",
                    self.dir.display()
                ))
            })?,
        };
        journal::read(&self.journal(id))
    }

    /// Whoever holds it is the one that deploys this service; none while somebody else does.
    pub(super) fn lock(&self) -> Result<Option<File>, Failure> {
        try_lock(&self.dir.join("deploy.lock")).map_err(|cause| self.unusable(&cause))
    }

    pub(super) fn unusable(&self, cause: &io::Error) -> Failure {
        Failure::Usage(format!(
            "cannot use {}: {cause}\n  journals and receipts of deploys are kept there: let this user write \
             to it, or name another folder in [service.NAME.deploy] dir",
            self.dir.display()
        ))
    }

    /// Forgets the oldest deploys but `keep`; those that were not finished stay.
    pub(super) fn prune(&self, keep: usize) {
        let ids = self.ids().unwrap_or_default();
        for id in &ids[..ids.len().saturating_sub(keep)] {
            let is_over = journal::read(&self.journal(id)).is_ok_and(|story| story.is_over());
            if !is_over {
                continue;
            }
            for file in [
                self.log(id),
                self.receipt(id, "json"),
                self.receipt(id, "md"),
            ] {
                // What is not there any more is as forgotten as can be.
                let _ = std::fs::remove_file(file);
            }
            let _ = std::fs::remove_file(self.journal(id));
        }
    }
}

/// `20260801-120000-2` comes after `20260801-120000`, and `-10` after `-2`.
fn order(id: &str) -> (String, u64) {
    let mut parts = id.splitn(3, '-');
    let day = parts.next().unwrap_or_default();
    let time = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|number| number.parse().ok());
    (format!("{day}-{time}"), number.unwrap_or(0))
}

/// None while another process holds it.
pub(super) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o640)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
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

    #[test]
    fn a_lock_is_free_again_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = try_lock(&path).unwrap();
        assert!(lock.is_some() && try_lock(&path).unwrap().is_none());
        drop(lock);
        assert!(try_lock(&path).unwrap().is_some());
    }
}
