//! What slots are judged by: counts of one worker for one slot, and their sum.

use super::metrics::SlotMetrics;
use super::metrics::Unserved;
use super::metrics::add;
use super::prometheus::Page;
use super::prometheus::labels;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use crate::switch::TIME_BUCKETS;
use crate::switch::Tally;
use crate::switch::WatchVerdict;
use crate::switch::time_bucket;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How a slot did with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Answered,
    /// With 500 or above, or not at all.
    Failed,
    /// With a JSON-RPC error in an answer of 200.
    RpcError,
}

/// One worker's counts for one slot.
#[derive(Debug)]
pub(super) struct JudgedCounters {
    failed: AtomicU64,
    rpc_errors: AtomicU64,
    /// Every answer is in one of them.
    times: Box<[AtomicU64; TIME_BUCKETS]>,
    opened: AtomicU64,
    refused: AtomicU64,
}

impl Default for JudgedCounters {
    fn default() -> Self {
        Self {
            failed: AtomicU64::default(),
            rpc_errors: AtomicU64::default(),
            times: Box::new([const { AtomicU64::new(0) }; TIME_BUCKETS]),
            opened: AtomicU64::default(),
            refused: AtomicU64::default(),
        }
    }
}

impl JudgedCounters {
    fn add_to(&self, sum: &mut Tally) {
        // Relaxed: each count stands alone.
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        for (to, from) in sum.times.iter_mut().zip(self.times.iter()) {
            let count = get(from);
            *to += count;
            sum.requests += count;
        }
        sum.failed += get(&self.failed);
        sum.rpc_errors += get(&self.rpc_errors);
        let refused = get(&self.refused);
        sum.refused += refused;
        sum.handshakes += refused + get(&self.opened);
    }
}

impl SlotMetrics {
    /// `took` until the answer began. Only ever called on the thread of `worker`.
    pub fn did(&self, worker: usize, deed: Deed, took: Duration) {
        let counts = self.judged(worker);
        add(&counts.times[time_bucket(took)], 1);
        match deed {
            Deed::Answered => {}
            Deed::Failed => add(&counts.failed, 1),
            Deed::RpcError => add(&counts.rpc_errors, 1),
        }
    }

    /// A websocket was opened. Only ever called on the thread of `worker`.
    pub fn websocket_opened(&self, worker: usize) {
        add(&self.judged(worker).opened, 1);
    }

    /// A websocket was asked for and not opened. Only ever called on the thread of `worker`.
    pub fn websocket_refused(&self, worker: usize) {
        add(&self.judged(worker).refused, 1);
    }

    /// All that a slot is judged by, over all its generations.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for counts in self.all_judged() {
            counts.add_to(&mut sum);
        }
        let unserved = self.counts().unserved;
        let placeless = unserved[Unserved::Full as usize] + unserved[Unserved::Deadline as usize];
        sum.requests += placeless;
        sum.failed += placeless;
        sum
    }
}

/// The watch over the active slot, as the metrics tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchFigures {
    pub verdict: WatchVerdict,
    /// While traffic goes back unless it is confirmed.
    pub is_unconfirmed: bool,
}

impl Page {
    pub(super) fn judged(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = About(
            "rpc_errors",
            "JSON-RPC errors in answers of 200, where watch.json_rpc is on",
        );
        counter(out, &about, self.by_slot(|slot| slot.tally.rpc_errors))?;
        let handshakes = self.each_slot().flat_map(|(service, slot)| {
            let [first, second] = labels(service, slot);
            let Tally {
                handshakes,
                refused,
                ..
            } = slot.tally;
            [("opened", handshakes - refused), ("refused", refused)]
                .map(|(result, count)| Sample::new(&[first, second, ("result", result)], count))
        });
        let about = About("websocket_handshakes", "Websockets that were asked for");
        counter(out, &about, handshakes)?;
        let watched = self.services.iter();
        let watched = watched.filter_map(|it| it.watch.map(|watch| (it.name.as_str(), watch)));
        let verdicts = watched.clone().flat_map(|(service, watch)| {
            WatchVerdict::ALL.map(|verdict| {
                let labels = [("service", service), ("verdict", verdict.as_str())];
                Sample::new(&labels, u64::from(verdict == watch.verdict))
            })
        });
        let about = About(
            "watch",
            "1 for what the watch says of the slot that traffic was moved to last",
        );
        gauge(out, &about, verdicts)?;
        let warned = self
            .services
            .iter()
            .map(|it| Sample::new(&[("service", it.name.as_str())], u64::from(it.is_warned_of)));
        let about = About(
            "active_slot_bad",
            "1 while the active slot does badly and no watch runs that would move traffic",
        );
        gauge(out, &about, warned)?;
        let unconfirmed = watched.map(|(service, watch)| {
            Sample::new(&[("service", service)], u64::from(watch.is_unconfirmed))
        });
        let about = About(
            "unconfirmed",
            "1 while traffic goes back unless the last move is confirmed",
        );
        gauge(out, &about, unconfirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_count_is_one_tally() {
        let metrics = SlotMetrics::new(2);
        metrics.did(0, Deed::Answered, Duration::from_millis(5));
        metrics.did(1, Deed::Answered, Duration::from_millis(5));
        metrics.did(1, Deed::Failed, Duration::from_secs(3));
        metrics.did(0, Deed::RpcError, Duration::from_millis(5));
        metrics.unserved(1, Unserved::Deadline);
        metrics.unserved(1, Unserved::Left);
        metrics.websocket_opened(0);
        metrics.websocket_refused(1);
        let tally = metrics.tally();
        assert_eq!((tally.requests, tally.failed, tally.rpc_errors), (5, 2, 1));
        assert_eq!((tally.handshakes, tally.refused), (2, 1));
        assert_eq!(tally.times[time_bucket(Duration::from_millis(5))], 3);
    }
}
