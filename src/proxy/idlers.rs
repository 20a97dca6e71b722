//! Connections that ask for nothing: they go first when there is no room for others.

use super::belongings::Proxy;
use super::flight::Flight;
use super::flight::State;
use std::rc::Rc;
use std::time::Duration;

/// An honest client's first request is here long before.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many connections are looked at: where many are idle, one of these is.
const LOOKS: usize = 32;

impl Proxy {
    /// Ends a connection on which no request was ever complete, one of the oldest; false when there is none.
    ///
    /// Whoever was served once keeps its place: that limit is `connections`, or `connections_per_client`.
    pub fn dismiss_idler(&self) -> bool {
        let looks = (0..LOOKS).filter_map(|_| self.any_flight());
        let idlers = looks.filter(is_idler);
        let oldest = idlers.min_by_key(|flight| flight.started.get());
        oldest.inspect(|flight| flight.dismiss()).is_some()
    }
}

fn is_idler(flight: &Rc<Flight>) -> bool {
    !flight.is_served.get()
        && matches!(flight.state.get(), State::Idle | State::Reading)
        && flight.started.get().elapsed() >= PATIENCE
}
