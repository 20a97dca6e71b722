//! Tells when a config file, or a file that it names, changed; however it was changed.
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

/// Watches one file, or several that belong together. Its own writes and reads are not seen as changes.
pub struct Watcher {
    /// Absolute.
    paths: Vec<PathBuf>,
    events: Arc<Notify>,
    kernel: notify::RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    /// The files that were last told of; none while there was none.
    told: Vec<Option<Stamp>>,
    /// Something happened since the last look.
    dirty: bool,
    look_again: Duration,
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
        Self::of_files(vec![path.into()])
    }

    /// Starts to watch all of `paths`; what they hold now counts as known.
    ///
    /// # Errors
    /// As [`Watcher::new`].
    pub fn of_files(paths: Vec<PathBuf>) -> notify::Result<Self> {
        let paths = paths.into_iter().map(std::path::absolute);
        let paths = paths.collect::<io::Result<Vec<_>>>()?;
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
            told: stamps(&paths),
            paths,
            events,
            kernel: watcher,
            watched: BTreeSet::new(),
            dirty: true,
            look_again: LOOK_AGAIN,
        };
        watcher.watch_again()?;
        Ok(watcher)
    }

    /// Waits until a file changed, and is complete as far as one can tell.
    ///
    /// A file that is gone is no change yet; one that comes back is.
    /// Cancel safe: a change that was not told is told by the next call.
    pub async fn changed(&mut self) {
        loop {
            if self.dirty {
                // Watched first and looked at then, so that nothing slips in between.
                let _ = self.watch_again();
                if self.news(&stamps(&self.paths)) {
                    self.settle().await;
                    let settled = stamps(&self.paths);
                    if self.news(&settled) {
                        self.learn(settled);
                        return;
                    }
                    continue;
                }
                self.dirty = false;
            }
            let told = timeout(self.look_again, self.events.notified()).await;
            self.dirty = true;
            if told.is_ok() {
                // A folder where something happens all the time, a log in it for example, must not
                // keep us looking all the time.
                sleep(QUIET).await;
            }
        }
    }

    /// Another file than the one told of stands somewhere.
    fn news(&self, now: &[Option<Stamp>]) -> bool {
        let mut pairs = now.iter().zip(&self.told);
        pairs.any(|(now, told)| now.is_some() && now != told)
    }

    fn learn(&mut self, now: Vec<Option<Stamp>>) {
        for (told, now) in self.told.iter_mut().zip(now) {
            if now.is_some() {
                *told = now;
            }
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

    /// Watches the folders that now lie on the way to the files.
    ///
    /// Always anew: a folder that was replaced has the same path and is another one.
    fn watch_again(&mut self) -> notify::Result<()> {
        for folder in std::mem::take(&mut self.watched) {
            let _ = self.kernel.unwatch(&folder);
        }
        let mut result = Ok(());
        for path in &self.paths {
            let mut watched = Err(notify::Error::path_not_found());
            for folder in folders_on_the_way(path) {
                if self.watched.contains(&folder) {
                    watched = Ok(());
                    continue;
                }
                watched = self.kernel.watch(&folder, RecursiveMode::NonRecursive);
                if watched.is_ok() {
                    self.watched.insert(folder);
                }
            }
            // The last one is nearest to the file: it must be watched.
            result = result.and(watched);
        }
        result
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| Stamp::of(path)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::pin::pin;
    use tempfile::TempDir;

    /// A watcher that depends on the kernel's word, and a config to watch.
    struct Scene {
        dir: TempDir,
        watcher: Watcher,
    }

    impl Scene {
        fn on(dir: TempDir, file: &str) -> Self {
            let mut watcher = Watcher::new(dir.path().join(file)).unwrap();
            watcher.look_again = Duration::from_hours(1);
            Self { dir, watcher }
        }

        fn plain() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("switchd.toml"), "1").unwrap();
            Self::on(dir, "switchd.toml")
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        async fn is_told(&mut self) {
            timeout(Duration::from_secs(20), self.watcher.changed())
                .await
                .expect("the change is told");
        }

        /// The watcher is asleep when `change` happens in the folder: the kernel has to wake it.
        async fn is_told_of(&mut self, change: impl FnOnce(&Path)) {
            let mut changed = pin!(self.watcher.changed());
            tokio::select! {
                biased;
                () = &mut changed => panic!("told before anything changed"),
                () = std::future::ready(()) => {}
            }
            change(self.dir.path());
            timeout(Duration::from_secs(20), changed)
                .await
                .expect("the change is told");
        }

        async fn is_not_told(&mut self) {
            let told = timeout(QUIET * 3, self.watcher.changed()).await;
            assert!(told.is_err(), "told of a change that was none");
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.watcher.paths[0]).unwrap()
        }
    }

    #[tokio::test]
    async fn a_file_written_in_place_is_told_once() {
        let mut scene = Scene::plain();
        scene
            .is_told_of(|dir| fs::write(dir.join("switchd.toml"), "two").unwrap())
            .await;
        assert_eq!(scene.text(), "two");
        scene.is_not_told().await;
    }

    #[tokio::test]
    async fn a_file_renamed_over_the_old_one_is_told() {
        let mut scene = Scene::plain();
        for round in 0..3 {
            let aside = scene.path(".switchd.toml.swp");
            fs::write(&aside, round.to_string()).unwrap();
            scene
                .is_told_of(|dir| fs::rename(&aside, dir.join("switchd.toml")).unwrap())
                .await;
            assert_eq!(scene.text(), round.to_string());
        }
    }

    #[tokio::test]
    async fn an_editor_that_moves_the_old_file_away_is_told() {
        let mut scene = Scene::plain();
        fs::rename(scene.path("switchd.toml"), scene.path("switchd.toml~")).unwrap();
        scene.is_not_told().await;
        scene
            .is_told_of(|dir| fs::write(dir.join("switchd.toml"), "2").unwrap())
            .await;
        assert_eq!(scene.text(), "2");
    }

    #[tokio::test]
    async fn a_swap_of_the_linked_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["..v1", "..v2", "..v3"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("switchd.toml"), version).unwrap();
        }
        symlink("..v1", at("..data")).unwrap();
        symlink("..data/switchd.toml", at("switchd.toml")).unwrap();
        let mut scene = Scene::on(dir, "switchd.toml");
        for version in ["..v2", "..v3", "..v1"] {
            scene
                .is_told_of(|dir| {
                    symlink(version, dir.join("..data_tmp")).unwrap();
                    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
                })
                .await;
            assert_eq!(scene.text(), version);
        }
        scene
            .is_told_of(|dir| fs::write(dir.join("..v1/switchd.toml"), "behind").unwrap())
            .await;
    }

    #[tokio::test]
    async fn a_link_in_a_folder_above_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for release in ["one", "two"] {
            fs::create_dir_all(at(release).join("etc/switchd")).unwrap();
            fs::write(at(release).join("etc/switchd/switchd.toml"), release).unwrap();
        }
        symlink(at("one"), at("current")).unwrap();
        let mut scene = Scene::on(dir, "current/etc/switchd/switchd.toml");
        scene
            .is_told_of(|dir| {
                symlink(dir.join("two"), dir.join("next")).unwrap();
                fs::rename(dir.join("next"), dir.join("current")).unwrap();
            })
            .await;
        assert_eq!(scene.text(), "two");
        scene
            .is_told_of(|dir| {
                fs::write(dir.join("two/etc/switchd/switchd.toml"), "again").unwrap();
            })
            .await;
    }

    #[tokio::test]
    async fn a_replaced_folder_is_told_and_watched() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["conf", "new"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("switchd.toml"), version).unwrap();
        }
        let mut scene = Scene::on(dir, "conf/switchd.toml");
        scene
            .is_told_of(|dir| {
                fs::rename(dir.join("conf"), dir.join("old")).unwrap();
                fs::rename(dir.join("new"), dir.join("conf")).unwrap();
            })
            .await;
        assert_eq!(scene.text(), "new");
        scene
            .is_told_of(|dir| fs::write(dir.join("conf/switchd.toml"), "newer").unwrap())
            .await;
    }

    #[tokio::test]
    async fn a_folder_that_is_away_for_a_while_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        fs::write(dir.path().join("conf/switchd.toml"), "1").unwrap();
        let mut scene = Scene::on(dir, "conf/switchd.toml");
        fs::rename(scene.path("conf"), scene.path("away")).unwrap();
        scene.is_not_told().await;
        fs::write(scene.path("away/switchd.toml"), "two").unwrap();
        scene.is_not_told().await;
        scene
            .is_told_of(|dir| fs::rename(dir.join("away"), dir.join("conf")).unwrap())
            .await;
        assert_eq!(scene.text(), "two");
    }

    #[tokio::test]
    async fn a_burst_is_told_once() {
        let mut scene = Scene::plain();
        for round in 0..200 {
            fs::write(scene.path("switchd.toml"), format!("round {round}")).unwrap();
        }
        scene.is_told().await;
        assert_eq!(scene.text(), "round 199");
        scene.is_not_told().await;
    }

    #[tokio::test]
    async fn the_end_of_a_long_burst_is_never_missed() {
        let mut scene = Scene::plain();
        let path = scene.path("switchd.toml");
        let writer = tokio::task::spawn_blocking(move || {
            for round in 0..2000 {
                let aside = path.with_extension("tmp");
                fs::write(&aside, format!("round {round}")).unwrap();
                fs::rename(&aside, &path).unwrap();
            }
        });
        while scene.text() != "round 1999" {
            scene.is_told().await;
        }
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_change_while_nobody_waits_is_told_later() {
        let mut scene = Scene::plain();
        fs::write(scene.path("switchd.toml"), "two").unwrap();
        // Given up in the middle of settling.
        let _ = timeout(QUIET / 2, scene.watcher.changed()).await;
        fs::remove_file(scene.path("switchd.toml")).unwrap();
        fs::write(scene.path("switchd.toml"), "three").unwrap();
        scene.is_told().await;
        assert_eq!(scene.text(), "three");
    }

    #[tokio::test]
    async fn reading_and_strangers_are_no_change() {
        let mut scene = Scene::plain();
        fs::write(scene.path("other.toml"), "1").unwrap();
        assert_eq!(scene.text(), "1");
        scene.is_not_told().await;
        fs::remove_file(scene.path("other.toml")).unwrap();
        scene.is_not_told().await;
    }

    #[tokio::test]
    async fn a_file_that_comes_into_being_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut scene = Scene::on(dir, "later/switchd.toml");
        fs::create_dir(scene.path("later")).unwrap();
        scene.is_not_told().await;
        scene
            .is_told_of(|dir| fs::write(dir.join("later/switchd.toml"), "1").unwrap())
            .await;
    }

    #[tokio::test]
    async fn a_change_that_the_kernel_keeps_silent_about_is_found() {
        let mut scene = Scene::plain();
        scene.watcher.look_again = Duration::from_millis(10);
        scene.watcher.dirty = false;
        for folder in std::mem::take(&mut scene.watcher.watched) {
            scene.watcher.kernel.unwatch(&folder).unwrap();
        }
        fs::write(scene.path("switchd.toml"), "two").unwrap();
        assert!(!scene.watcher.dirty);
        scene.is_told().await;
    }

    #[test]
    fn links_in_a_circle_end() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        symlink("b", here.join("a")).unwrap();
        symlink("a", here.join("b")).unwrap();
        assert_eq!(folders_on_the_way(&here.join("a")), [here]);
    }
}
