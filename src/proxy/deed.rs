//! How a slot did with one request: what the watch after a flip judges it by.

use super::fault::Fault;
use super::fault::Side;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::record::Record;
use crate::live::Slot;
use crate::switch::Met;
use crate::switch::Owner;
use crate::telemetry::Deed;
use crate::telemetry::Sighting;
use crate::telemetry::SlotMetrics;
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
    /// What the request did last.
    pub state: State,
    pub flight: &'a Flight,
}

impl Record {
    /// What clients, operators and limits did is not held against the slot, nor for it.
    pub(super) fn judge(&self, slot: &Slot, closed: Closed<'_>) {
        let Closed { worker, status, .. } = closed;
        let took = closed.waited + self.client_took.get();
        let begun = self.upstream.get().unwrap_or(closed.took);
        let took = begun.saturating_sub(took);
        let observe = |met| self.observe(&slot.metrics, closed.flight, (worker, met, took));
        if status == 101 {
            // That it was opened was counted when it was.
            observe(Met::Closed);
            return;
        }
        if owner(closed.fault, closed.state) != Owner::Slot {
            return;
        }
        let failed = closed.fault.is_some() || status >= 500;
        if self.asked.get().is_some_and(|asked| asked.upgrade) {
            // Whoever asks for a websocket where there is none, or without the right to it, is told so
            // by a slot that is well.
            if failed {
                slot.metrics.websocket_refused(worker);
                observe(Met::Unopened);
            }
            return;
        }
        let (deed, met) = match (failed, self.rpc_error.get()) {
            (true, _) => (Deed::Failed, Met::Failed),
            (false, true) => (Deed::RpcError, Met::RpcError),
            (false, false) if status >= 400 => (Deed::Answered, Met::Refused),
            (false, false) => (Deed::Answered, Met::Served),
        };
        slot.metrics.did(worker, deed, took);
        observe(met);
    }

    /// A websocket was opened.
    pub(super) fn opened(&self, slot: &Slot, flight: &Flight, worker: usize) {
        slot.metrics.websocket_opened(worker);
        self.observe(&slot.metrics, flight, (worker, Met::Opened, Duration::ZERO));
    }

    /// Tells those who judge the slot, if they want to know.
    pub(super) fn observe(
        &self,
        metrics: &SlotMetrics,
        flight: &Flight,
        (worker, met, took): (usize, Met, Duration),
    ) {
        let Some(client) = self.client.get() else {
            return;
        };
        if !metrics.wants(worker, met) {
            return;
        }
        metrics.observe(
            worker,
            &Sighting {
                client,
                path: &flight.target.borrow(),
                met,
                error: self.error_name.borrow().as_deref(),
                took,
            },
        );
    }
}

/// Whose fault it is that a request did not get its answer; what was answered is the slot's.
fn owner(fault: Option<&Fault>, state: State) -> Owner {
    let is_waited_for = matches!(state, State::Connecting | State::Waiting);
    match fault {
        // What is shared is away: the other slot would answer the same.
        Some(Fault::LoggedOut) => Owner::Shared,
        // A client that sends or takes its bytes slowly can make any request last too long.
        Some(Fault::Timeout(Timer::Total)) if !is_waited_for => Owner::Client,
        None | Some(Fault::Timeout(Timer::Total)) => Owner::Slot,
        Some(fault) => match fault.side() {
            Side::Upstream => Owner::Slot,
            Side::Client => Owner::Client,
            Side::Ours => Owner::Ours,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_lasts_too_long_is_the_slots_only_while_the_slot_is_waited_for() {
        let late = Fault::Timeout(Timer::Total);
        for state in [State::Connecting, State::Waiting] {
            assert_eq!(owner(Some(&late), state), Owner::Slot);
        }
        for state in [
            State::Receiving,
            State::Sending,
            State::Answering,
            State::Delivering,
        ] {
            assert_eq!(owner(Some(&late), state), Owner::Client);
        }
    }

    #[test]
    fn what_clients_operators_and_databases_do_is_not_the_slots() {
        for (fault, whose) in [
            (Fault::ClientGone, Owner::Client),
            (Fault::BadRequest("x"), Owner::Client),
            (Fault::Killed, Owner::Ours),
            (Fault::LoggedOut, Owner::Shared),
            (Fault::NoAnswer(None), Owner::Slot),
            (Fault::Timeout(Timer::FirstByte), Owner::Slot),
        ] {
            assert_eq!(owner(Some(&fault), State::Waiting), whose, "{fault}");
        }
    }
}
