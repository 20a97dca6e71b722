//! Figures for the Prometheus page.

use super::clock::millis;
use super::conductor::Conductor;
use super::drain::sum;
use super::names;
use super::prober::EndpointKey;
use super::shadow::Shadowing;
use super::status::queued;
use super::steered::Steered;
use crate::config::Slot as SlotSettings;
use crate::filter::Filter;
use crate::filter::Zone;
use crate::live::Lobby;
use crate::live::ModeCounts;
use crate::live::Wellness;
use crate::switch::SlotHealth;
use crate::telemetry::DeniedFigures;
use crate::telemetry::DescriptorFigures;
use crate::telemetry::EndpointFigures;
use crate::telemetry::FlipFigures;
use crate::telemetry::GateFigures;
use crate::telemetry::HoldFigures;
use crate::telemetry::InFlightFigures;
use crate::telemetry::ModeFigures;
use crate::telemetry::Page;
use crate::telemetry::ServiceFigures;
use crate::telemetry::SharedFigures;
use crate::telemetry::SlotFigures;
use crate::telemetry::WaitFigures;
use crate::telemetry::ZoneFigures;
use std::sync::Arc;

fn denied(filter: Option<&Filter>) -> DeniedFigures {
    let refused = filter.map(Filter::refused).unwrap_or_default();
    DeniedFigures {
        clients: refused.clients,
        paths: refused.paths,
        passwords: refused.passwords,
    }
}

fn gates(service: &Steered) -> Vec<GateFigures> {
    let counts = service.gates.counts.iter();
    let figures = counts.map(|(what, count)| GateFigures {
        gate: what.gate.clone(),
        outcome: what.outcome.as_str(),
        count: *count,
    });
    figures.collect()
}

fn zones(filter: Option<&Filter>) -> Vec<ZoneFigures> {
    let zones = filter.into_iter().flat_map(Filter::zones);
    let figures = |zone: &Arc<Zone>| {
        let counts = zone.counts();
        ZoneFigures {
            name: zone.settings().name.clone(),
            allowed: counts.allowed,
            limited: counts.limited,
            evicted: counts.evicted,
        }
    };
    zones.map(figures).collect()
}

fn hold_figures(lobby: &Lobby) -> HoldFigures {
    let (now, counts) = (lobby.now(), lobby.counts());
    HoldFigures {
        held: false,
        holds: 0,
        waiting: now.waiting as u64,
        oldest_ms: millis(now.oldest),
        bytes: now.bytes,
        released: counts.released,
        full: counts.full,
        late: counts.late,
        left: counts.left,
        waited_ms: millis(counts.waited),
    }
}

fn waits(service: &Steered) -> WaitFigures {
    WaitFigures {
        hold: HoldFigures {
            held: service.holds.current.is_some(),
            holds: service.holds.count,
            ..hold_figures(&service.holds.lobby)
        },
        outage: hold_figures(&service.holds.outage.lobby),
        maintenance: ModeFigures {
            is_on: service.modes.is_in_maintenance(),
            refused: ModeCounts::get(&service.modes.refused().maintenance),
        },
        read_only: ModeFigures {
            is_on: service.modes.is_read_only(),
            refused: ModeCounts::get(&service.modes.refused().read_only),
        },
    }
}

impl Conductor {
    /// Without what the clients' side counts, which control does not know.
    pub(super) fn page(&mut self) -> Page {
        let services = self.services.iter();
        Page {
            version: env!("CARGO_PKG_VERSION"),
            started_ms: self.started.0,
            epoch: self.epoch.0,
            state_writable: self.disk_trouble.is_none(),
            descriptors: self.descriptor_figures(),
            config_valid: self.config.problems.is_empty(),
            clients: None,
            content: None,
            certificates: self.certificates.figures(),
            services: services
                .map(|service| self.service_figures(service))
                .collect(),
            hooks: self.hooks.board().figures(),
            names: names::figures(),
            calls: None,
        }
    }

    fn descriptor_figures(&self) -> DescriptorFigures {
        let status = self.descriptors_status();
        DescriptorFigures {
            limit: status.limit,
            connections: status.connections,
        }
    }

    fn service_figures(&self, service: &Steered) -> ServiceFigures {
        let slots = service.settings.slots.iter();
        let flips = service.flips.iter();
        ServiceFigures {
            name: service.name.to_string(),
            generation: service.switch.generation().0,
            flips: flips
                .map(|(kind, count)| FlipFigures {
                    direction: kind.direction,
                    result: kind.result,
                    count: *count,
                })
                .collect(),
            gates: gates(service),
            shared: SharedFigures {
                is_down: !service.shared_troubles.is_up(),
                outages: service.shared_troubles.outages(),
            },
            shadow: service.shadow.as_ref().map(Shadowing::figures),
            denied: denied(service.filter.as_deref()),
            zones: zones(service.filter.as_deref()),
            waits: waits(service),
            watch: service.watch_metrics(),
            is_warned_of: service.is_warned_of(),
            slots: slots.map(|slot| self.slot_figures(service, slot)).collect(),
        }
    }

    fn slot_figures(&self, service: &Steered, slot: &SlotSettings) -> SlotFigures {
        let pictures = service.pictures_of(&slot.name);
        let in_flight = sum(&pictures);
        let told = service.health.get(&slot.name).map(|told| &told.health);
        let metrics = pictures.first().map(|picture| picture.metrics.counts());
        let percent = service.switch.canary().filter(|it| it.slot == slot.name);
        let tally = pictures.first().map(|picture| picture.metrics.tally());
        SlotFigures {
            name: slot.name.to_string(),
            active: slot.name == *service.switch.active(),
            healthy: match told {
                Some(SlotHealth::Healthy) => Some(true),
                Some(SlotHealth::Unhealthy { .. }) => Some(false),
                // An idle slot that is not there is no trouble.
                Some(SlotHealth::Absent { .. }) if slot.name == *service.switch.active() => {
                    Some(false)
                }
                Some(SlotHealth::Absent { .. } | SlotHealth::Unknown) | None => None,
            },
            version: service.switch.label(&slot.name).map(ToString::to_string),
            quarantined: service.switch.quarantine(&slot.name).is_some(),
            has_stranger: service.strangers.contains_key(&slot.name),
            percent: percent.map(|canary| canary.share.percent()),
            counts: metrics.unwrap_or_default(),
            tally: tally.unwrap_or_default(),
            in_flight: InFlightFigures {
                requests: in_flight.requests,
                transfers: in_flight.transfers,
                websockets: in_flight.websockets,
            },
            queued: queued(&pictures),
            endpoints: self.endpoint_figures(service, slot),
        }
    }

    fn endpoint_figures(&self, service: &Steered, slot: &SlotSettings) -> Vec<EndpointFigures> {
        let mut figures = Vec::new();
        for member in &slot.members {
            for address in &member.addresses {
                let key = EndpointKey {
                    service: service.name.clone(),
                    slot: slot.name.clone(),
                    member: member.name.clone(),
                    address: address.clone(),
                };
                let wellness = self
                    .stock
                    .endpoints
                    .get(&key)
                    .map(super::endpoints::Watched::wellness);
                figures.push(EndpointFigures {
                    member: member.name.to_string(),
                    address: address.to_string(),
                    up: wellness == Some(Wellness::Healthy),
                });
            }
        }
        figures
    }
}
