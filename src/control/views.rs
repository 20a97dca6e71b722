//! Builds the pictures that workers act on.

use super::endpoints::Endpoints;
use super::queues::Queues;
use crate::config::Service as ServiceSettings;
use crate::config::Slot as SlotSettings;
use crate::filter::Filter;
use crate::live::Member;
use crate::live::Seal;
use crate::live::Slot;
use crate::switch::Generation;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::telemetry::SlotMetrics;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What pictures are made of: endpoints and counters that outlive every picture.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) endpoints: Endpoints,
    pub(super) queues: Queues,
    /// What our cookies are signed with.
    pub(super) seal: Arc<Seal>,
    metrics: BTreeMap<(ServiceName, SlotName), Arc<SlotMetrics>>,
    workers: usize,
}

impl Stock {
    pub(super) fn new(workers: usize, seal: Seal) -> Self {
        Self {
            endpoints: Endpoints::new(workers),
            queues: Queues::default(),
            seal: Arc::new(seal),
            metrics: BTreeMap::new(),
            workers,
        }
    }

    pub(super) fn metrics(&mut self, service: &ServiceName, slot: &SlotName) -> Arc<SlotMetrics> {
        let key = (service.clone(), slot.clone());
        let workers = self.workers;
        let metrics = self.metrics.entry(key);
        Arc::clone(metrics.or_insert_with(|| Arc::new(SlotMetrics::new(workers))))
    }

    /// What asks those who come in; what is unchanged since `before` goes on.
    pub(super) fn filter(
        &self,
        service: &ServiceSettings,
        before: Option<&Filter>,
    ) -> Option<Arc<Filter>> {
        Filter::build(service, before, self.workers)
    }

    /// A slot with counts of its own.
    pub(super) fn slot(
        &mut self,
        service: &ServiceSettings,
        slot: &SlotSettings,
        generation: Generation,
    ) -> Arc<Slot> {
        let members = slot.members.iter().map(|member| Member {
            name: member.name.clone(),
            endpoints: self
                .endpoints
                .member(&service.name, &slot.name, &member.name),
        });
        let members = members.collect();
        let places = self.queues.places(service, &slot.name);
        let metrics = self.metrics(&service.name, &slot.name);
        let name = (slot.name.clone(), generation);
        Arc::new(Slot::new(name, members, self.workers, places, metrics))
    }
}

/// Would a picture of the new slot differ from that of the old one?
pub(super) fn same_picture(
    (old_service, old): (&ServiceSettings, &SlotSettings),
    (new_service, new): (&ServiceSettings, &SlotSettings),
) -> bool {
    let addresses = |slot: &SlotSettings| -> Vec<_> {
        let members = slot.members.iter();
        members
            .map(|member| (member.name.clone(), member.addresses.clone()))
            .collect()
    };
    let is_limited = |service: &ServiceSettings| service.queue.max_in_flight > 0;
    addresses(old) == addresses(new) && is_limited(old_service) == is_limited(new_service)
}
