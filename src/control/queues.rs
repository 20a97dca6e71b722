//! The places and the line of every service that has a limit; they outlive every picture.

use crate::config::Service as ServiceSettings;
use crate::config::Settings;
use crate::live::Line;
use crate::live::Places;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Queues(BTreeMap<ServiceName, Queue>);

#[derive(Debug)]
struct Queue {
    line: Arc<Line>,
    places: BTreeMap<SlotName, Arc<Places>>,
}

impl Queues {
    /// A slot's places, the same for all its generations; none when the service has no limit.
    pub(super) fn places(
        &mut self,
        service: &ServiceSettings,
        slot: &SlotName,
    ) -> Option<Arc<Places>> {
        let settings = &service.queue;
        if settings.max_in_flight == 0 {
            return None;
        }
        let queue = self.0.entry(service.name.clone());
        let queue = queue.or_insert_with(|| Queue {
            line: Line::new(settings.length),
            places: BTreeMap::new(),
        });
        let places = queue.places.entry(slot.clone());
        let places = places.or_insert_with(|| Places::new(settings.max_in_flight, &queue.line));
        Some(Arc::clone(places))
    }

    /// New limits hold at once. Gives back the lines that the next View holds no more: to be closed once it is out.
    #[must_use]
    pub(super) fn configure(&mut self, settings: &Settings) -> Vec<Arc<Line>> {
        let mut left = Vec::new();
        self.0.retain(|name, queue| {
            let service = settings.services.iter().find(|it| it.name == *name);
            let Some(service) = service.filter(|it| it.queue.max_in_flight > 0) else {
                left.push(Arc::clone(&queue.line));
                return false;
            };
            queue.configure(service);
            true
        });
        left
    }
}

impl Queue {
    fn configure(&mut self, service: &ServiceSettings) {
        let slots = &service.slots;
        self.places
            .retain(|name, _| slots.iter().any(|slot| slot.name == *name));
        self.line.set_length(service.queue.length);
        for places in self.places.values() {
            places.set_limit(service.queue.max_in_flight);
        }
    }
}
