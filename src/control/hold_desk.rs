//! Holds: what is asked and told of them, and what is known of one while it lasts.

use super::clock::millis;
use super::clock::stamp;
use super::events::Subscription;
use super::message::Answer;
use super::message::Denied;
use super::outages::OutageDesk;
use super::underway::audit;
use crate::api::AuditRecord;
use crate::api::HoldReleased;
use crate::api::HoldStatus;
use crate::api::ReleaseCause;
use crate::config::Hold as HoldSettings;
use crate::config::format_duration;
use crate::live::DrainPass;
use crate::live::Hold;
use crate::live::Lobby;
use crate::live::LobbyCounts;
use crate::switch::Actor;
use crate::switch::Moment;
use crate::switch::ServiceName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What concerns holds.
#[derive(Debug)]
pub(super) enum HoldMessage {
    Take(HoldOrder, Answer<Result<HoldTaken, Denied>>),
    Release {
        service: String,
        by: Actor,
        answer: Answer<Result<HoldReleased, Denied>>,
    },
    Drained(HoldName),
    /// Nothing is under way but what passes: from the answer on nothing passes any more.
    Alone(HoldName, oneshot::Sender<()>),
    /// It has to end.
    Over(HoldName, ReleaseCause),
    /// Everybody was let go.
    Empty(HoldName),
    /// The daemon stops: nobody is held any more.
    Stop,
}

/// Which hold is meant: one that is long over is nobody's.
#[derive(Debug, Clone)]
pub(super) struct HoldName {
    pub(super) service: ServiceName,
    pub(super) number: u64,
}

/// What somebody asks for.
#[derive(Debug)]
pub struct HoldOrder {
    pub service: String,
    pub by: Actor,
    pub reason: Option<String>,
    pub at_most: Duration,
    pub drain: bool,
    pub lease: bool,
}

/// A hold that has begun.
#[derive(Debug)]
pub struct HoldTaken {
    pub hold: u64,
    /// From before its first event.
    pub events: Subscription,
    /// Dropping it ends a hold that is a lease.
    pub lease: oneshot::Sender<()>,
}

/// Why there is no hold, or none to end.
#[derive(Debug, thiserror::Error)]
pub enum HoldRefusal {
    #[error("{service} is held already: by {by}, until {until}")]
    Held {
        service: String,
        by: String,
        until: String,
    },
    #[error(
        "{} is longer than a hold may be: service.{service}.hold.max_for is {}",
        format_duration(*.asked), format_duration(*.most)
    )]
    TooLong {
        service: String,
        asked: Duration,
        most: Duration,
    },
    #[error("{service} is not held")]
    NotHeld { service: String },
}

/// Where requests of one service wait, and the hold there is.
#[derive(Debug)]
pub(super) struct HoldDesk {
    pub(super) lobby: Arc<Lobby>,
    /// Holds there have been.
    pub(super) count: u64,
    pub(super) current: Option<Holding>,
    pub(super) outage: OutageDesk,
}

/// One hold, from its first moment until the last request is through.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) name: HoldName,
    pub(super) by: Actor,
    pub(super) reason: Option<String>,
    pub(super) since: Moment,
    pub(super) until: Moment,
    pub(super) started: Instant,
    pub(super) lease: bool,
    pub(super) drained: Option<bool>,
    pub(super) over: Option<ReleaseCause>,
    /// As it was at the beginning.
    pub(super) before: LobbyCounts,
    pub(super) hold: Arc<Hold>,
    /// Until nothing else is under way.
    pub(super) drain_pass: Option<Arc<DrainPass>>,
    /// What watches it, or lets go.
    pub(super) task: Option<AbortHandle>,
}

impl Holding {
    /// Its line in the history, as far as it is known at the beginning.
    pub(super) fn audit(&self) -> AuditRecord {
        let mut record = audit(self.since, &self.by, "hold");
        record.service = self.name.service.to_string();
        record.reason.clone_from(&self.reason);
        record
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl HoldDesk {
    pub(super) fn new(settings: &HoldSettings) -> Self {
        Self {
            lobby: Lobby::new(settings.max_requests, settings.max_bytes),
            count: 0,
            current: None,
            outage: OutageDesk::new(settings),
        }
    }

    pub(super) fn configure(&self, settings: &HoldSettings) {
        self.lobby
            .set_bounds(settings.max_requests, settings.max_bytes);
        self.outage.configure(settings);
    }

    pub(super) fn status(&self) -> Option<HoldStatus> {
        let holding = self.current.as_ref()?;
        let now = self.lobby.now();
        Some(HoldStatus {
            hold: holding.name.number,
            by: holding.by.to_string(),
            reason: holding.reason.clone(),
            since: stamp(holding.since),
            until: stamp(holding.until),
            lease: holding.lease,
            releasing: holding.over.is_some(),
            drained: holding.drained,
            waiting: now.waiting as u64,
            oldest_ms: millis(now.oldest),
            bytes: now.bytes,
        })
    }

    /// What passes, as workers see it.
    pub(super) fn drain_pass(&self) -> Option<Arc<DrainPass>> {
        self.current.as_ref()?.drain_pass.clone()
    }

    pub(super) fn named(&mut self, number: u64) -> Option<&mut Holding> {
        self.current.as_mut().filter(|it| it.name.number == number)
    }
}
