//! From single endpoints to how a whole slot is.

use super::endpoints::Endpoints;
use super::endpoints::Watched;
use super::endpoints::needed;
use crate::live::Wellness;
use crate::switch::MemberName;
use crate::switch::ServiceName;
use crate::switch::SlotHealth;
use crate::switch::SlotName;
use std::collections::BTreeMap;

impl Endpoints {
    /// Healthy when every member is; unhealthy when one is. A member is healthy while enough of its endpoints are.
    pub(super) fn slot_health(&self, service: &ServiceName, slot: &SlotName) -> SlotHealth {
        let mut members: BTreeMap<&MemberName, Vec<&Watched>> = BTreeMap::new();
        for watched in self.of(service, slot) {
            members
                .entry(watched.member_name())
                .or_default()
                .push(watched);
        }
        let count = |endpoints: &[&Watched], wanted: Wellness| {
            let all = endpoints.iter();
            all.filter(|it| it.wellness() == wanted).count()
        };
        let mut bad: Vec<&&Watched> = Vec::new();
        let mut all_healthy = true;
        for endpoints in members.values() {
            let needed = needed(endpoints);
            all_healthy &= count(endpoints, Wellness::Healthy) >= needed;
            if count(endpoints, Wellness::Unhealthy) > endpoints.len() - needed {
                let all = endpoints.iter();
                bad.extend(all.filter(|it| it.wellness() == Wellness::Unhealthy));
            }
        }
        if bad.is_empty() {
            return if all_healthy {
                SlotHealth::Healthy
            } else {
                SlotHealth::Unknown
            };
        }
        let words: Vec<_> = bad.iter().map(|it| it.in_words()).collect();
        let reason = words.join("; ");
        // A name that is gone beside another one that answers is a fault.
        let mut all = members.values().flatten();
        if all.all(|it| it.is_absent()) {
            return SlotHealth::Absent { reason };
        }
        SlotHealth::Unhealthy { reason }
    }

    /// Why a slot is not known to be well, where its endpoints have failed probes.
    pub(super) fn doubts(&self, service: &ServiceName, slot: &SlotName) -> Option<String> {
        let doubts: Vec<String> = self
            .of(service, slot)
            .filter(|it| it.wellness() != Wellness::Healthy)
            .map(Watched::in_words)
            .collect();
        (!doubts.is_empty()).then(|| doubts.join("; "))
    }
}
