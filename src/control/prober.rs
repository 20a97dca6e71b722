//! Probes one endpoint all the time, faster while something is changing.

use super::clock::Clock;
use super::clock::stamp;
use super::jobs::Jobs;
use super::message::Message;
use super::strangers::Expected;
use super::strangers::Stranger;
use super::strangers::listening;
use crate::api::ProbeResult;
use crate::config::Health;
use crate::config::HostPattern;
use crate::config::Service;
use crate::live::Endpoint;
use crate::live::Wellness;
use crate::net::EndpointAddr;
use crate::net::ProxyVersion;
use crate::switch::MemberName;
use crate::switch::Moment;
use crate::switch::Owner;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::tls;
use crate::upstream::ProbeFailure;
use crate::upstream::probe;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One configured address; it keeps its health and counts while it stays configured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndpointKey {
    pub(super) service: ServiceName,
    pub(super) slot: SlotName,
    pub(super) member: MemberName,
    pub(super) address: EndpointAddr,
}

/// What is probed, and how.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) key: EndpointKey,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) health: Health,
    /// The Host header.
    pub(super) host: String,
    /// None where it is spoken to without TLS.
    pub(super) terms: Option<Arc<tls::Upstream>>,
    /// Whether connections begin with a PROXY header.
    pub(super) proxy_protocol: Option<ProxyVersion>,
    /// Who may listen there.
    pub(super) expected: Arc<Expected>,
}

/// What one probe found.
#[derive(Debug, Clone)]
pub(super) struct ProbeReport {
    pub(super) key: EndpointKey,
    pub(super) started: Moment,
    pub(super) took: Duration,
    /// The words of the result; an error when it did not pass.
    pub(super) result: Result<String, String>,
    /// Whose fault a failure is. Only what is the slot's counts; what is ours is no result.
    pub(super) owner: Owner,
    /// Results of one kind differ in detail only: `connection refused`, `HTTP 500`.
    pub(super) kind: String,
    pub(super) reach: Reach,
    /// A slot that is starting fails like this.
    pub(super) may_pass_later: bool,
    /// The users who listen there; empty where that is not known, or it did not answer.
    pub(super) listening: BTreeSet<u32>,
    /// Somebody else than expected answered: that is a failure, whatever the answer was.
    pub(super) stranger: Option<Stranger>,
}

/// How far a probe came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// HTTP came back, whatever it said; or the endpoint has other work to do first.
    Answered,
    /// Nothing came back within the time.
    Silent,
    /// Connections are refused or broken off, or there is no way there.
    Refused,
    /// There is no such name.
    Absent,
}

impl Reach {
    fn of(failure: &ProbeFailure) -> Self {
        match failure {
            ProbeFailure::Status { .. } | ProbeFailure::Body { .. } => Self::Answered,
            ProbeFailure::Timeout(_) => Self::Silent,
            ProbeFailure::Absent(_) => Self::Absent,
            ProbeFailure::Connect(_) | ProbeFailure::Broken(_) | ProbeFailure::Unsendable(_) => {
                Self::Refused
            }
        }
    }
}

impl ProbeReport {
    pub(super) fn passed(&self) -> bool {
        self.result.is_ok()
    }

    /// The endpoint was not even asked: we could not, or its name server did not say where it is.
    pub(super) fn is_no_result(&self) -> bool {
        self.owner != Owner::Slot
    }

    pub(super) fn as_status(&self) -> ProbeResult {
        let (Ok(words) | Err(words)) = &self.result;
        ProbeResult {
            at: stamp(self.started),
            // Microseconds are as fine as anybody reads them.
            took_ms: (self.took.as_secs_f64() * 1_000_000.0).round() / 1000.0,
            passed: self.passed(),
            result: words.clone(),
            owner: (!self.passed()).then(|| self.owner.as_str().to_owned()),
        }
    }
}

/// The Host header of a check: as configured, else the first plain host of the service, else the address.
pub(super) fn host_of(service: &Service, health: &Health, address: &EndpointAddr) -> String {
    let exact = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => Some(name.clone()),
        HostPattern::Any | HostPattern::Suffix(_) => None,
    };
    let configured = health.host.clone();
    configured
        .or_else(|| service.hosts.iter().find_map(exact))
        .unwrap_or_else(|| match address {
            EndpointAddr::Unix(_) => "localhost".to_owned(),
            address => address.to_string(),
        })
}

/// One probe, now. An endpoint that has other work to do first is given the time for it.
pub(super) async fn once(target: &Target, clock: Clock) -> ProbeReport {
    report(target, clock, || is_busy(target)).await
}

/// The same within `timeout`, whatever it does: whoever asks has waited long enough.
pub(super) async fn ask_once(target: &Target, clock: Clock) -> ProbeReport {
    let mut report = report(target, clock, || false).await;
    // Behind other work a check may be late where the configuration says so: that is no silence.
    let may_be_late = target.health.busy_timeout.is_some() && is_busy(target);
    if report.reach == Reach::Silent && may_be_late {
        report.reach = Reach::Answered;
    }
    report
}

fn is_busy(target: &Target) -> bool {
    let endpoint = &target.endpoint;
    // A hint of traffic says that it is worse than busy.
    endpoint.in_flight.counts().total() > 0 && !endpoint.health.is_suspected()
}

async fn report(target: &Target, clock: Clock, is_busy: impl Fn() -> bool) -> ProbeReport {
    let started = clock.now();
    let terms = (target.terms.as_deref(), target.proxy_protocol);
    let address = &target.key.address;
    let probed = probe(address, terms, &target.health, &target.host, is_busy).await;
    let failure = probed.result.as_ref().err();
    let owner = failure.map_or(Owner::Slot, ProbeFailure::owner);
    let reach = failure.map_or(Reach::Answered, Reach::of);
    let may_pass_later = failure.is_none_or(ProbeFailure::may_pass_later);
    let result = match probed.result {
        Ok(status) => Ok(format!("HTTP {status}")),
        Err(failure) => Err(failure.to_string()),
    };
    // After the answer: whoever gave it was there by then.
    let listening = match &result {
        Ok(_) => listening(address, target.health.timeout).await,
        Err(_) => BTreeSet::new(),
    };
    let stranger = target.expected.stranger(&target.key.slot, &listening);
    let result = match &stranger {
        Some(stranger) => Err(stranger.to_string()),
        None => result,
    };
    let (Ok(words) | Err(words)) = &result;
    let kind = words.split(':').next().unwrap_or_default().to_owned();
    ProbeReport {
        key: target.key.clone(),
        started,
        took: probed.took,
        result,
        owner,
        kind,
        // Who answers in the slot's place does not make it reachable.
        reach: if stranger.is_some() {
            Reach::Refused
        } else {
            reach
        },
        // Whoever is not the slot does not become it by waiting.
        may_pass_later: may_pass_later && stranger.is_none(),
        listening,
        stranger,
    }
}

/// Probes until it is aborted.
pub(super) async fn run(target: Arc<Target>, jobs: Jobs) {
    loop {
        let started = Instant::now();
        let report = once(&target, jobs.clock).await;
        let next = started + pace(&target, report.passed());
        jobs.report(Message::Probed(report)).await;
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = target.endpoint.health.suspected() => {
                // A hint hastens the next probe, but traffic cannot make us probe without pause.
                let soon = (started + target.health.fast_interval).min(next);
                tokio::time::sleep_until(soon).await;
            }
        }
    }
}

/// From the start of one probe to the start of the next.
fn pace(target: &Target, passed: bool) -> Duration {
    let settled = match target.endpoint.health.get() {
        Wellness::Unknown => false,
        Wellness::Healthy => passed,
        Wellness::Unhealthy => !passed,
    };
    if settled {
        // Spread, and never later than promised: a fall is noticed within `fall` intervals.
        target.health.interval.mul_f64(0.8 + 0.2 * fastrand::f64())
    } else {
        target.health.fast_interval
    }
}
