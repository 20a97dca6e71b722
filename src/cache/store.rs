//! The cache itself: finding, keeping, forgetting.

use super::body::Body;
use super::body::Form;
use super::entry::Entry;
use super::entry::Parts;
use super::entry::Variance;
use super::fetch::Fetches;
use super::fetch::Joined;
use super::files;
use super::key::Key;
use super::ledger::Ledger;
use super::rules::Terms;
use super::writer::Writer;
use crate::config::CacheRoom;
use crate::config::Coding;
use crate::config::KeepOnFlip;
use crate::spool::Room;
use crate::telemetry::CacheFigures;
use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

const SHARDS: usize = 32;
/// How many counters tell what is certainly not kept.
const HINTS: usize = 1 << 14;
/// Answers for one key that differ by what Vary names.
const MOST_VARIANTS: usize = 8;

/// What all workers share. Every lock in here is held for some steps in memory, never over a wait.
#[derive(Debug)]
pub struct Store {
    dir: Box<Path>,
    shards: [RwLock<HashMap<u64, Vec<Arc<Entry>>>>; SHARDS],
    /// How many entries there are by a part of their hash: nearly all requests for what is not kept need
    /// no lock to know.
    hints: Box<[AtomicU32]>,
    ledger: Mutex<Ledger>,
    fetches: Arc<Fetches>,
    writer: Writer,
    next_id: AtomicU64,
    /// Counts what was purged: what was fetched before must not come in afterwards.
    purges: AtomicU64,
    /// What the disk has left for us.
    pub(super) disk: Room,
    /// As in the books, to be seen without their lock.
    memory_room: AtomicU64,
    /// Bytes of bodies that are being fetched.
    fetching: AtomicU64,
}

/// What a request asks of the cache.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    pub key: &'a Key,
    /// All values of a field of the request, as one.
    pub field: &'a dyn Fn(&str) -> Box<[u8]>,
    pub now: SystemTime,
    /// Of the slot that requests go to now.
    pub generation: u64,
    pub keep: KeepOnFlip,
    /// It comes with an Authorization field.
    pub authorized: bool,
}

/// An answer that came whole.
#[derive(Debug)]
pub struct New {
    pub key: Key,
    pub head: Vec<u8>,
    pub vary: Vec<Variance>,
    pub terms: Terms,
    pub generation: u64,
    pub body: Vec<u8>,
    /// As it was encoded on its way.
    pub coded: Option<(Coding, Vec<u8>)>,
    /// What [`Store::purges`] was before it was asked for.
    pub purges: u64,
}

/// What a purge forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    pub entries: u64,
    pub bytes: u64,
}

impl Store {
    /// Finds what an earlier run has left in `dir`. Blocks while it reads there.
    #[must_use]
    pub fn open(dir: PathBuf, room: CacheRoom) -> Arc<Self> {
        let left = match room.disk {
            0 => Vec::new(),
            _ => files::found(&dir, SystemTime::now()),
        };
        let store = Arc::new(Self {
            disk: Room::on_disk_of(&dir),
            dir: dir.into(),
            shards: Default::default(),
            hints: (0..HINTS).map(|_| AtomicU32::new(0)).collect(),
            ledger: Mutex::new(Ledger::new(room)),
            fetches: Arc::default(),
            writer: Writer::default(),
            // Files keep their ids over restarts: a counter would meet them again.
            next_id: AtomicU64::new(fastrand::u64(..)),
            purges: AtomicU64::new(0),
            memory_room: AtomicU64::new(room.memory),
            fetching: AtomicU64::new(0),
        });
        for entry in left {
            store.insert(&entry);
            store.ledger().add(&entry);
        }
        store.settle(|_| {});
        store
    }

    /// Other bounds hold from now on.
    pub fn set_room(&self, room: CacheRoom) {
        if self.ledger().room != room {
            self.memory_room.store(room.memory, Ordering::Relaxed);
            self.settle(|ledger| ledger.room = room);
        }
    }

    /// An answer that may be given now. It counts as a hit.
    #[must_use]
    pub fn find(&self, lookup: &Lookup<'_>) -> Option<Arc<Entry>> {
        let hash = lookup.key.hash;
        // Relaxed: who misses an entry that comes this instant asks the upstream once more than needed.
        if self.hint(hash).load(Ordering::Relaxed) == 0 {
            return None;
        }
        let shard = self.shard(hash).read();
        let shard = shard.unwrap_or_else(PoisonError::into_inner);
        let found = shard.get(&hash)?.iter().find(|entry| {
            entry.key.text == lookup.key.text
                && entry.is_fresh(lookup.now)
                && (entry.terms.immutable
                    || lookup.keep == KeepOnFlip::All
                    || entry.generation == lookup.generation)
                && (entry.terms.public || !lookup.authorized)
                && entry
                    .vary
                    .iter()
                    .all(|one| (lookup.field)(&one.name) == one.value)
        })?;
        found.hit();
        Some(found.clone())
    }

    /// What to do about something that was not found: at most `waiting` requests wait for one that fetches it.
    #[must_use]
    pub fn join(&self, key: &Key, waiting: usize) -> Joined {
        self.fetches.join(key.hash, waiting)
    }

    #[must_use]
    pub fn purges(&self) -> u64 {
        self.purges.load(Ordering::Relaxed)
    }

    /// Room for so many bytes more of what is being fetched; false when there is none.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> bool {
        let before = self.fetching.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before + bytes <= self.memory_room.load(Ordering::Relaxed) / 2;
        if !has_room {
            self.release(bytes);
        }
        has_room
    }

    /// What was reserved is kept by now, or was given up.
    pub fn release(&self, bytes: u64) {
        self.fetching.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Keeps an answer, in place of an older one for the same requests.
    pub fn put(self: &Arc<Self>, new: New) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::new(Parts {
            id,
            key: new.key,
            head: new.head.into(),
            vary: new.vary,
            terms: new.terms,
            generation: new.generation,
        }));
        let coded = new
            .coded
            .map(|(coding, bytes)| (Form::Coded(coding), bytes));
        for (form, bytes) in [(Form::Plain, new.body)].into_iter().chain(coded) {
            if let Form::Coded(coding) = form {
                let _ = entry.begin_coding(coding);
            }
            let body = Body::fresh(form, bytes, files::path(&self.dir, id, form));
            let _ = entry.bodies[form.index()].set(Arc::new(body));
        }
        let mut is_welcome = true;
        self.settle(|ledger| {
            is_welcome = self.purges() == new.purges;
            if is_welcome {
                let old = self.superseded(&entry);
                for old in ledger.take(|one| old.iter().any(|old| Arc::ptr_eq(old, one))) {
                    self.take_out(&old);
                }
                ledger.stored += 1;
                ledger.add(&entry);
                self.insert(&entry);
            }
        });
        if is_welcome {
            self.write(&entry);
        }
    }

    /// Keeps one more form of an answer.
    pub fn put_coded(self: &Arc<Self>, entry: &Arc<Entry>, coding: Coding, bytes: Vec<u8>) {
        let form = Form::Coded(coding);
        let path = files::path(&self.dir, entry.id, form);
        let body = Arc::new(Body::fresh(form, bytes, path));
        let mut is_kept = false;
        self.settle(|ledger| {
            is_kept = !entry.is_gone() && entry.bodies[form.index()].set(body.clone()).is_ok();
            if is_kept {
                ledger.add_body(&body);
            }
        });
        if is_kept {
            self.write(entry);
        }
    }

    /// Somebody reads this body. True when it is asked for often and had better be in memory: then
    /// [`Store::read_back`].
    #[must_use]
    pub fn wants_back(&self, body: &Body) -> bool {
        let is_asked_again = body.visit();
        let room = self.memory_room.load(Ordering::Relaxed);
        is_asked_again && !body.is_in_memory() && body.length <= room / 8
    }

    /// A body that was read from its file is in memory again.
    pub fn read_back(self: &Arc<Self>, entry: &Entry, body: &Arc<Body>, bytes: Vec<u8>) {
        self.settle(|ledger| ledger.read_back(entry, body, bytes));
    }

    /// Forgets everything of `service` (of all, without one) whose path begins with `prefix`.
    pub fn purge(self: &Arc<Self>, service: Option<&str>, prefix: &[u8]) -> Purged {
        let mut purged = Purged::default();
        self.settle(|ledger| {
            // Under the books' lock, as it is looked at: what is being fetched now comes too late.
            self.purges.fetch_add(1, Ordering::Relaxed);
            let matches = |entry: &Arc<Entry>| {
                entry.key.parts().is_some_and(|parts| {
                    service.is_none_or(|service| service == parts.service)
                        && parts.target.starts_with(prefix)
                })
            };
            for entry in ledger.take(matches) {
                purged.entries += 1;
                purged.bytes += Ledger::bytes_of(&entry);
                self.take_out(&entry);
            }
        });
        purged
    }

    /// Everything that is kept, in no order.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.ledger().entries.iter().cloned().collect()
    }

    #[must_use]
    pub fn figures(&self) -> CacheFigures {
        let ledger = self.ledger();
        CacheFigures {
            entries: ledger.entries.len() as u64,
            memory_bytes: ledger.memory,
            disk_bytes: ledger.disk,
            evicted: ledger.evicted,
            stored: ledger.stored,
        }
    }

    /// Changes the books, then makes room, and clears away the files that nobody needs.
    pub(super) fn settle(&self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger();
        change(&mut ledger);
        for entry in ledger.make_room() {
            self.take_out(&entry);
        }
        let garbage = std::mem::take(&mut ledger.garbage);
        drop(ledger);
        self.writer.remove(garbage);
    }

    /// Puts what is not in a file yet into one, where there is room and time for it.
    fn write(self: &Arc<Self>, entry: &Arc<Entry>) {
        if self.ledger().room.disk > 0 {
            self.writer.write(self, entry);
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::cast_possible_truncation, reason = "any part of a hash does")]
    fn shard(&self, hash: u64) -> &RwLock<HashMap<u64, Vec<Arc<Entry>>>> {
        &self.shards[hash as usize % SHARDS]
    }

    #[allow(clippy::cast_possible_truncation, reason = "any part of a hash does")]
    fn hint(&self, hash: u64) -> &AtomicU32 {
        &self.hints[(hash >> 32) as usize % HINTS]
    }

    /// Those that a new entry takes the place of: its own older self, and the oldest where there are too many.
    fn superseded(&self, new: &Entry) -> Vec<Arc<Entry>> {
        let shard = self.shard(new.key.hash).read();
        let shard = shard.unwrap_or_else(PoisonError::into_inner);
        let Some(known) = shard.get(&new.key.hash) else {
            return Vec::new();
        };
        let same: Vec<_> = known
            .iter()
            .filter(|entry| entry.key.text == new.key.text)
            .collect();
        let surplus = (same.len() + 1).saturating_sub(MOST_VARIANTS);
        let old = same.iter().enumerate();
        old.filter(|(at, entry)| *at < surplus || entry.vary == new.vary)
            .map(|(_, entry)| Arc::clone(entry))
            .collect()
    }

    fn insert(&self, entry: &Arc<Entry>) {
        let hash = entry.key.hash;
        let mut shard = self
            .shard(hash)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard.entry(hash).or_default().push(entry.clone());
        self.hint(hash).fetch_add(1, Ordering::Relaxed);
    }

    fn take_out(&self, entry: &Arc<Entry>) {
        let hash = entry.key.hash;
        let mut shard = self
            .shard(hash)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(known) = shard.get_mut(&hash) else {
            return;
        };
        let before = known.len();
        known.retain(|one| !Arc::ptr_eq(one, entry));
        if known.len() < before {
            self.hint(hash).fetch_sub(1, Ordering::Relaxed);
        }
        if known.is_empty() {
            shard.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::KeyParts;
    use std::time::Duration;
    use tempfile::TempDir;

    const ROOM: CacheRoom = CacheRoom {
        memory: 1 << 20,
        disk: 10 << 20,
    };
    const IN_MEMORY: CacheRoom = CacheRoom {
        memory: 1 << 20,
        disk: 0,
    };

    fn open(dir: &TempDir, room: CacheRoom) -> Arc<Store> {
        Store::open(dir.path().join("cache"), room)
    }

    fn key(target: &str) -> Key {
        Key::new(KeyParts {
            service: "odoo",
            scheme: b"https",
            host: b"erp.example",
            forwarded: b"",
            target: target.as_bytes(),
        })
    }

    fn new(store: &Store, target: &str, body: &[u8]) -> New {
        New {
            key: key(target),
            head: b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\n\r\n".to_vec(),
            vary: Vec::new(),
            terms: Terms {
                made: SystemTime::now(),
                fresh_for: Duration::from_mins(1),
                immutable: true,
                public: true,
                vary: Vec::new(),
            },
            generation: 1,
            body: body.to_vec(),
            coded: None,
            purges: store.purges(),
        }
    }

    fn variance(value: &str) -> Vec<Variance> {
        vec![Variance {
            name: "accept-language".into(),
            value: value.as_bytes().into(),
        }]
    }

    /// What a client gets whose Accept-Language is this.
    fn spoken(store: &Store, target: &str, language: &str) -> Option<Vec<u8>> {
        let field = |_: &str| language.as_bytes().into();
        let key = key(target);
        let lookup = Lookup {
            key: &key,
            field: &field,
            now: SystemTime::now(),
            generation: 1,
            keep: KeepOnFlip::Immutable,
            authorized: false,
        };
        let entry = store.find(&lookup)?;
        let body = entry.body(Form::Plain)?;
        Some(if let Some(bytes) = body.bytes() {
            bytes.to_vec()
        } else {
            let (file, offset) = body.open().unwrap();
            let mut bytes = vec![0; usize::try_from(body.length).unwrap()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, offset).unwrap();
            bytes
        })
    }

    fn body(store: &Store, target: &str) -> Option<Vec<u8>> {
        spoken(store, target, "")
    }

    fn files(dir: &TempDir) -> usize {
        let names = std::fs::read_dir(dir.path().join("cache"));
        names.map_or(0, Iterator::count)
    }

    #[test]
    fn what_is_put_is_found_by_its_own_key_only() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, ROOM);
        store.put(new(&store, "/a", b"one"));
        assert_eq!(body(&store, "/a").unwrap(), b"one");
        assert_eq!(body(&store, "/a?"), None);
        store.put(new(&store, "/a", b"two"));
        assert_eq!(body(&store, "/a").unwrap(), b"two");
        assert_eq!(store.figures().entries, 1, "the newer takes its place");
    }

    #[test]
    fn variants_are_told_apart_and_bounded() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, IN_MEMORY);
        for language in ["fr", "de"] {
            let mut new = new(&store, "/a", language.as_bytes());
            new.vary = variance(language);
            store.put(new);
        }
        assert_eq!(spoken(&store, "/a", "fr").unwrap(), b"fr");
        assert_eq!(spoken(&store, "/a", "de").unwrap(), b"de");
        assert_eq!(spoken(&store, "/a", "en"), None);
        for number in 0..20 {
            let mut new = new(&store, "/a", b"x");
            new.vary = variance(&number.to_string());
            store.put(new);
        }
        assert_eq!(store.figures().entries, MOST_VARIANTS as u64);
        assert_eq!(spoken(&store, "/a", "fr"), None);
        assert!(spoken(&store, "/a", "19").is_some());
    }

    #[test]
    fn only_what_is_immutable_outlives_its_generation() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, IN_MEMORY);
        store.put(new(&store, "/fixed", b"x"));
        let mut other = new(&store, "/other", b"x");
        other.terms.immutable = false;
        store.put(other);
        let field = |_: &str| Box::default();
        let found = |target: &str, generation, keep| {
            let key = key(target);
            let lookup = Lookup {
                key: &key,
                field: &field,
                now: SystemTime::now(),
                generation,
                keep,
                authorized: false,
            };
            store.find(&lookup).is_some()
        };
        assert!(found("/fixed", 2, KeepOnFlip::Immutable));
        assert!(found("/other", 1, KeepOnFlip::Immutable));
        assert!(!found("/other", 2, KeepOnFlip::Immutable));
        assert!(found("/other", 2, KeepOnFlip::All));
    }

    #[test]
    fn nothing_stale_and_nothing_for_others_is_found() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, IN_MEMORY);
        let mut private = new(&store, "/a", b"x");
        private.terms.public = false;
        store.put(private);
        let field = |_: &str| Box::default();
        let found = |after: u64, authorized| {
            let key = key("/a");
            let lookup = Lookup {
                key: &key,
                field: &field,
                now: SystemTime::now() + Duration::from_secs(after),
                generation: 1,
                keep: KeepOnFlip::Immutable,
                authorized,
            };
            store.find(&lookup).is_some()
        };
        assert!(found(0, false) && found(58, false));
        assert!(!found(60, false), "it was good for a minute");
        assert!(!found(0, true));
    }

    #[test]
    fn without_a_disk_the_least_wanted_answer_makes_room() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, IN_MEMORY);
        let big = vec![b'x'; 300_000];
        for target in ["/1", "/2", "/3"] {
            store.put(new(&store, target, &big));
        }
        assert!(body(&store, "/1").is_some());
        store.put(new(&store, "/4", &big));
        assert!(body(&store, "/1").is_some(), "it was asked for");
        assert_eq!(body(&store, "/2"), None);
        let figures = store.figures();
        assert!(figures.memory_bytes <= IN_MEMORY.memory);
        assert_eq!((figures.entries, figures.evicted), (3, 1));
        store.put(new(&store, "/huge", &vec![0; 2 << 20]));
        assert!(store.figures().memory_bytes <= IN_MEMORY.memory);
        assert_eq!(files(&dir), 0);
    }

    #[test]
    fn with_a_disk_memory_holds_what_is_wanted_and_files_hold_the_rest() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, ROOM);
        let big = vec![b'x'; 300_000];
        for number in 0..10 {
            store.put(new(&store, &format!("/{number}"), &big));
            store.writer.rest();
        }
        let figures = store.figures();
        assert!(figures.memory_bytes <= ROOM.memory);
        assert_eq!((figures.entries, figures.disk_bytes), (10, 3_000_000));
        for number in 0..10 {
            assert!(body(&store, &format!("/{number}")).unwrap() == big);
        }
        let less = CacheRoom {
            disk: 1_000_000,
            ..ROOM
        };
        store.set_room(less);
        store.writer.rest();
        let figures = store.figures();
        assert_eq!((figures.entries, figures.disk_bytes), (3, 900_000));
        assert_eq!(files(&dir), 3, "files go with their entries");
    }

    #[test]
    fn what_is_asked_for_again_comes_back_into_memory() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, ROOM);
        let bytes = vec![b'x'; 100_000];
        for number in 0..20 {
            store.put(new(&store, &format!("/{number}"), &bytes));
            store.writer.rest();
        }
        let cold = store.entries().into_iter();
        let cold = cold
            .filter(|entry| entry.body(Form::Plain).unwrap().bytes().is_none())
            .collect::<Vec<_>>();
        let entry = cold.first().unwrap();
        let body = entry.body(Form::Plain).unwrap();
        assert!(!store.wants_back(body), "once may be never again");
        assert!(store.wants_back(body));
        store.read_back(entry, body, bytes.clone());
        assert!(body.bytes().is_some());
        assert!(store.figures().memory_bytes <= ROOM.memory);
    }

    #[test]
    fn a_restart_finds_what_is_immutable_whole_and_fresh() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, ROOM);
        let mut coded = new(&store, "/kept", b"plain");
        coded.vary = variance("fr");
        coded.coded = Some((Coding::Gzip, b"zipped".to_vec()));
        store.put(coded);
        for target in ["/cut", "/damaged", "/stale", "/changing"] {
            let mut new = new(&store, target, target.as_bytes());
            if target == "/stale" {
                new.terms.made = SystemTime::now() - Duration::from_mins(2);
            }
            new.terms.immutable = target != "/changing";
            store.put(new);
        }
        store.writer.rest();
        let file = |target: &str| {
            let entry = store.entries().into_iter();
            let mut entry =
                entry.filter(|entry| entry.key.parts().unwrap().target == target.as_bytes());
            entry
                .next()
                .unwrap()
                .body(Form::Plain)
                .unwrap()
                .path
                .clone()
        };
        let cut = std::fs::read(file("/cut")).unwrap();
        std::fs::write(file("/cut"), &cut[..cut.len() - 1]).unwrap();
        let mut damaged = std::fs::read(file("/damaged")).unwrap();
        damaged[40] ^= 1;
        std::fs::write(file("/damaged"), damaged).unwrap();
        std::fs::write(dir.path().join("cache/unfinished"), b"x").unwrap();
        drop(store);
        let store = open(&dir, ROOM);
        assert_eq!(spoken(&store, "/kept", "fr").unwrap(), b"plain");
        let entry = store.entries().remove(0);
        let gzip = entry.body(Form::Coded(Coding::Gzip)).unwrap();
        assert_eq!((gzip.length, store.figures().disk_bytes), (6, 11));
        assert_eq!(entry.validators().etag, Some(&b"\"1\""[..]));
        assert_eq!(store.entries().len(), 1);
        assert_eq!(files(&dir), 2, "what is no good is cleared away");
    }

    #[test]
    fn a_purge_forgets_what_begins_so_and_what_is_on_its_way() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, ROOM);
        for target in ["/web/assets/1", "/web/assets/2", "/web/other"] {
            store.put(new(&store, target, b"12345"));
        }
        store.writer.rest();
        let late = new(&store, "/web/assets/3", b"x");
        assert_eq!(store.purge(Some("shop"), b"/"), Purged::default());
        let purged = store.purge(Some("odoo"), b"/web/assets/");
        assert_eq!((purged.entries, purged.bytes), (2, 10));
        store.put(late);
        store.writer.rest();
        assert_eq!(body(&store, "/web/assets/1"), None);
        assert_eq!(body(&store, "/web/assets/3"), None);
        assert_eq!(body(&store, "/web/other").unwrap(), b"12345");
        assert_eq!((files(&dir), store.figures().disk_bytes), (1, 5));
        assert_eq!(store.purge(None, b"").entries, 1);
        let figures = store.figures();
        assert_eq!((figures.memory_bytes, figures.disk_bytes), (0, 0));
        assert!(
            store
                .hints
                .iter()
                .all(|hint| hint.load(Ordering::Relaxed) == 0)
        );
    }

    #[test]
    fn another_form_of_a_body_is_kept_with_it_and_goes_with_it() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, ROOM);
        store.put(new(&store, "/a", b"plain"));
        let entry = store.entries().remove(0);
        assert!(entry.begin_coding(Coding::Zstd) && !entry.begin_coding(Coding::Zstd));
        store.put_coded(&entry, Coding::Zstd, b"small".to_vec());
        store.writer.rest();
        assert_eq!(store.figures().disk_bytes, 10);
        store.purge(None, b"/a");
        store.put_coded(&entry, Coding::Gzip, b"late".to_vec());
        store.writer.rest();
        let figures = store.figures();
        assert_eq!((figures.memory_bytes, figures.disk_bytes), (0, 0));
        assert_eq!(files(&dir), 0);
    }

    #[test]
    fn what_is_being_fetched_is_bounded_too() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, ROOM);
        assert!(store.reserve(500_000) && !store.reserve(100_000));
        store.release(500_000);
        assert!(store.reserve(100_000));
    }
}
