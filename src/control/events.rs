//! Everything that happens, told to whoever listens; nobody is waited for.

use super::clock::Clock;
use super::clock::stamp;
use crate::api::EventKind;
use crate::api::SCHEMA;
use crate::api::StreamEvent;
use crate::switch::FlipId;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many events a reader may lag behind.
const KEPT: usize = 512;

/// Where events are told.
#[derive(Debug, Clone)]
pub(super) struct Events {
    sender: broadcast::Sender<Arc<StreamEvent>>,
    clock: Clock,
}

/// What an event is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) service: &'a str,
    pub(super) flip: Option<FlipId>,
}

impl<'a> About<'a> {
    pub(super) fn daemon() -> Self {
        Self {
            service: "",
            flip: None,
        }
    }

    pub(super) fn service(service: &'a str) -> Self {
        Self {
            service,
            flip: None,
        }
    }

    pub(super) fn flip(service: &'a str, flip: FlipId) -> Self {
        Self {
            service,
            flip: Some(flip),
        }
    }
}

impl Events {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            sender: broadcast::Sender::new(KEPT),
            clock,
        }
    }

    pub(super) fn tell(&self, about: About<'_>, kind: EventKind) {
        // An error means that nobody listens.
        let _ = self.sender.send(self.event(about, kind));
    }

    pub(super) fn event(&self, about: About<'_>, kind: EventKind) -> Arc<StreamEvent> {
        Arc::new(StreamEvent {
            schema: SCHEMA,
            at: stamp(self.clock.now()),
            service: about.service.to_owned(),
            flip: about.flip.map(|flip| flip.0),
            kind,
        })
    }

    /// Everything from now on.
    pub(super) fn subscribe(&self) -> Subscription {
        Subscription {
            receiver: self.sender.subscribe(),
            clock: self.clock,
        }
    }
}

/// One listener's place in the stream of events.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<StreamEvent>>,
    clock: Clock,
}

impl Subscription {
    /// The next event; a reader that was too slow gets an [`EventKind::Missed`] in place of what is gone.
    /// None when the daemon stops. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<StreamEvent>> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(events)) => Some(self.missed(events)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// As [`Subscription::next`], but only what is there already.
    pub fn next_now(&mut self) -> Option<Arc<StreamEvent>> {
        match self.receiver.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(events)) => Some(self.missed(events)),
            Err(_) => None,
        }
    }

    fn missed(&self, events: u64) -> Arc<StreamEvent> {
        Arc::new(StreamEvent {
            schema: SCHEMA,
            at: stamp(self.clock.now()),
            service: String::new(),
            flip: None,
            kind: EventKind::Missed { events },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_events_it_missed() {
        let events = Events::new(Clock::start());
        let mut slow = events.subscribe();
        let more = 40;
        for _ in 0..KEPT + more {
            events.tell(About::daemon(), EventKind::Settled);
        }
        let first = slow.next().await.unwrap();
        assert_eq!(
            first.kind,
            EventKind::Missed {
                events: u64::try_from(more).unwrap()
            }
        );
        assert_eq!(slow.next_now().unwrap().kind, EventKind::Settled);
    }
}
