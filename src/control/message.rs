//! What the conductor is told and asked.

use super::afresh::Heard;
use super::disk::DiskMessage;
use super::gates::GatesMessage;
use super::hold_desk::HoldMessage;
use super::hold_desk::HoldRefusal;
use super::modes::ModeMessage;
use super::previews::PreviewMessage;
use super::prober::ProbeReport;
use super::shadow::ShadowMessage;
use super::shared::SharedReport;
use crate::api::AuditRecord;
use crate::api::CountsStatus;
use crate::api::ProbeReport as SlotProbe;
use crate::api::Reloaded;
use crate::api::Status;
use crate::api::StreamEvent;
use crate::config::Settings;
use crate::journal::JournalError;
use crate::switch::Actor;
use crate::switch::Command;
use crate::switch::FlipId;
use crate::switch::Generation;
use crate::switch::Operation;
use crate::switch::Passed;
use crate::switch::Refusal;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::switch::Starting;
use crate::switch::Terms;
use crate::telemetry::Page;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where an answer goes; who no longer waits for it has changed nothing.
pub(super) type Answer<T> = oneshot::Sender<T>;

/// One thing that happened, or one question.
#[derive(Debug)]
pub(super) enum Message {
    Order(Order, Answer<Result<Accepted, Denied>>),
    Probe {
        service: String,
        slot: String,
        answer: Answer<Result<SlotProbe, Denied>>,
    },
    Reload(ReloadRequest),
    Hold(HoldMessage),
    Mode(ModeMessage),
    Status(Answer<Status>),
    Page(Answer<Page>),
    /// Something was done that is kept in the history, and moves no traffic.
    Audit(Box<AuditRecord>),
    Settings(Answer<Settings>),
    /// A file of a certificate has changed.
    CertificateFiles,
    /// A day has passed.
    CertificatesAge,
    Disk(DiskMessage),
    Probed(ProbeReport),
    Shared(SharedReport),
    /// What all slots of a service said at one moment.
    Answered(Heard),
    Shadow(ShadowMessage),
    Preview(PreviewMessage),
    Gated {
        service: ServiceName,
        flip: FlipId,
        verdict: Result<Passed, Vec<String>>,
    },
    Gates(GatesMessage),
    Drained {
        service: ServiceName,
        slot: SlotName,
        generation: Generation,
        flip: FlipId,
        cut: CountsStatus,
    },
    Stop,
}

/// A command to one service, from a person.
#[derive(Debug)]
pub struct Order {
    pub service: String,
    pub by: Actor,
    pub command: Command,
    /// When the asker has heard enough.
    pub until: Until,
}

/// Gates by hand, or a flip that is not carried out.
#[derive(Debug)]
pub struct GateOrder {
    pub service: String,
    pub slot: String,
    pub by: Actor,
    pub reason: Option<String>,
    /// What is done about a slot that does not answer yet.
    pub starting: Starting,
    /// None tries the gates and no more.
    pub rehearsal: Option<Rehearsal>,
}

/// What a flip would be asked with.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    pub expect: Option<Generation>,
    pub terms: Terms,
}

/// When an operation is over for the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// No new request reaches the old slot.
    Published,
    /// Nothing is left on the old slot.
    Drained,
}

/// An order that was taken.
#[derive(Debug)]
pub struct Accepted {
    /// None when the order moves no traffic.
    pub flip: Option<u64>,
    /// From before the first event of the operation.
    pub events: super::events::Subscription,
    /// The last event, told when the asker has heard enough; never for an acknowledgement.
    pub done: oneshot::Receiver<Arc<StreamEvent>>,
    /// What still has to happen before a quarantine ends, for an acknowledgement.
    pub remaining: Option<String>,
    /// Who may listen on the slot's port from now on, in words; none where nobody was a stranger.
    pub accepted: Option<String>,
    /// What was ended, for a cancellation.
    pub cancelled: Option<Operation>,
}

#[derive(Debug)]
pub(super) struct ReloadRequest {
    pub(super) by: Actor,
    pub(super) answer: Option<Answer<Result<Reloaded, Denied>>>,
}

/// Why control did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    #[error("there is no service {asked:?}; the services are {}", .services.join(", "))]
    UnknownService {
        asked: String,
        services: Vec<String>,
    },
    #[error("there is no slot {asked:?}; the slots are {}", .slots.join(", "))]
    UnknownSlot { asked: String, slots: Vec<String> },
    #[error(
        "the gates of {slot} are being tried by somebody else; wait, or look with `switchctl events --follow`"
    )]
    Gating { slot: SlotName },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Hold(HoldRefusal),
    /// No copies are sent there.
    #[error("{0}")]
    Shadow(String),
    #[error("{0}")]
    Preview(String),
    /// One problem each.
    #[error("the config was not taken; what was in force stays in force")]
    Config(Vec<String>),
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    #[error("the daemon is stopping")]
    Stopping,
    #[error("no answer within {0:?}; the daemon is busy")]
    Busy(std::time::Duration),
}
