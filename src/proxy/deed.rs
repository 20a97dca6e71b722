//! How a slot did with one request: what the watch after a flip judges it by.

use super::fault::Fault;
use super::fault::Side;
use super::fault::Timer;
use super::flight::State;
use super::record::Record;
use crate::live::Slot;
use crate::switch::Owner;
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
    /// What the request did last.
    pub state: State,
}

impl Record {
    /// What clients, operators and limits did is not held against the slot, nor for it.
    pub(super) fn judge(&self, slot: &Slot, closed: Closed<'_>) {
        let Closed { worker, status, .. } = closed;
        // That a websocket was opened was counted when it was.
        if status == 101 || owner(closed.fault, closed.state) != Owner::Slot {
            return;
        }
        let failed = closed.fault.is_some() || status >= 500;
        if self.asked.get().is_some_and(|asked| asked.upgrade) {
            // Whoever asks for a websocket where there is none, or without the right to it, is told so
            // by a slot that is well.
            if failed {
                slot.metrics.websocket_refused(worker);
            }
            return;
        }
        let deed = match (failed, self.rpc_error.get()) {
            (true, _) => Deed::Failed,
            (false, true) => Deed::RpcError,
            (false, false) => Deed::Answered,
        };
        let begun = self.upstream.get().unwrap_or(closed.took);
        slot.metrics.did(
            worker,
            deed,
            begun.saturating_sub(closed.waited + self.client_took.get()),
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
