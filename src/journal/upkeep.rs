//! Looks after the directory while nothing happens: catches up what found no room, and finds out in good time when
//! there will be none.

use super::audit_log::AuditLog;
use super::error::JournalError;
use super::kept_file::KeptFile;
use super::reserve::TryOut;
use super::state_dir::Journal;
use crate::api::AuditRecord;
use std::path::Path;
use std::path::PathBuf;

/// With less than this the next lines of the history may find no room.
const LITTLE: u64 = 16 << 10;
/// Room for lines of the history that wait: some dozen.
const LINES: usize = 7 << 10;
/// Of the file that they wait in.
const START: &str = "{\"version\":1,\"records\":";

/// Opens the file of the lines that wait, and takes up what an earlier run has left there.
pub(super) fn restore(dir: &Path, audit: &AuditLog) -> Result<KeptFile, JournalError> {
    let (file, content) = KeptFile::open(dir.join("waiting.json"))?;
    let records = content.and_then(|content| {
        let body = content
            .strip_prefix(START.as_bytes())?
            .strip_suffix(b"}\n")?;
        serde_json::from_slice::<Vec<AuditRecord>>(body).ok()
    });
    audit.restore(records.unwrap_or_default())?;
    Ok(file)
}

fn encoded(records: &[AuditRecord]) -> Vec<u8> {
    let body = serde_json::to_string(records).expect("a record holds nothing that JSON cannot say");
    [START, &body, "}\n"].concat().into_bytes()
}

/// Finds out whether the disk can be written, away from whoever must not wait for it.
#[derive(Debug)]
pub struct TrialWrite {
    dir: PathBuf,
    files: Vec<TryOut>,
}

impl TrialWrite {
    /// Writes where nothing lies, and asks how much room there is. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn run(&self) -> Result<(), String> {
        for file in &self.files {
            let written = file.run();
            written
                .map_err(JournalError::io("write", &file.path))
                .map_err(|error| error.in_words())?;
        }
        little_room(&self.dir).map_or(Ok(()), Err)
    }
}

impl Journal {
    /// Writes what waits, and takes room for what is to come. Call it every few seconds.
    ///
    /// # Errors
    /// In words what is wrong, and what to do.
    pub fn tend(&mut self) -> Result<(), String> {
        self.waiting = self.catch_up().err().map(|error| error.in_words());
        self.trouble().map_or(Ok(()), Err)
    }

    /// For finding out in good time that it cannot be written.
    #[must_use]
    pub fn trial_write(&self) -> TrialWrite {
        let files = [self.state.file(), self.modes.file()];
        TrialWrite {
            dir: self.dir.clone(),
            files: files.into_iter().filter_map(KeptFile::try_out).collect(),
        }
    }

    /// What a [`TrialWrite`] found.
    pub fn tried(&mut self, result: Result<(), String>) {
        self.trial = result.err();
    }

    /// Why the directory cannot be written, or only to its reserve, and what to do. None while all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let why = self.waiting.as_ref().or(self.trial.as_ref())?;
        let waits = match self.audit.waits() {
            0 => String::new(),
            1 => "; 1 line of the history waits in memory".to_owned(),
            lines => format!("; {lines} lines of the history wait in memory"),
        };
        let dir = self.dir.display();
        Some(format!(
            "{why}{waits}; make {dir} writable (room on its disk, its owner, its mount options)"
        ))
    }

    /// Lines of the history that are in memory only.
    #[must_use]
    pub fn waiting_lines(&self) -> usize {
        self.audit.waits()
    }

    /// Puts the lines that wait where a crash leaves them, the newest as far as they fit.
    pub(super) fn keep_lines(&mut self) {
        let mut records = self.audit.waiting_records();
        while !records.is_empty() && self.lines.put(&encoded(&records)).is_err() {
            records.drain(..records.len().div_ceil(2));
        }
    }

    /// Writes the lines that wait, and forgets the beginnings that were kept for them.
    pub(super) fn write_lines(&mut self) -> Result<(), JournalError> {
        for record in self.audit.catch_up()? {
            self.pending.forget(&record)?;
        }
        self.lines.clear()
    }

    fn catch_up(&mut self) -> Result<(), JournalError> {
        if self.state.is_waiting() {
            self.state.catch_up()?;
        }
        self.state.prepare()?;
        self.modes.catch_up()?;
        self.modes.prepare()?;
        self.lines.prepare(LINES)?;
        self.write_lines()?;
        if self.pending.is_waiting() {
            self.pending.catch_up()?;
        }
        Ok(())
    }
}

/// None while there is enough, and where the file system does not tell.
fn little_room(dir: &Path) -> Option<String> {
    let room = rustix::fs::statvfs(dir).ok()?;
    // What is kept for root is room for root.
    let blocks = if rustix::process::geteuid().is_root() {
        room.f_bfree
    } else {
        room.f_bavail
    };
    let free = blocks.saturating_mul(room.f_frsize);
    (room.f_blocks > 0 && free < LITTLE).then(|| {
        format!(
            "the disk of {} is full ({free} bytes are free)",
            dir.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Recover;
    use crate::journal::promises::state;
    use crate::switch::ServiceName;
    use std::fs;

    fn record(flip: u64) -> AuditRecord {
        AuditRecord {
            schema: 1,
            at: "2026-01-01T00:00:00Z".to_owned(),
            service: "odoo".to_owned(),
            command: "flip".to_owned(),
            flip: Some(flip),
            result: "done".to_owned(),
            ..AuditRecord::default()
        }
    }

    /// Nothing can be made under these names.
    fn obstruct(dir: &Path, names: &[&str]) {
        for name in names {
            fs::create_dir_all(dir.join(name).join("x")).unwrap();
        }
    }

    fn clear(dir: &Path, names: &[&str]) {
        for name in names {
            fs::remove_dir_all(dir.join(name)).unwrap();
        }
    }

    #[test]
    fn a_state_that_finds_no_room_is_on_disk_and_the_journal_catches_up() {
        let dir = tempfile::tempdir().unwrap();
        let odoo = ServiceName::new("odoo").unwrap();
        let mut journal = Journal::open(dir.path(), Recover::Refuse).unwrap();
        journal.record(&odoo, &state("blue", 1)).unwrap();
        assert_eq!(journal.trouble(), None);
        let names = ["state.json.new", "audit.jsonl", "pending-odoo.json.new"];
        obstruct(dir.path(), &names);
        assert!(journal.begin(&record(2)).is_err());
        journal.record(&odoo, &state("green", 2)).unwrap();
        assert!(journal.finish(&record(2)).is_err());
        assert!(journal.tend().is_err());
        let trouble = journal.trouble().unwrap();
        assert!(trouble.contains("1 line of the history waits"), "{trouble}");
        let shown = journal.history(None, 9);
        assert!(shown.is_err() || shown.unwrap() == [record(2)]);
        // A crash now comes back on the slot that serves.
        let copy = tempfile::tempdir().unwrap();
        for name in [
            "state.json",
            "reserve.state",
            "waiting.json",
            "reserve.waiting",
        ] {
            drop(fs::copy(dir.path().join(name), copy.path().join(name)));
        }
        let after_a_crash = Journal::open(copy.path(), Recover::Refuse).unwrap();
        assert_eq!(after_a_crash.state(&odoo), Some(&state("green", 2)));
        assert_eq!(after_a_crash.history(None, 9).unwrap(), [record(2)]);
        drop(after_a_crash);
        let again = Journal::open(copy.path(), Recover::Refuse).unwrap();
        assert_eq!(again.history(None, 9).unwrap(), [record(2)], "told once");

        clear(dir.path(), &names);
        journal.tend().unwrap();
        assert_eq!(journal.trouble(), None);
        assert_eq!(journal.history(None, 9).unwrap(), [record(2)]);
        assert!(!dir.path().join("pending-odoo.json").exists());
        drop(journal);
        let journal = Journal::open(dir.path(), Recover::Refuse).unwrap();
        assert_eq!(journal.state(&odoo), Some(&state("green", 2)));
    }

    #[test]
    fn a_state_that_no_disk_takes_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let odoo = ServiceName::new("odoo").unwrap();
        let mut journal = Journal::open(dir.path(), Recover::Refuse).unwrap();
        journal.record(&odoo, &state("blue", 1)).unwrap();
        journal.record_later(&odoo, &state("green", 2));
        assert_eq!(journal.state(&odoo), Some(&state("green", 2)));
        journal.tend().unwrap();
        drop(journal);
        let journal = Journal::open(dir.path(), Recover::Refuse).unwrap();
        assert_eq!(journal.state(&odoo), Some(&state("green", 2)));
    }
}
