//! How many connections each client has, over all workers.

use super::asked::Neighbours;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Parts with locks of their own: two workers rarely want the same one.
const PARTS: usize = 64;

/// Counts connections by client: an address, or its /64 in IPv6. As large as the connections that are open.
///
/// A lock per connection that comes and goes, held for one look-up: requests never see it.
#[derive(Debug)]
pub struct Crowd {
    parts: Box<[Part]>,
    seed: RandomState,
}

/// By the hash of a client.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(Mutex<HashMap<u64, usize>>);

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Headcount {
    crowd: Arc<Crowd>,
    client: u64,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            seed: RandomState::new(),
        }
    }
}

impl Crowd {
    /// Counts one more connection of `client`; none when it has `most` already.
    #[must_use]
    pub fn enter(self: &Arc<Self>, client: IpAddr, most: usize) -> Option<Headcount> {
        let client = Neighbours::HOUSEHOLD.hash(client, &self.seed);
        let mut part = self.part(client);
        let count = part.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Headcount {
            crowd: Arc::clone(self),
            client,
        })
    }

    fn part(&self, client: u64) -> std::sync::MutexGuard<'_, HashMap<u64, usize>> {
        let at = usize::try_from(client % PARTS as u64).unwrap_or(0);
        // A count is right whoever panicked beside it.
        self.parts[at]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Headcount {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.crowd.part(self.client).entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_count_and_leaves_nothing_behind() {
        let crowd = Arc::new(Crowd::default());
        let enter = |client: &str| crowd.enter(client.parse().unwrap(), 2);
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        drop(first);
        let third = enter("192.0.2.1");
        assert!(third.is_some() && enter("192.0.2.1").is_none());
        let six: Vec<_> = (0..3).map(|n| enter(&format!("2001:db8::{n}"))).collect();
        assert_eq!(six.iter().flatten().count(), 2, "one household");
        drop((second, third, other, six));
        assert!(
            crowd
                .parts
                .iter()
                .all(|part| part.0.lock().unwrap().is_empty())
        );
    }
}
