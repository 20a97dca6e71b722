//! `modes.json`: which services are in maintenance or read only.

use super::error::JournalError;
use super::files;
use super::kept_file::Kept;
use super::kept_file::KeptFile;
use crate::switch::Actor;
use crate::switch::Moment;
use crate::switch::ServiceName;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

const VERSION: u64 = 1;

/// The modes of one service that are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    #[serde(default)]
    pub maintenance: Option<KeptMaintenance>,
    #[serde(default)]
    pub read_only: Option<KeptMode>,
}

impl Modes {
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Who switched it on, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMode {
    pub by: Actor,
    pub since: Moment,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMaintenance {
    #[serde(flatten)]
    pub mode: KeptMode,
    pub message: Option<String>,
    /// When clients are told that it will be over.
    pub until: Option<Moment>,
    /// Networks and addresses.
    pub allow: Vec<String>,
    /// What a bypass cookie holds; none where there is none.
    pub secret: Option<String>,
}

impl std::fmt::Debug for KeptMaintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptMaintenance")
            .field("mode", &self.mode)
            .field("message", &self.message)
            .field("until", &self.until)
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct ModesFile {
    file: KeptFile,
    modes: BTreeMap<ServiceName, Modes>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u64,
    services: BTreeMap<ServiceName, Modes>,
}

impl ModesFile {
    /// No file is no mode; one that makes no sense is set aside, and its new name told.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<String>), JournalError> {
        let (kept, content) = KeptFile::open(dir.join("modes.json"))?;
        let mut file = Self {
            file: kept,
            modes: BTreeMap::new(),
        };
        let Some(content) = content else {
            return Ok((file, None));
        };
        match serde_json::from_slice::<Content>(&content) {
            Ok(content) if content.version == VERSION => {
                file.modes = content.services;
                Ok((file, None))
            }
            _ => {
                let aside = files::set_aside(file.file.path())?;
                file.file.forget()?;
                let words = format!(
                    "the file of maintenance and read-only modes cannot be read; every mode is off, and it was set aside as {}",
                    aside.display()
                );
                Ok((file, Some(words)))
            }
        }
    }

    pub(super) fn get(&self, service: &ServiceName) -> Modes {
        self.modes.get(service).cloned().unwrap_or_default()
    }

    /// On an error the file may hold the old modes or the new ones; the next success settles it.
    pub(super) fn put(
        &mut self,
        service: &ServiceName,
        modes: &Modes,
    ) -> Result<Kept, JournalError> {
        let mut services = self.modes.clone();
        if modes.is_plain() {
            services.remove(service);
        } else {
            services.insert(service.clone(), modes.clone());
        }
        let content = Content {
            version: VERSION,
            services,
        };
        let text = serde_json::to_vec(&content).expect("modes hold nothing that JSON cannot say");
        let kept = self.file.put(&text)?;
        self.modes = content.services;
        Ok(kept)
    }

    /// Takes room for what is to come.
    pub(super) fn prepare(&mut self) -> Result<(), JournalError> {
        // A few modes with their messages; what is longer takes more room when it is put.
        self.file.prepare(0)
    }

    pub(super) fn file(&self) -> &KeptFile {
        &self.file
    }

    pub(super) fn catch_up(&mut self) -> Result<(), JournalError> {
        self.file.catch_up()
    }
}
