//! From probes to what the machine is told of its slots, and of what they share.

use super::conductor::Conductor;
use super::events::About;
use super::log_level::Role;
use super::log_level::log_at;
use super::log_level::of_health;
use super::outages::Probed;
use super::prober::ProbeReport;
use super::shared::SharedReport;
use super::shared_trouble::SharedCause;
use super::shared_trouble::SharedTrouble;
use crate::api::EventKind;
use crate::switch::Event;
use crate::switch::Owner;
use crate::switch::SlotHealth;
use crate::switch::SlotName;
use std::sync::Arc;

impl Conductor {
    /// Takes one probe into account, and looks what follows from it.
    pub(super) fn probed(&mut self, report: ProbeReport) {
        let (service, slot) = (report.key.service.clone(), report.key.slot.clone());
        let is_no_result = report.is_no_result();
        let probe = Probed {
            started: report.started,
            passed: report.passed(),
        };
        self.stock.endpoints.observe(report);
        // The slot was not even asked: nothing follows.
        if is_no_result {
            return;
        }
        if let Some(at) = self.index_of(&service) {
            self.look_at_listeners(at, &slot);
            self.look_at_health(at, &slot);
            self.look_at_outage(at, &slot, probe);
        }
    }

    pub(super) fn look_at_all(&mut self, at: usize) {
        let settings = Arc::clone(&self.services[at].settings);
        for slot in &settings.slots {
            self.look_at_health(at, &slot.name);
        }
    }

    /// Tells the machine when a slot's health is not what it was told last.
    pub(super) fn look_at_health(&mut self, at: usize, slot: &SlotName) {
        let service = &self.services[at].name;
        let health = self.stock.endpoints.slot_health(service, slot);
        self.tell_health(at, slot, health);
    }

    fn tell_health(&mut self, at: usize, slot: &SlotName, health: SlotHealth) {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let is_active = service.slots[service.active].name == *slot;
        let role = match is_active {
            true if service.switch.is_starting() => Role::Starting,
            true => Role::Active,
            false => Role::Idle,
        };
        let told = service.health.entry(slot.clone()).or_default();
        let before = told.health.clone();
        if !told.update(health.clone(), now) {
            return;
        }
        let reason = told.reason();
        let words = health.as_str();
        let level = of_health(role, &before, &health);
        log_at!(level, service = %service.name, %slot, health = words, reason, "slot health changed");
        let kind = EventKind::Health {
            slot: slot.to_string(),
            health: words.to_owned(),
            reason: reason.map(str::to_owned),
        };
        let about = About::service(service.name.as_str());
        self.jobs.events.tell(about, kind);
        let slot = slot.clone();
        self.event(at, Event::Health { slot, health });
    }

    /// What `shared` names answers, does not, or is not looked at any more.
    pub(super) fn shared_changed(&mut self, at: usize, health: SlotHealth) {
        match &health {
            SlotHealth::Unhealthy { reason } => {
                let settings = self.services[at].settings.shared.as_ref();
                let trouble = SharedTrouble {
                    cause: SharedCause::Configured,
                    address: settings.map(|it| it.tcp.to_string()),
                    reason: reason.clone(),
                };
                self.shared_fails(at, trouble);
            }
            _ => self.shared_recovers(at, SharedCause::Configured),
        }
        self.event(at, Event::Shared { health });
    }

    /// All slots fail alike, as far as they have been asked; or do so no more.
    pub(super) fn look_at_shared_cause(&mut self, at: usize) {
        match self.services[at].switch.shared_cause() {
            Some(reason) => {
                let trouble = SharedTrouble {
                    cause: SharedCause::Inferred,
                    address: None,
                    reason: reason.to_owned(),
                };
                self.shared_fails(at, trouble);
            }
            None => self.shared_recovers(at, SharedCause::Inferred),
        }
    }

    /// After a reload: what was said of something that is looked at no more holds no longer.
    pub(super) fn look_at_another_shared(&mut self, at: usize) {
        let service = &self.services[at];
        let told = service.shared.as_ref().map(|check| &check.told.health);
        let told = told.cloned().unwrap_or_default();
        if told == SlotHealth::Unknown && *service.switch.shared() != SlotHealth::Unknown {
            self.shared_changed(at, SlotHealth::Unknown);
        }
    }

    pub(super) fn shared(&mut self, report: &SharedReport) {
        let now = self.jobs.clock.now();
        let Some(at) = self.index_of(&report.service) else {
            return;
        };
        let service = &mut self.services[at];
        let Some(check) = &mut service.shared else {
            return;
        };
        let health = match &report.result {
            Ok(()) => SlotHealth::Healthy,
            Err(words) => {
                let address = service
                    .settings
                    .shared
                    .as_ref()
                    .map(|it| it.tcp.to_string());
                let address = address.unwrap_or_default();
                let reason = format!("{address}: {words}");
                SlotHealth::Unhealthy { reason }
            }
        };
        // What we lack ourselves says nothing of it: what was known before stands.
        if report.owner != Owner::Ours && check.told.update(health.clone(), now) {
            self.shared_changed(at, health);
        }
    }
}
