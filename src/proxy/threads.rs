//! Threads beside the worker: each kind of work has its own, whatever the others are at.

use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Of one worker, for bodies that are encoded: work for the processor.
pub const ENCODERS: usize = 4;
/// And for files that are sent: waits for the disk.
pub const FILES: usize = 4;

/// One kind of work, with so many threads at most. What finds none free waits for its own kind alone.
#[derive(Debug, Clone)]
pub(super) struct Threads(Arc<Semaphore>);

impl Threads {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Runs `work` on one of them. Work that was begun is finished, and occupies its thread until then, also when
    /// nobody waits for it any more.
    ///
    /// # Errors
    /// The work panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let permit = self.0.clone().acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let running = spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        running.await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_that_hangs_takes_no_thread_of_another_kind() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(2 + 1)
            .build()
            .unwrap();
        let (encoders, files) = (Threads::new(2), Threads::new(1));
        let mut goes = Vec::new();
        runtime.block_on(async {
            let mut hanging = Vec::new();
            for _ in 0..5 {
                let (go, wait) = mpsc::channel::<()>();
                goes.push(go);
                let encoders = encoders.clone();
                hanging.push(tokio::spawn(async move {
                    encoders.run(move || wait.recv().is_err()).await
                }));
            }
            // All of them have begun or stand in line.
            tokio::task::yield_now().await;
            assert_eq!(files.run(|| 7).await.unwrap(), 7);
            goes.clear();
            for work in hanging {
                assert!(work.await.unwrap().unwrap());
            }
        });
    }
}
