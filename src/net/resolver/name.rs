//! One name, as everybody who uses it sees it.

use super::failure::NameFailure;
use super::failure::NameTrouble;
use super::known::Known;
use super::known::Last;
use super::query::silent;
use super::thread::Order;
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;

/// Where the last look-up failed, nobody waits longer for the next.
const SHORT: Duration = Duration::from_secs(1);
/// A question that nobody answers for so long may be asked once more beside it, if somebody waits.
pub(super) const COMPANY_AFTER: Duration = Duration::from_secs(2);
/// In milliseconds.
const SETTLED: u64 = 1000;
/// A name that nobody used for so long is not looked up any more until somebody does.
const UNUSED: Duration = Duration::from_mins(10);

/// One name. Its addresses are had without waiting once they are known: no lock, no system call.
///
/// Every ordering is relaxed: each value stands alone.
#[derive(Debug)]
pub struct Name {
    host: Arc<str>,
    known: ArcSwap<Known>,
    /// Where connecting did not work lately, while another address of the name did.
    shunned: ArcSwap<Vec<SocketAddr>>,
    /// For requests, and for everybody else: probes in between must not give all requests to one address.
    turn: AtomicUsize,
    start: AtomicUsize,
    born: Instant,
    /// In milliseconds since it was born, as the next one.
    used: AtomicU64,
    /// Until then a look-up out of turn tells nothing new.
    settled: AtomicU64,
    pub(super) is_resting: AtomicBool,
    pub(super) wanted: Notify,
    news: watch::Sender<()>,
    orders: mpsc::Sender<Order>,
}

impl Name {
    pub(super) fn new(host: Arc<str>, orders: mpsc::Sender<Order>) -> Self {
        Self {
            host,
            known: ArcSwap::from_pointee(Known::nothing()),
            shunned: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            born: Instant::now(),
            used: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            is_resting: AtomicBool::new(false),
            wanted: Notify::new(),
            news: watch::Sender::new(()),
            orders,
        }
    }

    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// It is in use: its addresses are kept fresh.
    fn touch(&self) {
        self.used.store(self.now(), Ordering::Relaxed);
    }

    /// A look-up out of turn has brought nothing.
    pub(super) fn settle(&self) {
        self.settled.store(self.now() + SETTLED, Ordering::Relaxed);
    }

    pub(super) fn is_unused(&self) -> bool {
        let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(used) >= UNUSED
    }

    pub(in crate::net) fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    pub(super) fn learn(&self, known: Known) {
        self.known.store(Arc::new(known));
    }

    /// Whoever waits looks again.
    pub(super) fn tell(&self) {
        self.news.send_replace(());
    }

    pub(in crate::net) fn listen(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Its addresses: at once where any are known, else as soon as there is an answer, at most `within`. Cancel safe.
    ///
    /// A little less, to be exact: a caller's own deadline would blame whom it wanted to reach.
    pub(in crate::net) async fn addresses(
        &self,
        within: Duration,
    ) -> Result<Arc<Known>, NameFailure> {
        self.touch();
        let mut news = self.listen();
        let known = self.known();
        let is_known = !known.addresses.is_empty() || known.last == Last::Absent;
        if is_known && !self.is_resting.load(Ordering::Relaxed) {
            return self.usable(known);
        }
        // The first look-up begins by itself; it gets company where it takes long.
        if known.last != Last::Never || self.born.elapsed() >= COMPANY_AFTER {
            self.wanted.notify_one();
        }
        let patience = within.mul_f64(0.9);
        let patience = match known.last {
            Last::Never => patience,
            _ => patience.min(SHORT),
        };
        // Late or not: what is known then is what there is.
        drop(timeout(patience, news.changed()).await);
        self.usable(self.known())
    }

    /// Its addresses, at most so late; for those who connect by themselves.
    ///
    /// # Errors
    /// There is none, or nobody could say. Cancel safe.
    pub async fn resolve(&self, within: Duration) -> Result<Vec<IpAddr>, NameFailure> {
        let known = self.addresses(within).await?;
        Ok(known.addresses.to_vec())
    }

    fn usable(&self, known: Arc<Known>) -> Result<Arc<Known>, NameFailure> {
        if !known.addresses.is_empty() {
            return Ok(known);
        }
        let host = self.host.clone();
        Err(match &known.last {
            Last::Absent => NameFailure::Absent { host },
            Last::Failed(trouble) => NameFailure::Unresolved {
                host,
                trouble: trouble.clone(),
            },
            Last::Never | Last::Found => NameFailure::Unresolved {
                host,
                trouble: match known.server {
                    Some(server) => silent(server),
                    None => NameTrouble::silence("no name server was asked yet"),
                },
            },
        })
    }

    /// It is worth a look whether there are other addresses by now: none of those that are known can be connected.
    /// [`Name::listen`] tells when it is over; looks for this reason have a pace.
    ///
    /// False where nobody should wait for that: somebody has just looked, or the name server fails.
    pub(in crate::net) fn hurry(&self) -> bool {
        if self.now() < self.settled.load(Ordering::Relaxed) {
            return false;
        }
        self.wanted.notify_one();
        !matches!(self.known.load().last, Last::Failed(_))
    }

    /// The address that is next in turn, of those that can be connected; none where none is known.
    #[must_use]
    pub fn pick(&self, port: u16) -> Option<SocketAddr> {
        self.touch();
        let known = self.known.load();
        let addresses = &known.addresses;
        if let [only] = **addresses {
            return Some((only, port).into());
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut all = turned(addresses, first).map(|address| SocketAddr::from((address, port)));
        let shunned = self.shunned.load();
        let next = all.clone().find(|address| !shunned.contains(address));
        next.or_else(|| all.next())
    }

    /// It is one of its addresses now.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.known.load().addresses.contains(&address)
    }

    /// All addresses of `known` in the order in which they are tried: `first`, those that can be connected, the others;
    /// the families take turns.
    pub(in crate::net) fn order(
        &self,
        known: &Known,
        port: u16,
        first: Option<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let start = match first {
            Some(_) => 0,
            None => self.start.fetch_add(1, Ordering::Relaxed),
        };
        let all: Vec<_> = turned(&known.addresses, start)
            .map(|address| SocketAddr::from((address, port)))
            .collect();
        let shunned = self.shunned.load();
        let (last, mut good): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|address| shunned.contains(address));
        if let Some(at) = good.iter().position(|address| Some(*address) == first) {
            good[..=at].rotate_right(1);
        }
        let mut order = interleaved(good);
        order.extend(interleaved(last));
        order
    }

    /// Another address was quicker, or this one failed: it is not tried first until it can be connected again.
    pub(in crate::net) fn shun(self: &Arc<Self>, address: SocketAddr) {
        if self.shunned.load().contains(&address) {
            return;
        }
        self.shunned.rcu(|shunned| {
            let mut shunned = Vec::clone(shunned);
            if !shunned.contains(&address) {
                shunned.push(address);
            }
            shunned
        });
        let order = Order::Knock(self.clone(), address);
        if self.orders.try_send(order).is_err() {
            // Nobody would look whether it is back.
            self.trust(address);
        }
    }

    pub(in crate::net) fn trust(&self, address: SocketAddr) {
        if self.shunned.load().contains(&address) {
            self.shunned.rcu(|shunned| {
                let mut shunned = Vec::clone(shunned);
                shunned.retain(|one| *one != address);
                shunned
            });
        }
    }

    pub(super) fn is_shunned(&self, address: SocketAddr) -> bool {
        self.shunned.load().contains(&address)
    }
}

fn turned(addresses: &[IpAddr], first: usize) -> impl Iterator<Item = IpAddr> + Clone {
    let (before, from) = addresses.split_at(first % addresses.len().max(1));
    from.iter().chain(before).copied()
}

/// The first one stays first; after it the families take turns.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().copied() else {
        return addresses;
    };
    let (same, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [same.next(), other.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(addresses: &[&str]) -> Arc<Name> {
        let name = Name::new("app".into(), mpsc::channel(8).0);
        name.learn(Known {
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            last: Last::Found,
            ..Known::nothing()
        });
        Arc::new(name)
    }

    fn hosts(order: &[SocketAddr]) -> Vec<String> {
        order.iter().map(|it| it.ip().to_string()).collect()
    }

    #[test]
    fn the_families_take_turns_and_the_first_wish_comes_first() {
        let name = name(&["10.0.0.1", "10.0.0.2", "::1", "::2"]);
        let first = "10.0.0.2:80".parse().unwrap();
        let order = name.order(&name.known(), 80, Some(first));
        assert_eq!(hosts(&order), ["10.0.0.2", "::1", "10.0.0.1", "::2"]);
    }

    #[tokio::test]
    async fn an_address_that_is_shunned_is_tried_last_and_picked_only_where_there_is_no_other() {
        let (orders, mut inbox) = mpsc::channel(8);
        let name = Arc::new(Name::new("app".into(), orders));
        let addresses = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        name.learn(Known {
            addresses: Arc::new(addresses),
            last: Last::Found,
            ..Known::nothing()
        });
        let [first, second] = addresses.map(|it: IpAddr| SocketAddr::new(it, 80));
        name.shun(first);
        assert!(matches!(inbox.try_recv(), Ok(Order::Knock(_, it)) if it == first));
        for _ in 0..4 {
            assert_eq!(name.pick(80), Some(second));
            assert_eq!(name.order(&name.known(), 80, None), [second, first]);
        }
        // The same host on another port is another matter.
        let ports: Vec<_> = (0..4).filter_map(|_| name.pick(81)).collect();
        assert!(ports.iter().any(|it| it.ip() == first.ip()), "{ports:?}");
        name.shun(second);
        assert!(name.pick(80).is_some(), "a bad one before none");
        name.trust(first);
        assert_eq!(name.pick(80), Some(first));
    }

    #[test]
    fn requests_take_turns_over_all_addresses_whatever_probes_do_in_between() {
        let name = name(&["10.0.0.1", "10.0.0.2"]);
        let mut seen = [0, 0];
        for _ in 0..10 {
            let picked = name.pick(80).unwrap();
            seen[usize::from(picked.ip().to_string() == "10.0.0.2")] += 1;
            name.order(&name.known(), 80, None);
        }
        assert_eq!(seen, [5, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_is_known_and_the_server_is_named_where_it_is_silent() {
        let known = name(&["10.0.0.1"]);
        let began = Instant::now();
        known.addresses(Duration::from_secs(5)).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        let silent = Name::new("app".into(), mpsc::channel(8).0);
        silent.learn(Known {
            server: Some(([127, 0, 0, 11], 53).into()),
            ..Known::nothing()
        });
        let failure = silent.addresses(Duration::from_secs(2)).await.unwrap_err();
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "before its caller gives up"
        );
        assert_eq!(
            failure.to_string(),
            "cannot look up app: the name server does not answer (127.0.0.11:53)"
        );
        silent.learn(Known {
            last: Last::Absent,
            ..Known::nothing()
        });
        let began = Instant::now();
        let failure = silent.addresses(Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(failure.to_string(), "the name app does not exist");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
