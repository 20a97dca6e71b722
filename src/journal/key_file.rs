//! The key that our cookies are signed with. It outlives restarts, so that they do.

use super::error::JournalError;
use super::files;
use aws_lc_rs::rand;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(super) const BYTES: usize = 32;

/// One that is good until the next start, for a directory that takes none now.
pub(super) fn for_now() -> Result<[u8; BYTES], JournalError> {
    let mut key = [0; BYTES];
    rand::fill(&mut key)
        .map_err(|_| std::io::Error::other("no random numbers"))
        .map_err(JournalError::io("make", Path::new("a key for cookies")))?;
    Ok(key)
}

/// Reads it, or makes a new one. One that was cut short by a crash has signed nothing yet.
pub(super) fn open(dir: &Path) -> Result<[u8; BYTES], JournalError> {
    let path = dir.join("cookie.key");
    let kept = files::read(&path)?;
    if let Some(key) = kept.and_then(|kept| kept.try_into().ok()) {
        return Ok(key);
    }
    let key = for_now()?;
    // Another one's rights would stay.
    files::remove(&path)?;
    let aside = files::aside(&path);
    files::remove(&aside)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| {
            file.write_all(&key)?;
            file.sync_all()
        })
        .map_err(JournalError::io("write", &aside))?;
    fs::rename(&aside, &path).map_err(JournalError::io("replace", &path))?;
    files::sync_folder_of(&path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let key = open(dir.path()).unwrap();
        assert_ne!(key, [0; BYTES]);
        assert_eq!(open(dir.path()).unwrap(), key);
        let path = dir.path().join("cookie.key");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, b"cut short").unwrap();
        assert_ne!(open(dir.path()).unwrap(), key);
    }
}
