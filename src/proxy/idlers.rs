//! Connections that ask for nothing: they go first when there is no room for others.

use super::belongings::Proxy;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::NEVER;
use super::flight::State;
use crate::net::EndpointAddr;
use crate::net::Stream;
use crate::upstream;
use crate::upstream::Call;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// An honest client's first request is here long before; and whoever was served just now may ask again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many connections are looked at: where many are idle, one of these is.
const LOOKS: usize = 32;

impl Proxy {
    /// Ends a connection that asks for nothing; false when there is none. True as well where more than `awaited` are
    /// on their way out already: their places are enough for those who came before and for one more.
    ///
    /// One on which no request was ever complete goes first, one of the oldest. Where there is none, one that was
    /// served before and is idle now: of the client that has the most of them, the one that has been idle longest.
    pub fn dismiss_idler(&self, awaited: u64) -> bool {
        let looks = self.some_flights(LOOKS);
        let leaving = looks.iter().filter(|flight| flight.is_leaving()).count();
        if leaving as u64 > awaited {
            return true;
        }
        let unserved = || looks.iter().filter(|flight| asks_for_nothing(flight));
        let chosen = if unserved().next().is_some() {
            unserved()
                .filter(|flight| flight.started.get().elapsed() >= PATIENCE)
                .min_by_key(|flight| flight.started.get())
        } else {
            self.longest_idle(&looks)
        };
        chosen.inspect(|flight| flight.dismiss()).is_some()
    }

    fn longest_idle<'a>(&self, looks: &'a [Rc<Flight>]) -> Option<&'a Rc<Flight>> {
        let timeout = self.view().limits.idle_timeout;
        let idle: Vec<_> = looks
            .iter()
            .filter(|flight| flight.idle_for(timeout).is_some_and(|it| it >= PATIENCE))
            .collect();
        let of_its_client = |flight: &Flight| {
            let client = flight.client.borrow();
            idle.iter()
                .filter(|other| *other.client.borrow() == *client)
                .count()
        };
        let rank = |flight: &&&Rc<Flight>| (of_its_client(flight), flight.idle_for(timeout));
        idle.iter().max_by_key(rank).copied()
    }

    /// Makes room for a descriptor: connections to upstreams that nobody uses, and a client that asks for nothing.
    pub fn make_room(&self) {
        self.pools.shed();
        self.dismiss_idler(0);
    }
}

fn asks_for_nothing(flight: &Rc<Flight>) -> bool {
    !flight.is_served.get()
        && !flight.is_ending()
        && matches!(flight.state.get(), State::Idle | State::Reading)
}

impl Flight {
    /// Its place will be free in a moment.
    fn is_leaving(&self) -> bool {
        self.is_ending() || self.state.get() == State::Closing
    }

    /// It was told to end, and has not yet.
    fn is_ending(&self) -> bool {
        self.order.get().is_some()
    }

    /// Since when it is between two requests, of which one was served. None when it is not.
    fn idle_for(&self, timeout: Duration) -> Option<Duration> {
        let is_idle = self.is_served.get() && self.state.get() == State::Idle && !self.is_ending();
        let until = self.deadline.get();
        if !is_idle || until == NEVER || self.timer.get() != Timer::KeepAlive {
            return None;
        }
        let since = until.saturating_sub(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        Some(Duration::from_millis(self.now().saturating_sub(since)))
    }
}

/// Connects to an upstream. Where a descriptor is lacking, room is made, and it is tried once more.
pub(super) async fn connect(
    proxy: &Proxy,
    address: &EndpointAddr,
    call: Call<'_>,
) -> io::Result<Stream> {
    match upstream::connect(address, call).await {
        Err(error) if crate::net::is_ours(&error) && proxy.pools.shed() > 0 => {
            upstream::connect(address, call).await
        }
        connected => connected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's connection that was served, and has been idle since `since` (milliseconds).
    fn idle(proxy: &Rc<Proxy>, client: &str, since: u64) -> super::super::belongings::Enlisted {
        let timeout = proxy.view().limits.idle_timeout;
        let flight = Flight::new(proxy.clock.clone(), client);
        flight.is_served.set(true);
        proxy.clock.set(since);
        flight.arm(Timer::KeepAlive, timeout);
        proxy.enlist(flight)
    }

    fn dismissed(all: &[super::super::belongings::Enlisted]) -> Vec<usize> {
        let ending = all.iter().enumerate();
        let ending = ending.filter(|(_, it)| it.flight.is_ending());
        ending.map(|(at, _)| at).collect()
    }

    #[tokio::test]
    async fn of_those_who_were_served_the_client_with_the_most_gives_way_first() {
        let proxy = Proxy::idle();
        let all: Vec<_> = [("honest", 0), ("horde", 30), ("horde", 10), ("horde", 20)]
            .map(|(client, since)| idle(&proxy, client, since * 1000))
            .into();
        proxy.clock.set(60_000);
        assert!(proxy.dismiss_idler(0));
        assert_eq!(dismissed(&all), [2], "idle for longest of the horde");
        assert!(proxy.dismiss_idler(1));
        assert_eq!(dismissed(&all), [2, 3]);
    }

    #[tokio::test]
    async fn nobody_goes_for_a_place_that_is_about_to_be_free() {
        let proxy = Proxy::idle();
        let all: Vec<_> = [("honest", 0), ("gone", 0)]
            .map(|(client, since)| idle(&proxy, client, since))
            .into();
        proxy.clock.set(60_000);
        all[1].flight.state.set(State::Closing);
        assert!(proxy.dismiss_idler(0));
        assert!(dismissed(&all).is_empty());
        // That place is somebody else's: one more needs another.
        assert!(proxy.dismiss_idler(1));
        assert_eq!(dismissed(&all), [0]);
    }

    #[tokio::test]
    async fn whoever_was_served_just_now_or_is_busy_stays() {
        let proxy = Proxy::idle();
        let all: Vec<_> = [("a", 0), ("b", 0)]
            .map(|(client, since)| idle(&proxy, client, since))
            .into();
        proxy.clock.set(500);
        assert!(!proxy.dismiss_idler(0));
        proxy.clock.set(60_000);
        all[0].flight.state.set(State::Waiting);
        all[1].flight.state.set(State::Tunnel);
        assert!(!proxy.dismiss_idler(0));
        assert!(dismissed(&all).is_empty());
    }

    #[tokio::test]
    async fn while_somebody_has_asked_for_nothing_yet_nobody_else_goes() {
        let proxy = Proxy::idle();
        let mut all = vec![idle(&proxy, "honest", 0)];
        all.push(proxy.enlist(Flight::new(proxy.clock.clone(), "silent")));
        proxy.clock.set(60_000);
        // It has only just come.
        assert!(!proxy.dismiss_idler(0));
        assert!(dismissed(&all).is_empty());
    }
}
