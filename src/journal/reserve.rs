//! Room that was taken while there was some: two copies of one content, written in place by turns.

use super::error::JournalError;
use super::files;
use rustix::fs::FallocateFlags;
use rustix::fs::IFlags;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// Room for one copy, at least; more than twice what is kept.
pub(super) const LEAST: usize = 8 << 10;
/// Before the content of a copy: mark, sequence, length, checksums.
pub(super) const HEAD: usize = 96;
const MARK: &str = "switchd kept 1";

/// Two copies in room of their own.
#[derive(Debug)]
pub(super) struct Reserve {
    pub(super) file: Arc<File>,
    /// Bytes for one copy.
    pub(super) size: usize,
    /// Of the newest copy, 0 before the first.
    pub(super) sequence: u64,
    /// It holds a copy.
    pub(super) is_used: bool,
}

/// A content that is in the reserve only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) content: &'a [u8],
    /// As in [`Copy`].
    pub(super) after: Option<u32>,
}

/// Writes where no copy lies, to find out whether that is possible.
#[derive(Debug)]
pub(super) struct TryOut {
    file: Arc<File>,
    at: u64,
    pub(super) path: PathBuf,
}

/// A copy as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) sequence: u64,
    /// Checksum of the file that it came after; none where there was none.
    pub(super) after: Option<u32>,
    pub(super) content: Vec<u8>,
}

impl Reserve {
    /// The one that is there already, with its room.
    pub(super) fn open(path: &Path, newest: Option<&Copy>) -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let size = usize::try_from(file.metadata().ok()?.len() / 2).ok()?;
        (size >= LEAST).then(|| Self {
            file: Arc::new(file),
            size,
            sequence: newest.map_or(0, |copy| copy.sequence),
            is_used: newest.is_some(),
        })
    }

    /// Takes room for two copies of `size`. What an older reserve holds, and the file does not, is taken over.
    pub(super) fn make(
        path: &Path,
        size: usize,
        (sequence, waits): (u64, Option<Waiting<'_>>),
    ) -> Result<Self, JournalError> {
        let aside = files::aside(path);
        let made = (|| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(files::MODE)
                .open(&aside)?;
            take_room(&file, 2 * size as u64)?;
            let mut reserve = Self {
                file: Arc::new(file),
                size,
                sequence,
                is_used: false,
            };
            if let Some(Waiting { content, after }) = waits {
                reserve.put(content, after)?;
            }
            reserve.file.sync_all()?;
            std::fs::rename(&aside, path)?;
            Ok(reserve)
        })();
        let reserve = made.map_err(|cause| {
            drop(files::remove(&aside));
            JournalError::io("take room for", path)(cause)
        })?;
        files::sync_folder_of(path)?;
        Ok(reserve)
    }

    /// Whether a restart would find it there: a folder that was moved or taken away takes its files along.
    pub(super) fn is_found_at(&self, path: &Path) -> bool {
        let number = |it: &std::fs::Metadata| (it.dev(), it.ino());
        let (ours, there) = (self.file.metadata(), std::fs::metadata(path));
        ours.is_ok_and(|ours| there.is_ok_and(|there| number(&ours) == number(&there)))
    }

    /// Writes over the older copy.
    pub(super) fn put(&mut self, content: &[u8], after: Option<u32>) -> io::Result<()> {
        if content.len() + HEAD >= self.size {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "it has outgrown the room that was reserved for it",
            ));
        }
        let copy = Copy {
            sequence: self.sequence + 1,
            after,
            content: content.to_vec(),
        };
        self.file
            .write_all_at(&copy.encode(), self.place(copy.sequence))?;
        self.file.sync_data()?;
        self.sequence = copy.sequence;
        self.is_used = true;
        Ok(())
    }

    /// Makes both copies none, the older one first.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        for sequence in [self.sequence + 1, self.sequence] {
            self.file.write_all_at(&[0; HEAD], self.place(sequence))?;
            self.file.sync_data()?;
        }
        self.is_used = false;
        Ok(())
    }

    fn place(&self, sequence: u64) -> u64 {
        (sequence % 2) * self.size as u64
    }
}

impl Reserve {
    /// For finding out whether it can be written: the last byte of the next copy's room, which none reaches.
    pub(super) fn try_out(&self, path: PathBuf) -> TryOut {
        TryOut {
            file: Arc::clone(&self.file),
            at: self.place(self.sequence + 1) + self.size as u64 - 1,
            path,
        }
    }
}

impl TryOut {
    /// Blocks for as long as the disk takes.
    pub(super) fn run(&self) -> io::Result<()> {
        self.file.write_all_at(&[0], self.at)?;
        self.file.sync_data()
    }
}

impl Copy {
    fn encode(&self) -> Vec<u8> {
        let after = self
            .after
            .map_or("none".to_owned(), |it| format!("{it:08x}"));
        let told = format!(
            "{MARK} {:020} {after:>8} {:010} {:08x}",
            self.sequence,
            self.content.len(),
            crc32fast::hash(&self.content)
        );
        let mut bytes = format!("{told} {:08x}", crc32fast::hash(told.as_bytes())).into_bytes();
        bytes.resize(HEAD - 1, b' ');
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.content);
        bytes
    }

    /// None for whatever `encode` would not have written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(bytes.get(..HEAD)?).ok()?;
        let mut words = head.strip_prefix(MARK)?.split_ascii_whitespace();
        let sequence = words.next()?.parse().ok()?;
        let after = match words.next()? {
            "none" => None,
            after => Some(u32::from_str_radix(after, 16).ok()?),
        };
        let length: usize = words.next()?.parse().ok()?;
        let copy = Self {
            sequence,
            after,
            content: bytes.get(HEAD..HEAD.checked_add(length)?)?.to_vec(),
        };
        let encoded = copy.encode();
        (bytes.get(..encoded.len())? == encoded).then_some(copy)
    }
}

/// None where there is no whole one. A reserve that cannot be read is none: the file says what it says.
pub(super) fn newest_copy(path: &Path) -> Option<Copy> {
    let content = files::read(path).ok()??;
    let (first, second) = content.split_at(content.len() / 2);
    [first, second]
        .into_iter()
        .filter_map(Copy::decode)
        .max_by_key(|copy| copy.sequence)
}

/// Blocks that are there when the disk is full: asked for where the file system can, else written.
fn take_room(file: &File, length: u64) -> io::Result<()> {
    // On file systems that write everything anew elsewhere (btrfs), so that writing in place needs no room.
    if let Ok(flags) = rustix::fs::ioctl_getflags(file) {
        let _ = rustix::fs::ioctl_setflags(file, flags | IFlags::NOCOW);
    }
    if rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
    file.write_all_at(&zeros, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &[u8] = b"{\"version\":1,\"what\":\"new\"}\n";

    #[test]
    fn a_change_of_any_bit_of_a_copy_is_noticed() {
        let copy = Copy {
            sequence: 7,
            after: Some(0x0123_4567),
            content: NEW.to_vec(),
        };
        let good = copy.encode();
        assert_eq!(Copy::decode(&good), Some(copy));
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(Copy::decode(&bad), None, "byte {at} bit {bit}");
            }
        }
        assert_eq!(Copy::decode(&vec![0; 4096]), None);
        assert_eq!(Copy::decode(b""), None);
    }
}
