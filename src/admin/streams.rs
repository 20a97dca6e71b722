//! Event streams: of one operation, or of everything.

use super::answer::Answer;
use super::answer::line;
use super::answer::lines;
use super::sight::Sight;
use crate::api::EventKind;
use crate::api::StreamEvent;
use crate::control::Accepted;
use crate::control::Subscription;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// The stream of one operation, up to the asker's `done`.
///
/// It only listens: when the client leaves, the operation goes on.
pub(super) fn operation(service: String, accepted: Accepted) -> Answer {
    let (sender, answer) = lines();
    tokio::spawn(follow(service, accepted, sender));
    answer
}

async fn follow(service: String, mut accepted: Accepted, client: Sender<Bytes>) {
    let flip = accepted.flip;
    let mine = |event: &StreamEvent| match event.kind {
        // The asker's own end comes on its own way, with the last word.
        EventKind::Done { .. } => false,
        EventKind::Missed { .. } => true,
        _ => event.service == service && event.flip.is_some() && event.flip == flip,
    };
    pass_on(&mut accepted, &client, mine).await;
}

/// What is `mine`, up to the last word.
async fn pass_on(
    accepted: &mut Accepted,
    client: &Sender<Bytes>,
    mine: impl Fn(&StreamEvent) -> bool,
) {
    loop {
        tokio::select! {
            () = client.closed() => return,
            done = &mut accepted.done => {
                while let Some(event) = accepted.events.next_now() {
                    if mine(&event) && !send(client, &event).await {
                        return;
                    }
                }
                // No last word: the daemon stops, and the journal tells the rest at the next start.
                if let Ok(done) = done {
                    send(client, &done).await;
                }
                return;
            }
            event = accepted.events.next() => {
                let Some(event) = event else { return };
                if mine(&event) && !send(client, &event).await {
                    return;
                }
            }
        }
    }
}

/// The stream of a slot's gates by hand, which belong to no operation.
pub(super) fn gates(service: String, slot: String, accepted: Accepted) -> Answer {
    let (sender, answer) = lines();
    tokio::spawn(follow_gates(service, slot, accepted, sender));
    answer
}

async fn follow_gates(
    service: String,
    slot: String,
    mut accepted: Accepted,
    client: Sender<Bytes>,
) {
    let mine = |event: &StreamEvent| {
        let about = match &event.kind {
            EventKind::Missed { .. } => return true,
            EventKind::Probe { slot, .. } => slot,
            EventKind::GateCheck(check) => &check.slot,
            EventKind::GateProgress(progress) => &progress.slot,
            EventKind::GateWaiting(waiting) => &waiting.slot,
            _ => return false,
        };
        // A flip may try the same gates at the same time.
        event.service == service && event.flip.is_none() && *about == slot
    };
    pass_on(&mut accepted, &client, mine).await;
}

/// Everything that happens, of one service or of all, until the client leaves.
pub(super) fn everything(service: Option<String>, sight: Sight, events: Subscription) -> Answer {
    let (sender, answer) = lines();
    tokio::spawn(listen(service, sight, events, sender));
    answer
}

async fn listen(
    service: Option<String>,
    sight: Sight,
    mut events: Subscription,
    client: Sender<Bytes>,
) {
    loop {
        let event = tokio::select! {
            () = client.closed() => return,
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        let asked_for = |name: &String| event.service.is_empty() || event.service == *name;
        let is_seen = sight.has(&event.service) || matches!(event.kind, EventKind::Missed { .. });
        if is_seen && service.as_ref().is_none_or(asked_for) && !send(&client, &event).await {
            return;
        }
    }
}

/// False when the client is gone.
pub(super) async fn send(client: &Sender<Bytes>, event: &StreamEvent) -> bool {
    client.send_timeout(line(event), PATIENCE).await.is_ok()
}
