//! The picture that workers act on: immutable, built whole by control, replaced as a whole.

use super::admission::InFlight;
use super::choices::Choices;
use super::departure::Departure;
use super::drain_pass::DrainPass;
use super::health::EndpointHealth;
use super::hold::Hold;
use super::modes::Modes;
use super::places::Places;
use super::shadow::Shadow;
use crate::config::CacheRoom;
use crate::config::Descriptors;
use crate::config::HostPattern;
use crate::config::Limits;
use crate::config::Listener as ListenerSettings;
use crate::config::Network;
use crate::config::Service as ServiceSettings;
use crate::config::Spooling;
use crate::config::State;
use crate::filter::Filter;
use crate::net::EndpointAddr;
use crate::net::Name;
use crate::net::Stream;
use crate::net::resolver;
use crate::switch::Epoch;
use crate::switch::Generation;
use crate::switch::MemberName;
use crate::switch::SlotName;
use crate::telemetry::SlotMetrics;
use crate::tls;
use crate::tls::Challenges;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

/// Everything a worker needs to know to serve requests.
#[derive(Debug)]
pub struct View {
    pub epoch: Epoch,
    pub services: Vec<Service>,
    pub hosts: HostTable,
    pub limits: Limits,
    /// What the descriptors of this process are enough for; `limits` keep within it.
    pub descriptors: Descriptors,
    /// For what is kept of answers.
    pub cache: CacheRoom,
    pub spool: Spooling,
    pub trusted_proxies: Vec<Network>,
    /// In the order in which they were bound.
    pub listeners: Vec<Listener>,
    /// What proves to certificate authorities that names are served here.
    pub challenges: Arc<Challenges>,
}

impl Default for View {
    /// Of a config without services and listeners.
    fn default() -> Self {
        Self {
            epoch: Epoch::default(),
            services: Vec::new(),
            hosts: HostTable::default(),
            limits: Limits::default(),
            descriptors: Descriptors::default(),
            cache: CacheRoom::default(),
            spool: Spooling::below(&State::default().dir),
            trusted_proxies: Vec::new(),
            listeners: Vec::new(),
            challenges: Arc::default(),
        }
    }
}

/// How one listener is spoken to now.
#[derive(Debug, Clone)]
pub struct Listener {
    pub settings: ListenerSettings,
    /// None where no TLS is spoken.
    pub tls: Option<Arc<tls::Server>>,
}

/// One service as it is now.
#[derive(Debug)]
pub struct Service {
    pub settings: Arc<ServiceSettings>,
    /// None for a service that takes whoever comes.
    pub filter: Option<Arc<Filter>>,
    /// Index into `slots`.
    pub active: usize,
    /// All that requests may be counted on now, in the order of the settings.
    pub slots: Vec<Arc<Slot>>,
    /// What traffic left last: nothing is counted on it any more. None when it has not moved yet.
    pub left: Option<Arc<Slot>>,
    /// None where every request goes to the active slot.
    pub choices: Option<Box<Choices>>,
    /// None where upstreams are spoken to without TLS.
    pub tls: Option<Arc<tls::Upstream>>,
    /// While it is there, new requests wait.
    pub hold: Option<Arc<Hold>>,
    /// While the hold drains: what requests under way may need passes it.
    pub drain_pass: Option<Arc<DrainPass>>,
    /// None while no idle slot gets copies.
    pub shadow: Option<Arc<Shadow>>,
    /// Where those wait who cannot be connected; none where nobody waits for that.
    pub outage: Option<Arc<Hold>>,
    /// None while no mode is on.
    pub modes: Option<Arc<Modes>>,
}

impl Service {
    #[must_use]
    pub fn active(&self) -> &Arc<Slot> {
        &self.slots[self.active]
    }
}

/// One slot, as one generation knows it. A slot that is flipped away from and back to is a new `Slot`
/// with counts of its own.
#[derive(Debug)]
pub struct Slot {
    pub name: SlotName,
    pub generation: Generation,
    /// In the order of the settings; the first is where unrouted requests go.
    pub members: Vec<Member>,
    pub in_flight: InFlight,
    /// Absent when the service has no limit.
    pub places: Option<Arc<Places>>,
    /// Shared by all generations of this slot.
    pub metrics: Arc<SlotMetrics>,
    /// Of its websockets, once traffic has left it.
    pub departure: Departure,
    cut: AtomicU8,
}

impl Slot {
    #[must_use]
    pub fn new(
        (name, generation): (SlotName, Generation),
        members: Vec<Member>,
        workers: usize,
        places: Option<Arc<Places>>,
        metrics: Arc<SlotMetrics>,
    ) -> Self {
        let in_flight = InFlight::new(workers);
        Self {
            name,
            generation,
            members,
            in_flight,
            places,
            metrics,
            departure: Departure::default(),
            cut: AtomicU8::new(0),
        }
    }

    /// Ends what still runs here of this kind. Workers look at their next tick, every 100 ms.
    pub fn cut_off(&self, kind: super::Kind) {
        // Relaxed: a flag that stands alone.
        self.cut.fetch_or(1 << kind as u8, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_cut_off(&self, kind: super::Kind) -> bool {
        self.cut.load(Ordering::Relaxed) & (1 << kind as u8) != 0
    }
}

/// One of the ports that make up a slot.
#[derive(Debug)]
pub struct Member {
    pub name: MemberName,
    /// One or more.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// Never given out twice while the daemon runs; workers key their connection pools by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u32);

/// One address of a member. Lives on over flips and reloads while it stays configured.
#[derive(Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    pub address: EndpointAddr,
    /// `address` as text, made once: the access log names it for each request.
    pub label: Box<str>,
    pub health: EndpointHealth,
    /// For balancing: requests under way here, whatever their generation.
    pub in_flight: InFlight,
    /// None for an address that needs no looking up.
    name: Option<Arc<Name>>,
}

impl Endpoint {
    #[must_use]
    pub fn new(id: EndpointId, address: EndpointAddr, workers: usize) -> Self {
        let label = address.to_string().into();
        let name = match &address {
            EndpointAddr::Named { host, .. } => Some(resolver().name(host)),
            EndpointAddr::Tcp(_) | EndpointAddr::Unix(_) => None,
        };
        Self {
            id,
            address,
            label,
            health: EndpointHealth::default(),
            in_flight: InFlight::new(workers),
            name,
        }
    }

    /// Of the addresses behind its name the one whose turn it is; none where it has no name, or none is known.
    #[must_use]
    pub fn pick(&self) -> Option<SocketAddr> {
        match (&self.name, &self.address) {
            (Some(name), EndpointAddr::Named { port, .. }) => name.pick(*port),
            _ => None,
        }
    }

    /// Whether a connection to `peer` still leads where its name leads.
    #[must_use]
    pub fn is_at(&self, peer: Option<SocketAddr>) -> bool {
        match (&self.name, peer) {
            (Some(name), Some(peer)) => name.has(peer.ip()),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// What tells a connection apart from others of this endpoint; none where all of them lead to one place.
    #[must_use]
    pub fn place_of(&self, stream: &Stream) -> Option<SocketAddr> {
        self.name.as_ref().and_then(|_| stream.peer())
    }
}

/// Finds the service that a host belongs to: exact names first, then the longest suffix, then `*`.
#[derive(Debug, Default)]
pub struct HostTable {
    exact: Vec<(Box<[u8]>, usize)>,
    suffixes: Vec<(Box<[u8]>, usize)>,
    any: Option<usize>,
}

impl HostTable {
    /// `services` in the order of [`View::services`].
    #[must_use]
    pub fn new<'a>(services: impl IntoIterator<Item = &'a ServiceSettings>) -> Self {
        let mut table = Self::default();
        for (index, service) in services.into_iter().enumerate() {
            for host in &service.hosts {
                match host {
                    HostPattern::Any => table.any = Some(index),
                    HostPattern::Exact(name) => table.exact.push((name.as_bytes().into(), index)),
                    HostPattern::Suffix(name) => {
                        table.suffixes.push((name.as_bytes().into(), index));
                    }
                }
            }
            if let Some(host) = service
                .preview
                .host
                .as_ref()
                .filter(|_| service.preview.enabled)
            {
                table.exact.push((host.as_bytes().into(), index));
            }
        }
        table.exact.sort();
        table
            .suffixes
            .sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        table
    }

    /// The index of the service that answers `host` (without port, any case).
    #[must_use]
    pub fn find(&self, host: &[u8]) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return self.any;
        }
        // A name longer than DNS allows is nobody's.
        let mut lower = [0_u8; 255];
        let lower = lower.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let name: &[u8] = lower.strip_suffix(b".").unwrap_or(lower);
        let exact = self
            .exact
            .binary_search_by(|(known, _)| (**known).cmp(name));
        if let Ok(at) = exact {
            return Some(self.exact[at].1);
        }
        let suffix = self
            .suffixes
            .iter()
            .find(|(end, _)| name.len() > end.len() && name.ends_with(end));
        suffix.map(|(_, index)| *index).or(self.any)
    }
}
