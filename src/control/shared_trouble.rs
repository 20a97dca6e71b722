//! Trouble of what all slots of a service need: told once when it begins and once when it is over.
//!
//! Whoever finds a cause reports it here, and nothing else: log, events, hooks, metrics, `status` and the history
//! follow from that.

use super::clock::millis;
use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::underway::audit;
use crate::api::EventKind;
use crate::api::SharedTroubleStatus;
use crate::switch::Actor;
use crate::switch::Moment;
use std::collections::BTreeMap;

/// How it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SharedCause {
    /// What `[service.NAME.shared]` names does not answer.
    Configured,
    /// All slots fail alike.
    Inferred,
}

impl SharedCause {
    /// As the API spells it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Inferred => "inferred",
        }
    }
}

/// What fails, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedTrouble {
    pub(super) cause: SharedCause,
    /// None where nobody has said what the slots share.
    pub(super) address: Option<String>,
    pub(super) reason: String,
}

/// Every cause that is at work in one service; an outage lasts from the first to the end of the last.
#[derive(Debug, Default)]
pub(super) struct SharedTroubles {
    now: BTreeMap<SharedCause, SharedTrouble>,
    since: Option<Moment>,
    /// Since the daemon started.
    outages: u64,
}

impl SharedTroubles {
    /// None while all is well.
    pub(super) fn status(&self) -> Option<SharedTroubleStatus> {
        let trouble = self.now.values().next()?;
        Some(SharedTroubleStatus {
            since: stamp(self.since?),
            cause: trouble.cause.as_str().to_owned(),
            address: trouble.address.clone(),
            reason: trouble.reason.clone(),
        })
    }

    pub(super) fn outages(&self) -> u64 {
        self.outages
    }

    pub(super) fn is_up(&self) -> bool {
        self.now.is_empty()
    }
}

impl Conductor {
    /// What all slots need fails. Told once, however often it is reported, until it is over.
    pub(super) fn shared_fails(&mut self, at: usize, trouble: SharedTrouble) {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let troubles = &mut service.shared_troubles;
        let begins = troubles.now.is_empty();
        let told = troubles.now.insert(trouble.cause, trouble.clone());
        let SharedTrouble {
            cause,
            address,
            reason,
        } = trouble;
        if told.is_none_or(|told| told.reason != reason) {
            tracing::error!(service = %service.name, cause = cause.as_str(), address, reason,
                "what all slots need fails; nothing moves by itself");
        }
        if !begins {
            return;
        }
        troubles.since = Some(now);
        troubles.outages += 1;
        let mut record = audit(now, &Actor::itself(), "shared_down");
        record.service = service.name.to_string();
        record.reason = Some(reason.clone());
        "failed".clone_into(&mut record.result);
        // In the history first: whoever hears of it finds it there.
        self.finish(&record);
        let about = About::service(&record.service);
        let kind = EventKind::SharedDown { address, reason };
        self.jobs.events.tell(about, kind);
    }

    /// One cause is at work no more.
    pub(super) fn shared_recovers(&mut self, at: usize, cause: SharedCause) {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let troubles = &mut service.shared_troubles;
        let Some(over) = troubles.now.remove(&cause) else {
            return;
        };
        if !troubles.now.is_empty() {
            return;
        }
        let lasted_ms = troubles
            .since
            .take()
            .map_or(0, |since| millis(now.since(since)));
        // As loud as its beginning is seen: whoever filters for warnings sees how long it took.
        tracing::warn!(service = %service.name, cause = cause.as_str(), address = over.address, lasted_ms,
            "what all slots need is back");
        let mut record = audit(now, &Actor::itself(), "shared_up");
        record.service = service.name.to_string();
        record.reason = Some(over.reason);
        record.took_ms = Some(lasted_ms);
        self.finish(&record);
        let about = About::service(&record.service);
        let address = over.address;
        let kind = EventKind::SharedUp { address, lasted_ms };
        self.jobs.events.tell(about, kind);
    }
}
