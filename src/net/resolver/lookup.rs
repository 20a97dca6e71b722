//! One look-up of one name: the hosts file, then the name servers, for both families side by side.

use super::failure::NameTrouble;
use super::query::Family;
use super::query::Fqdn;
use super::query::Reply;
use super::query::ask;
use super::query::silent;
use super::system::System;
use futures_util::stream::FuturesUnordered;
use futures_util::stream::StreamExt;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::sleep_until;

/// One family's addresses wait so long for the other's, which some name servers never answer for.
const FOR_THE_OTHER: Duration = Duration::from_millis(200);
/// A name server that is silent for so long gets company.
const NEXT_SERVER: Duration = Duration::from_secs(1);
/// Aliases that are followed.
const ALIASES: usize = 8;
/// No look-up takes longer, however many domains are to be searched.
const LONGEST: Duration = Duration::from_secs(20);
/// Of one name, at most.
const ADDRESSES: usize = 64;

/// How a look-up ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// One or more; none for `ttl` where no name server was asked.
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: Option<Duration>,
    },
    /// There is no such name, or it has no address.
    Absent { ttl: Option<Duration> },
}

/// Looks a name up, once.
pub(super) async fn look_up(system: &System, host: &str) -> Result<Found, NameTrouble> {
    let addresses = system.listed(host);
    if !addresses.is_empty() {
        let ttl = None;
        return Ok(Found::Addresses { addresses, ttl });
    }
    match tokio::time::timeout(LONGEST, search(system, host)).await {
        Ok(found) => found,
        Err(_) => Err(silent(system.servers[0])),
    }
}

async fn search(system: &System, host: &str) -> Result<Found, NameTrouble> {
    let mut trouble = None;
    let mut least: Option<Duration> = None;
    for name in system.candidates(host) {
        match both(system, &name).await {
            Ok(Found::Absent { ttl }) => {
                least = least.into_iter().chain(ttl).min();
            }
            Ok(found) => return Ok(found),
            // The next domain may know it; if none does, nobody can say that it does not exist.
            Err(told) => trouble = trouble.or(Some(told)),
        }
    }
    trouble.map_or(Ok(Found::Absent { ttl: least }), Err)
}

/// Both families of one full name.
async fn both(system: &System, name: &Fqdn) -> Result<Found, NameTrouble> {
    let families = [Family::V6, Family::V4];
    let mut asking: FuturesUnordered<_> = families
        .map(|family| async move { (family, one(system, name, family).await) })
        .into_iter()
        .collect();
    let mut found = [const { None }; 2];
    let mut until = None;
    loop {
        let ended = match until {
            None => asking.next().await,
            Some(until) => tokio::time::timeout_at(until, asking.next())
                .await
                .unwrap_or(None),
        };
        let Some((family, reply)) = ended else { break };
        if matches!(reply, Ok(Reply::Found { .. })) {
            until = Some(Instant::now() + FOR_THE_OTHER);
        }
        found[usize::from(family == Family::V4)] = Some(reply);
    }
    together(found)
}

fn together(replies: [Option<Result<Reply, NameTrouble>>; 2]) -> Result<Found, NameTrouble> {
    let mut addresses = Vec::new();
    let mut least: Option<Duration> = None;
    let mut trouble = None;
    let mut nothing: Option<Duration> = None;
    for reply in replies.into_iter().flatten() {
        match reply {
            Ok(Reply::Found {
                addresses: found,
                ttl,
            }) => {
                addresses.extend(found);
                least = least.into_iter().chain([ttl]).min();
            }
            Ok(Reply::Nothing { ttl }) => nothing = nothing.into_iter().chain(ttl).min(),
            Ok(Reply::Alias(_)) => {}
            Err(told) => trouble = Some(told),
        }
    }
    addresses.truncate(ADDRESSES);
    match (addresses.is_empty(), trouble) {
        (false, _) => Ok(Found::Addresses {
            addresses,
            ttl: least,
        }),
        // That there is none of the one family says nothing of the other.
        (true, Some(trouble)) => Err(trouble),
        (true, None) => Ok(Found::Absent { ttl: nothing }),
    }
}

/// One family of one full name, behind whatever aliases.
async fn one(system: &System, name: &Fqdn, family: Family) -> Result<Reply, NameTrouble> {
    let mut name = name.clone();
    for _ in 0..ALIASES {
        match of_any_server(system, &name, family).await? {
            Reply::Alias(next) => name = next,
            reply => return Ok(reply),
        }
    }
    // Somebody knows the name, and nobody can say where it leads.
    Err(NameTrouble::new("its aliases lead to no end"))
}

/// Asks the servers in their order: the next one when one fails, or is silent for a while.
///
/// That there is nothing is believed of the first server alone: it may be the only one that knows the names of
/// this network, and while it fails nobody can say that they do not exist.
async fn of_any_server(system: &System, name: &Fqdn, family: Family) -> Result<Reply, NameTrouble> {
    let mut trouble = NameTrouble::new("there is no name server to ask");
    for _round in 0..system.attempts {
        let mut round = Round::new(system.servers.len());
        let mut asking = FuturesUnordered::new();
        let mut all_answered = true;
        loop {
            if let Some(place) = round.next() {
                let server = system.servers[place];
                asking.push(async move {
                    let reply = ask(server, name, family, system.timeout).await;
                    (place, reply)
                });
            }
            let ended = tokio::select! {
                ended = asking.next() => ended,
                () = sleep_until(round.company_at), if round.has_more() => continue,
            };
            let Some((place, reply)) = ended else { break };
            match reply {
                Ok(Reply::Nothing { .. }) if place > 0 => {}
                Ok(reply) => return Ok(reply),
                Err(told) => {
                    all_answered &= !told.is_silence;
                    round.is_due = true;
                    trouble = told;
                }
            }
            if asking.is_empty() && !round.has_more() {
                break;
            }
        }
        // Whoever answered would say the same again.
        if all_answered {
            break;
        }
    }
    Err(trouble)
}

/// One round over all servers.
struct Round {
    servers: usize,
    next: usize,
    company_at: Instant,
    is_due: bool,
}

impl Round {
    fn new(servers: usize) -> Self {
        Self {
            servers,
            next: 0,
            company_at: Instant::now(),
            is_due: true,
        }
    }

    fn has_more(&self) -> bool {
        self.next < self.servers
    }

    /// The server to be asked now, if it is time for one.
    fn next(&mut self) -> Option<usize> {
        let now = Instant::now();
        let is_time = self.is_due || now >= self.company_at;
        if !is_time || !self.has_more() {
            return None;
        }
        self.is_due = false;
        self.company_at = now + NEXT_SERVER;
        self.next += 1;
        Some(self.next - 1)
    }
}
