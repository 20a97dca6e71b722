//! The one thread that writes and removes the cache's files.

use super::entry::Entry;
use super::files;
use super::store::Store;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::Weak;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;

/// Jobs that may wait. What is not written stays in memory as long as it has room there.
const WAITING: usize = 256;

/// The thread's door. It is started when there is something to do, and ends with the store.
#[derive(Debug, Default)]
pub(super) struct Writer(OnceLock<Option<SyncSender<Job>>>);

enum Job {
    Write(Weak<Store>, Arc<Entry>),
    Remove(Vec<Box<Path>>),
    /// Tells that all before it is done.
    #[cfg(test)]
    Tell(SyncSender<()>),
}

impl Writer {
    /// Writes those bodies of the entry that are in no file yet.
    pub(super) fn write(&self, store: &Arc<Store>, entry: &Arc<Entry>) {
        if let Some(jobs) = self.jobs() {
            let _ = jobs.try_send(Job::Write(Arc::downgrade(store), entry.clone()));
        }
    }

    pub(super) fn remove(&self, paths: Vec<Box<Path>>) {
        if paths.is_empty() {
            return;
        }
        // A disk that is so far behind is slow for whoever waits; the files are found at the next start.
        if let Some(jobs) = self.jobs() {
            let _ = jobs.try_send(Job::Remove(paths));
        }
    }

    #[cfg(test)]
    pub(super) fn rest(&self) {
        let (done, all) = sync_channel(1);
        if let Some(jobs) = self.jobs() {
            jobs.send(Job::Tell(done)).unwrap();
            all.recv().unwrap();
        }
    }

    fn jobs(&self) -> Option<&SyncSender<Job>> {
        self.0.get_or_init(start).as_ref()
    }
}

fn start() -> Option<SyncSender<Job>> {
    let (jobs, inbox) = sync_channel(WAITING);
    let thread = std::thread::Builder::new().name("cache-files".to_owned());
    match thread.stack_size(256 * 1024).spawn(move || work(&inbox)) {
        Ok(_) => Some(jobs),
        Err(error) => {
            tracing::warn!(%error, "cache writes no files");
            None
        }
    }
}

fn work(inbox: &Receiver<Job>) {
    let mut is_well = true;
    for job in inbox {
        match job {
            Job::Remove(paths) => {
                for path in paths {
                    // Where it fails it is met again at the next start.
                    let _ = std::fs::remove_file(path);
                }
            }
            #[cfg(test)]
            Job::Tell(done) => done.send(()).unwrap(),
            Job::Write(store, entry) => {
                let Some(store) = store.upgrade() else { return };
                match write(&store, &entry) {
                    Ok(()) => is_well = true,
                    Err(error) if is_well => {
                        is_well = false;
                        tracing::warn!(%error, dir = %store.dir().display(), "cache file not written");
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

fn write(store: &Store, entry: &Entry) -> std::io::Result<()> {
    for body in entry.bodies() {
        let Some(bytes) = body.bytes().filter(|_| !body.is_on_disk()) else {
            continue;
        };
        if entry.is_gone() {
            return Ok(());
        }
        store.disk.take(body.length)?;
        let offset = files::write(store.dir(), entry, body, &bytes)?;
        store.settle(|ledger| {
            ledger.filed(entry, body, offset);
        });
    }
    Ok(())
}
