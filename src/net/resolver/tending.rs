//! The life of one name: looked up, kept for its time, looked up again.

use super::failure::NameTrouble;
use super::known::Known;
use super::known::Last;
use super::lookup::Found;
use super::lookup::look_up;
use super::name::COMPANY_AFTER;
use super::name::Name;
use super::settings::ResolverSettings;
use super::thread::Desk;
use super::thread::NameReport;
use futures_util::FutureExt;
use futures_util::stream::FuturesUnordered;
use futures_util::stream::StreamExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;
use tokio::time::timeout_at;

/// "There is no such name" is asked about this often at least: a container that starts is found.
const LONGEST_ABSENCE: Duration = Duration::from_secs(5);
/// After a failure, doubled up to the second: well-meant, and no help to a name server in trouble.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between look-ups out of turn, while they bring nothing new.
const HASTE: Duration = Duration::from_millis(200);
const LEAST_HASTE: Duration = Duration::from_secs(1);
/// Of one name, beside each other.
const COMPANY: usize = 3;
/// Between two tries at an address that could not be connected.
const FIRST_KNOCK: Duration = Duration::from_secs(2);
const LONGEST_KNOCK: Duration = Duration::from_mins(1);
/// An address that takes longer is no better than it was.
const KNOCK_WITHIN: Duration = Duration::from_millis(200);

/// Keeps a name fresh for as long as somebody uses it.
pub(super) async fn tend(name: Arc<Name>, desk: Arc<Desk>) {
    let mut haste = HASTE;
    let mut is_hasty = false;
    loop {
        let began = Instant::now();
        let result = asked(&name, &desk).await;
        let is_new = learn(&name, &desk, result);
        haste = if is_hasty && !is_new {
            name.settle();
            (haste * 2).min(LEAST_HASTE)
        } else {
            HASTE
        };
        name.tell();
        // Whoever wanted one while it was under way has got it.
        let _ = name.wanted.notified().now_or_never();
        let due = name.known().due;
        is_hasty = timeout_at(due, name.wanted.notified()).await.is_ok();
        if is_hasty {
            sleep_until((began + haste).min(due)).await;
        }
        if name.is_unused() && !rest(&name, &desk).await {
            return;
        }
    }
}

/// Waits until somebody wants it again; false where nobody is left who could.
async fn rest(name: &Arc<Name>, desk: &Desk) -> bool {
    name.is_resting.store(true, Ordering::Relaxed);
    if desk.forget(name) {
        return false;
    }
    name.wanted.notified().await;
    name.is_resting.store(false, Ordering::Relaxed);
    true
}

/// One look-up; with others beside it where it takes long and somebody waits for the first answer ever.
async fn asked(name: &Name, desk: &Desk) -> Result<Found, NameTrouble> {
    let system = desk.system();
    let known = name.known();
    let server = system.servers.first().copied();
    if known.server != server {
        name.learn(Known {
            server,
            ..Known::clone(&known)
        });
    }
    let mut asking = FuturesUnordered::new();
    asking.push(look_up(&system, name.host()));
    let mut latest = Instant::now();
    loop {
        tokio::select! {
            Some(result) = asking.next() => match result {
                Err(_) if !asking.is_empty() => {}
                result => return result,
            },
            () = name.wanted.notified(), if asking.len() < COMPANY => {
                if latest.elapsed() >= COMPANY_AFTER {
                    latest = Instant::now();
                    asking.push(look_up(&system, name.host()));
                }
            }
        }
    }
}

/// Takes a result up; true when other addresses are used from now on.
fn learn(name: &Arc<Name>, desk: &Desk, result: Result<Found, NameTrouble>) -> bool {
    let settings = desk.settings();
    let before = name.known();
    let counter = match &result {
        Ok(Found::Addresses { .. }) => &desk.found,
        Ok(Found::Absent { .. }) => &desk.absent,
        Err(_) => &desk.failed,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    let known = after(&before, result, &settings);
    let is_new = !before.has_just(&known.addresses);
    told(name, &before, &known);
    let addresses = known.addresses.clone();
    name.learn(known);
    if is_new {
        desk.moved(name, &addresses);
    }
    is_new
}

fn after(before: &Known, result: Result<Found, NameTrouble>, settings: &ResolverSettings) -> Known {
    let now = Instant::now();
    match result {
        Ok(Found::Addresses { addresses, ttl }) => {
            let ttl = ttl.unwrap_or(settings.min_ttl);
            let kept = before.has_just(&addresses);
            Known {
                // Their order does not matter, and whose turn it is does.
                addresses: if kept {
                    before.addresses.clone()
                } else {
                    addresses.into()
                },
                learned: Some(now),
                last: Last::Found,
                due: now + ttl.clamp(settings.min_ttl, settings.max_ttl),
                failures: 0,
                server: before.server,
            }
        }
        Ok(Found::Absent { ttl }) => {
            let longest = LONGEST_ABSENCE.max(settings.min_ttl);
            Known {
                addresses: Arc::new([]),
                learned: None,
                last: Last::Absent,
                due: now + ttl.unwrap_or_default().clamp(settings.min_ttl, longest),
                failures: 0,
                server: before.server,
            }
        }
        Err(trouble) => {
            let is_usable = before.age().is_some_and(|age| age <= settings.stale);
            let failures = before.failures.saturating_add(1);
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures - 1));
            Known {
                addresses: if is_usable {
                    before.addresses.clone()
                } else {
                    Arc::new([])
                },
                learned: before.learned,
                last: Last::Failed(trouble),
                due: now + pause.min(LONGEST_PAUSE),
                failures,
                server: before.server,
            }
        }
    }
}

/// Once per change.
fn told(name: &Name, before: &Known, now: &Known) {
    let host = name.host();
    let addresses = &now.addresses;
    let age = before.age().map(|age| format!("{}s", age.as_secs()));
    match (&before.last, &now.last) {
        (Last::Failed(_), Last::Failed(_)) if before.state() == now.state() => {}
        (_, Last::Failed(error)) if !now.addresses.is_empty() => {
            tracing::warn!(host, ?addresses, age, %error, "name not refreshed; its last addresses are used");
        }
        (_, Last::Failed(error)) => {
            tracing::warn!(host, %error, "name not looked up; nothing can be connected there");
        }
        (Last::Absent, Last::Absent) => {}
        (_, Last::Absent) => tracing::info!(host, "there is no such name"),
        (Last::Failed(_), Last::Found) => tracing::info!(host, ?addresses, "name looked up again"),
        (_, Last::Found) if !before.has_just(addresses) => {
            tracing::info!(host, ?addresses, "name has other addresses");
        }
        _ => {}
    }
}

/// Tries an address that could not be connected, ever more rarely, until it can be or the name has left it.
pub(super) async fn knock(name: Arc<Name>, address: SocketAddr) {
    let mut pause = FIRST_KNOCK;
    while name.is_shunned(address) && name.has(address.ip()) && !name.is_unused() {
        sleep_until(Instant::now() + pause).await;
        pause = (pause * 2).min(LONGEST_KNOCK);
        if let Ok(Ok(_closed_at_once)) = timeout(KNOCK_WITHIN, TcpStream::connect(address)).await {
            break;
        }
    }
    name.trust(address);
}

impl Name {
    pub(super) fn report(&self) -> NameReport {
        let known = self.known();
        NameReport {
            host: self.host().into(),
            state: known.state(),
            addresses: known.addresses.to_vec(),
            age: known.age(),
            trouble: match &known.last {
                Last::Failed(trouble) => Some(trouble.words.clone()),
                _ => None,
            },
        }
    }
}
