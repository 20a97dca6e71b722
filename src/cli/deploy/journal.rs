//! The file that knows how far a deploy came: one JSON object per line, each on disk before what follows it.

use super::folder::is_untrusted;
use super::places::{Places, journal_name};
use super::plan::Plan;
use super::story::Story;
use crate::cli::failure::Failure;
use jiff::{Timestamp, Unit};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// RFC 3339, in UTC.
    pub(super) at: String,
    #[serde(flatten)]
    pub(super) record: Record,
}

/// What happened; the field `record` names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    Planned(Box<Plan>),
    /// A runner has begun, or has begun anew after a crash.
    Running {
        pid: u32,
    },
    /// `log` is where its output begins.
    Started {
        step: String,
        log: u64,
    },
    Finished {
        step: String,
        took_ms: u64,
    },
    Failed {
        step: String,
        took_ms: u64,
        why: String,
    },
    /// New requests wait at the daemon.
    Held,
    /// And nothing is under way on the slots.
    Drained {
        took_ms: u64,
    },
    /// What is known of others that work on the database.
    Database {
        words: String,
        /// They keep the migration from beginning.
        #[serde(default)]
        busy: bool,
    },
    /// It failed before it had begun to do anything: there is nothing to take back.
    NotBegun {
        step: String,
    },
    /// They go on.
    Released {
        held_ms: u64,
        /// How many were held and went on, and how many were refused.
        requests: u64,
        refused: u64,
        longest_ms: u64,
    },
    Labelled {
        slot: String,
        was: Option<String>,
    },
    /// Traffic is on the new slot.
    Flipped {
        generation: u64,
        took_ms: u64,
        /// How long before the gates were passed that were not tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gates_reused_ms: Option<u64>,
    },
    /// Traffic is on the old slot again.
    MovedBack {
        generation: u64,
        why: String,
    },
    /// Nothing is left on the slot that traffic left.
    Emptied {
        took_ms: u64,
        cut: u64,
        /// Of those, upgraded connections.
        #[serde(default)]
        websockets: u64,
    },
    /// How the new slot does.
    Watched {
        words: String,
    },
    /// The new slot is not ready yet, and waited for.
    Waiting {
        said: String,
    },
    /// What the gates said, one line each.
    Gated {
        lines: Vec<String>,
    },
    /// The oldest request that was seen under way.
    Worst {
        ms: u64,
        what: String,
    },
    Undoing {
        why: String,
    },
    Undone {
        step: String,
        how: Undone,
        took_ms: u64,
    },
    NotUndone {
        step: String,
        why: String,
    },
    Ended {
        outcome: Outcome,
        took_ms: u64,
    },
}

/// What taking a step back meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Undone {
    /// Its `undo` ran, or switchctl took it back.
    Done,
    /// It has no `undo`, or there was nothing to take back.
    Nothing,
}

/// How a deploy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Done,
    /// Everything is as it was.
    Undone,
    /// Something is left to do by hand.
    Stuck,
}

/// The journal of a deploy under way.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

impl Journal {
    /// None when a deploy of that name is there already.
    pub(super) fn create(places: &Places, id: &str) -> io::Result<Option<Self>> {
        let Some(file) = places.folder().create_new(&journal_name(id))? else {
            return Ok(None);
        };
        places.folder().sync()?;
        Ok(Some(Self {
            path: places.journal(id),
            file,
        }))
    }

    /// Goes on after the last whole line: half a line was never acted upon.
    pub(super) fn open(places: &Places, id: &str) -> io::Result<Self> {
        let mut file = places.folder().file(&journal_name(id), OFlags::RDWR)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at as u64 + 1);
        if end < bytes.len() as u64 {
            file.set_len(end)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(end))?;
        Ok(Self {
            path: places.journal(id),
            file,
        })
    }

    /// Returns when it is on disk.
    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        let entry = Entry {
            at: now().to_string(),
            record: record.clone(),
        };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Everything that a journal says. Its programs are no part of that, whoever wrote some into it: what runs stands in the
/// config.
pub(super) fn read(places: &Places, id: &str) -> Result<Story, Failure> {
    let broken = |why: &str| {
        Failure::Usage(format!(
            "the journal {} cannot be used: {why}\n  look into it, then remove it if nothing of that deploy runs any more",
            places.journal(id).display()
        ))
    };
    let text = places.folder().read(&journal_name(id));
    let text = text.map_err(|cause| {
        if is_untrusted(&cause) {
            places.unusable(&cause)
        } else {
            broken(&cause.to_string())
        }
    })?;
    let mut story =
        Story::of(entries(&text)).ok_or_else(|| broken("it does not begin with a plan"))?;
    if story.plan.id != id {
        return Err(broken("it is of another deploy"));
    }
    story.plan.forget_programs();
    Ok(story)
}

/// The whole lines of `bytes`; what cannot be read is passed over, as a newer switchctl may have written it.
pub(super) fn entries(bytes: &[u8]) -> Vec<Entry> {
    let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    bytes[..whole]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::super::plan::tests::plan;
    use super::super::story::StepState;
    use super::*;
    use tempfile::TempDir;

    fn started(step: &str) -> Record {
        Record::Started {
            step: step.to_owned(),
            log: 0,
        }
    }

    const ID: &str = "20260801-120000";

    fn places(dir: &TempDir) -> Places {
        Places::at(Folder::open(dir.path()).unwrap())
    }

    fn written(places: &Places) -> Journal {
        let mut journal = Journal::create(places, ID).unwrap().unwrap();
        journal.write(&Record::Planned(Box::new(plan()))).unwrap();
        journal.write(&started("prepare")).unwrap();
        journal
    }

    #[test]
    fn a_journal_cut_anywhere_is_the_story_up_to_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir);
        let path = places.journal(ID);
        drop(written(&places));
        let whole = std::fs::read(&path).unwrap();
        let first = memchr::memchr(b'\n', &whole).unwrap() + 1;
        for length in first..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let story = read(&places, ID).unwrap();
            assert_eq!(story.state("prepare"), StepState::Waiting, "{length}");
            let mut journal = Journal::open(&places, ID).unwrap();
            journal.write(&started("start")).unwrap();
            let story = read(&places, ID).unwrap();
            assert_eq!(story.state("start"), StepState::Started, "{length}");
            assert_eq!(story.entries.len(), 2);
        }
    }

    #[test]
    fn a_journal_without_a_plan_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir);
        let path = places.journal(ID);
        drop(written(&places));
        let whole = std::fs::read(&path).unwrap();
        for broken in [&whole[..10], b"", b"{}\n", b"\xff\n"] {
            std::fs::write(&path, broken).unwrap();
            let words = read(&places, ID).unwrap_err().to_string();
            assert!(words.contains("does not begin with a plan"), "{words}");
        }
    }

    #[test]
    fn two_deploys_never_share_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir);
        drop(written(&places));
        assert!(Journal::create(&places, ID).unwrap().is_none());
    }

    #[test]
    fn no_program_is_ever_taken_from_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir);
        drop(written(&places));
        assert!(plan().steps.iter().all(|step| step.run.is_some()));
        let text = std::fs::read_to_string(places.journal(ID)).unwrap();
        assert!(text.contains("\"direct\""), "{text}");
        let story = read(&places, ID).unwrap();
        for step in &story.plan.steps {
            assert!(step.run.is_none() && step.undo.is_none(), "{step:?}");
        }
    }

    #[test]
    fn a_journal_of_another_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir);
        drop(written(&places));
        std::fs::rename(places.journal(ID), places.journal("9")).unwrap();
        let words = read(&places, "9").unwrap_err().to_string();
        assert!(words.contains("of another deploy"), "{words}");
    }
}
