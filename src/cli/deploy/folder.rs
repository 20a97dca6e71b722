//! Folders and files that nobody but root and whoever deploys can change.
//!
//! What lies there says which programs are taken back or gone on with, so whoever may write there has the rights of
//! whoever deploys. Each part of a path is therefore opened from the folder before it, and judged by what was opened:
//! its owner, its mode, and that it is what it must be.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, Stat};
use rustix::fs::{fstat, fsync, mkdirat, open, openat, readlinkat, unlinkat};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// As many as Linux follows.
const MOST_LINKS: usize = 40;
const BY_OTHERS: RawMode = 0o022;
const STICKY: RawMode = 0o1000;

/// Why something must not be used: somebody else may change it.
#[derive(Debug)]
pub(super) struct Untrusted(String);

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

fn untrusted(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, Untrusted(words))
}

/// Whether `cause` is that somebody else may change what was opened.
pub(super) fn is_untrusted(cause: &io::Error) -> bool {
    let inner = cause.get_ref();
    inner.is_some_and(|inner| inner.downcast_ref::<Untrusted>().is_some())
}

/// An open folder: a rename of its path changes nothing for whoever holds this.
#[derive(Debug)]
pub(super) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::walked(path, false)
    }

    /// What is missing of `path` is made, for this user alone to write.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Self::walked(path, true)
    }

    fn walked(path: &Path, make: bool) -> io::Result<Self> {
        let found = walk(path, make)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            handle: openat(&found, ".", flags, Mode::empty())?,
            path: path.to_owned(),
        })
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(name, OFlags::RDONLY)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A file that is there, opened with `flags`.
    pub(super) fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let path = self.path.join(plain(name)?);
        // Neither a link is followed, nor a pipe waited for.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = openat(&self.handle, name, flags, Mode::empty());
        let handle = handle.map_err(|cause| match cause {
            rustix::io::Errno::LOOP => untrusted(format!(
                "{} is a symbolic link, and no deploy made it",
                path.display()
            )),
            other => other.into(),
        })?;
        let stat = fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(untrusted(format!("{} is no file", path.display())));
        }
        judge(&stat, &path, false)?;
        Ok(handle.into())
    }

    /// None when something of that name is there already.
    pub(super) fn create_new(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = flags | OFlags::WRONLY | OFlags::APPEND;
        let mode = Mode::from_raw_mode(0o640);
        match openat(&self.handle, plain(name)?, flags, mode) {
            Ok(handle) => Ok(Some(handle.into())),
            Err(rustix::io::Errno::EXIST) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// What is written goes to the end of it.
    pub(super) fn append(&self, name: &str) -> io::Result<File> {
        match self.create_new(name)? {
            Some(file) => Ok(file),
            None => self.file(name, OFlags::WRONLY | OFlags::APPEND),
        }
    }

    /// None while another process holds it.
    pub(super) fn lock(&self, name: &str) -> io::Result<Option<File>> {
        let file = self.append(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.handle, plain(name)?, AtFlags::empty())?)
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = Dir::read_from(&self.handle)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect())
    }

    /// Puts the names of its files on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.handle)?)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// That nobody but root and this user can change the file `path`, nor put another one in its place.
pub(super) fn check_file(path: &Path) -> io::Result<()> {
    walk(path, false).map(drop)
}

/// A name in the folder itself.
fn plain(name: &str) -> io::Result<&str> {
    let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    let unusable = || io::Error::new(io::ErrorKind::InvalidInput, "that is no name of a file");
    is_plain.then_some(name).ok_or_else(unusable)
}

/// Opens `path` part by part; links are followed where only root or this user can have made them.
fn walk(path: &Path, make: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut seen = PathBuf::from("/");
    let mut here = open("/", flags, Mode::empty())?;
    let mut stat = fstat(&here)?;
    let mut parts = parts(path);
    let mut links = 0;
    while let Some(part) = parts.pop_front() {
        let is_shared = judge(&stat, &seen, true)?;
        let next = match openat(&here, &part, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) if make => {
                match mkdirat(&here, &part, Mode::from_raw_mode(0o750)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(cause) => return Err(cause.into()),
                }
                openat(&here, &part, flags, Mode::empty())?
            }
            opened => opened?,
        };
        let next_stat = fstat(&next)?;
        let name = seen.join(&part);
        if FileType::from_raw_mode(next_stat.st_mode) != FileType::Symlink {
            (here, stat, seen) = (next, next_stat, name);
            continue;
        }
        links += 1;
        if is_shared || links > MOST_LINKS {
            let name = name.display();
            return Err(untrusted(format!("{name} is a symbolic link")));
        }
        judge(&next_stat, &name, true)?;
        let target = readlinkat(&next, "", Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        let target = seen.join(target);
        let mut rest = self::parts(&target);
        rest.append(&mut parts);
        parts = rest;
        here = open("/", flags, Mode::empty())?;
        stat = fstat(&here)?;
        seen = PathBuf::from("/");
    }
    judge(&stat, &seen, false)?;
    Ok(here)
}

/// Without `.` and `..`: what a path means is decided here alone.
fn parts(path: &Path) -> VecDeque<OsString> {
    let mut parts: Vec<&OsStr> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.into_iter().map(OsStr::to_owned).collect()
}

/// Whether others may make something in it, but neither rename nor remove what is not theirs (`/tmp`); that is good
/// enough on the way to something. An error when they may do more.
fn judge(stat: &Stat, path: &Path, is_on_the_way: bool) -> io::Result<bool> {
    let me = rustix::process::geteuid().as_raw();
    let path = path.display();
    if stat.st_uid != 0 && stat.st_uid != me {
        let (owner, me) = (user(stat.st_uid), user(me));
        return Err(untrusted(format!(
            "{path} belongs to {owner}, who could have it run programs as {me}"
        )));
    }
    let kind = FileType::from_raw_mode(stat.st_mode);
    if stat.st_mode & BY_OTHERS == 0 || kind == FileType::Symlink {
        return Ok(false);
    }
    if is_on_the_way && kind == FileType::Directory && stat.st_mode & STICKY != 0 {
        return Ok(true);
    }
    let mode = stat.st_mode & 0o7777;
    let whose = if mode & 0o002 == 0 {
        format!("the group {}", stat.st_gid)
    } else {
        "everybody".to_owned()
    };
    Err(untrusted(format!(
        "{path} can be written by {whose} (mode {mode:04o}), who could have it run programs as {}",
        user(me)
    )))
}

/// `root`, `uid 998 (switchd)`.
fn user(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    match super::plan::user_of(&users, uid) {
        _ if uid == 0 => "root".to_owned(),
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn refusal<T>(result: io::Result<T>) -> String {
        let Err(cause) = result else {
            panic!("it was taken")
        };
        assert!(is_untrusted(&cause), "{cause}");
        cause.to_string()
    }

    #[test]
    fn what_others_may_write_is_refused_wherever_it_is_on_the_way() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        Folder::create(&path).unwrap();
        for (open, words) in [(0o770, "can be written by the group"), (0o777, "everybody")] {
            mode(&root.path().join("a"), open);
            let said = refusal(Folder::open(&path));
            assert!(said.contains(words) && said.contains("/a "), "{said}");
        }
        // Nobody can rename in it what is not theirs; but anybody can put files into it.
        mode(&root.path().join("a"), 0o1777);
        Folder::open(&path).unwrap();
        refusal(Folder::open(&root.path().join("a")));
    }

    #[test]
    fn links_are_followed_only_where_nobody_else_can_make_them() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("real");
        Folder::create(&real.join("app")).unwrap();
        std::fs::create_dir(root.path().join("open")).unwrap();
        for (name, to) in [
            ("plain", "real"),
            ("open/link", "../real"),
            ("loop", "loop"),
        ] {
            symlink(to, root.path().join(name)).unwrap();
        }
        mode(&root.path().join("open"), 0o1777);
        Folder::open(&root.path().join("plain/app")).unwrap();
        refusal(Folder::open(&root.path().join("open/link/app")));
        refusal(Folder::open(&root.path().join("loop")));
    }

    #[test]
    fn a_link_in_place_of_a_file_is_neither_read_nor_written() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let other = root.path().join("other");
        std::fs::write(&other, "whole").unwrap();
        symlink(&other, root.path().join("link")).unwrap();
        let calls: [fn(&Folder) -> io::Result<()>; 3] = [
            |it| it.read("link").map(drop),
            |it| it.append("link").map(drop),
            |it| it.lock("link").map(drop),
        ];
        for call in calls {
            assert!(refusal(call(&folder)).contains("symbolic link"));
        }
        assert!(folder.create_new("link").unwrap().is_none());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "whole");
        mode(&other, 0o666);
        refusal(folder.read("other"));
        for name in ["", ".", "..", "../x", "/etc/passwd"] {
            assert!(folder.append(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_pipe_in_place_of_a_file_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let mode = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(&folder.handle, "pipe", FileType::Fifo, mode, 0).unwrap();
        assert!(refusal(folder.read("pipe")).contains("is no file"));
        assert!(folder.append("pipe").is_err());
    }

    #[test]
    fn a_lock_is_free_again_with_its_holder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let lock = folder.lock("lock").unwrap();
        assert!(lock.is_some() && folder.lock("lock").unwrap().is_none());
        drop(lock);
        assert!(folder.lock("lock").unwrap().is_some());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        Folder::create(&path).unwrap();
        std::os::unix::fs::chown(root.path().join("a"), Some(65534), None).unwrap();
        let said = refusal(Folder::open(&path));
        assert!(
            said.contains("belongs to") && said.contains("as root"),
            "{said}"
        );
        refusal(Folder::create(&path.join("c")));
        assert!(!path.join("c").exists());
    }
}
