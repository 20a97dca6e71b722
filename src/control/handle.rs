//! How others talk to control.

use super::clock::Clock;
use super::clock::stamp;
use super::doorway::Doorway;
use super::events::Events;
use super::events::Subscription;
use super::gates::GatesMessage;
use super::hold_desk::HoldMessage;
use super::hold_desk::HoldOrder;
use super::hold_desk::HoldTaken;
use super::hooks::Board;
use super::message::Accepted;
use super::message::Answer;
use super::message::Denied;
use super::message::GateOrder;
use super::message::Message;
use super::message::Order;
use super::message::ReloadRequest;
use super::modes::ModeOrder;
use super::previews::PreviewMessage;
use super::shadow::ShadowMessage;
use super::shadow::ShadowOrder;
use super::underway::audit;
use crate::api::AuditRecord;
use crate::api::History;
use crate::api::HoldReleased;
use crate::api::ModesStatus;
use crate::api::PreviewLink;
use crate::api::ProbeReport;
use crate::api::Reloaded;
use crate::api::RequestStatus;
use crate::api::SCHEMA;
use crate::api::ShadowReport;
use crate::api::Status;
use crate::config::Settings;
use crate::journal::AuditLog;
use crate::journal::CallLog;
use crate::journal::Search;
use crate::switch::Actor;
use crate::telemetry::Page;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

/// Longer than any single step of the conductor takes; probes on demand have their own timeouts inside it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The kind of record that is kept beside the history.
pub(super) const CALL: &str = "call";

/// Sends messages to the conductor and waits for answers. Cheap to clone.
///
/// Every method gives up after a minute with [`Denied::Busy`]; all are cancel safe, but what was asked
/// for may still happen.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) conductor: mpsc::Sender<Message>,
    pub(super) events: Events,
    pub(super) clock: Clock,
    pub(super) audit_log: AuditLog,
    pub(super) call_log: CallLog,
    pub(super) hooks: Board,
    pub(super) doorway: Arc<ArcSwap<Doorway>>,
}

impl Handle {
    async fn ask<T>(&self, message: impl FnOnce(Answer<T>) -> Message) -> Result<T, Denied> {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            let sent = self.conductor.send(message(answer)).await;
            sent.map_err(|_| Denied::Stopping)?;
            answered.await.map_err(|_| Denied::Stopping)
        };
        let result = tokio::time::timeout(PATIENCE, exchange).await;
        result.unwrap_or(Err(Denied::Busy(PATIENCE)))
    }

    /// Gives an order to one service; what comes of it belongs to the daemon, whoever listens.
    ///
    /// # Errors
    /// [`Denied::Refused`] when the machine says no; nothing has changed then.
    pub async fn order(&self, order: Order) -> Result<Accepted, Denied> {
        self.ask(|answer| Message::Order(order, answer)).await?
    }

    /// Tries the gates of a slot, or rehearses a flip to it. Goes on to its end, whoever listens.
    ///
    /// # Errors
    /// When there is no such service or slot, when they are being tried already, and whatever would refuse
    /// the flip that is rehearsed.
    pub async fn gate(&self, order: GateOrder) -> Result<Accepted, Denied> {
        self.ask(|answer| Message::Gates(GatesMessage::Order(order, answer)))
            .await?
    }

    /// Holds the new requests of one service. When it returns, no new one is counted on any slot.
    ///
    /// # Errors
    /// When it is held already, or shall be for too long.
    pub async fn hold(&self, order: HoldOrder) -> Result<HoldTaken, Denied> {
        self.ask(|answer| Message::Hold(HoldMessage::Take(order, answer)))
            .await?
    }

    /// Ends a hold: those who wait are let go from now on.
    ///
    /// # Errors
    /// When there is none.
    pub async fn release(&self, service: String, by: Actor) -> Result<HoldReleased, Denied> {
        let message = |answer| HoldMessage::Release {
            service,
            by,
            answer,
        };
        self.ask(|answer| Message::Hold(message(answer))).await?
    }

    /// Switches a mode of one service; what is on disk is in force when it returns.
    ///
    /// # Errors
    /// When the disk cannot be written; nothing has changed then.
    pub async fn mode(&self, order: ModeOrder) -> Result<ModesStatus, Denied> {
        self.ask(|answer| Message::Mode((order, answer))).await?
    }

    /// Ends all holds, for the daemon stops. Does not wait for it.
    pub async fn end_holds(&self) {
        // A control that is stopping ends them anyway.
        drop(self.conductor.send(Message::Hold(HoldMessage::Stop)).await);
    }

    /// Probes every endpoint of a slot once, now.
    ///
    /// # Errors
    /// When there is no such service or slot.
    pub async fn probe(&self, service: String, slot: String) -> Result<ProbeReport, Denied> {
        self.ask(|answer| Message::Probe {
            service,
            slot,
            answer,
        })
        .await?
    }

    /// Makes a link that leads to a slot once; its address lacks scheme and host.
    ///
    /// # Errors
    /// When there is no such service or slot, or previews are off.
    pub async fn preview(
        &self,
        service: String,
        slot: String,
        by: Actor,
    ) -> Result<PreviewLink, Denied> {
        self.ask(|answer| {
            Message::Preview(PreviewMessage {
                service,
                slot,
                by,
                answer,
            })
        })
        .await?
    }

    /// Loads the config file anew.
    ///
    /// # Errors
    /// [`Denied::Config`] holds every problem; nothing has changed then.
    pub async fn reload(&self, by: Actor) -> Result<Reloaded, Denied> {
        self.ask(|answer| {
            Message::Reload(ReloadRequest {
                by,
                answer: Some(answer),
            })
        })
        .await?
    }

    /// Copies requests of a service for an idle slot, or not any more; without an order, shows what came of it.
    ///
    /// # Errors
    /// When there is no such service or slot, or the slot is the active one.
    pub async fn shadow(
        &self,
        service: String,
        order: Option<ShadowOrder>,
    ) -> Result<ShadowReport, Denied> {
        self.ask(|answer| {
            Message::Shadow(ShadowMessage {
                service,
                order,
                answer,
            })
        })
        .await?
    }

    /// Everything but what is listened on, which control does not know.
    ///
    /// # Errors
    /// When control is stopping.
    pub async fn status(&self) -> Result<Status, Denied> {
        self.ask(Message::Status).await
    }

    /// Everything but what the clients' side counts.
    ///
    /// # Errors
    /// When control is stopping.
    pub async fn page(&self) -> Result<Page, Denied> {
        self.ask(Message::Page).await
    }

    /// The settings in force.
    ///
    /// # Errors
    /// When control is stopping.
    pub async fn settings(&self) -> Result<Settings, Denied> {
        self.ask(Message::Settings).await
    }

    /// What is looked for, newest last. Read beside the conductor: a long file delays nothing.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn history(&self, search: Search) -> Result<History, Denied> {
        let (operations, calls) = (self.audit_log.clone(), self.call_log.clone());
        let read = tokio::task::spawn_blocking(move || match search.kind.as_deref() {
            // There are many of them, and they changed nothing: who wants them asks for them.
            Some(CALL) => calls.search(&search),
            _ => operations.search(&search),
        });
        let read = tokio::time::timeout(PATIENCE, read).await;
        let read = read.map_err(|_| Denied::Busy(PATIENCE))?;
        Ok(History {
            schema: SCHEMA,
            operations: read.map_err(|_| Denied::Stopping)??,
        })
    }

    /// Who may come in over TCP, as of now.
    #[must_use]
    pub fn doorway(&self) -> Arc<Doorway> {
        self.doorway.load_full()
    }

    /// Who else is told what happens.
    #[must_use]
    pub fn hooks(&self) -> &Board {
        &self.hooks
    }

    /// Where calls of the admin API are kept.
    #[must_use]
    pub fn call_log(&self) -> CallLog {
        self.call_log.clone()
    }

    /// Begins a line of the history, as of now; [`Handle::keep`] puts it there.
    #[must_use]
    pub fn record(&self, by: &Actor, command: &str) -> AuditRecord {
        audit(self.clock.now(), by, command)
    }

    /// Puts what was done, and moved no traffic, into the history.
    pub async fn keep(&self, record: AuditRecord) {
        // A control that is stopping keeps no history any more.
        drop(self.conductor.send(Message::Audit(Box::new(record))).await);
    }

    /// Puts a killed request into the history; none when it was too young to be listed.
    pub async fn killed(&self, by: &Actor, id: u64, request: Option<&RequestStatus>) {
        let mut record = self.record(by, "kill");
        let mut words = format!("request {id}");
        if let Some(request) = request {
            record.service.clone_from(&request.service);
            record.from.clone_from(&request.slot);
            let RequestStatus {
                method,
                path,
                client,
                ..
            } = request;
            words = format!("{words} ({method} {path} of {client})");
        }
        record.details.push(words);
        self.keep(record).await;
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> Subscription {
        self.events.subscribe()
    }

    /// The time, as the API writes it.
    #[must_use]
    pub fn stamp(&self) -> String {
        stamp(self.clock.now())
    }
}
