//! One request fetches, the others wait for it: bounded in number, and in time by whoever waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::watch;

/// What cannot be kept is not waited for, for so long.
const PASSED_FOR: Duration = Duration::from_secs(10);
/// Keys that are remembered for that.
const MOST_PASSED: usize = 1024;

/// What is being fetched now. Locked only by requests that found nothing, on paths that are kept, for
/// the time of a look into a map.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By the hash of the key: a stranger with the same one waits in vain, and then goes by itself.
    running: HashMap<u64, Weak<watch::Sender<()>>>,
    passed: HashMap<u64, Instant>,
}

/// What a request does that found nothing.
#[derive(Debug)]
pub enum Joined {
    /// It fetches, for others too.
    Lead(Lead),
    Wait(Waiting),
    /// It goes upstream, and nobody waits for it.
    Alone,
}

/// Whoever fetches. Dropping it lets the others look again.
#[derive(Debug)]
pub struct Lead {
    fetches: Arc<Fetches>,
    hash: u64,
    #[allow(dead_code, reason = "its drop wakes those who wait")]
    wakes: Arc<watch::Sender<()>>,
}

/// Somebody else fetches.
#[derive(Debug)]
pub struct Waiting(watch::Receiver<()>);

impl Fetches {
    pub(super) fn join(self: &Arc<Self>, hash: u64, most: usize) -> Joined {
        let mut inner = self.inner();
        let passed = inner.passed.get(&hash);
        if passed.is_some_and(|until| *until > Instant::now()) {
            return Joined::Alone;
        }
        if let Some(running) = inner.running.get(&hash).and_then(Weak::upgrade) {
            return if running.receiver_count() < most {
                Joined::Wait(Waiting(running.subscribe()))
            } else {
                Joined::Alone
            };
        }
        let wakes = Arc::new(watch::Sender::new(()));
        inner.running.insert(hash, Arc::downgrade(&wakes));
        Joined::Lead(Lead {
            fetches: self.clone(),
            hash,
            wakes,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// What comes cannot be kept: nobody waits for it, nor for the next ones.
    pub fn pass(self) {
        let now = Instant::now();
        let passed = &mut self.fetches.inner().passed;
        if passed.len() >= MOST_PASSED {
            passed.retain(|_, until| *until > now);
        }
        if passed.len() < MOST_PASSED {
            passed.insert(self.hash, now + PASSED_FOR);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.fetches.inner().running.remove(&self.hash);
    }
}

impl Waiting {
    /// Returns when whoever fetches has it, or has given up. Cancel safe.
    pub async fn over(&mut self) {
        // Nothing is ever sent: the end of the sender is the message.
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(fetches: &Arc<Fetches>, hash: u64) -> Lead {
        match fetches.join(hash, 2) {
            Joined::Lead(lead) => lead,
            other => panic!("{other:?}"),
        }
    }

    fn wait(fetches: &Arc<Fetches>, hash: u64) -> Waiting {
        match fetches.join(hash, 2) {
            Joined::Wait(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn one_leads_so_many_wait_and_the_rest_go_alone() {
        let fetches = Arc::new(Fetches::default());
        let first = lead(&fetches, 7);
        let _other = lead(&fetches, 8);
        let (mut a, b) = (wait(&fetches, 7), wait(&fetches, 7));
        assert!(matches!(fetches.join(7, 2), Joined::Alone));
        drop(b);
        let mut c = wait(&fetches, 7);
        drop(first);
        a.over().await;
        c.over().await;
        // The next one leads anew.
        let _again = lead(&fetches, 7);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_not_waited_for_again() {
        let fetches = Arc::new(Fetches::default());
        let first = lead(&fetches, 7);
        let mut waits = wait(&fetches, 7);
        first.pass();
        waits.over().await;
        assert!(matches!(fetches.join(7, 2), Joined::Alone));
        for hash in 100..100 + MOST_PASSED as u64 * 2 {
            lead(&fetches, hash).pass();
        }
        assert_eq!(fetches.inner().passed.len(), MOST_PASSED);
        assert!(fetches.inner().running.is_empty());
    }
}
