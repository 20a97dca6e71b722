//! The thread that looks names up, and the list of names.

use super::failure::NameTrouble;
use super::known::Known;
use super::known::Last;
use super::known::NameState;
use super::name::Name;
use super::settings::ResolverSettings;
use super::system::System;
use super::tending;
use crate::net::Lack;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// Orders that may wait for the thread.
const ORDERS: usize = 1024;
/// Answers that came within this time of each other are of one moment.
const SAME_TIME: Duration = Duration::from_secs(1);

/// Looks names up.
#[derive(Debug, Default)]
pub struct Resolver {
    desk: Arc<Desk>,
    thread: Mutex<Option<mpsc::Sender<Order>>>,
}

/// What the thread and those who ask share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    names: ArcSwap<BTreeMap<Arc<str>, Arc<Name>>>,
    settings: ArcSwap<ResolverSettings>,
    /// As last read. Only the thread looks.
    system: Mutex<Option<Arc<System>>>,
    pub(super) found: AtomicU64,
    pub(super) absent: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// For the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Keep it fresh.
    Tend(Arc<Name>),
    /// Find out when it can be connected again.
    Knock(Arc<Name>, SocketAddr),
}

/// Look-ups since the start, by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NameCounts {
    pub found: u64,
    pub absent: u64,
    pub failed: u64,
}

/// How it stands with one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameReport {
    pub host: Arc<str>,
    pub state: NameState,
    /// Those that are used.
    pub addresses: Vec<IpAddr>,
    /// Since its name server confirmed them last.
    pub age: Option<Duration>,
    /// Why there is no newer answer.
    pub trouble: Option<Arc<str>>,
}

impl Resolver {
    /// From now on names are looked up like this.
    pub fn configure(&self, settings: &ResolverSettings) {
        let changes = **self.desk.settings.load() != *settings;
        if changes {
            self.desk.settings.store(Arc::new(settings.clone()));
            for name in self.desk.names.load().values() {
                name.hurry();
            }
        }
    }

    /// The name, which is looked up from now on. Without a lock where it is known already.
    #[must_use]
    pub fn name(&self, host: &str) -> Arc<Name> {
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.name(&host.to_ascii_lowercase());
        }
        if let Some(name) = self.desk.names.load().get(host) {
            return name.clone();
        }
        let mut thread = lock(&self.thread);
        if let Some(name) = self.desk.names.load().get(host) {
            return name.clone();
        }
        let host: Arc<str> = host.into();
        let orders = match &*thread {
            Some(orders) => Ok(orders.clone()),
            None => start(self.desk.clone()),
        };
        match orders {
            Ok(orders) => {
                *thread = Some(orders.clone());
                let name = Arc::new(Name::new(host.clone(), orders.clone()));
                match orders.try_send(Order::Tend(name.clone())) {
                    Ok(()) => self.desk.add(&host, &name),
                    // Not kept: whoever asks next tries again.
                    Err(_) => name.learn(unasked(
                        "too many names are looked up for the first time",
                        None,
                    )),
                }
                name
            }
            Err(error) => {
                let name = Name::new(host, mpsc::channel(1).0);
                name.learn(unasked(
                    &format!("the thread for it cannot be started: {error}"),
                    Lack::of(&error),
                ));
                Arc::new(name)
            }
        }
    }

    #[must_use]
    pub fn counts(&self) -> NameCounts {
        // Relaxed: counters that stand alone.
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NameCounts {
            found: count(&self.desk.found),
            absent: count(&self.desk.absent),
            failed: count(&self.desk.failed),
        }
    }

    /// How it stands with each name, in their order.
    #[must_use]
    pub fn reports(&self) -> Vec<NameReport> {
        let names = self.desk.names.load();
        names.values().map(|name| name.report()).collect()
    }
}

/// Of a name that cannot even be asked for.
fn unasked(words: &str, lack: Option<Lack>) -> Known {
    Known {
        last: Last::Failed(NameTrouble {
            lack,
            ..NameTrouble::new(words)
        }),
        failures: 1,
        ..Known::nothing()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread of its own: neither requests nor files, probes nor handshakes are in its way, nor it in theirs.
fn start(desk: Arc<Desk>) -> io::Result<mpsc::Sender<Order>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (orders, mut inbox) = mpsc::channel(ORDERS);
    let work = async move {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Tend(name) => {
                    tokio::spawn(tending::tend(name, desk.clone()));
                }
                Order::Knock(name, address) => {
                    tokio::spawn(tending::knock(name, address));
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("names".to_owned())
        .spawn(move || runtime.block_on(work))?;
    Ok(orders)
}

impl Desk {
    pub(super) fn settings(&self) -> Arc<ResolverSettings> {
        self.settings.load_full()
    }

    /// As the machine's files are now.
    pub(super) fn system(&self) -> Arc<System> {
        let settings = self.settings();
        let mut kept = lock(&self.system);
        match &*kept {
            Some(system) if system.is_current(&settings) => system.clone(),
            _ => kept.insert(Arc::new(System::read(&settings))).clone(),
        }
    }

    fn add(&self, host: &Arc<str>, name: &Arc<Name>) {
        self.names.rcu(|names| {
            let mut names = BTreeMap::clone(names);
            names.insert(host.clone(), name.clone());
            names
        });
    }

    /// Takes it off the list, unless somebody holds it still.
    pub(super) fn forget(&self, name: &Arc<Name>) -> bool {
        // The list's, and the one of whoever tends it.
        if Arc::strong_count(name) > 2 {
            return false;
        }
        self.names.rcu(|names| {
            let mut names = BTreeMap::clone(names);
            names.remove(name.host());
            names
        });
        true
    }

    /// An address that a name has now was another's a moment ago: that one has moved as well, most likely.
    ///
    /// Not where both were looked up just now: they share the address.
    pub(super) fn moved(&self, to: &Name, addresses: &[IpAddr]) {
        for (host, name) in self.names.load().iter() {
            let is_new = name.known().age().is_some_and(|age| age < SAME_TIME);
            let is_its = || addresses.iter().any(|address| name.has(*address));
            if **host != *to.host() && !is_new && is_its() {
                name.hurry();
            }
        }
    }
}
