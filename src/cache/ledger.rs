//! Who is kept and what that weighs; who has to go when there is no room.

use super::body::Body;
use super::entry::Entry;
use super::sieve::Sieve;
use super::sieve::Verdict;
use crate::config::CacheRoom;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Answers that are kept at most, whatever they weigh.
const MOST_ENTRIES: usize = 100_000;

/// The books. One lock holds them, taken when something comes or goes, never by a hit.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) room: CacheRoom,
    pub(super) entries: Sieve<Entry>,
    /// Bodies that are in memory.
    resident: Sieve<Body>,
    pub(super) memory: u64,
    pub(super) disk: u64,
    pub(super) evicted: u64,
    pub(super) stored: u64,
    /// Files that have lost their entries.
    pub(super) garbage: Vec<Box<Path>>,
}

impl Ledger {
    pub(super) fn new(room: CacheRoom) -> Self {
        Self {
            room,
            entries: Sieve::default(),
            resident: Sieve::default(),
            memory: 0,
            disk: 0,
            evicted: 0,
            stored: 0,
            garbage: Vec::new(),
        }
    }

    /// An entry with the bodies that it has by now.
    pub(super) fn add(&mut self, entry: &Arc<Entry>) {
        self.memory += entry.weight();
        for body in entry.bodies() {
            self.add_body(body);
        }
        self.entries.push(entry.clone());
    }

    pub(super) fn add_body(&mut self, body: &Arc<Body>) {
        if body.is_in_memory() {
            self.memory += body.length;
            self.resident.push(body.clone());
        }
        if body.is_on_disk() {
            self.disk += body.length;
        }
    }

    /// A file was written. False when its entry is gone already: then the file is, too.
    pub(super) fn filed(&mut self, entry: &Entry, body: &Body, offset: u64) -> bool {
        if entry.is_gone() || body.offset.set(offset).is_err() {
            self.garbage.push(body.path.clone());
            return false;
        }
        self.disk += body.length;
        true
    }

    /// A body was read back from its file.
    pub(super) fn read_back(&mut self, entry: &Entry, body: &Arc<Body>, bytes: Vec<u8>) {
        if !entry.is_gone() && !body.is_in_memory() && bytes.len() as u64 == body.length {
            body.put_in_memory(bytes);
            self.memory += body.length;
            self.resident.push(body.clone());
        }
    }

    /// What has to go so that the rest has room; already off the books.
    pub(super) fn make_room(&mut self) -> Vec<Arc<Entry>> {
        let mut gone = Vec::new();
        while self.memory > self.room.memory {
            if self.drop_body() {
                continue;
            }
            let Some(entry) = self.drop_entry() else {
                break;
            };
            gone.push(entry);
        }
        while self.disk > self.room.disk || self.entries.len() > MOST_ENTRIES {
            let Some(entry) = self.drop_entry() else {
                break;
            };
            gone.push(entry);
        }
        self.sweep(&gone);
        gone
    }

    /// Takes the least wanted body out of memory that is in a file, too.
    fn drop_body(&mut self) -> bool {
        if self.room.disk == 0 {
            return false;
        }
        let dropped = self.resident.evict(|body| {
            let wanted = body.forget_visit();
            if body.is_on_disk() && !wanted {
                Verdict::Goes
            } else {
                Verdict::Stays
            }
        });
        let Some(body) = dropped else { return false };
        if body.is_in_memory() {
            body.drop_from_memory();
            self.memory -= body.length;
        }
        true
    }

    fn drop_entry(&mut self) -> Option<Arc<Entry>> {
        let entry = self.entries.evict(|entry| {
            if entry.forget_visit() {
                Verdict::Stays
            } else {
                Verdict::Goes
            }
        })?;
        self.evicted += 1;
        self.write_off(&entry);
        Some(entry)
    }

    /// Takes all that are meant off the books.
    pub(super) fn take(&mut self, is_meant: impl FnMut(&Arc<Entry>) -> bool) -> Vec<Arc<Entry>> {
        let taken = self.entries.take(is_meant);
        for entry in &taken {
            self.write_off(entry);
        }
        self.sweep(&taken);
        taken
    }

    /// What an entry weighs is room again. It is out of the queue already.
    fn write_off(&mut self, entry: &Entry) {
        // Relaxed: read and written under the lock of these books, elsewhere only a hint.
        entry.gone.store(true, Ordering::Relaxed);
        self.memory -= entry.weight();
        for body in entry.bodies() {
            if body.is_in_memory() {
                self.memory -= body.length;
                body.drop_from_memory();
            }
            if body.is_on_disk() {
                self.disk -= body.length;
                self.garbage.push(body.path.clone());
            }
        }
    }

    /// The bodies of those who went leave the queue, all at once.
    fn sweep(&mut self, gone: &[Arc<Entry>]) {
        if !gone.is_empty() {
            self.resident.take(|body| !body.is_in_memory());
        }
    }

    /// Bytes of all forms of it.
    pub(super) fn bytes_of(entry: &Entry) -> u64 {
        entry.bodies().map(|body| body.length).sum()
    }
}
