//! Who tried to come in with a token that nobody knows, and how often. Bounded, whoever tries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// Attempts that each client has, and what time gives one of them back.
const MOST: u32 = 10;
const GIVES_BACK: Duration = Duration::from_secs(6);
/// Clients that are remembered; with more the one is forgotten that tried least lately.
const CLIENTS: usize = 1024;

/// Failed attempts, by client: an IPv4 address, or a /64 of IPv6.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Tried>>);

#[derive(Debug, Clone, Copy)]
struct Tried {
    /// When all attempts are given back.
    forgotten: Instant,
}

/// Whether a failed attempt is answered in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    Left,
    /// For so long it is better not to try.
    Spent(Duration),
}

impl Attempts {
    /// Counts one more that failed.
    pub(super) fn failed(&self, client: IpAddr, now: Instant) -> Allowance {
        let client = network(client);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !clients.contains_key(&client) && clients.len() >= CLIENTS {
            clients.retain(|_, tried| tried.forgotten > now);
            let least = clients.iter().min_by_key(|(_, tried)| tried.forgotten);
            if let Some(least) = least.map(|(client, _)| *client)
                && clients.len() >= CLIENTS
            {
                clients.remove(&least);
            }
        }
        let tried = clients.entry(client).or_insert(Tried { forgotten: now });
        let spent = tried.forgotten.max(now) + GIVES_BACK;
        let limit = now + GIVES_BACK * MOST;
        if spent > limit {
            return Allowance::Spent(spent - limit);
        }
        tried.forgotten = spent;
        Allowance::Left
    }
}

/// What one client can have many addresses of counts as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_run_out_for_one_client_and_come_back_with_time() {
        let attempts = Attempts::default();
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        for _ in 0..MOST {
            assert_eq!(attempts.failed(one, Instant::now()), Allowance::Left);
        }
        assert!(matches!(
            attempts.failed(one, Instant::now()),
            Allowance::Spent(wait) if wait <= GIVES_BACK
        ));
        assert_eq!(attempts.failed(other, Instant::now()), Allowance::Left);
        tokio::time::advance(GIVES_BACK).await;
        assert_eq!(attempts.failed(one, Instant::now()), Allowance::Left);
        assert_ne!(attempts.failed(one, Instant::now()), Allowance::Left);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_client_count_as_one_and_many_take_bounded_room() {
        let attempts = Attempts::default();
        for host in 0..MOST {
            let client = address(&format!("2001:db8::{host:x}"));
            assert_eq!(attempts.failed(client, Instant::now()), Allowance::Left);
        }
        let last = attempts.failed(address("2001:db8::ffff"), Instant::now());
        assert_ne!(last, Allowance::Left);
        for number in 0..5000_u32 {
            tokio::time::advance(Duration::from_millis(1)).await;
            let client = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert_eq!(attempts.failed(client, Instant::now()), Allowance::Left);
        }
        assert!(attempts.0.lock().unwrap().len() <= CLIENTS);
    }
}
