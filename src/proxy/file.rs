//! Opens a file below a root that nothing leads out of.

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::openat;
use rustix::fs::openat2;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Component;
use std::path::Path;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Why a file that an upstream named is not sent.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("there is no such file")]
    Missing,
    #[error("it is not below `root` of [service.NAME.sendfile]")]
    Outside,
    #[error("it is not a regular file")]
    NoFile,
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// A file that may be sent.
#[derive(Debug)]
pub(super) struct Opened {
    pub file: File,
    pub length: u64,
    pub modified: SystemTime,
}

/// How often a path is looked up anew that was being renamed.
const ATTEMPTS: usize = 8;

/// Opens `below` under `root`. Links are followed as long as they stay there. Blocks: never on a worker's thread.
pub(super) fn open(root: &Path, below: &Path) -> Result<Opened, FileFault> {
    let fd = open_beneath(root, below).map_err(fault_of)?;
    let file = File::from(fd);
    let metadata = file.metadata().map_err(FileFault::Unreadable)?;
    if !metadata.is_file() {
        return Err(FileFault::NoFile);
    }
    Ok(Opened {
        length: metadata.len(),
        modified: metadata.modified().unwrap_or(UNIX_EPOCH),
        file,
    })
}

fn fault_of(errno: Errno) -> FileFault {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::INVAL | Errno::NAMETOOLONG => FileFault::Missing,
        Errno::XDEV | Errno::LOOP => FileFault::Outside,
        // A socket, or a device without a driver.
        Errno::NXIO => FileFault::NoFile,
        other => FileFault::Unreadable(other.into()),
    }
}

/// A pipe or a device must not hold us up before we see what it is.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

fn open_beneath(root: &Path, below: &Path) -> Result<OwnedFd, Errno> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, folder, Mode::empty())?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match openat2(&root, below, READ, Mode::empty(), inside) {
            Err(Errno::AGAIN) => {}
            // An old kernel, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return step_by_step(root, below),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// The same without the kernel's help: no links at all, and no way up.
fn step_by_step(root: OwnedFd, below: &Path) -> Result<OwnedFd, Errno> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = root;
    let mut components = below.components().peekable();
    while let Some(component) = components.next() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            _ => return Err(Errno::XDEV),
        };
        if components.peek().is_none() {
            return openat(&at, name, READ | OFlags::NOFOLLOW, Mode::empty());
        }
        at = openat(&at, name, folder, Mode::empty())?;
    }
    Err(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn tree() -> TempDir {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("db/ab")).unwrap();
        std::fs::write(root.join("db/ab/file"), b"inside").unwrap();
        std::fs::write(dir.path().join("secret"), b"outside").unwrap();
        symlink("ab/file", root.join("db/near")).unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(dir.path().join("secret"), root.join("far")).unwrap();
        symlink("..", root.join("out")).unwrap();
        dir
    }

    fn read(dir: &TempDir, below: &str) -> Result<String, FileFault> {
        let opened = open(&dir.path().join("root"), Path::new(below))?;
        let text = io::read_to_string(opened.file).unwrap();
        assert_eq!(text.len() as u64, opened.length);
        Ok(text)
    }

    #[test]
    fn what_is_below_the_root_is_opened_through_links_that_stay_there() {
        let dir = tree();
        for below in ["db/ab/file", "db/near", "./db//ab/../ab/file"] {
            assert_eq!(read(&dir, below).unwrap(), "inside", "{below}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let dir = tree();
        for below in [
            "../secret",
            "up",
            "far",
            "out/secret",
            "db/../../secret",
            "/etc/passwd",
        ] {
            let refused = read(&dir, below);
            assert!(
                matches!(refused, Err(FileFault::Outside)),
                "{below}: {refused:?}"
            );
        }
    }

    #[test]
    fn only_regular_files_are_opened_and_none_is_waited_for() {
        let dir = tree();
        let pipe = dir.path().join("root/pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        for below in ["pipe", "db", "db/ab/", "."] {
            assert!(
                matches!(read(&dir, below), Err(FileFault::NoFile)),
                "{below}"
            );
        }
        for below in ["none", "db/ab/file/x", "", "db/ab/none"] {
            assert!(
                matches!(read(&dir, below), Err(FileFault::Missing)),
                "{below}"
            );
        }
    }

    #[test]
    fn without_the_kernels_help_no_link_is_followed_at_all() {
        let dir = tree();
        let folder = OFlags::PATH | OFlags::DIRECTORY;
        let open = |below: &str| {
            let root = rustix::fs::open(dir.path().join("root"), folder, Mode::empty()).unwrap();
            step_by_step(root, Path::new(below)).map(File::from)
        };
        let text = io::read_to_string(open("db/./ab/file").unwrap()).unwrap();
        assert_eq!(text, "inside");
        for below in [
            "up",
            "far",
            "out/secret",
            "../secret",
            "db/near",
            "",
            "/etc/passwd",
        ] {
            assert!(open(below).is_err(), "{below}");
        }
    }
}
