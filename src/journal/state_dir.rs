//! The state directory: the door to disk.

use super::audit_log::AuditLog;
use super::call_log::CallLog;
use super::error::JournalError;
use super::files;
use super::kept_file::Kept;
use super::kept_file::KeptFile;
use super::key_file;
use super::modes::Modes;
use super::modes::ModesFile;
use super::pending::Pending;
use super::state_file::StateFile;
use super::upkeep;
use crate::api::AuditRecord;
use crate::switch::Persisted;
use crate::switch::ServiceName;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What to do about a state file that cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recover {
    /// Do not start.
    #[default]
    Refuse,
    /// Set it aside and start every service on the `initial` slot of the config.
    StartFromConfig,
}

/// What survives a restart. Holds the directory's lock until it is dropped.
#[derive(Debug)]
pub struct Journal {
    pub(super) dir: PathBuf,
    pub(super) state: StateFile,
    pub(super) audit: AuditLog,
    /// Lines of the history that wait for room, as far as they fit.
    pub(super) lines: KeptFile,
    calls: CallLog,
    pub(super) pending: Pending,
    /// Why something waits for room, in words; none while all is on disk.
    pub(super) waiting: Option<String>,
    /// Why nothing could be written when that was tried out.
    pub(super) trial: Option<String>,
    key: [u8; key_file::BYTES],
    pub(super) modes: ModesFile,
    warnings: Vec<String>,
    recovered: Option<String>,
    #[allow(dead_code, reason = "held for its lock")]
    lock: File,
}

impl Journal {
    /// Opens the directory, or makes it; finishes the story of whatever a crash cut short.
    ///
    /// # Errors
    /// [`JournalError::InUse`] while another daemon has it; [`JournalError::Broken`] and
    /// [`JournalError::TooNew`] for a state file that cannot be used, unless `recover` says otherwise.
    pub fn open(dir: &Path, recover: Recover) -> Result<Self, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(JournalError::io("make the state directory", dir))?;
        let lock = lock(dir)?;
        let mut warnings = Vec::new();
        let Opened { state, recovered } = open_state(dir, recover)?;
        warnings.extend(recovered.clone());
        let (modes, problem) = ModesFile::open(dir)?;
        warnings.extend(problem);
        let audit = AuditLog::new(dir);
        let lines = upkeep::restore(dir, &audit)?;
        let mut journal = Self {
            dir: dir.to_owned(),
            waiting: None,
            trial: None,
            state,
            audit,
            lines,
            calls: CallLog::new(dir),
            pending: Pending::new(dir),
            key: key(dir, &mut warnings)?,
            modes,
            warnings,
            recovered,
            lock,
        };
        match journal.audit.repair() {
            Ok(true) => {
                journal.warn("the last line of the audit log was cut short by a crash".to_owned());
            }
            Ok(false) => {}
            Err(error) if error.is_want_of_room() => journal.warn(error.in_words()),
            Err(error) => return Err(error),
        }
        journal.tell_of_interrupted()?;
        // Traffic needs a start more than a reserve: the next look tells, and tries again.
        drop(journal.tend());
        Ok(journal)
    }

    /// What cookies are signed with.
    #[must_use]
    pub fn key(&self) -> &[u8; key_file::BYTES] {
        &self.key
    }

    /// None for a service that has none yet.
    #[must_use]
    pub fn state(&self, service: &ServiceName) -> Option<&Persisted> {
        self.state.get(service)
    }

    /// Puts the state of `service` on disk, in one step. When this has returned, it survives a power cut.
    ///
    /// # Errors
    /// [`JournalError::Io`]; the disk may then hold the old state or the new one, and [`state`](Self::state) gives the old one.
    pub fn record(&mut self, service: &ServiceName, state: &Persisted) -> Result<(), JournalError> {
        let kept = self.state.put(service, state);
        self.note(kept)
    }

    /// Keeps the state of `service` in memory and writes it as soon as that is possible: for a move that a disk must
    /// not hinder. A crash before that comes back with the old one.
    pub fn record_later(&mut self, service: &ServiceName, state: &Persisted) {
        self.state.keep(service, state);
    }

    /// In the reserve is on disk, and worth telling.
    fn note(&mut self, kept: Result<Kept, JournalError>) -> Result<(), JournalError> {
        match kept {
            Ok(Kept::InPlace) => Ok(()),
            Ok(Kept::InReserve(error)) => {
                self.waiting = Some(error.in_words());
                Ok(())
            }
            Err(error) => {
                self.waiting = Some(error.in_words());
                Err(error)
            }
        }
    }

    /// The modes of `service` that are on.
    #[must_use]
    pub fn modes(&self, service: &ServiceName) -> Modes {
        self.modes.get(service)
    }

    /// Puts the modes of `service` on disk. When this has returned, they survive a power cut.
    ///
    /// # Errors
    /// [`JournalError::Io`]; the disk may then hold the old modes or the new ones.
    pub fn record_modes(
        &mut self,
        service: &ServiceName,
        modes: &Modes,
    ) -> Result<(), JournalError> {
        let kept = self.modes.put(service, modes);
        self.note(kept)
    }

    /// Keeps an operation that is under way. Called again for the same one, the newer form is kept.
    ///
    /// # Errors
    /// [`JournalError::Io`]: a crash would go untold, until [`tend`](Self::tend) can write it.
    pub fn begin(&mut self, record: &AuditRecord) -> Result<(), JournalError> {
        let begun = self.pending.begin(record);
        self.note(begun.map(|()| Kept::InPlace))
    }

    /// Writes an operation that has ended into the audit log, whether it was kept by `begin` or not.
    ///
    /// # Errors
    /// [`JournalError::Io`]; a line that could not be written leaves the log as it was, and waits in memory for
    /// [`tend`](Self::tend).
    pub fn finish(&mut self, record: &AuditRecord) -> Result<(), JournalError> {
        // In their order. Where one fails, this one waits behind it.
        let _ = self.write_lines();
        let appended = self.audit.append(record);
        if appended.is_err() {
            self.keep_lines();
        }
        // As long as the line waits, what was kept at its beginning stays: a crash would be told at least as that.
        let finished = appended.and_then(|()| self.pending.forget(record));
        self.note(finished.map(|()| Kept::InPlace))
    }

    /// The last `limit` operations, newest last.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn history(
        &self,
        service: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, JournalError> {
        self.audit.history(service, limit)
    }

    /// A handle that reads the history anywhere, also while this journal writes.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        self.audit.clone()
    }

    /// Where calls of the admin API over TCP are kept, which are no part of the history.
    #[must_use]
    pub fn call_log(&self) -> CallLog {
        self.calls.clone()
    }

    /// What an operator must hear about how this directory was found, in words.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// That the state file was set aside, in words: for the history, where its old slots end.
    #[must_use]
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    fn warn(&mut self, words: String) {
        self.warnings.push(words);
    }

    fn tell_of_interrupted(&mut self) -> Result<(), JournalError> {
        let left_over = self.pending.left_over()?;
        for mut record in left_over.operations {
            // The crash may have come between the line in the log and the removal of this file.
            if self.audit.tells_of(&record)? {
                continue;
            }
            let words = self.how_it_ended(&record);
            self.warn(format!(
                "{} {}: a {} was interrupted: {words}",
                record.service, record.at, record.command
            ));
            "interrupted".clone_into(&mut record.result);
            record.details.push(words);
            if let Err(error) = self.audit.append(&record) {
                if !error.is_want_of_room() {
                    return Err(error);
                }
                self.warn(error.in_words());
            }
        }
        for path in left_over.files {
            files::remove(&path)?;
        }
        for path in left_over.unreadable {
            self.warn(format!(
                "an operation was interrupted, and what was kept of it cannot be read; see {}",
                path.display()
            ));
        }
        Ok(())
    }

    /// Why an operation is called interrupted, and on which slot traffic is.
    fn how_it_ended(&self, record: &AuditRecord) -> String {
        let state = ServiceName::new(&record.service)
            .ok()
            .and_then(|service| self.state(&service));
        let Some(state) = state else {
            return "switchd stopped while it was under way; traffic is on the `initial` slot of the config".to_owned();
        };
        let active = state.active.as_str();
        let latest = record.flip == Some(state.flip.0);
        let canary = state.canary.as_ref().map(|canary| canary.slot.as_str());
        if latest && record.command == "canary" && canary == record.to.as_deref() {
            return format!(
                "switchd stopped after it was written down; traffic is on {active}, and new visitors come to the canary"
            );
        }
        let moment = if latest && record.to.as_deref() == Some(active) {
            "after the move was written down"
        } else if latest && record.from.as_deref() == Some(active) {
            "before the move was written down"
        } else {
            "while it was under way"
        };
        format!("switchd stopped {moment}; traffic is on {active}")
    }
}

struct Opened {
    state: StateFile,
    recovered: Option<String>,
}

fn open_state(dir: &Path, recover: Recover) -> Result<Opened, JournalError> {
    match (StateFile::open(dir), recover) {
        (
            Err(error @ (JournalError::Broken { .. } | JournalError::TooNew { .. })),
            Recover::StartFromConfig,
        ) => {
            let aside = files::set_aside(&StateFile::path(dir))?;
            let text = error.to_string();
            let problem = text.lines().next().unwrap_or_default();
            Ok(Opened {
                state: StateFile::anew(dir)?,
                recovered: Some(format!(
                    "{problem}; it was set aside as {}, and every service starts on the `initial` slot of the config",
                    aside.display()
                )),
            })
        }
        (opened, _) => Ok(Opened {
            state: opened?,
            recovered: None,
        }),
    }
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(files::MODE)
        .open(&path)
        .map_err(JournalError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(JournalError::InUse {
                dir: dir.to_owned(),
                process: holder(&mut file),
            });
        }
        Err(TryLockError::Error(cause)) => return Err(JournalError::io("lock", &path)(cause)),
    }
    // Only a help for whoever is refused: the lock itself does not depend on it.
    let id = std::process::id().to_string();
    let written = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(id.as_bytes()));
    match written.map_err(JournalError::io("write", &path)) {
        Err(error) if !error.is_want_of_room() => Err(error),
        _ => Ok(file),
    }
}

/// A full disk must not keep the daemon from starting: then cookies are signed anew after the next start.
fn key(dir: &Path, warnings: &mut Vec<String>) -> Result<[u8; key_file::BYTES], JournalError> {
    match key_file::open(dir) {
        Err(error) if error.is_want_of_room() => {
            warnings.push(format!(
                "{}; cookies of canaries and previews are good until the next start only",
                error.in_words()
            ));
            key_file::for_now()
        }
        opened => opened,
    }
}

fn holder(file: &mut File) -> Option<String> {
    let mut id = String::new();
    file.take(20).read_to_string(&mut id).ok()?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then_some(id)
}
