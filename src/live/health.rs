//! Who is well: written by probes, read by the balancer; hints by traffic, read by the prober.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;
use tokio::sync::Notify;

/// What the probes found last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wellness {
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
}

/// One endpoint's health.
///
/// Every ordering is relaxed: each value stands alone, and a reader that sees it a moment later
/// only balances as it would have done a moment before.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    wellness: AtomicU8,
    suspected: AtomicBool,
    hint: Notify,
}

impl EndpointHealth {
    #[must_use]
    pub fn get(&self) -> Wellness {
        match self.wellness.load(Ordering::Relaxed) {
            1 => Wellness::Healthy,
            2 => Wellness::Unhealthy,
            _ => Wellness::Unknown,
        }
    }

    /// The prober's verdict.
    pub fn set(&self, wellness: Wellness) {
        let code = match wellness {
            Wellness::Unknown => 0,
            Wellness::Healthy => 1,
            Wellness::Unhealthy => 2,
        };
        self.wellness.store(code, Ordering::Relaxed);
    }

    /// Traffic met a connect error, a 502 or a 504 here: probe soon. Cheap while already suspected.
    pub fn suspect(&self) {
        if !self.suspected.swap(true, Ordering::Relaxed) {
            self.hint.notify_one();
        }
    }

    /// There is a hint that nobody has taken yet.
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed)
    }

    /// Waits for the next hint and takes it. Cancel safe.
    pub async fn suspected(&self) {
        self.hint.notified().await;
        self.suspected.store(false, Ordering::Relaxed);
    }
}
