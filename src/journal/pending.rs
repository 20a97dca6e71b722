//! `pending-<service>.json`: operations that have begun and not ended, so that a crash can be told.
//!
//! Usually one; more when a flip or rollback starts while the one before still drains.

use super::error::JournalError;
use super::files;
use crate::api::AuditRecord;
use crate::switch::ServiceName;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Pending {
    dir: PathBuf,
    open: BTreeMap<ServiceName, Vec<AuditRecord>>,
    /// Services whose file is not as it should be: there was no room.
    behind: BTreeSet<ServiceName>,
}

/// What a daemon that did not stop in order left behind.
#[derive(Debug, Default)]
pub(super) struct LeftOver {
    /// In the order in which they began, service by service.
    pub(super) operations: Vec<AuditRecord>,
    pub(super) files: Vec<PathBuf>,
    /// Files that make no sense, under their new names.
    pub(super) unreadable: Vec<PathBuf>,
}

impl Pending {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            open: BTreeMap::new(),
            behind: BTreeSet::new(),
        }
    }

    /// Reads what was left behind. The files stay until the caller has told about them.
    pub(super) fn left_over(&self) -> Result<LeftOver, JournalError> {
        let mut found = LeftOver::default();
        for path in self.files()? {
            let content = files::read(&path)?.unwrap_or_default();
            match serde_json::from_slice::<Vec<AuditRecord>>(&content) {
                Ok(operations) => {
                    found.operations.extend(operations);
                    found.files.push(path);
                }
                Err(_) => found.unreadable.push(files::set_aside(&path)?),
            }
        }
        Ok(found)
    }

    fn files(&self) -> Result<Vec<PathBuf>, JournalError> {
        let entries = fs::read_dir(&self.dir).map_err(JournalError::io("list", &self.dir))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(JournalError::io("list", &self.dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let ours = name
                .and_then(|name| name.strip_prefix("pending-")?.strip_suffix(".json"))
                .is_some_and(|service| ServiceName::new(service).is_ok());
            if ours {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Keeps `record`, or its newer form. What concerns no service is not kept.
    pub(super) fn begin(&mut self, record: &AuditRecord) -> Result<(), JournalError> {
        let Ok(service) = ServiceName::new(&record.service) else {
            return Ok(());
        };
        let open = self.open.entry(service.clone()).or_default();
        match open.iter_mut().find(|kept| same(kept, record)) {
            Some(kept) => kept.clone_from(record),
            None => open.push(record.clone()),
        }
        self.write(&service)
    }

    pub(super) fn forget(&mut self, record: &AuditRecord) -> Result<(), JournalError> {
        let Ok(service) = ServiceName::new(&record.service) else {
            return Ok(());
        };
        let Some(open) = self.open.get_mut(&service) else {
            return Ok(());
        };
        let before = open.len();
        open.retain(|kept| !same(kept, record));
        if open.len() == before {
            return Ok(());
        }
        self.write(&service)
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Writes the files that found no room before.
    pub(super) fn catch_up(&mut self) -> Result<(), JournalError> {
        for service in self.behind.clone() {
            self.write(&service)?;
        }
        Ok(())
    }

    fn write(&mut self, service: &ServiceName) -> Result<(), JournalError> {
        let written = self.write_out(service);
        if written.is_ok() {
            self.behind.remove(service);
        } else {
            self.behind.insert(service.clone());
        }
        written
    }

    fn write_out(&self, service: &ServiceName) -> Result<(), JournalError> {
        let path = self.dir.join(format!("pending-{service}.json"));
        match self.open.get(service) {
            Some(open) if !open.is_empty() => {
                let content =
                    serde_json::to_vec(open).expect("a record holds nothing that JSON cannot say");
                files::replace(&path, &content)
            }
            _ => files::remove(&path),
        }
    }
}

/// Ids are given out once per service.
fn same(kept: &AuditRecord, record: &AuditRecord) -> bool {
    match record.flip {
        Some(_) => kept.flip == record.flip,
        None => kept.flip.is_none() && kept.at == record.at && kept.command == record.command,
    }
}
