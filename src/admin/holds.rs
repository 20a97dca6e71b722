//! Holds: asked for, followed, let go.

use super::actions::Asked;
use super::actions::parse;
use super::answer;
use super::answer::Answer;
use super::answer::lines;
use super::problem;
use super::problem::Wrong;
use super::server::Admin;
use super::streams::send;
use crate::api::EventKind;
use crate::api::HoldRequest;
use crate::api::StreamEvent;
use crate::config::parse_duration;
use crate::control::HoldOrder;
use crate::control::HoldTaken;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

impl Admin {
    pub(super) async fn hold(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: HoldRequest = match &asked.body[..] {
            // Every field has a default.
            b"" => HoldRequest::default(),
            body => parse(body)?,
        };
        let order = HoldOrder {
            service: service.to_owned(),
            by: asked.by,
            at_most: at_most(&request)?,
            drain: request.drain,
            lease: request.lease,
            reason: request.reason,
        };
        let taken = self.control.hold(order).await.map_err(problem::denied)?;
        let (sender, answer) = lines();
        tokio::spawn(follow(service.to_owned(), taken, sender));
        Ok(answer)
    }

    pub(super) async fn release(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let released = self.control.release(service.to_owned(), asked.by).await;
        released
            .map(|it| answer::json(&it))
            .map_err(problem::denied)
    }
}

fn at_most(request: &HoldRequest) -> Result<Duration, Wrong> {
    match parse_duration(&request.at_most) {
        Ok(Duration::ZERO) => Err(problem::bad_request(
            "a hold lasts for more than nothing: \"for\": \"30s\"",
        )),
        Ok(duration) => Ok(duration),
        Err(error) => Err(problem::bad_request(&format!("\"for\": {error}"))),
    }
}

/// The hold's own events, up to its last. Who asked holds the lease here: it is given up with this task.
async fn follow(service: String, taken: HoldTaken, client: Sender<Bytes>) {
    let HoldTaken {
        hold,
        mut events,
        lease,
    } = taken;
    let mine = |event: &StreamEvent| match &event.kind {
        EventKind::Missed { .. } => true,
        kind => event.service == service && number(kind) == Some(hold),
    };
    loop {
        let event = tokio::select! {
            () = client.closed() => break,
            event = events.next() => event,
        };
        let Some(event) = event else { break };
        if !mine(&event) {
            continue;
        }
        if !send(&client, &event).await || matches!(event.kind, EventKind::Released { .. }) {
            break;
        }
    }
    drop(lease);
}

/// Of the hold that it tells of.
fn number(kind: &EventKind) -> Option<u64> {
    match kind {
        EventKind::Held { hold, .. }
        | EventKind::Holding { hold, .. }
        | EventKind::HoldDrained { hold, .. }
        | EventKind::Releasing { hold, .. }
        | EventKind::Released { hold, .. } => Some(*hold),
        _ => None,
    }
}
