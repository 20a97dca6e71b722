//! What each route does.

use super::answer;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::query::Query;
use super::routes::Route;
use super::server::Admin;
use super::streams;
use crate::api::Acknowledged;
use crate::api::CachePurge;
use crate::api::FlipRequest;
use crate::api::Killed;
use crate::api::RequestList;
use crate::api::RollbackRequest;
use crate::api::SCHEMA;
use crate::api::SlotRequest;
use crate::control::Accepted;
use crate::control::Denied;
use crate::control::Order;
use crate::control::Until;
use crate::switch::Actor;
use crate::switch::Command;
use crate::switch::Generation;
use crate::switch::SlotName;
use bytes::Bytes;
use http::StatusCode;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Operations that `history` shows unless asked for more or fewer.
const SHOWN: usize = 100;
/// Workers answer within a tick of theirs.
const WORKERS_TAKE: Duration = Duration::from_secs(5);

/// One request, taken apart.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) by: Actor,
    pub(super) query: Option<&'a str>,
    pub(super) body: Bytes,
}

impl Admin {
    pub(super) async fn act(&self, route: Route<'_>, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let allowed: &[&str] = match route {
            Route::Requests | Route::Events => &["service"],
            Route::History => &["service", "limit"],
            Route::Cache => &["service", "prefix", "limit"],
            _ => &[],
        };
        let query = Query::parse(asked.query, allowed)?;
        match route {
            Route::Status => self.status().await,
            Route::Flip { service } => self.flip(service, asked).await,
            Route::Rollback { service } => self.rollback(service, asked).await,
            Route::Probe { service } => self.probe(service, asked).await,
            Route::Acknowledge { service } => self.acknowledge(service, asked).await,
            Route::Label { service } => self.label(service, asked).await,
            Route::Hold { service } => self.hold(service, asked).await,
            Route::Release { service } => self.release(service, asked).await,
            Route::Maintenance { service } => self.maintenance(service, asked).await,
            Route::ReadOnly { service } => self.read_only(service, asked).await,
            Route::Requests => self.requests(query).await,
            Route::Kill { id } => self.kill(id, &asked.by).await,
            Route::History => {
                self.known(query.service.as_deref()).await?;
                let limit = query.limit.unwrap_or(SHOWN);
                let history = self.control.history(query.service, limit).await;
                history.map(|it| answer::json(&it)).map_err(problem::denied)
            }
            Route::Events => {
                self.known(query.service.as_deref()).await?;
                Ok(streams::everything(query.service, self.control.events()))
            }
            Route::Reload => {
                let reloaded = self.control.reload(asked.by).await;
                reloaded
                    .map(|it| answer::json(&it))
                    .map_err(problem::denied)
            }
            Route::Cache => {
                self.known(query.service.as_deref()).await?;
                Ok(self.cache_list(&query))
            }
            Route::CachePurge => {
                let request: CachePurge = parse(&asked.body)?;
                self.known(request.service.as_deref()).await?;
                Ok(self.cache_purge(&request, &asked.by))
            }
            Route::Metrics => self.metrics().await,
        }
    }

    async fn status(&self) -> Result<Answer, Wrong> {
        let mut status = self.control.status().await.map_err(problem::denied)?;
        let listeners = self.edge.listeners().iter();
        status.listeners = listeners.map(ToString::to_string).collect();
        status.acme = self.acme.all();
        status.metrics = self.metrics_at.map(|address| address.to_string());
        Ok(answer::json(&status))
    }

    async fn flip(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: FlipRequest = parse(&asked.body)?;
        if let Some(version) = &request.version {
            self.put_label(service, &asked.by, &request.to, Some(version))
                .await?;
        }
        let command = Command::Flip {
            to: self.slot(service, &request.to).await?,
            force: request.force,
            reason: request.reason,
            expect: request.expect_generation.map(Generation),
        };
        let until = until(request.no_wait);
        let accepted = self.order(service, asked.by, command, until).await?;
        Ok(streams::operation(service.to_owned(), accepted))
    }

    async fn rollback(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let body = match &asked.body[..] {
            // Every field has a default.
            b"" => b"{}",
            body => body,
        };
        let request: RollbackRequest = parse(body)?;
        let command = Command::Rollback {
            force: request.force,
            reason: request.reason,
        };
        let until = until(request.no_wait);
        let accepted = self.order(service, asked.by, command, until).await?;
        Ok(streams::operation(service.to_owned(), accepted))
    }

    async fn acknowledge(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: SlotRequest = parse(&asked.body)?;
        let slot = self.slot(service, &request.slot).await?;
        let command = Command::Acknowledge { slot };
        let accepted = self
            .order(service, asked.by, command, Until::Drained)
            .await?;
        Ok(answer::json(&Acknowledged {
            schema: SCHEMA,
            slot: request.slot,
            remaining: accepted.remaining,
        }))
    }

    pub(super) async fn order(
        &self,
        service: &str,
        by: Actor,
        command: Command,
        until: Until,
    ) -> Result<Accepted, Wrong> {
        let order = Order {
            service: service.to_owned(),
            by,
            command,
            until,
        };
        self.control.order(order).await.map_err(problem::denied)
    }

    async fn probe(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: SlotRequest = parse(&asked.body)?;
        let report = self.control.probe(service.to_owned(), request.slot).await;
        report.map(|it| answer::json(&it)).map_err(problem::denied)
    }

    async fn requests(&self, query: Query) -> Result<Answer, Wrong> {
        self.known(query.service.as_deref()).await?;
        let list = tokio::time::timeout(WORKERS_TAKE, self.edge.list()).await;
        let mut requests = list.map_err(|_| workers_are_busy())?;
        if let Some(service) = query.service {
            requests.retain(|request| request.service == service);
        }
        let schema = SCHEMA;
        Ok(answer::json(&RequestList { schema, requests }))
    }

    async fn kill(&self, id: u64, by: &Actor) -> Result<Answer, Wrong> {
        // What it was is gone with it.
        let list = tokio::time::timeout(WORKERS_TAKE, self.edge.list()).await;
        let mut requests = list.map_err(|_| workers_are_busy())?;
        requests.retain(|request| request.id == id);
        let killed = tokio::time::timeout(WORKERS_TAKE, self.edge.kill(id)).await;
        if !killed.map_err(|_| workers_are_busy())? {
            let detail = format!("there is no request {id} under way; look with `switchctl ps`");
            return Err(problem::unknown(detail));
        }
        tracing::info!(request_id = id, actor = %by, "request killed");
        self.control.killed(by, id, requests.first()).await;
        let schema = SCHEMA;
        Ok(answer::json(&Killed { schema, id }))
    }

    /// A service in a query must exist: an empty list would hide a typing mistake.
    async fn known(&self, service: Option<&str>) -> Result<(), Wrong> {
        let Some(asked) = service else { return Ok(()) };
        let settings = self.control.settings().await.map_err(problem::denied)?;
        let names = settings.services.iter().map(|it| it.name.to_string());
        let services: Vec<String> = names.collect();
        if services.iter().any(|name| name == asked) {
            Ok(())
        } else {
            Err(problem::denied(Denied::UnknownService {
                asked: asked.to_owned(),
                services,
            }))
        }
    }

    /// A text that is no name at all is an unknown slot like any other.
    pub(super) async fn slot(&self, service: &str, asked: &str) -> Result<SlotName, Wrong> {
        if let Ok(slot) = SlotName::new(asked) {
            return Ok(slot);
        }
        self.known(Some(service)).await?;
        let settings = self.control.settings().await.map_err(problem::denied)?;
        let mut services = settings.services.iter();
        let found = services.find(|it| it.name.as_str() == service);
        let slots = found.map(|it| it.slots.iter().map(|slot| slot.name.to_string()));
        Err(problem::denied(Denied::UnknownSlot {
            asked: asked.to_owned(),
            slots: slots.into_iter().flatten().collect(),
        }))
    }
}

fn until(no_wait: bool) -> Until {
    if no_wait {
        Until::Published
    } else {
        Until::Drained
    }
}

fn workers_are_busy() -> Wrong {
    let detail = format!("the workers did not answer within {WORKERS_TAKE:?}; ask again");
    problem::plain(StatusCode::SERVICE_UNAVAILABLE, &detail)
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    serde_json::from_slice(body).map_err(|error| {
        problem::bad_request(&format!("the body is not what this path takes: {error}"))
    })
}
