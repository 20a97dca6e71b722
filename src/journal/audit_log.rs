//! `audit.jsonl`: who moved what, when, why, and how it ended.

use super::error::JournalError;
use super::files;
use super::lines::Backwards;
use super::search::Search;
use crate::api::AuditRecord;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The audit log of a state directory.
///
/// Opened for each use: a log that was rotated away is simply begun anew. A clone may read while the
/// journal writes: a line that is being written is not seen yet.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
    /// Lines that found no room, oldest first; shared with the clones, which show them too.
    waiting: Arc<Mutex<VecDeque<AuditRecord>>>,
}

/// Lines that wait for room at most; then the oldest are lost.
const WAITING: usize = 1000;

impl AuditLog {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join("audit.jsonl"),
            waiting: Arc::default(),
        }
    }

    /// Adds one line behind those that wait. When this has returned, it survives a power cut.
    ///
    /// On an error it waits in memory, where the history shows it, for [`catch_up`](Self::catch_up).
    pub(super) fn append(&self, record: &AuditRecord) -> Result<(), JournalError> {
        let written = self.catch_up().and_then(|_| self.write(record));
        if written.is_err() {
            let mut waiting = self.waiting();
            if waiting.len() >= WAITING {
                waiting.pop_front();
            }
            waiting.push_back(record.clone());
        }
        written
    }

    /// Writes what waits, in order; gives back what it wrote.
    pub(super) fn catch_up(&self) -> Result<Vec<AuditRecord>, JournalError> {
        let mut written = Vec::new();
        loop {
            let Some(next) = self.waiting().front().cloned() else {
                return Ok(written);
            };
            self.write(&next)?;
            self.waiting().pop_front();
            written.push(next);
        }
    }

    /// The lines that wait for room, oldest first.
    pub(super) fn waiting_records(&self) -> Vec<AuditRecord> {
        self.waiting().iter().cloned().collect()
    }

    /// Lines that waited when an earlier run ended, and are not written yet.
    pub(super) fn restore(&self, records: Vec<AuditRecord>) -> Result<(), JournalError> {
        for record in records {
            if !self.tells_of(&record)? {
                self.waiting().push_back(record);
            }
        }
        Ok(())
    }

    /// How many lines wait for room.
    #[must_use]
    pub fn waits(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<AuditRecord>> {
        // Whoever panicked left whole records.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, record: &AuditRecord) -> Result<(), JournalError> {
        let is_new = !self.path.exists();
        let mut line =
            serde_json::to_vec(record).expect("a record holds nothing that JSON cannot say");
        line.push(b'\n');
        let mut file = self
            .open_for_writing()
            .map_err(JournalError::io("open", &self.path))?;
        append_whole(&mut file, &line).map_err(JournalError::io("append to", &self.path))?;
        if is_new {
            files::sync_folder_of(&self.path)?;
        }
        Ok(())
    }

    /// Ends or takes away a last line that a crash left unfinished; true when there was one.
    pub(super) fn repair(&self) -> Result<bool, JournalError> {
        if !self.path.exists() {
            return Ok(false);
        }
        self.open_for_writing()
            .and_then(|mut file| repair(&mut file))
            .map_err(JournalError::io("repair", &self.path))
    }

    /// The last `limit` records (at most 10,000) of `service`, or of all services; oldest first.
    ///
    /// # Errors
    /// [`JournalError::Io`] when the file is there and cannot be read.
    pub fn history(
        &self,
        service: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, JournalError> {
        self.search(&Search {
            service: service.map(str::to_owned),
            limit,
            ..Search::default()
        })
    }

    /// What fits, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Io`] when the file is there and cannot be read.
    pub fn search(&self, search: &Search) -> Result<Vec<AuditRecord>, JournalError> {
        let mut records = Vec::new();
        search.look_at(self.waiting().iter().rev(), &mut records);
        search.look(&self.path, &mut records)?;
        records.reverse();
        Ok(records)
    }

    /// Is the operation of `record` in the log already, among the newest ones?
    pub(super) fn tells_of(&self, record: &AuditRecord) -> Result<bool, JournalError> {
        let newest = self.history(Some(&record.service), usize::MAX)?;
        Ok(newest.iter().any(|told| {
            told.flip == record.flip && told.at == record.at && told.command == record.command
        }))
    }

    fn open_for_writing(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(files::MODE)
            .open(&self.path)
    }
}

fn append_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    repair(file)?;
    let length = file.metadata()?.len();
    let written = file.write_all(line).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a line must not spoil the next one; should this fail too, the next append repairs.
        drop(file.set_len(length));
    }
    written
}

fn repair(file: &mut File) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(false);
    }
    let torn = Backwards::new(file.try_clone()?)?
        .next()
        .transpose()?
        .unwrap_or_default();
    let whole = serde_json::from_slice::<AuditRecord>(&torn).is_ok();
    if whole {
        file.write_all(b"\n")?;
    } else {
        let start = start_of_last_line(file, length)?;
        file.set_len(start)?;
    }
    file.sync_all()?;
    Ok(true)
}

/// Just after the last line end before `length`.
fn start_of_last_line(file: &mut File, length: u64) -> io::Result<u64> {
    const STEP: u64 = 4096;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
