//! `state.json`: what a restart must know of every service.
//!
//! One line of JSON in a fixed form: version, checksum over the rest, services. Every byte counts:
//! a file that differs in any one is refused.

use super::error::JournalError;
use super::kept_file::Kept;
use super::kept_file::KeptFile;
use crate::switch::Persisted;
use crate::switch::ServiceName;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const VERSION: u64 = 1;
const END: &str = "}\n";

type States = BTreeMap<ServiceName, Persisted>;

#[derive(Debug)]
pub(super) struct StateFile {
    file: KeptFile,
    states: States,
    /// Newer than what any disk holds.
    is_unwritten: bool,
}

/// Why a content is not taken.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Broken(String),
    TooNew(u64),
}

impl StateFile {
    /// No file is no state; a file that cannot be trusted is an error.
    pub(super) fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = Self::path(dir);
        let (file, content) = KeptFile::open(path.clone())?;
        let Some(content) = content else {
            return Ok(Self::over(file));
        };
        match decode(&content) {
            Ok(states) => Ok(Self {
                states,
                ..Self::over(file)
            }),
            Err(Fault::Broken(why)) => Err(JournalError::Broken { path, why }),
            Err(Fault::TooNew(found)) => Err(JournalError::TooNew {
                path,
                found,
                known: VERSION,
            }),
        }
    }

    /// After its file was set aside: nothing is known, from the reserve neither.
    pub(super) fn anew(dir: &Path) -> Result<Self, JournalError> {
        let (mut file, _) = KeptFile::open(Self::path(dir))?;
        file.forget()?;
        Ok(Self::over(file))
    }

    fn over(file: KeptFile) -> Self {
        Self {
            file,
            states: States::new(),
            is_unwritten: false,
        }
    }

    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("state.json")
    }

    pub(super) fn get(&self, service: &ServiceName) -> Option<&Persisted> {
        self.states.get(service)
    }

    /// On an error the file may hold the old state or the new one; the next success settles it.
    pub(super) fn put(
        &mut self,
        service: &ServiceName,
        state: &Persisted,
    ) -> Result<Kept, JournalError> {
        let mut states = self.states.clone();
        states.insert(service.clone(), state.clone());
        let kept = self.file.put(&encode(&states))?;
        self.states = states;
        self.is_unwritten = false;
        Ok(kept)
    }

    /// In memory alone, until [`catch_up`](Self::catch_up) can write it.
    pub(super) fn keep(&mut self, service: &ServiceName, state: &Persisted) {
        self.states.insert(service.clone(), state.clone());
        self.is_unwritten = true;
    }

    /// Takes room for what is to come.
    pub(super) fn prepare(&mut self) -> Result<(), JournalError> {
        self.file.prepare(encode(&self.states).len())
    }

    pub(super) fn file(&self) -> &KeptFile {
        &self.file
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.is_unwritten || self.file.is_waiting()
    }

    /// Brings the file up to date, where that is possible again.
    pub(super) fn catch_up(&mut self) -> Result<(), JournalError> {
        if !self.is_unwritten {
            return self.file.catch_up();
        }
        let kept = self.file.put(&encode(&self.states))?;
        self.is_unwritten = false;
        match kept {
            Kept::InPlace => Ok(()),
            Kept::InReserve(error) => Err(error),
        }
    }
}

fn encode(states: &States) -> Vec<u8> {
    let body = serde_json::to_string(states)
        .expect("names are strings and a state holds nothing that JSON cannot say");
    [&start(&body), body.as_str(), END].concat().into_bytes()
}

/// Everything before the services.
fn start(body: &str) -> String {
    let checksum = crc32fast::hash(body.as_bytes());
    format!(r#"{{"version":{VERSION},"checksum":"crc32:{checksum:08x}","services":"#)
}

fn decode(content: &[u8]) -> Result<States, Fault> {
    let broken = |why: &str| Fault::Broken(why.to_owned());
    if content.is_empty() {
        return Err(broken("it is empty"));
    }
    let text = std::str::from_utf8(content).map_err(|_| broken("it is not text"))?;
    let rest = text
        .strip_prefix(r#"{"version":"#)
        .ok_or_else(|| broken("it does not begin like a state file"))?;
    let (version, rest) = rest
        .split_once(',')
        .ok_or_else(|| broken("it is cut short"))?;
    match version.parse() {
        Ok(VERSION) => {}
        Ok(newer) if newer > VERSION => return Err(Fault::TooNew(newer)),
        Ok(_) | Err(_) => return Err(broken("its version is not a number that was ever used")),
    }
    let body = rest
        .split_once(r#""services":"#)
        .and_then(|(_, body)| body.strip_suffix(END))
        .ok_or_else(|| broken("it is cut short"))?;
    if text != [&start(body), body, END].concat() {
        return Err(broken(
            "its checksum does not match what it says (cut short, or changed by hand or by the disk)",
        ));
    }
    serde_json::from_str(body).map_err(|error| Fault::Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::promises::state;

    fn example() -> Vec<u8> {
        let mut states = States::new();
        states.insert(ServiceName::new("odoo").unwrap(), state("green", 7));
        states.insert(ServiceName::new("shop").unwrap(), state("a", 1));
        encode(&states)
    }

    #[test]
    fn what_was_written_is_read() {
        let states = decode(&example()).unwrap();
        assert_eq!(states.len(), 2);
        assert_eq!(
            states[&ServiceName::new("odoo").unwrap()],
            state("green", 7)
        );
    }

    #[test]
    fn the_file_is_json_for_other_tools() {
        let value: serde_json::Value = serde_json::from_slice(&example()).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["services"]["odoo"]["active"], "green");
    }

    #[test]
    fn a_change_of_any_bit_is_refused() {
        let good = example();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad).is_err(), "byte {at} bit {bit} went unnoticed");
            }
        }
    }

    #[test]
    fn a_file_cut_short_or_grown_is_refused() {
        let good = example();
        for length in 0..good.len() {
            assert!(
                decode(&good[..length]).is_err(),
                "{length} bytes were taken"
            );
        }
        assert!(decode(&[good.as_slice(), b"\n"].concat()).is_err());
        assert!(decode(&[good.as_slice(), good.as_slice()].concat()).is_err());
        assert!(decode(&vec![0; good.len()]).is_err());
    }

    #[test]
    fn a_newer_format_is_told_from_a_broken_file() {
        let newer = String::from_utf8(example())
            .unwrap()
            .replace("\"version\":1", "\"version\":2");
        assert_eq!(decode(newer.as_bytes()), Err(Fault::TooNew(2)));
    }
}
