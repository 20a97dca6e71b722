//! Whose turn it is: clients take turns, and within one client it is first come, first served.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::IpAddr;

/// Who is one client to a queue: an IPv4 address, or an IPv6 network of 64 bits, for those belong to one household.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(IpAddr);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Fewer who wait are no crowd.
const CROWDED: usize = 4;

/// A number for everybody who waits, in the order of their coming.
pub(super) type Turn = u64;

/// The order of those who wait. Every step takes a time that grows with the logarithm of their number.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// Had their turn already and lost what they got: before all others, in the order of their coming.
    again: BTreeSet<Turn>,
    /// Whose turn is next, by place in the round.
    round: BTreeMap<u64, Origin>,
    clients: HashMap<Origin, Client>,
    /// To find the client with the most.
    by_count: BTreeSet<(usize, Origin)>,
    next_place: u64,
    waiting: usize,
}

/// One client with at least one who waits.
#[derive(Debug, Clone)]
struct Client {
    place: u64,
    turns: BTreeSet<Turn>,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// One client has more than half of all who wait, and keeps others waiting.
    pub(super) fn is_one_clients(&self) -> bool {
        let most = self.by_count.last().map_or(0, |(count, _)| *count);
        self.waiting >= CROWDED && most * 2 > self.waiting
    }

    /// To the end of the client's own line; a client that had nobody waiting comes last in the round.
    pub(super) fn join(&mut self, origin: Origin, turn: Turn) {
        let client = self.clients.entry(origin).or_insert_with(|| {
            let place = self.next_place;
            self.next_place += 1;
            self.round.insert(place, origin);
            let turns = BTreeSet::new();
            Client { place, turns }
        });
        let had = client.turns.len();
        client.turns.insert(turn);
        self.waiting += 1;
        self.recount(origin, had, had + 1);
    }

    /// Before all who had no turn yet.
    pub(super) fn join_again(&mut self, turn: Turn) {
        if self.again.insert(turn) {
            self.waiting += 1;
        }
    }

    /// Whose turn it is now; it waits no longer.
    pub(super) fn next(&mut self) -> Option<Turn> {
        if let Some(turn) = self.again.pop_first() {
            self.waiting -= 1;
            return Some(turn);
        }
        let (_, origin) = self.round.pop_first()?;
        let client = self.clients.get_mut(&origin)?;
        // To the end of the round; `leave` strikes it off when nobody is left.
        client.place = self.next_place;
        self.round.insert(self.next_place, origin);
        self.next_place += 1;
        let turn = *client.turns.first()?;
        self.leave(origin, turn);
        Some(turn)
    }

    /// Somebody waits no longer; false when it did not.
    pub(super) fn leave(&mut self, origin: Origin, turn: Turn) -> bool {
        if self.again.remove(&turn) {
            self.waiting -= 1;
            return true;
        }
        let Some(client) = self.clients.get_mut(&origin) else {
            return false;
        };
        let had = client.turns.len();
        if !client.turns.remove(&turn) {
            return false;
        }
        if client.turns.is_empty() {
            self.round.remove(&client.place);
            self.clients.remove(&origin);
        }
        self.waiting -= 1;
        self.recount(origin, had, had - 1);
        true
    }

    /// Somebody who has to make room for one more of `origin`: the newest of the client with the most, if that one
    /// would still have no fewer than `origin` then.
    pub(super) fn yields_to(&self, origin: Origin) -> Option<(Origin, Turn)> {
        let own = self
            .clients
            .get(&origin)
            .map_or(0, |client| client.turns.len());
        let (most, greediest) = *self.by_count.last()?;
        if most < own + 2 {
            return None;
        }
        let newest = self.clients.get(&greediest)?.turns.last()?;
        Some((greediest, *newest))
    }

    /// Everybody, in the order of their turns if nobody came or left any more.
    pub(super) fn list(mut self) -> Vec<Turn> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn recount(&mut self, origin: Origin, had: usize, has: usize) {
        self.by_count.remove(&(had, origin));
        if has > 0 {
            self.by_count.insert((has, origin));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn client(number: u8) -> Origin {
        IpAddr::from([10, 0, 0, number]).into()
    }

    #[test]
    fn an_ipv6_client_is_its_network_and_a_mapped_ipv4_client_its_address() {
        let origin = |text: &str| Origin::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(origin("2001:db8:1:2::3"), origin("2001:db8:1:2:9:9:9:9"));
        assert_ne!(origin("2001:db8:1:2::3"), origin("2001:db8:1:3::3"));
        assert_eq!(origin("::ffff:10.0.0.7"), origin("10.0.0.7"));
        assert_ne!(origin("10.0.0.7"), origin("10.0.0.8"));
    }

    #[test]
    fn one_request_of_a_client_does_not_wait_for_a_thousand_of_another() {
        let mut order = Order::default();
        for turn in 0..1000 {
            order.join(client(1), turn);
        }
        order.join(client(2), 1000);
        let first: Vec<_> = order.list().into_iter().take(3).collect();
        assert_eq!(first, [0, 1000, 1]);
    }

    #[test]
    fn a_client_that_comes_back_in_is_last_in_the_round() {
        let mut order = Order::default();
        order.join(client(1), 0);
        order.join(client(2), 1);
        assert_eq!(order.next(), Some(0));
        order.join(client(1), 2);
        assert_eq!(order.list(), [1, 2]);
    }

    #[test]
    fn who_lost_what_it_got_is_first_again() {
        let mut order = Order::default();
        for turn in 0..4 {
            order.join(client(1), turn);
        }
        assert_eq!((order.next(), order.next()), (Some(0), Some(1)));
        order.join_again(1);
        order.join_again(0);
        assert_eq!(order.len(), 4);
        assert_eq!(order.list(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_line_is_one_clients_when_it_has_more_than_half_of_it() {
        let mut order = Order::default();
        for turn in 0..3 {
            order.join(client(1), turn);
        }
        assert!(!order.is_one_clients(), "three are no crowd");
        order.join(client(1), 3);
        order.join(client(2), 4);
        assert!(order.is_one_clients());
        for (number, turn) in (5..9).zip(5..) {
            order.join(client(number), turn);
        }
        assert!(!order.is_one_clients());
    }

    #[test]
    fn only_the_newest_of_a_greedier_client_makes_room() {
        let mut order = Order::default();
        assert_eq!(order.yields_to(client(1)), None, "nobody is there");
        order.join(client(1), 0);
        assert_eq!(order.yields_to(client(2)), None, "nobody has more than one");
        order.join(client(1), 1);
        assert_eq!(order.yields_to(client(2)), Some((client(1), 1)));
        assert_eq!(order.yields_to(client(1)), None, "its own are its own");
        order.join(client(2), 2);
        assert_eq!(order.yields_to(client(2)), None, "it would have fewer then");
    }

    /// The same rules, said in the simplest way.
    #[derive(Default)]
    struct Plain {
        again: BTreeSet<Turn>,
        /// In the order of the round.
        clients: VecDeque<(Origin, VecDeque<Turn>)>,
    }

    impl Plain {
        fn join(&mut self, origin: Origin, turn: Turn) {
            match self.clients.iter_mut().find(|(known, _)| *known == origin) {
                Some((_, turns)) => turns.push_back(turn),
                None => self.clients.push_back((origin, [turn].into())),
            }
        }

        fn next(&mut self) -> Option<Turn> {
            if let Some(turn) = self.again.pop_first() {
                return Some(turn);
            }
            let (origin, mut turns) = self.clients.pop_front()?;
            let turn = turns.pop_front();
            if !turns.is_empty() {
                self.clients.push_back((origin, turns));
            }
            turn
        }

        fn leave(&mut self, turn: Turn) -> bool {
            let before = self.len();
            self.again.remove(&turn);
            for (_, turns) in &mut self.clients {
                turns.retain(|one| *one != turn);
            }
            self.clients.retain(|(_, turns)| !turns.is_empty());
            self.len() < before
        }

        fn len(&self) -> usize {
            let waiting = self.clients.iter().map(|(_, turns)| turns.len());
            self.again.len() + waiting.sum::<usize>()
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join(u8),
        Next,
        /// The last who had its turn loses it.
        Again,
        /// The one who came as the n-th leaves.
        Leave(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8).prop_map(Step::Join),
            2 => Just(Step::Next),
            1 => Just(Step::Again),
            2 => (0..40_u64).prop_map(Step::Leave),
        ]
    }

    proptest! {
        #[test]
        fn turns_are_as_the_simplest_round_robin_gives_them(steps in prop::collection::vec(step(), 0..80)) {
            let mut order = Order::default();
            let mut plain = Plain::default();
            let mut origins = Vec::new();
            let mut had_its_turn = Vec::new();
            for step in steps {
                match step {
                    Step::Join(number) => {
                        let turn = origins.len() as u64;
                        origins.push(client(number));
                        order.join(client(number), turn);
                        plain.join(client(number), turn);
                    }
                    Step::Next => {
                        let next = order.next();
                        prop_assert_eq!(next, plain.next());
                        had_its_turn.extend(next);
                    }
                    Step::Again => if let Some(turn) = had_its_turn.pop() {
                        order.join_again(turn);
                        plain.again.insert(turn);
                    },
                    Step::Leave(turn) => if let Some(origin) = origins.get(usize::try_from(turn).unwrap()) {
                        prop_assert_eq!(order.leave(*origin, turn), plain.leave(turn));
                    },
                }
                prop_assert_eq!(order.len(), plain.len());
                let most = plain.clients.iter().map(|(_, turns)| turns.len()).max();
                prop_assert_eq!(order.by_count.last().map(|(count, _)| *count), most);
            }
            let rest: Vec<_> = std::iter::from_fn(|| plain.next()).collect();
            prop_assert_eq!(order.list(), rest);
        }
    }
}
