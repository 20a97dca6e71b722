//! Tells what gates find, while they find it.

use super::super::events::About;
use super::super::jobs::Jobs;
use crate::api::EventKind;
use crate::api::GateCheck;
use crate::api::GateProgress;
use crate::api::Outcome;
use crate::switch::FlipId;
use crate::switch::ServiceName;

/// For whom gates are tried.
#[derive(Debug, Clone)]
pub(in crate::control) struct Teller {
    pub(in crate::control) jobs: Jobs,
    pub(in crate::control) service: ServiceName,
    /// None by hand.
    pub(in crate::control) flip: Option<FlipId>,
}

impl Teller {
    pub(in crate::control) fn about(&self) -> About<'_> {
        About {
            service: self.service.as_str(),
            flip: self.flip,
        }
    }

    pub(super) fn check(&self, check: GateCheck) {
        let flip_id = self.flip.map(|flip| flip.0);
        let GateCheck {
            slot,
            gate,
            check: name,
            said,
            remedy,
            took_ms,
            outcome,
            endpoint,
            ..
        } = &check;
        let service = &self.service;
        let (outcome_word, remedy) = (outcome.as_str(), remedy.as_deref());
        let endpoint = endpoint.as_deref();
        if *outcome == Outcome::Passed {
            tracing::info!(%service, slot, gate, check = name, endpoint, outcome = outcome_word, said, took_ms,
                flip_id, "gate check");
        } else {
            tracing::warn!(%service, slot, gate, check = name, endpoint, outcome = outcome_word, said, remedy,
                took_ms, flip_id, "gate check");
        }
        let kind = EventKind::GateCheck(check);
        self.jobs.events.tell(self.about(), kind);
    }

    pub(super) fn progress(&self, progress: GateProgress) {
        let kind = EventKind::GateProgress(progress);
        self.jobs.events.tell(self.about(), kind);
    }
}
