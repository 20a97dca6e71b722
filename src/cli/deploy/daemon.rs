//! The daemon, for one service; asked again while it starts anew.

use crate::api::{EventKind, History, ServiceStatus, Status, StreamEvent, Verdict};
use crate::cli::client::{Client, Lines};
use crate::cli::failure::Failure;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// A daemon that was killed is back within this, or something is wrong with it.
const RESTART: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Daemon {
    client: Client,
    service: String,
}

/// Why the daemon did not do what it was asked for.
#[derive(Debug)]
pub(super) enum No {
    /// It is not there, or went away meanwhile; what was asked for may have happened.
    Gone(String),
    /// It said no.
    Refused(String),
}

impl No {
    pub(super) fn words(self) -> String {
        match self {
            Self::Gone(words) | Self::Refused(words) => words,
        }
    }
}

impl From<Failure> for No {
    fn from(failure: Failure) -> Self {
        let words = failure.to_string();
        match failure {
            Failure::Unreachable { .. } | Failure::Broken { .. } => Self::Gone(words),
            _ => Self::Refused(words),
        }
    }
}

impl Daemon {
    pub(super) fn new(socket: PathBuf, service: &str) -> Self {
        Self {
            client: Client::new(socket),
            service: service.to_owned(),
        }
    }

    /// Where the service stands. Waits for a daemon that is being restarted.
    pub(super) async fn service(&self) -> Result<ServiceStatus, String> {
        let until = Instant::now() + RESTART;
        loop {
            match self.service_now().await {
                Ok(service) => return Ok(service),
                Err(No::Gone(words)) if Instant::now() > until => return Err(words),
                Err(No::Gone(_)) => tokio::time::sleep(AGAIN).await,
                Err(No::Refused(words)) => return Err(words),
            }
        }
    }

    /// As [`Self::service`], without waiting.
    pub(super) async fn service_now(&self) -> Result<ServiceStatus, No> {
        let status: Status = self.client.get("/v1/status").await?.read()?;
        let found = status
            .services
            .into_iter()
            .find(|service| service.name == self.service);
        found.ok_or_else(|| {
            No::Refused(format!(
                "switchd has no service {}: is it the config that switchd runs with?",
                self.service
            ))
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<String, No> {
        Ok(self.client.get(path).await?.text)
    }

    /// Asks once for something that is answered at once.
    pub(super) async fn post(&self, verb: &str, body: &impl Serialize) -> Result<String, No> {
        Ok(self.client.post(&self.path(verb), body).await?.text)
    }

    /// The answer is a stream of events.
    pub(super) async fn operate(&self, verb: &str, body: &impl Serialize) -> Result<Lines, No> {
        Ok(self.client.operate(&self.path(verb), body).await?)
    }

    /// Moves traffic; the result is the verdict and what speaks against it.
    pub(super) async fn moved(&self, verb: &str, body: &impl Serialize) -> Result<Moved, No> {
        let mut lines = self.operate(verb, body).await?;
        let mut gates_reused_ms = None;
        while let Some(line) = lines.next().await? {
            let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
                continue;
            };
            match event.kind {
                EventKind::GatesReused { age_ms, .. } => gates_reused_ms = Some(age_ms),
                EventKind::Done {
                    verdict, reasons, ..
                } => {
                    return Ok(Moved {
                        verdict,
                        reasons,
                        gates_reused_ms,
                    });
                }
                _ => {}
            }
        }
        Err(No::Gone(
            "switchd ended the stream before traffic had moved".to_owned(),
        ))
    }

    /// The last operation that moved traffic to `slot`.
    pub(super) async fn last_move(&self, slot: &str) -> Option<crate::api::AuditRecord> {
        let path = format!("/v1/history?service={}&limit=20", self.service);
        let text = self.get(&path).await.ok()?;
        let history: History = serde_json::from_str(&text).ok()?;
        let mut moves = history.operations.into_iter();
        moves.rfind(|it| it.to.as_deref() == Some(slot) && it.published_ms.is_some())
    }

    pub(super) fn name(&self) -> &str {
        &self.service
    }

    fn path(&self, verb: &str) -> String {
        format!("/v1/services/{}/{verb}", self.service)
    }
}

#[derive(Debug)]
pub(super) struct Moved {
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<String>,
    /// How long before its gates were passed, where they were not tried again.
    pub(super) gates_reused_ms: Option<u64>,
}
