//! `calls.jsonl`: every call of the admin API over TCP. Bounded: whoever may only look must not fill the disk.

use super::error::JournalError;
use super::files;
use super::search::Search;
use crate::api::AuditRecord;
use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// Where the file makes way for a new one; one old file is kept.
const LONGEST: u64 = 16 << 20;

/// The calls log of a state directory. One writer at a time; clones may read meanwhile.
#[derive(Debug, Clone)]
pub struct CallLog {
    path: PathBuf,
    before: PathBuf,
}

impl CallLog {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join("calls.jsonl"),
            before: dir.join("calls.1.jsonl"),
        }
    }

    /// Adds one line. It is not forced onto the disk: what changed anything stands in the history too.
    ///
    /// # Errors
    /// [`JournalError::Io`] when it cannot be written.
    pub fn append(&self, record: &AuditRecord) -> Result<(), JournalError> {
        let line = serde_json::to_vec(record).map_err(io::Error::from);
        line.and_then(|mut line| {
            line.push(b'\n');
            self.write(&line)
        })
        .map_err(JournalError::io("append to", &self.path))
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let length = fs::metadata(&self.path).map_or(0, |it| it.len());
        if length >= LONGEST {
            fs::rename(&self.path, &self.before)?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(files::MODE)
            .open(&self.path)?
            .write_all(line)
    }

    /// What fits, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Io`] when a file is there and cannot be read.
    pub fn search(&self, search: &Search) -> Result<Vec<AuditRecord>, JournalError> {
        let mut records = Vec::new();
        search.look(&self.path, &mut records)?;
        search.look(&self.before, &mut records)?;
        records.reverse();
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_take_bounded_room_and_the_newest_stay() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::new(dir.path());
        let mut record = AuditRecord {
            command: "call".to_owned(),
            details: vec!["x".repeat(100_000)],
            ..AuditRecord::default()
        };
        for number in 0..500 {
            record.actor = format!("token {number}");
            log.append(&record).unwrap();
        }
        let on_disk: u64 = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(on_disk < 2 * LONGEST + (1 << 20), "{on_disk}");
        let search = Search {
            limit: 200,
            ..Search::default()
        };
        let found = log.search(&search).unwrap();
        assert_eq!(found.len(), 200);
        assert_eq!(found[199].actor, "token 499");
        assert_eq!(found[0].actor, "token 300", "also from the file before");
    }
}
