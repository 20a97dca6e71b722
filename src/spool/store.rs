//! One file without a name. Every call blocks: they are made on blocking threads.

use super::account::Account;
use rustix::fs::FallocateFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// What was read is given back to the disk in pieces of this size.
const HOLE: u64 = 4 << 20;
/// How often a name may be taken already.
const NAMES: u32 = 16;

/// The file of one body, and what it takes of the account. One job reads and one writes at a time.
#[derive(Debug)]
pub(super) struct Store {
    account: Arc<Account>,
    file: OnceLock<File>,
    /// Taken of the account. Atomics, for it moves between threads; each job hands over to the next.
    held: AtomicU64,
    /// Everything before this was given back.
    given: AtomicU64,
    makes_holes: AtomicBool,
}

impl Store {
    /// The file is opened by the first write.
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            file: OnceLock::new(),
            held: AtomicU64::new(0),
            given: AtomicU64::new(0),
            makes_holes: AtomicBool::new(true),
        }
    }

    /// `bytes` were taken of the account for this file.
    pub(super) fn holds(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn gives_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.account.give_back(bytes);
    }

    /// All that it holds was read, and the next write begins anew.
    pub(super) fn gives_back_all(&self) {
        self.gives_back(self.held.load(Ordering::Relaxed));
    }

    /// Writes at `offset`; `anew` drops what the file holds before.
    pub(super) fn write(&self, piece: &[u8], offset: u64, anew: bool) -> io::Result<()> {
        self.account.room.take(piece.len() as u64)?;
        let file = if let Some(file) = self.file.get() {
            file
        } else {
            let fresh = unnamed(self.account.dir())?;
            self.file.get_or_init(|| fresh)
        };
        if anew {
            file.set_len(0)?;
            self.given.store(0, Ordering::Relaxed);
        }
        file.write_all_at(piece, offset)
    }

    /// Reads exactly `length` bytes into `piece`, and gives back what lies before their end now and then.
    pub(super) fn read(&self, piece: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
        let file = self.file.get().ok_or(io::ErrorKind::NotFound)?;
        piece.resize(length, 0);
        file.read_exact_at(piece, offset)?;
        let end = offset + length as u64;
        let given = self.given.load(Ordering::Relaxed);
        if end - given >= HOLE && self.makes_holes.load(Ordering::Relaxed) {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if rustix::fs::fallocate(file, how, given, end - given).is_ok() {
                self.given.store(end, Ordering::Relaxed);
                self.gives_back(end - given);
            } else {
                // This file system keeps what it has until the end: so does the account.
                self.makes_holes.store(false, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn over(account: Arc<Account>, file: File) -> Self {
        let store = Self::new(account);
        store.file.set(file).expect("it is new");
        store
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.account.give_back(self.held.load(Ordering::Relaxed));
    }
}

/// A new file in `dir` that no name leads to: it ends with the process, however that ends.
fn unnamed(dir: &Path) -> io::Result<File> {
    match without_a_name(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            without_a_name(dir)
        }
        opened => opened,
    }
}

fn without_a_name(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // This file system has no such files: a name for a moment, then.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => with_a_name_for_a_moment(dir),
        Err(error) => Err(error.into()),
    }
}

fn with_a_name_for_a_moment(dir: &Path) -> io::Result<File> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..NAMES {
        let path = dir.join(format!("body-{:016x}", fastrand::u64(..)));
        match File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_has_no_name_on_any_kind_of_file_system() {
        let dir = tempfile::tempdir().unwrap();
        for open in [without_a_name, with_a_name_for_a_moment] {
            let file = open(dir.path()).unwrap();
            file.write_all_at(b"abc", 0).unwrap();
            let mut got = [0; 3];
            file.read_exact_at(&mut got, 0).unwrap();
            assert_eq!((&got, names_in(dir.path())), (b"abc", 0));
        }
    }

    #[test]
    fn what_was_read_is_given_back_to_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let account = Arc::new(Account::new(dir.path()));
        let store = Store::new(account.clone());
        let size = 3 * HOLE;
        account.take(size, u64::MAX).unwrap();
        store.holds(size);
        let bytes = vec![7; usize::try_from(size).unwrap()];
        store.write(&bytes, 0, false).unwrap();
        let mut piece = Vec::new();
        let most = usize::try_from(HOLE).unwrap();
        store.read(&mut piece, 0, most).unwrap();
        assert_eq!(piece, bytes[..most]);
        store.read(&mut piece, HOLE, 10).unwrap();
        assert_eq!(piece, [7; 10], "nothing behind it is touched");
        let file = store.file.get().unwrap();
        let on_disk = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512;
        // A file system without holes keeps all, and then the account does.
        assert_eq!(on_disk <= size - HOLE, account.on_disk() <= size - HOLE);
        drop(store);
        assert_eq!(account.on_disk(), 0);
    }
}
