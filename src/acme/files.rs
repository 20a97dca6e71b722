//! Where accounts and certificates are kept: below the state directory, readable by us alone.

use super::error::AcmeError;
use crate::config::Acme;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// The folder `acme` of the state directory.
#[derive(Debug, Clone)]
pub struct Files {
    state_dir: PathBuf,
    folder: PathBuf,
}

impl Files {
    #[must_use]
    pub fn below(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            folder: state_dir.join("acme"),
        }
    }

    #[must_use]
    pub(super) fn certificate(&self, host: &str) -> PathBuf {
        Acme::certificate_file(&self.state_dir, host)
    }

    /// Makes the folder, so that it can be watched before the first certificate is there.
    ///
    /// # Errors
    /// The operating system's.
    pub fn prepare(&self) -> Result<(), AcmeError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(|cause| AcmeError::File {
            path: self.folder.clone(),
            cause,
        })
    }

    /// The account at one authority: another directory URL is another account.
    pub(super) fn account(&self, directory: &str) -> PathBuf {
        let name: String = directory
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        self.folder.join(format!("account-{name}.json"))
    }

    /// What the file holds; none when there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, AcmeError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(AcmeError::File {
                path: path.to_owned(),
                cause,
            }),
        }
    }

    /// Replaces the file as a whole; after a crash it is the old one or the new one.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), AcmeError> {
        self.prepare()?;
        self.replace(path, bytes).map_err(|cause| AcmeError::File {
            path: path.to_owned(),
            cause,
        })
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_is_for_our_eyes_only_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::below(dir.path());
        let path = files.certificate("erp.example.com");
        assert!(Files::read(&path).unwrap().is_none());
        files.write(&path, b"one, a long one").unwrap();
        files.write(&path, b"two").unwrap();
        assert_eq!(Files::read(&path).unwrap().unwrap(), b"two");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "nothing is left beside it");
    }

    #[test]
    fn each_authority_has_an_account_of_its_own() {
        let files = Files::below(Path::new("/state"));
        let staging = files.account("https://acme-staging.example/directory");
        assert_ne!(staging, files.account("https://acme.example/directory"));
        assert_eq!(staging.parent(), Some(Path::new("/state/acme")));
    }
}
