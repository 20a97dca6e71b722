//! Changing files so that a crash at any instant leaves the old content or the new, never a mixture.

use super::error::JournalError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Owner and group only: reasons and user names are nobody else's business.
pub(super) const MODE: u32 = 0o640;

/// What is read as a whole must be small; a larger file is not ours.
const MOST_BYTES: u64 = 16 << 20;

/// Replaces `path`, or makes it. When this has returned, the new content survives a power cut.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), JournalError> {
    let aside = aside(path);
    write_new(&aside, content).map_err(JournalError::io("write", &aside))?;
    fs::rename(&aside, path).map_err(JournalError::io("replace", path))?;
    sync_folder_of(path)
}

/// Where the next content of `path` is written first. A left-over one is of no use to anybody.
pub(super) fn aside(path: &Path) -> PathBuf {
    with_ending(path, ".new")
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// None when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, JournalError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(JournalError::io("open", path))?,
    };
    let mut content = Vec::new();
    file.take(MOST_BYTES)
        .read_to_end(&mut content)
        .map_err(JournalError::io("read", path))?;
    Ok(Some(content))
}

/// It may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.map_err(JournalError::io("remove", path))?;
            sync_folder_of(path)
        }
    }
}

/// Renames `path` to the first free `<path>.broken-<n>`, n from 1, and returns that.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let target = (1..=9999)
        .map(|n| with_ending(path, &format!(".broken-{n}")))
        .find(|candidate| fs::symlink_metadata(candidate).is_err())
        .ok_or_else(|| io::Error::other("there are 9999 broken ones already"))
        .map_err(JournalError::io("set aside", path))?;
    fs::rename(path, &target).map_err(JournalError::io("set aside", path))?;
    sync_folder_of(path)?;
    Ok(target)
}

/// Makes a new, renamed or removed name in the folder of `path` last.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), JournalError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(JournalError::io("fsync", folder))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
