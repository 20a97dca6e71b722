//! Every configured endpoint: its prober, its verdict, its last result. Kept over flips and reloads.

use super::course::Courses;
use super::jobs::Jobs;
use super::log_level::log_at;
use super::prober;
use super::prober::EndpointKey;
use super::prober::ProbeReport;
use super::prober::Reach;
use super::prober::Target;
use super::strangers::Allowed;
use super::strangers::Expected;
use super::strangers::Stranger;
use super::verdict::Thresholds;
use super::verdict::Verdict;
use crate::api::ProbeResult;
use crate::config::Health;
use crate::config::Settings;
use crate::live::Endpoint;
use crate::live::EndpointId;
use crate::live::Wellness;
use crate::net::ProxyVersion;
use crate::switch::MemberName;
use crate::switch::Moment;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::tls;
use crate::tls::Material;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::AbortHandle;
use tracing::Level;

/// All endpoints of all slots, the idle ones too.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) watched: BTreeMap<EndpointKey, Watched>,
    pub(super) courses: Courses,
    next: u32,
    workers: usize,
}

/// One endpoint and what is known of it.
#[derive(Debug)]
pub(super) struct Watched {
    target: Arc<Target>,
    verdict: Verdict,
    /// When the verdict came to be; none while there is none.
    pub(super) since: Option<Moment>,
    /// The latest probe at which it had passed often enough to be healthy.
    well: Option<Moment>,
    /// Why it is not healthy.
    reason: Option<Reason>,
    pub(super) last: Option<ProbeResult>,
    /// The users who listen there, as the last probe saw it.
    pub(super) listening: BTreeSet<u32>,
    pub(super) stranger: Option<Stranger>,
    prober: Option<AbortHandle>,
}

/// How an endpoint is probed.
struct Check<'a> {
    health: &'a Health,
    host: String,
    terms: Option<Arc<tls::Upstream>>,
    proxy_protocol: Option<ProxyVersion>,
}

#[derive(Debug)]
struct Reason {
    words: String,
    kind: String,
    is_absent: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Watched {
    fn new(target: Target) -> Self {
        Self {
            target: Arc::new(target),
            verdict: Verdict::default(),
            since: None,
            well: None,
            reason: None,
            last: None,
            listening: BTreeSet::new(),
            stranger: None,
            prober: None,
        }
    }

    fn stop(&mut self) {
        if let Some(prober) = self.prober.take() {
            prober.abort();
        }
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds {
            rise: self.target.health.rise,
            fall: self.target.health.fall,
        }
    }

    pub(super) fn expected(&self) -> &Expected {
        &self.target.expected
    }

    /// A stranger of whom no config speaks.
    pub(super) fn may_welcome(&self) -> bool {
        self.stranger
            .as_ref()
            .is_some_and(Stranger::may_be_accepted)
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.target.endpoint
    }

    fn decided(&mut self, at: Moment) {
        // One that never was well is told of by its slot's line.
        let falls = self.since.is_some() && self.verdict.wellness() == Wellness::Unhealthy;
        let level = if falls { Level::WARN } else { Level::INFO };
        self.since = Some(at);
        let wellness = self.verdict.wellness();
        self.target.endpoint.health.set(wellness);
        let key = &self.target.key;
        log_at!(level, service = %key.service, slot = %key.slot, member = %key.member,
            endpoint = %key.address, health = words(wellness),
            reason = self.reason.as_ref().map(|it| it.words.as_str()), "endpoint health changed");
    }

    pub(super) fn observe(&mut self, report: ProbeReport) {
        // A probe that was under way while the gate proved the endpoint knows less than the gate.
        let is_stale = !report.passed() && self.since.is_some_and(|since| report.started < since);
        let before = self.last.replace(report.as_status());
        if report.is_no_result() {
            let owner = report.owner.as_str();
            if before.and_then(|last| last.owner).as_deref() != Some(owner) {
                self.unprobed(&report);
            }
            return;
        }
        let slot = &self.target.key.slot;
        let stranger = self.target.expected.stranger(slot, &report.listening);
        // An operator has accepted whoever listens while the probe was under way.
        let is_accepted = report.stranger.is_some() && stranger.is_none();
        if is_stale || is_accepted {
            return;
        }
        let passed = report.passed();
        self.listening = report.listening;
        self.stranger = report.stranger;
        let changed = if self.stranger.is_some() {
            // That is no hiccup: once is enough.
            self.verdict.condemn()
        } else {
            self.verdict.observe(passed, self.thresholds())
        };
        if self.is_steady() {
            self.well = Some(report.started);
        }
        match report.result {
            Ok(_) if self.verdict.wellness() == Wellness::Healthy => self.reason = None,
            // Details that differ from probe to probe (an id in an error page) are no news.
            Err(words) if self.reason.as_ref().is_none_or(|it| it.kind != report.kind) => {
                self.reason = Some(Reason {
                    words,
                    kind: report.kind,
                    is_absent: report.reach == Reach::Absent,
                });
            }
            _ => {}
        }
        if changed {
            self.decided(report.started);
        }
    }

    /// Told once: the verdict stays what it was.
    fn unprobed(&self, report: &ProbeReport) {
        let key = &self.target.key;
        let (Ok(words) | Err(words)) = &report.result;
        tracing::error!(service = %key.service, slot = %key.slot, member = %key.member,
            endpoint = %key.address, error = words, "endpoint cannot be probed");
    }

    fn prove(&mut self, at: Moment) {
        self.reason = None;
        self.well = Some(at);
        if self.verdict.prove(self.thresholds()) {
            self.decided(at);
        }
    }

    pub(super) fn member_name(&self) -> &MemberName {
        &self.target.key.member
    }

    pub(super) fn last_passed(&self) -> Option<bool> {
        self.verdict.last_passed()
    }

    pub(super) fn is_steady(&self) -> bool {
        self.verdict.is_steady(self.thresholds())
    }

    pub(super) fn well(&self) -> Option<Moment> {
        self.well
    }

    pub(super) fn wellness(&self) -> Wellness {
        self.verdict.wellness()
    }

    pub(super) fn is_absent(&self) -> bool {
        let is_absent = self.reason.as_ref().is_some_and(|it| it.is_absent);
        self.wellness() == Wellness::Unhealthy && is_absent
    }

    pub(super) fn in_words(&self) -> String {
        let key = &self.target.key;
        let words = self.reason.as_ref().map_or("no result yet", |it| &it.words);
        format!("{} {}: {words}", key.member, key.address)
    }
}

/// So many endpoints of a member have to be well for the member to be.
pub(super) fn needed(endpoints: &[&Watched]) -> usize {
    let wanted = endpoints.first().map(|it| it.target.health.min_healthy);
    let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
    wanted.unwrap_or(1).min(endpoints.len()).max(1)
}

/// As the API spells it.
pub(super) fn words(wellness: Wellness) -> &'static str {
    match wellness {
        Wellness::Unknown => "unknown",
        Wellness::Healthy => "healthy",
        Wellness::Unhealthy => "unhealthy",
    }
}

impl Endpoints {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            watched: BTreeMap::new(),
            courses: Courses::default(),
            next: 1,
            workers,
        }
    }

    /// Takes up what is new in `settings`, keeps what stays, drops what is gone.
    pub(super) fn configure(&mut self, settings: &Settings, material: &Material) {
        self.courses.configure(settings);
        let mut old = std::mem::take(&mut self.watched);
        for (at, service) in settings.services.iter().enumerate() {
            for slot in &service.slots {
                for member in &slot.members {
                    for address in &member.addresses {
                        let key = EndpointKey {
                            service: service.name.clone(),
                            slot: slot.name.clone(),
                            member: member.name.clone(),
                            address: address.clone(),
                        };
                        let kept = old.remove(&key);
                        let check = Check {
                            health: &member.health,
                            host: prober::host_of(service, &member.health, address),
                            terms: material.upstream(at),
                            proxy_protocol: service.upstream_proxy_protocol,
                        };
                        let watched = self.watch(key.clone(), check, kept);
                        self.watched.insert(key, watched);
                    }
                }
            }
        }
    }

    fn watch(&mut self, key: EndpointKey, check: Check<'_>, kept: Option<Watched>) -> Watched {
        let Check {
            health,
            host,
            terms,
            proxy_protocol,
        } = check;
        let Some(mut kept) = kept else {
            let id = EndpointId(self.next);
            self.next += 1;
            let endpoint = Endpoint::new(id, key.address.clone(), self.workers);
            return Watched::new(Target {
                key,
                endpoint: Arc::new(endpoint),
                health: health.clone(),
                host,
                terms,
                proxy_protocol,
                expected: Arc::default(),
            });
        };
        let number = |terms: &Option<Arc<tls::Upstream>>| terms.as_ref().map(|it| it.terms);
        let other_terms = number(&kept.target.terms) != number(&terms)
            || kept.target.proxy_protocol != proxy_protocol;
        if kept.target.health != *health || kept.target.host != host || other_terms {
            // Another check: the prober starts anew with it, the verdict stands until it disagrees.
            kept.stop();
            kept.target = Arc::new(Target {
                key,
                endpoint: Arc::clone(&kept.target.endpoint),
                health: health.clone(),
                host,
                terms,
                proxy_protocol,
                expected: Arc::clone(&kept.target.expected),
            });
        }
        kept
    }

    /// Starts the probers that do not run yet.
    pub(super) fn start_probers(&mut self, jobs: &Jobs) {
        for watched in self.watched.values_mut() {
            if watched.prober.is_none() {
                let prober = prober::run(Arc::clone(&watched.target), jobs.clone());
                watched.prober = Some(tokio::spawn(prober).abort_handle());
            }
        }
    }

    pub(super) fn get(&self, key: &EndpointKey) -> Option<&Watched> {
        self.watched.get(key)
    }

    pub(super) fn of<'a>(
        &'a self,
        service: &'a ServiceName,
        slot: &'a SlotName,
    ) -> impl Iterator<Item = &'a Watched> {
        let mine = move |key: &EndpointKey| key.service == *service && key.slot == *slot;
        let all = self.watched.iter();
        all.filter(move |(key, _)| mine(key)).map(|(_, it)| it)
    }

    /// The endpoints of one member, in any order; those a View is built of.
    pub(super) fn member(
        &self,
        service: &ServiceName,
        slot: &SlotName,
        member: &MemberName,
    ) -> Vec<Arc<Endpoint>> {
        let all = self.of(service, slot);
        all.filter(|it| it.target.key.member == *member)
            .map(|it| Arc::clone(&it.target.endpoint))
            .collect()
    }

    pub(super) fn targets(&self, service: &ServiceName, slot: &SlotName) -> Vec<Arc<Target>> {
        let all = self.of(service, slot);
        all.map(|it| Arc::clone(&it.target)).collect()
    }

    /// An operator has put up with whoever listens on the slot's ports: the next probes see who that is.
    pub(super) fn welcome(&mut self, service: &ServiceName, slot: &SlotName) {
        for (key, watched) in &mut self.watched {
            if key.service == *service && key.slot == *slot && watched.may_welcome() {
                watched.target.expected.set(Allowed::Anybody);
                watched.stranger = None;
            }
        }
    }

    /// The gate has seen every endpoint of the slot pass, often enough in a row.
    pub(super) fn prove(&mut self, service: &ServiceName, slot: &SlotName, at: Moment) {
        for (key, watched) in &mut self.watched {
            if key.service == *service && key.slot == *slot {
                watched.prove(at);
            }
        }
    }
}
