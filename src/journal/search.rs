//! What is looked for in the history.

use super::error::JournalError;
use super::lines::Backwards;
use crate::api::AuditRecord;
use jiff::Timestamp;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A bound on what one question may hold in memory.
const MOST_RECORDS: usize = 10_000;
/// A record stands where it ended; none took longer than this.
const LONGEST: Duration = Duration::from_hours(14 * 24);

/// All that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub service: Option<String>,
    /// One of these.
    pub services: Option<Vec<String>>,
    /// From it or to it.
    pub slot: Option<String>,
    pub to: Option<String>,
    /// A part of the name.
    pub actor: Option<String>,
    pub kind: Option<String>,
    pub outcome: Option<String>,
    pub since: Option<Timestamp>,
    /// How many, the newest; at most 10,000.
    pub limit: usize,
}

impl Search {
    fn takes(&self, record: &AuditRecord) -> bool {
        fn is<T: PartialEq<str>>(wanted: Option<&String>, found: &T) -> bool {
            wanted.is_none_or(|wanted| *found == **wanted)
        }
        let slot = |slot: &String| {
            let both = [&record.from, &record.to];
            both.into_iter().any(|it| it.as_ref() == Some(slot))
        };
        let services = self.services.as_ref();
        let actor = self.actor.as_ref();
        is(self.service.as_ref(), &record.service)
            && services.is_none_or(|all| all.contains(&record.service))
            && self.slot.as_ref().is_none_or(slot)
            && self
                .to
                .as_ref()
                .is_none_or(|to| record.to.as_ref() == Some(to))
            && actor.is_none_or(|actor| record.actor.contains(actor.as_str()))
            && is(self.kind.as_ref(), &record.command)
            && is(self.outcome.as_ref(), &record.result)
            && self.since.is_none_or(|since| begun(record) >= since)
    }

    /// Nothing further back can fit.
    fn is_past(&self, record: &AuditRecord) -> bool {
        let first = self.since.and_then(|since| since.checked_sub(LONGEST).ok());
        first.is_some_and(|first| begun(record) < first)
    }

    /// Adds what fits of records that are in no file yet, newest first, until there is enough.
    pub(super) fn look_at<'a>(
        &self,
        newest_first: impl Iterator<Item = &'a AuditRecord>,
        records: &mut Vec<AuditRecord>,
    ) {
        let room = self.limit.min(MOST_RECORDS).saturating_sub(records.len());
        let fitting = newest_first.filter(|record| self.takes(record)).take(room);
        records.extend(fitting.cloned());
    }

    /// Adds what fits in one file, newest first, until there is enough.
    pub(super) fn look(
        &self,
        file: &Path,
        records: &mut Vec<AuditRecord>,
    ) -> Result<(), JournalError> {
        let lines = match File::open(file) {
            Ok(file_there) => Backwards::new(file_there).map_err(JournalError::io("read", file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(JournalError::io("open", file)(error)),
        };
        for line in lines {
            if records.len() >= self.limit.min(MOST_RECORDS) {
                break;
            }
            let line = line.map_err(JournalError::io("read", file))?;
            // A torn or foreign line must not hide the others.
            let Ok(record) = serde_json::from_slice::<AuditRecord>(&line) else {
                continue;
            };
            if self.is_past(&record) {
                break;
            }
            if self.takes(&record) {
                records.push(record);
            }
        }
        Ok(())
    }
}

/// What has no time that can be read is as old as anything.
fn begun(record: &AuditRecord) -> Timestamp {
    record.at.parse().unwrap_or(Timestamp::MIN)
}
