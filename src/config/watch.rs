//! Tells when a config file changed, however it was changed.
//!
//! Editors rename a new file over the old one, container platforms swap a link two folders up,
//! copies arrive in many small writes. So not the file is watched but every folder on the way
//! to it that holds a name which could be re-pointed, and the file's identity decides.

use notify::RecursiveMode;
use notify::Watcher as _;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

/// A file counts as written when nothing happened around it for this long.
const QUIET: Duration = Duration::from_millis(100);

/// A folder where something happens all the time must not keep a change waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looked at without being told as well: some network file systems tell nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// As many links in a row as the kernel follows.
const MOST_LINKS: usize = 40;

/// Watches one config file. Its own writes and reads are not seen as changes.
pub struct Watcher {
    path: PathBuf,
    events: Arc<Notify>,
    kernel: notify::RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    /// The file that was last told of; none while there was none.
    told: Option<Stamp>,
    /// Something happened since the last look.
    dirty: bool,
}

/// What distinguishes a file from its predecessor and its former self.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    /// Tells a change of rights as well: a file may become readable.
    changed: i128,
}

impl Watcher {
    /// Starts to watch; what the file holds now counts as known.
    ///
    /// # Errors
    /// When the kernel gives no more watches, or no folder on the way to the file can be watched.
    pub fn new(path: impl Into<PathBuf>) -> notify::Result<Self> {
        let path = std::path::absolute(path.into())?;
        let events = Arc::new(Notify::new());
        let waker = events.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change, and we read. A lost or failed event may have been one.
            let only_read = |event: &notify::Event| {
                event.kind.is_access() && !is_close_after_write(event.kind) && !event.need_rescan()
            };
            if !event.as_ref().is_ok_and(only_read) {
                waker.notify_one();
            }
        })?;
        let mut watcher = Self {
            told: Stamp::of(&path),
            path,
            events,
            kernel: watcher,
            watched: BTreeSet::new(),
            dirty: true,
        };
        watcher.watch_again()?;
        Ok(watcher)
    }

    /// Waits until the file changed, and is complete as far as one can tell.
    ///
    /// A file that is gone is no change yet; one that comes back is.
    /// Cancel safe: a change that was not told is told by the next call.
    pub async fn changed(&mut self) {
        loop {
            if self.dirty {
                // Watched first and looked at then, so that nothing slips in between.
                let _ = self.watch_again();
                let now = Stamp::of(&self.path);
                if now.is_some() && now != self.told {
                    self.settle().await;
                    let settled = Stamp::of(&self.path);
                    if settled.is_some() {
                        self.told = settled;
                        return;
                    }
                    continue;
                }
                self.dirty = false;
            }
            let _ = timeout(LOOK_AGAIN, self.events.notified()).await;
            self.dirty = true;
        }
    }

    /// Waits until nothing happens any more, within reason.
    async fn settle(&self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            tokio::select! {
                () = self.events.notified() => {}
                () = sleep(QUIET) => return,
            }
        }
    }

    /// Watches the folders that now lie on the way to the file.
    ///
    /// Always anew: a folder that was replaced has the same path and is another one.
    fn watch_again(&mut self) -> notify::Result<()> {
        for folder in std::mem::take(&mut self.watched) {
            let _ = self.kernel.unwatch(&folder);
        }
        let mut result = Err(notify::Error::path_not_found());
        for folder in folders_on_the_way(&self.path) {
            let watched = self.kernel.watch(&folder, RecursiveMode::NonRecursive);
            if watched.is_ok() {
                self.watched.insert(folder);
            }
            // The last one is nearest to the file: it must be watched.
            result = watched;
        }
        result
    }
}

fn is_close_after_write(kind: notify::EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    kind == notify::EventKind::Access(AccessKind::Close(AccessMode::Write))
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let time =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: time(file.mtime(), file.mtime_nsec()),
            changed: time(file.ctime(), file.ctime_nsec()),
        })
    }
}

/// The folders, links resolved, whose entries decide what `path` leads to; the nearest to the file last.
fn folders_on_the_way(path: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut add = |folder: &Path| {
        folders.retain(|known| known != folder);
        folders.push(folder.to_owned());
    };
    let mut left = steps(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = left.pop() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        match resolve(&next) {
            Ok(Some(target)) if links < MOST_LINKS => {
                links += 1;
                add(&here);
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                left.extend(steps(&target));
            }
            Ok(_) if left.is_empty() => {
                add(&here);
                break;
            }
            Ok(_) => here = next,
            Err(_) => {
                // What is missing may come back here.
                add(&here);
                break;
            }
        }
    }
    folders
}

/// Where a link points to; none for anything else.
fn resolve(path: &Path) -> io::Result<Option<PathBuf>> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return fs::read_link(path).map(Some);
    }
    Ok(None)
}

/// The names in a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let mut steps: Vec<OsString> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    steps.reverse();
    steps
}
