//! What a job (a probe, a gate, a drain) is given: the time, an ear for events, a way to report back.

use super::clock::Clock;
use super::events::Events;
use super::message::Message;
use tokio::sync::mpsc;

#[derive(Debug, Clone)]
pub(super) struct Jobs {
    pub(super) clock: Clock,
    pub(super) events: Events,
    conductor: mpsc::Sender<Message>,
}

impl Jobs {
    pub(super) fn new(clock: Clock, events: Events, conductor: mpsc::Sender<Message>) -> Self {
        Self {
            clock,
            events,
            conductor,
        }
    }

    /// Waits while the conductor is busy; a conductor that is gone needs no report.
    pub(super) async fn report(&self, message: Message) {
        let _ = self.conductor.send(message).await;
    }
}
