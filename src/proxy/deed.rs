//! How a slot did with one request: what the watch after a flip judges it by.

use super::fault::Fault;
use super::fault::Side;
use super::fault::Timer;
use super::record::Record;
use crate::live::Slot;
use crate::telemetry::Deed;
use std::time::Duration;

/// One request at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed<'a> {
    pub worker: usize,
    /// As the client was told; 499 when it was gone.
    pub status: u16,
    pub fault: Option<&'a Fault>,
    pub took: Duration,
    /// In line and in holds: none of it is the slot's doing.
    pub waited: Duration,
}

impl Record {
    /// What clients, operators and limits did is not held against the slot, nor for it.
    pub(super) fn judge(&self, slot: &Slot, closed: Closed<'_>) {
        let Closed { worker, status, .. } = closed;
        // That a websocket was opened was counted when it was.
        if status == 101 || !is_the_slots(closed.fault) {
            return;
        }
        let failed = closed.fault.is_some() || status >= 500;
        if self.asked.get().is_some_and(|asked| asked.upgrade) {
            slot.metrics.websocket_refused(worker);
            return;
        }
        let deed = match (failed, self.rpc_error.get()) {
            (true, _) => Deed::Failed,
            (false, true) => Deed::RpcError,
            (false, false) => Deed::Answered,
        };
        let begun = self.upstream.get().unwrap_or(closed.took);
        slot.metrics
            .did(worker, deed, begun.saturating_sub(closed.waited));
    }
}

fn is_the_slots(fault: Option<&Fault>) -> bool {
    match fault {
        None | Some(Fault::Timeout(Timer::Total)) => true,
        Some(fault) => fault.side() == Side::Upstream,
    }
}
