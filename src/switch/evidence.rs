//! What counts for or against a slot: whom it came from, and whether the old slot did that well.
//!
//! The question is whether the new slot is worse than the old one, so only those can answer it who were served
//! well by the old one, on the parts of the site where the old one worked, and each of them with no more than
//! a few times the share of traffic that was theirs before. Whoever came later proves nothing alone, for
//! anybody can ask for an URL that fails.

use super::account::{Account, ClientId, Met, Observation, PartAccount, keep_larger_half};
use super::limits::WatchRules;
use super::moment::Moment;
use super::parts::Parts;
use super::tally::Tally;
use super::times::time_bucket;
use std::collections::HashMap;
use std::time::Duration;

/// So many clients that the old slot did not know are believed all the same: more than one stranger has addresses.
pub(super) const CROWD: usize = 25;
/// No client weighs more than so many times what was its share of the traffic before.
const SWELL: u64 = 3;
/// What every client may contribute at least.
const FIRST_WORDS: u64 = 2;
const MOST_CLIENTS: usize = 4096;

/// What the slot that was left did, and what it is called.
#[derive(Debug, Clone)]
pub struct History {
    pub slot: String,
    pub account: Account,
}

/// Who is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Believes {
    /// Those who were served well by the slot that was left.
    Known,
    /// Also those who are served well now: new visitors, or nothing is known of the time before.
    Anybody,
}

/// What was seen of a slot since a beginning, as far as it counts.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub(super) history: Option<History>,
    believes: Believes,
    min_clients: usize,
    /// Answers from here on are slow at all.
    slow: usize,
    /// Of clients that are believed.
    counted: Tally,
    /// Of others.
    strangers: Tally,
    weight: u64,
    clients: HashMap<ClientId, Seen>,
    /// Good answers before, of all clients that have come since.
    present: u64,
    /// Clients of which more than half failed, and the others.
    failing: usize,
    thriving: usize,
    pub(super) parts: Parts,
    aside: Aside,
}

/// What was seen and does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aside {
    /// Failures that anybody could have provoked.
    pub discounted: u64,
    /// Errors of what all slots share.
    pub shared: u64,
    /// What the last of those calls itself.
    pub shared_name: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    counted: u64,
    good: u64,
    failed: u64,
    is_stranger: bool,
    /// When something that counts last went wrong for it.
    troubled: Troubled,
}

#[derive(Debug, Clone, Copy, Default)]
struct Troubled {
    failed: Option<Moment>,
    unopened: Option<Moment>,
    slow: Option<Moment>,
}

/// What kind of trouble clients had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Failed,
    Unopened,
    Slow,
}

/// Whose tally an observation goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Counted,
    Strangers,
    Neither,
}

impl Evidence {
    #[must_use]
    pub fn new(rules: &WatchRules, believes: Believes, history: Option<History>) -> Self {
        let history = history.filter(|it| !it.account.is_blank());
        let before = history
            .as_ref()
            .and_then(|it| it.account.tally().percentile(95));
        let slow = rules.latency_floor.max(before.unwrap_or_default());
        Self {
            believes: if history.is_some() {
                believes
            } else {
                Believes::Anybody
            },
            history,
            min_clients: usize::try_from(rules.min_clients).unwrap_or(usize::MAX),
            slow: time_bucket(slow) + 1,
            counted: Tally::default(),
            strangers: Tally::default(),
            weight: 0,
            clients: HashMap::new(),
            present: 0,
            failing: 0,
            thriving: 0,
            parts: Parts::default(),
            aside: Aside::default(),
        }
    }

    #[must_use]
    pub fn counted(&self) -> &Tally {
        &self.counted
    }

    pub(super) fn strangers(&self) -> &Tally {
        &self.strangers
    }

    /// All requests that were looked at.
    pub(super) fn seen(&self) -> u64 {
        self.counted.requests + self.strangers.requests
    }

    #[must_use]
    pub fn aside(&self) -> &Aside {
        &self.aside
    }

    /// What it is compared with; none where nothing is known of before.
    #[must_use]
    pub fn before(&self) -> Option<Tally> {
        self.history.as_ref().map(|it| it.account.tally())
    }

    /// Takes one request into account.
    pub fn note(&mut self, now: Moment, seen: &Observation<'_>) {
        if seen.met == Met::SharedError {
            self.aside.shared += seen.weight;
            self.aside.shared_name = seen.error.map(str::to_owned);
            return;
        }
        self.meet(seen.client);
        if seen.met == Met::Closed {
            return;
        }
        let side = self.side(seen);
        let is_known_part = self.is_known_part(seen);
        let weak = side == Side::Strangers || (side == Side::Neither && !is_known_part);
        if side != Side::Neither || weak {
            let is_stranger = self
                .clients
                .get(&seen.client)
                .is_some_and(|it| it.is_stranger);
            self.parts.note(now, seen, (weak, is_stranger));
        }
        if side != Side::Counted && seen.met.is_bad() {
            self.aside.discounted += seen.weight;
        }
        let tally = match side {
            Side::Counted => &mut self.counted,
            Side::Strangers => &mut self.strangers,
            Side::Neither => {
                self.remember(seen);
                return;
            }
        };
        add(tally, seen);
        self.trouble(now, seen);
        if side == Side::Counted {
            self.weight += seen.weight;
        }
        self.remember(seen);
    }

    /// Something of the time before has become known only now.
    pub fn also_before(&mut self, slot: &str, seen: &Observation<'_>) {
        let history = self.history.as_mut().filter(|it| it.slot == slot);
        if let Some(history) = history.filter(|_| seen.met.is_good()) {
            history.account.note(seen);
        }
    }

    /// A client that was not seen before has come.
    fn meet(&mut self, client: ClientId) {
        if self.clients.contains_key(&client) {
            return;
        }
        if self.clients.len() >= MOST_CLIENTS {
            keep_larger_half(&mut self.clients, |it| it.counted + it.good);
            self.failing = self.clients.values().filter(|it| it.is_failing()).count();
            self.thriving = self.clients.values().filter(|it| it.is_thriving()).count();
        }
        let good = self.good_before(client);
        self.present += good;
        let is_stranger = self.believes == Believes::Known && good == 0;
        let seen = Seen {
            is_stranger,
            ..Seen::default()
        };
        self.clients.insert(client, seen);
    }

    fn good_before(&self, client: ClientId) -> u64 {
        let history = self.history.as_ref();
        history.map_or(0, |it| it.account.good_of(client))
    }

    fn is_known_part(&self, seen: &Observation<'_>) -> bool {
        let history = self.history.as_ref();
        let before = history.and_then(|it| it.account.part(seen.part));
        before.is_some_and(|part| match seen.met {
            Met::Unopened => part.opened > 0,
            _ => part.worked(),
        })
    }

    fn side(&self, seen: &Observation<'_>) -> Side {
        let history = self.history.as_ref();
        let before = history.and_then(|it| it.account.part(seen.part));
        if before.is_some_and(PartAccount::mostly_failed) {
            return Side::Neither;
        }
        let Some(client) = self.clients.get(&seen.client) else {
            return Side::Neither;
        };
        if seen.met.is_bad() {
            let is_fair = match self.believes {
                Believes::Known => self.is_known_part(seen),
                Believes::Anybody => self.is_believed(client),
            };
            if !is_fair {
                return Side::Neither;
            }
        }
        if client.is_stranger {
            return Side::Strangers;
        }
        if self.is_within_its_share(seen, client) {
            Side::Counted
        } else {
            Side::Neither
        }
    }

    /// Where nothing else tells honest clients from others: whoever mostly fails while others do not asks for what
    /// fails, unless there are many of them.
    fn is_believed(&self, client: &Seen) -> bool {
        self.thriving == 0 || self.failing >= CROWD || client.good >= client.failed.max(1)
    }

    fn is_within_its_share(&self, seen: &Observation<'_>, client: &Seen) -> bool {
        let (own, all) = match self.believes {
            Believes::Known => (self.good_before(seen.client), self.present),
            Believes::Anybody => (1, self.clients.len() as u64),
        };
        let weight = u128::from(self.weight + seen.weight);
        let share = u128::from(SWELL * own) * weight / u128::from(all.max(1));
        u128::from(client.counted + seen.weight) <= share + u128::from(FIRST_WORDS)
            // The first observation of a sample that stands for many.
            || client.counted == 0
    }

    fn trouble(&mut self, now: Moment, seen: &Observation<'_>) {
        let Some(client) = self.clients.get_mut(&seen.client) else {
            return;
        };
        client.counted += seen.weight;
        let troubled = &mut client.troubled;
        match seen.met {
            Met::Failed | Met::RpcError => troubled.failed = Some(now),
            Met::Unopened => troubled.unopened = Some(now),
            _ => {}
        }
        if seen.time >= self.slow {
            troubled.slow = Some(now);
        }
    }

    /// What it does says who it is, where nothing else does.
    fn remember(&mut self, seen: &Observation<'_>) {
        let Some(client) = self.clients.get_mut(&seen.client) else {
            return;
        };
        let (was_failing, was_thriving) = (client.is_failing(), client.is_thriving());
        match seen.met {
            Met::Served | Met::Opened => client.good += seen.weight,
            met if met.is_bad() => client.failed += seen.weight,
            _ => {}
        }
        let (is_failing, is_thriving) = (client.is_failing(), client.is_thriving());
        self.failing = self.failing + usize::from(is_failing) - usize::from(was_failing);
        self.thriving = self.thriving + usize::from(is_thriving) - usize::from(was_thriving);
    }

    /// Whether enough clients had this trouble within `length` to rest a verdict on them.
    pub(super) fn is_common(&self, trouble: Trouble, (now, length): (Moment, Duration)) -> bool {
        let clients = self.clients.iter().filter(|(_, it)| !it.is_stranger);
        let troubled = clients.filter(|(_, it)| it.had(trouble, (now, length)));
        self.are_enough(troubled.map(|(client, _)| *client))
    }

    /// The same of those whom the old slot did not know.
    pub(super) fn is_common_to_strangers(
        &self,
        trouble: Trouble,
        (now, length): (Moment, Duration),
    ) -> bool {
        let strangers = self.clients.values().filter(|it| it.is_stranger);
        strangers
            .filter(|it| it.had(trouble, (now, length)))
            .count()
            >= CROWD
    }

    pub(super) fn are_enough(&self, clients: impl Iterator<Item = ClientId>) -> bool {
        let (mut count, mut good) = (0, 0);
        for client in clients {
            count += 1;
            good += self.good_before(client);
        }
        let needed = match self.believes {
            Believes::Anybody => self.min_clients.min(self.clients.len()).max(1),
            Believes::Known => self.min_clients,
        };
        let all = self.history.as_ref().map_or(0, |it| it.account.good());
        count >= needed || (count > 0 && all > 0 && good * 2 >= all)
    }
}

impl Seen {
    fn is_failing(&self) -> bool {
        self.failed > self.good
    }

    fn is_thriving(&self) -> bool {
        self.good > 0 && self.good >= self.failed
    }

    fn had(&self, trouble: Trouble, (now, length): (Moment, Duration)) -> bool {
        let at = match trouble {
            Trouble::Failed => self.troubled.failed,
            Trouble::Unopened => self.troubled.unopened,
            Trouble::Slow => self.troubled.slow,
        };
        at.is_some_and(|at| now.since(at) <= length)
    }
}

fn add(tally: &mut Tally, seen: &Observation<'_>) {
    let weight = seen.weight;
    match seen.met {
        Met::Opened => tally.handshakes += weight,
        Met::Unopened => {
            tally.handshakes += weight;
            tally.refused += weight;
        }
        Met::Served | Met::Refused | Met::Failed | Met::RpcError => {
            tally.requests += weight;
            let bucket = seen.time.min(tally.times.len() - 1);
            tally.times[bucket] += weight;
        }
        Met::Closed | Met::SharedError => {}
    }
    match seen.met {
        Met::Failed => tally.failed += weight,
        Met::RpcError => tally.rpc_errors += weight,
        _ => {}
    }
}
