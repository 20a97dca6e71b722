//! Answers to questions: how everything is, what happened before, how a slot is right now.

use super::canary::canary_status;
use super::clock::stamp;
use super::conductor::Conductor;
use super::drain::counts_status;
use super::drain::sum;
use super::endpoints::words;
use super::message::Answer;
use super::message::Denied;
use super::message::Message;
use super::names;
use super::prober::EndpointKey;
use super::prober::once;
use super::shadow::Shadowing;
use super::steered::Draining;
use super::steered::Steered;
use super::strangers::Told;
use super::underway::direction_words;
use crate::api::ConfigStatus;
use crate::api::DrainStatus;
use crate::api::EndpointStatus;
use crate::api::FailbackStatus;
use crate::api::MemberStatus;
use crate::api::OperationStatus;
use crate::api::ProbeReport;
use crate::api::ProbedEndpoint;
use crate::api::QuarantineStatus;
use crate::api::SCHEMA;
use crate::api::ServiceStatus;
use crate::api::SharedStatus;
use crate::api::SlotStatus;
use crate::api::Status;
use crate::config::HostPattern;
use crate::config::Member;
use crate::config::Slot as SlotSettings;
use crate::live::Slot;
use crate::switch::FailbackMode;
use crate::switch::Operation;
use crate::switch::SlotHealth;
use crate::switch::SlotName;
use std::sync::Arc;
use tokio::task::JoinSet;

fn host_words(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => "*".to_owned(),
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(end) => format!("*{end}"),
    }
}

fn mode_words(mode: FailbackMode) -> &'static str {
    match mode {
        FailbackMode::Always => "always",
        FailbackMode::AfterFlip => "after-flip",
        FailbackMode::Off => "off",
    }
}

fn operation_status(operation: &Operation) -> OperationStatus {
    OperationStatus {
        flip: operation.flip.0,
        direction: direction_words(operation.direction).to_owned(),
        by: operation.by.to_string(),
        from: operation.from.to_string(),
        to: operation.to.to_string(),
        forced: operation.forced,
        reason: operation.reason.clone(),
        started: stamp(operation.started),
    }
}

fn drain_status(drain: &Draining) -> DrainStatus {
    DrainStatus {
        slot: drain.slot.to_string(),
        generation: drain.generation.0,
        left: counts_status(sum(&drain.pictures)),
        since: stamp(drain.since),
        until: stamp(drain.until),
    }
}

fn shared_status(service: &Steered) -> Option<SharedStatus> {
    let settings = service.settings.shared.as_ref()?;
    let told = &service.shared.as_ref()?.told;
    Some(SharedStatus {
        address: settings.tcp.to_string(),
        health: told.health.as_str().to_owned(),
        since: told.since.map(stamp),
        reason: told.reason().map(str::to_owned),
    })
}

/// Those who wait in line for a place of a slot: its pictures share them.
pub(super) fn queued(pictures: &[Arc<Slot>]) -> u64 {
    let mut places = pictures.iter().filter_map(|slot| slot.places.as_ref());
    places.next_back().map_or(0, |places| places.waiting()) as u64
}

impl Conductor {
    /// Without what is listened on, which control does not know.
    pub(super) fn status(&self) -> Status {
        Status {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: stamp(self.started),
            listeners: Vec::new(),
            metrics: None,
            admin_api: None,
            acme: Vec::new(),
            names: names::statuses(),
            config: ConfigStatus {
                path: self.config.path.display().to_string(),
                loaded: stamp(self.config.loaded),
                problems: self.config.problems.clone(),
                needs_restart: self.config.needs_restart.clone(),
            },
            certificates: self.certificates.status(),
            state: self.state_status(),
            descriptors: self.descriptors_status(),
            spool_problem: None,
            services: self
                .services
                .iter()
                .map(|service| self.service_status(service))
                .collect(),
        }
    }

    fn service_status(&self, service: &Steered) -> ServiceStatus {
        let machine = &service.switch;
        let failback = &service.settings.failback;
        ServiceStatus {
            name: service.name.to_string(),
            hosts: service.settings.hosts.iter().map(host_words).collect(),
            active: machine.active().to_string(),
            previous: machine.previous().map(ToString::to_string),
            generation: machine.generation().0,
            epoch: self.epoch.0,
            phase: machine.phase().as_str().to_owned(),
            moved: machine.moved().map(stamp),
            operation: machine.operation().map(operation_status),
            staying: machine.staying().map(str::to_owned),
            failback: FailbackStatus {
                mode: mode_words(failback.mode).to_owned(),
                moves_in_window: machine.moves_in_window(),
                max_moves: failback.max_moves,
                limit_ends: machine.limit_ends().map(stamp),
                blocked: service.blocked(),
            },
            shared: shared_status(service),
            shared_trouble: service.shared_troubles.status(),
            canary: canary_status(service),
            hold: service.holds.status(),
            outage: service.holds.outage.status(),
            maintenance: service.modes.maintenance(&service.settings),
            read_only: service.modes.read_only(&service.settings),
            slots: service
                .settings
                .slots
                .iter()
                .map(|slot| self.slot_status(service, slot))
                .collect(),
            draining: service.drains.iter().rev().map(drain_status).collect(),
            watch: service.watch_status(),
            warning: service.warning_status(),
            confirm: service.confirm_status(),
            shadow: service.shadow.as_ref().and_then(Shadowing::status),
        }
    }

    fn slot_status(&self, service: &Steered, slot: &SlotSettings) -> SlotStatus {
        let told = service.health.get(&slot.name).cloned().unwrap_or_default();
        let pictures = service.pictures_of(&slot.name);
        let reason = match &told.health {
            SlotHealth::Healthy => None,
            SlotHealth::Unhealthy { reason } | SlotHealth::Absent { reason } => {
                Some(reason.clone())
            }
            SlotHealth::Unknown => self.stock.endpoints.doubts(&service.name, &slot.name),
        };
        let quarantine = service.switch.quarantine(&slot.name);
        let requests = pictures.first().map(|it| it.metrics.counts().requests());
        SlotStatus {
            name: slot.name.to_string(),
            active: slot.name == *service.switch.active(),
            health: told.health.as_str().to_owned(),
            since: told.since.map(stamp),
            reason,
            quarantine: quarantine.map(|it| QuarantineStatus {
                since: stamp(it.since),
                reason: it.reason,
                acknowledged: it.acknowledged,
                ends: it.ends,
            }),
            stranger: service.strangers.get(&slot.name).map(Told::status),
            version: service.switch.label(&slot.name).map(ToString::to_string),
            in_flight: counts_status(sum(&pictures)),
            queued: queued(&pictures),
            requests: requests.unwrap_or_default(),
            last_minute: service.last_minute(&slot.name, self.jobs.clock.now()),
            members: slot
                .members
                .iter()
                .map(|member| self.member_status(service, slot, member))
                .collect(),
            gates: service.gates.status(&slot.name),
        }
    }

    fn member_status(
        &self,
        service: &Steered,
        slot: &SlotSettings,
        member: &Member,
    ) -> MemberStatus {
        let endpoint = |address: &crate::net::EndpointAddr| {
            let key = EndpointKey {
                service: service.name.clone(),
                slot: slot.name.clone(),
                member: member.name.clone(),
                address: address.clone(),
            };
            let watched = self.stock.endpoints.get(&key)?;
            Some(EndpointStatus {
                address: address.to_string(),
                health: words(watched.wellness()).to_owned(),
                since: watched.since.map(stamp),
                in_flight: watched.endpoint().in_flight.counts().total(),
                last: watched.last.clone(),
            })
        };
        MemberStatus {
            name: member.name.to_string(),
            endpoints: member.addresses.iter().filter_map(endpoint).collect(),
        }
    }

    /// Probes every endpoint of a slot once, as a job of its own.
    pub(super) fn probe(
        &self,
        service: &str,
        slot: &str,
        answer: Answer<Result<ProbeReport, Denied>>,
    ) {
        let found = self.find(service).and_then(|at| {
            let service = &self.services[at];
            find_slot(service, slot).map(|slot| (service.name.clone(), slot))
        });
        let (service, slot) = match found {
            Ok(found) => found,
            // Whoever left needs no answer.
            Err(denied) => return drop(answer.send(Err(denied))),
        };
        let mut probes = JoinSet::new();
        for target in self.stock.endpoints.targets(&service, &slot) {
            let jobs = self.jobs.clone();
            probes.spawn(async move {
                let report = once(&target, jobs.clock).await;
                let endpoint = ProbedEndpoint {
                    member: target.key.member.to_string(),
                    address: target.key.address.to_string(),
                    result: report.as_status(),
                };
                jobs.report(Message::Probed(report)).await;
                endpoint
            });
        }
        tokio::spawn(async move {
            let mut endpoints = probes.join_all().await;
            endpoints.sort_by(|a, b| (&a.member, &a.address).cmp(&(&b.member, &b.address)));
            let report = ProbeReport {
                schema: SCHEMA,
                slot: slot.to_string(),
                passed: endpoints.iter().all(|it| it.result.passed),
                endpoints,
            };
            drop(answer.send(Ok(report)));
        });
    }
}

pub(super) fn find_slot(service: &Steered, slot: &str) -> Result<SlotName, Denied> {
    let slots = &service.settings.slots;
    let found = slots.iter().find(|it| it.name.as_str() == slot);
    found
        .map(|it| it.name.clone())
        .ok_or_else(|| Denied::UnknownSlot {
            asked: slot.to_owned(),
            slots: slots.iter().map(|it| it.name.to_string()).collect(),
        })
}
