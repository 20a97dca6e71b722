//! What a slot did, for whom and where: what the slot that follows it is measured by.

use super::tally::Tally;
use super::times::TIME_BUCKETS;
use std::collections::HashMap;
use std::hash::Hash;

/// So many clients are remembered of one slot; when there are more, those with the fewest good answers are forgotten.
const MOST_CLIENTS: usize = 4096;
/// So many parts of a site are remembered; when there are more, the least used ones are forgotten.
const MOST_PARTS: usize = 512;

/// Whom evidence is counted for: an IPv4 address or the first half of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// What one request of a client met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// An answer below 400.
    Served,
    /// An answer of 4xx: the client's doing, and no praise for the slot either.
    Refused,
    /// An answer of 500 or above, none at all, or no place in time.
    Failed,
    /// A JSON-RPC error in an answer of 200.
    RpcError,
    /// One that speaks of what all slots share, a database for example.
    SharedError,
    /// A websocket was opened.
    Opened,
    /// A websocket was asked for and failed.
    Unopened,
    /// A websocket has ended: its client was served all the while.
    Closed,
}

impl Met {
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Served | Self::Opened | Self::Closed)
    }

    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::RpcError | Self::Unopened)
    }
}

/// One request at its end, as a verdict may rest on it.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    pub client: ClientId,
    /// Where it was asked: a route, or a method of a model.
    pub part: &'a str,
    pub met: Met,
    /// What the error calls itself.
    pub error: Option<&'a str>,
    /// How long it took, by [`time_bucket`](super::time_bucket).
    pub time: usize,
    /// How many requests it stands for.
    pub weight: u64,
}

/// Counts of one slot over some time, by client and by part.
#[derive(Debug, Clone)]
pub struct Account {
    /// Good answers of each.
    clients: HashMap<ClientId, u64>,
    parts: HashMap<Box<str>, PartAccount>,
    times: Box<[u64; TIME_BUCKETS]>,
    good: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PartAccount {
    pub(super) calls: u64,
    pub(super) failed: u64,
    rpc_errors: u64,
    pub(super) opened: u64,
    unopened: u64,
}

impl PartAccount {
    fn weight(&self) -> u64 {
        self.calls + self.opened + self.unopened
    }

    /// It was no better before: whatever it does now says nothing.
    pub(super) fn mostly_failed(&self) -> bool {
        self.calls > 0 && self.failed * 2 >= self.calls
    }

    /// Somebody was served well there.
    pub(super) fn worked(&self) -> bool {
        self.calls > self.failed || self.opened > 0
    }
}

impl Default for Account {
    fn default() -> Self {
        Self {
            clients: HashMap::new(),
            parts: HashMap::new(),
            times: Box::new([0; TIME_BUCKETS]),
            good: 0,
        }
    }
}

impl Account {
    /// Takes one request into account.
    pub fn note(&mut self, seen: &Observation<'_>) {
        let weight = seen.weight;
        if seen.met.is_good() {
            *self.clients.entry(seen.client).or_default() += weight;
            self.good += weight;
        }
        if matches!(seen.met, Met::Closed | Met::SharedError) {
            return;
        }
        let part = part_of(&mut self.parts, seen.part);
        match seen.met {
            Met::Opened => part.opened += weight,
            Met::Unopened => part.unopened += weight,
            Met::Failed => part.failed += weight,
            Met::RpcError => {
                part.failed += weight;
                part.rpc_errors += weight;
            }
            Met::Served | Met::Refused | Met::Closed | Met::SharedError => {}
        }
        if !matches!(seen.met, Met::Opened | Met::Unopened) {
            part.calls += weight;
            self.times[seen.time.min(TIME_BUCKETS - 1)] += weight;
        }
        self.prune();
    }

    /// Adds what was counted at another time.
    pub fn merge(&mut self, other: &Self) {
        for (client, good) in &other.clients {
            *self.clients.entry(*client).or_default() += good;
        }
        for (name, count) in &other.parts {
            let part = part_of(&mut self.parts, name);
            part.calls += count.calls;
            part.failed += count.failed;
            part.rpc_errors += count.rpc_errors;
            part.opened += count.opened;
            part.unopened += count.unopened;
        }
        for (time, more) in self.times.iter_mut().zip(other.times.iter()) {
            *time += more;
        }
        self.good += other.good;
        self.prune();
    }

    /// Nobody was served well: there is nothing to compare with.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.good == 0
    }

    /// What is fair to compare with: without the parts that mostly failed anyway.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            times: self.times.clone(),
            ..Tally::default()
        };
        for part in self.parts.values().filter(|part| !part.mostly_failed()) {
            tally.requests += part.calls;
            tally.failed += part.failed - part.rpc_errors;
            tally.rpc_errors += part.rpc_errors;
            tally.handshakes += part.opened + part.unopened;
            tally.refused += part.unopened;
        }
        tally
    }

    pub(super) fn good_of(&self, client: ClientId) -> u64 {
        self.clients.get(&client).copied().unwrap_or_default()
    }

    pub(super) fn good(&self) -> u64 {
        self.good
    }

    pub(super) fn part(&self, name: &str) -> Option<&PartAccount> {
        self.parts.get(name)
    }

    fn prune(&mut self) {
        if self.clients.len() > MOST_CLIENTS {
            keep_larger_half(&mut self.clients, |good| *good);
        }
        if self.parts.len() > MOST_PARTS {
            keep_larger_half(&mut self.parts, PartAccount::weight);
        }
    }
}

fn part_of<'a>(parts: &'a mut HashMap<Box<str>, PartAccount>, name: &str) -> &'a mut PartAccount {
    if !parts.contains_key(name) {
        parts.insert(name.into(), PartAccount::default());
    }
    parts.get_mut(name).expect("it was just put there")
}

/// Forgets at least half, so that forgetting is rare.
pub(super) fn keep_larger_half<K: Eq + Hash + Clone, V>(
    map: &mut HashMap<K, V>,
    weight: impl Fn(&V) -> u64,
) {
    let mut order: Vec<(u64, K)> = map
        .iter()
        .map(|(key, it)| (weight(it), key.clone()))
        .collect();
    let middle = order.len() / 2;
    order.select_nth_unstable_by(middle, |a, b| a.0.cmp(&b.0));
    for (_, key) in &order[..middle] {
        map.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(client: u64, part: &str, met: Met) -> Observation<'_> {
        Observation {
            client: ClientId(client),
            part,
            met,
            error: None,
            time: 0,
            weight: 1,
        }
    }

    #[test]
    fn what_failed_anyway_is_no_measure() {
        let mut account = Account::default();
        for _ in 0..90 {
            account.note(&seen(1, "/ok", Met::Served));
        }
        for _ in 0..10 {
            account.note(&seen(2, "/crash", Met::Failed));
        }
        let tally = account.tally();
        assert_eq!((tally.requests, tally.failed), (90, 0));
        assert_eq!(account.good_of(ClientId(2)), 0);
    }

    #[test]
    fn memory_is_bounded_and_what_matters_stays() {
        let mut account = Account::default();
        for _ in 0..50 {
            account.note(&seen(7, "/honest", Met::Served));
        }
        for at in 0..20_000_u64 {
            account.note(&seen(1000 + at, &format!("/junk/{at}"), Met::Served));
        }
        assert!(account.parts.len() <= MOST_PARTS && account.clients.len() <= MOST_CLIENTS);
        assert_eq!(account.good_of(ClientId(7)), 50);
        assert_eq!(account.part("/honest").map(|part| part.calls), Some(50));
    }
}
