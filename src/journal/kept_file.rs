//! A small file that can be written while the disk is full.
//!
//! As long as there is room, the file is replaced as a whole, and it alone counts. When it cannot be replaced (no
//! room, no descriptor), its new content goes to a reserve beside it: two copies in room that was taken when there
//! was some, on a descriptor that is open already, written in place by turns. A crash within one leaves the other.
//!
//! What counts after a restart: the newest whole copy, where the file is the very one that the copy came after, or
//! says itself that it lags behind; in every other case the file, which somebody else has written since.

use super::error::JournalError;
use super::files;
use super::reserve::HEAD;
use super::reserve::LEAST;
use super::reserve::Reserve;
use super::reserve::TryOut;
use super::reserve::Waiting;
use super::reserve::newest_copy;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

/// How a file of version 1 begins, and what its beginning becomes when the reserve is newer: a switchd that knows no
/// reserve refuses that, where it would go by an old state otherwise.
const CURRENT: &[u8] = b"{\"version\":1,";
const LAGGING: &[u8] = b"{\"version\":2,";

/// One file and its reserve.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    reserve: Option<Reserve>,
    /// Of the file as it is on disk.
    on_disk: Option<u32>,
    /// What counts is in the reserve only.
    waits: Option<Vec<u8>>,
}

/// How a content was kept.
#[derive(Debug)]
pub(super) enum Kept {
    InPlace,
    /// In the reserve, and why not where it belongs.
    InReserve(JournalError),
}

impl KeptFile {
    /// Opens it; with its content, where there is one.
    pub(super) fn open(path: PathBuf) -> Result<(Self, Option<Vec<u8>>), JournalError> {
        // A left-over that cannot be removed harms nobody.
        drop(files::remove(&files::aside(&path)));
        let content = files::read(&path)?;
        let on_disk = content.as_deref().map(crc32fast::hash);
        let newest = newest_copy(&reserve_of(&path));
        let mut kept = Self {
            reserve: Reserve::open(&reserve_of(&path), newest.as_ref()),
            path,
            on_disk,
            waits: None,
        };
        let lags = content.as_ref().is_some_and(|it| it.starts_with(LAGGING));
        let content = match newest {
            Some(copy) if lags || copy.after == on_disk => {
                kept.waits = Some(copy.content.clone());
                Some(copy.content)
            }
            _ => {
                kept.empty_reserve();
                content
            }
        };
        Ok((kept, content))
    }

    /// What it holds is in the file, or is none of the file's any more. It must not be taken for newer when the file
    /// becomes once more what it was when the copy was made.
    fn empty_reserve(&mut self) {
        if let Some(reserve) = &mut self.reserve
            && reserve.is_used
            && reserve.empty().is_err()
        {
            self.reserve = None;
            drop(files::remove(&reserve_of(&self.path)));
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets the reserve: what it holds belongs to a file that was set aside.
    pub(super) fn forget(&mut self) -> Result<(), JournalError> {
        self.waits = None;
        self.on_disk = None;
        self.reserve = None;
        files::remove(&reserve_of(&self.path))
    }

    /// Nothing is kept any more; the room stays.
    pub(super) fn clear(&mut self) -> Result<(), JournalError> {
        if self.waits.is_none() && self.on_disk.is_none() {
            return Ok(());
        }
        files::remove(&self.path)?;
        self.on_disk = None;
        self.waits = None;
        self.empty_reserve();
        Ok(())
    }

    /// Takes room for later. Where there is none now, the next call tries again.
    pub(super) fn prepare(&mut self, length: usize) -> Result<(), JournalError> {
        let size = (2 * (length + HEAD)).next_power_of_two().max(LEAST);
        let path = reserve_of(&self.path);
        let is_good =
            |reserve: &Reserve| reserve.size > length + HEAD && reserve.is_found_at(&path);
        if self
            .reserve
            .as_ref()
            .is_some_and(|it| it.size >= size && is_good(it))
        {
            return Ok(());
        }
        let sequence = self.reserve.as_ref().map_or(0, |it| it.sequence);
        let after = self.on_disk;
        let waits = self.waits.as_deref();
        let waits = waits.map(|content| Waiting { content, after });
        match Reserve::make(&path, size, (sequence, waits)) {
            Ok(reserve) => {
                self.reserve = Some(reserve);
                Ok(())
            }
            // The one that there is will do for a while.
            Err(_) if self.reserve.as_ref().is_some_and(is_good) => Ok(()),
            Err(error) => {
                // What nobody finds again is no reserve.
                self.reserve = None;
                Err(error)
            }
        }
    }

    /// Puts `content` on disk. When this has returned, it survives a power cut.
    ///
    /// On an error the disk may hold the old content or the new one; the next success settles it.
    pub(super) fn put(&mut self, content: &[u8]) -> Result<Kept, JournalError> {
        let error = match self.replace(content) {
            Ok(()) => {
                // While there is room: it is for later. A failure shows when it is needed, and is tried again.
                drop(self.prepare(content.len()));
                return Ok(Kept::InPlace);
            }
            Err(error) => error,
        };
        drop(self.prepare(content.len()));
        let after = self.on_disk;
        let Some(reserve) = self.reserve.as_mut() else {
            return Err(error);
        };
        if let Err(cause) = reserve.put(content, after) {
            let path = reserve_of(&self.path);
            return Err(JournalError::io("write", &path)(cause));
        }
        self.waits = Some(content.to_vec());
        self.lag();
        Ok(Kept::InReserve(error))
    }

    fn replace(&mut self, content: &[u8]) -> Result<(), JournalError> {
        match files::replace(&self.path, content) {
            Ok(()) => {
                self.on_disk = Some(crc32fast::hash(content));
                self.waits = None;
                self.empty_reserve();
                Ok(())
            }
            Err(error) => {
                // It may have got there after all: what it holds is asked of the disk, not of hope.
                drop(files::remove(&files::aside(&self.path)));
                if let Ok(found) = files::read(&self.path) {
                    self.on_disk = found.as_deref().map(crc32fast::hash);
                }
                Err(error)
            }
        }
    }

    /// Makes the file say that the reserve is newer. One byte in place needs no room. Where even that fails, a switchd
    /// with a reserve sees it all the same: the copy names the file that it came after.
    fn lag(&mut self) {
        let mark = || -> io::Result<Option<u32>> {
            let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            let mut start = [0; CURRENT.len()];
            file.read_exact_at(&mut start, 0)?;
            if start != CURRENT {
                return Ok(None);
            }
            file.write_all_at(LAGGING, 0)?;
            file.sync_data()?;
            let now = files::read(&self.path).ok().flatten();
            Ok(now.as_deref().map(crc32fast::hash))
        };
        if let Ok(Some(on_disk)) = mark() {
            self.on_disk = Some(on_disk);
        }
    }

    /// Whether the reserve holds what the file should.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// Brings the file in step with the reserve, where there is room again.
    pub(super) fn catch_up(&mut self) -> Result<(), JournalError> {
        match self.waits.clone() {
            Some(content) => self.replace(&content),
            None => Ok(()),
        }
    }

    /// For finding out whether the reserve can be written. None where there is none.
    pub(super) fn try_out(&self) -> Option<TryOut> {
        let reserve = self.reserve.as_ref()?;
        Some(reserve.try_out(reserve_of(&self.path)))
    }
}

fn reserve_of(path: &Path) -> PathBuf {
    let name = path.file_stem().unwrap_or_default();
    let mut reserve = std::ffi::OsString::from("reserve.");
    reserve.push(name);
    path.with_file_name(reserve)
}

#[cfg(test)]
mod tests {
    use super::super::reserve::Copy;
    use super::*;
    use std::fs;

    const OLD: &[u8] = b"{\"version\":1,\"what\":\"old\"}\n";
    const NEW: &[u8] = b"{\"version\":1,\"what\":\"new\"}\n";
    const NEWER: &[u8] = b"{\"version\":1,\"what\":\"newer\"}\n";

    /// A file that holds OLD, and cannot be replaced until the obstacle is gone.
    fn obstructed(dir: &Path) -> (KeptFile, PathBuf) {
        let path = dir.join("state.json");
        let (mut kept, content) = KeptFile::open(path.clone()).unwrap();
        assert_eq!(content, None);
        assert!(matches!(kept.put(OLD), Ok(Kept::InPlace)));
        let obstacle = files::aside(&path);
        fs::create_dir(&obstacle).unwrap();
        fs::write(obstacle.join("x"), "").unwrap();
        (kept, obstacle)
    }

    fn reopened(dir: &Path) -> Option<Vec<u8>> {
        KeptFile::open(dir.join("state.json")).unwrap().1
    }

    #[test]
    fn what_cannot_be_replaced_is_kept_in_the_reserve_and_caught_up() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, obstacle) = obstructed(dir.path());
        assert!(matches!(kept.put(NEW), Ok(Kept::InReserve(_))));
        assert_eq!(reopened(dir.path()).as_deref(), Some(NEW));
        assert!(matches!(kept.put(NEWER), Ok(Kept::InReserve(_))));
        assert_eq!(reopened(dir.path()).as_deref(), Some(NEWER));
        assert!(kept.is_waiting() && kept.catch_up().is_err());
        fs::remove_dir_all(&obstacle).unwrap();
        kept.catch_up().unwrap();
        assert!(!kept.is_waiting());
        assert_eq!(fs::read(dir.path().join("state.json")).unwrap(), NEWER);
        assert_eq!(reopened(dir.path()).as_deref(), Some(NEWER));
    }

    #[test]
    fn a_file_that_lags_behind_is_refused_by_who_knows_no_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, _obstacle) = obstructed(dir.path());
        kept.put(NEW).unwrap();
        let lagging = fs::read(dir.path().join("state.json")).unwrap();
        assert!(lagging.starts_with(LAGGING) && lagging.len() == OLD.len());
    }

    #[test]
    fn a_crash_at_any_byte_of_a_copy_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, _obstacle) = obstructed(dir.path());
        let path = dir.path().join("reserve.state");
        kept.put(NEW).unwrap();
        let before = fs::read(&path).unwrap();
        kept.put(NEWER).unwrap();
        let after = fs::read(&path).unwrap();
        let mut torn = before.clone();
        for at in 0..=after.len() {
            let newer = Copy::decode(&torn[..torn.len() / 2])
                .into_iter()
                .chain(Copy::decode(&torn[torn.len() / 2..]))
                .any(|copy| copy.content == NEWER);
            let expected = if newer { NEWER } else { NEW };
            fs::write(&path, &torn).unwrap();
            assert_eq!(reopened(dir.path()).as_deref(), Some(expected), "byte {at}");
            if let Some(byte) = after.get(at) {
                torn[at] = *byte;
            }
        }
        assert_eq!(torn, after);
    }

    #[test]
    fn a_file_that_somebody_else_wrote_counts_more_than_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, obstacle) = obstructed(dir.path());
        kept.put(NEW).unwrap();
        drop(kept);
        fs::remove_dir_all(&obstacle).unwrap();
        let theirs = b"{\"version\":1,\"what\":\"put back\"}\n";
        let file = dir.path().join("state.json");
        fs::write(&file, theirs).unwrap();
        assert_eq!(reopened(dir.path()).as_deref(), Some(&theirs[..]));
        fs::remove_file(&file).unwrap();
        assert_eq!(reopened(dir.path()), None, "it was taken away on purpose");
    }

    #[test]
    fn a_content_that_comes_again_is_not_taken_for_the_one_before_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, obstacle) = obstructed(dir.path());
        kept.put(NEW).unwrap();
        fs::remove_dir_all(&obstacle).unwrap();
        // The crash comes between the file and the emptying of the reserve.
        let used = fs::read(dir.path().join("reserve.state")).unwrap();
        kept.catch_up().unwrap();
        drop(kept);
        fs::write(dir.path().join("reserve.state"), used).unwrap();
        let (mut kept, content) = KeptFile::open(dir.path().join("state.json")).unwrap();
        assert_eq!(content.as_deref(), Some(NEW));
        kept.put(OLD).unwrap();
        assert_eq!(reopened(dir.path()).as_deref(), Some(OLD));
    }

    #[test]
    fn a_reserve_is_used_again_after_a_restart_without_taking_room_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, _obstacle) = obstructed(dir.path());
        drop(kept);
        fs::create_dir_all(dir.path().join("reserve.state.new").join("x")).unwrap();
        let (mut kept, _) = KeptFile::open(dir.path().join("state.json")).unwrap();
        assert!(matches!(kept.put(NEW), Ok(Kept::InReserve(_))));
        assert_eq!(reopened(dir.path()).as_deref(), Some(NEW));
    }

    #[test]
    fn a_first_content_without_room_for_the_file_is_in_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let (mut kept, _) = KeptFile::open(path.clone()).unwrap();
        kept.prepare(NEW.len()).unwrap();
        fs::create_dir_all(files::aside(&path).join("x")).unwrap();
        assert!(matches!(kept.put(NEW), Ok(Kept::InReserve(_))));
        assert_eq!(reopened(dir.path()).as_deref(), Some(NEW));
    }

    #[test]
    fn the_reserve_grows_ahead_of_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, _) = KeptFile::open(dir.path().join("state.json")).unwrap();
        let long = vec![b'x'; 3 * LEAST];
        kept.put(&long).unwrap();
        let size = fs::metadata(dir.path().join("reserve.state"))
            .unwrap()
            .len();
        assert!(size >= 4 * long.len() as u64, "{size}");
        kept.try_out().unwrap().run().unwrap();
        fs::create_dir_all(files::aside(kept.path()).join("x")).unwrap();
        let longer = vec![b'y'; 5 * LEAST];
        assert!(matches!(kept.put(&longer), Ok(Kept::InReserve(_))));
        assert_eq!(reopened(dir.path()), Some(longer));
    }
}
