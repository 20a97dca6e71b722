//! Outages: requests that could not be connected wait until their slot can be, or another one is active.
//!
//! Workers join the line by themselves; control lets them go. Each has a deadline of its own.

use super::clock::millis;
use super::conductor::Conductor;
use super::events::About;
use super::hold_watch::let_go;
use crate::api::EventKind;
use crate::api::OutageStatus;
use crate::config::Hold as HoldSettings;
use crate::live::Hold;
use crate::live::Lobby;
use crate::switch::Moment;
use crate::switch::SlotName;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Where requests of one service wait while its active slot cannot be connected.
#[derive(Debug)]
pub(super) struct OutageDesk {
    pub(super) lobby: Arc<Lobby>,
    /// Nobody is let go but by control.
    hold: Arc<Hold>,
    is_told: bool,
    releasing: Option<AbortHandle>,
}

impl Drop for OutageDesk {
    fn drop(&mut self) {
        if let Some(task) = &self.releasing {
            task.abort();
        }
    }
}

impl OutageDesk {
    pub(super) fn new(settings: &HoldSettings) -> Self {
        let lobby = Lobby::new(settings.max_requests, settings.max_bytes);
        Self {
            hold: Hold::begin(&lobby),
            lobby,
            is_told: false,
            releasing: None,
        }
    }

    pub(super) fn configure(&self, settings: &HoldSettings) {
        self.lobby
            .set_bounds(settings.max_requests, settings.max_bytes);
    }

    /// As workers see it.
    pub(super) fn picture(&self, settings: &HoldSettings) -> Option<Arc<Hold>> {
        (!settings.on_outage.is_zero()).then(|| Arc::clone(&self.hold))
    }

    pub(super) fn status(&self) -> Option<OutageStatus> {
        let now = self.lobby.now();
        (now.waiting > 0).then(|| OutageStatus {
            waiting: now.waiting as u64,
            oldest_ms: millis(now.oldest),
        })
    }

    /// Its service is gone: whoever waits looks for another.
    pub(super) fn close(&self) {
        self.lobby.line().close();
    }
}

/// One probe of a slot, as those who wait for the slot see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probed {
    pub(super) started: Moment,
    pub(super) passed: bool,
}

impl Conductor {
    /// A slot was probed: those who wait for it go on, or everybody is told that they wait.
    pub(super) fn look_at_outage(&mut self, at: usize, slot: &SlotName, probe: Probed) {
        if self.services[at].active_slot().name != *slot {
            return;
        }
        let now = self.services[at].holds.outage.lobby.now();
        let waiting = now.waiting as u64;
        if waiting == 0 {
            self.services[at].holds.outage.is_told = false;
        } else if probe.passed {
            // What was asked before the first of them found nobody there says nothing of now.
            if self.jobs.clock.now().since(probe.started) <= now.oldest {
                self.end_outage(at);
            }
        } else if !std::mem::replace(&mut self.services[at].holds.outage.is_told, true) {
            let service = &self.services[at].name;
            tracing::error!(%service, %slot, waiting, "requests wait for a slot that cannot be connected");
            let slot = slot.to_string();
            let about = About::service(service.as_str());
            let kind = EventKind::OutageBegan { slot, waiting };
            self.jobs.events.tell(about, kind);
        }
    }

    /// Whoever waits for a slot that can be connected may try.
    pub(super) fn end_outage(&mut self, at: usize) {
        let service = &mut self.services[at];
        let rate = service.settings.hold.release_rate;
        let slot = service.active_slot().name.to_string();
        let desk = &mut service.holds.outage;
        let waiting = desk.lobby.now().waiting as u64;
        let is_releasing = desk.releasing.as_ref().is_some_and(|it| !it.is_finished());
        if waiting == 0 || is_releasing {
            return;
        }
        let hold = Arc::clone(&desk.hold);
        let release = async move { let_go(&hold, rate).await };
        desk.releasing = Some(tokio::spawn(release).abort_handle());
        if !std::mem::take(&mut desk.is_told) {
            // It was over before anybody noticed.
            return;
        }
        tracing::warn!(service = %service.name, slot, waiting, "requests that waited for a slot go on");
        let about = About::service(service.name.as_str());
        let kind = EventKind::OutageEnded { slot, waiting };
        self.jobs.events.tell(about, kind);
    }

    /// After a reload: where nobody waits for that any more, nobody is left waiting.
    pub(super) fn check_outage(&mut self, at: usize) {
        let service = &self.services[at];
        if service.settings.hold.on_outage.is_zero() {
            service.holds.outage.hold.places.let_go(usize::MAX);
        }
    }
}
