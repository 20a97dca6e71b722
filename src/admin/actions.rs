//! What each route does.

use super::answer;
use super::answer::Answer;
use super::openapi;
use super::problem;
use super::problem::Wrong;
use super::query::Query;
use super::routes::Found;
use super::routes::Route;
use super::server::Admin;
use super::sight::Sight;
use super::streams;
use super::watch;
use crate::api::Acknowledged;
use crate::api::FlipRequest;
use crate::api::Killed;
use crate::api::RequestList;
use crate::api::RequestStatus;
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

/// Workers answer within a tick of theirs.
const WORKERS_TAKE: Duration = Duration::from_secs(5);

/// One request, taken apart.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) by: Actor,
    /// What the asker may see and touch.
    pub(super) sight: Sight,
    pub(super) query: Option<&'a str>,
    pub(super) body: Bytes,
}

impl Admin {
    /// Whoever asks may use this route; what of it, `asked.sight` says.
    pub(super) async fn act(&self, found: Found<'_>, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let query = Query::parse(asked.query, found.entry.parameters)?;
        if let Some(service) = query.service() {
            asked.sight.allow(Some(service))?;
            self.known(Some(service)).await?;
        }
        match found.route() {
            Route::Status => self.status(&asked.sight).await,
            Route::Flip { service } => self.flip(service, asked).await,
            Route::Rollback { service } => self.rollback(service, asked).await,
            Route::Gate { service } => self.gate(service, asked).await,
            Route::Cancel { service } => self.cancel(service, asked).await,
            Route::Confirm { service } => self.confirm(service, asked).await,
            Route::Probe { service } => self.probe(service, asked).await,
            Route::Acknowledge { service } => self.acknowledge(service, asked).await,
            Route::Preview { service } => self.preview(service, asked).await,
            Route::Canary { service } => self.canary(service, asked).await,
            Route::Label { service } => self.label(service, asked).await,
            Route::Hold { service } => self.hold(service, asked).await,
            Route::Release { service } => self.release(service, asked).await,
            Route::Shadow { service } => self.shadow(service, asked).await,
            Route::ShadowReport { service } => self.shadow_report(service, None).await,
            Route::Maintenance { service } => self.maintenance(service, asked).await,
            Route::ReadOnly { service } => self.read_only(service, asked).await,
            Route::Requests => self.requests(query, &asked.sight).await,
            Route::Kill { id } => self.kill(id, &asked).await,
            Route::History => self.history(&query, &asked.sight).await,
            Route::Events => {
                let service = query.owned("service");
                let events = self.control.events();
                Ok(streams::everything(service, asked.sight, events))
            }
            Route::Reload => {
                let reloaded = self.control.reload(asked.by).await;
                reloaded
                    .map(|it| answer::json(&it))
                    .map_err(problem::denied)
            }
            Route::Cache => Ok(self.cache_list(&query, &asked.sight)),
            Route::CachePurge => self.cache_purge(&asked).await,
            Route::Hooks => Ok(self.hooks()),
            Route::HookTest { name } => self.test_hook(name, &asked).await,
            Route::OpenApi => Ok(answer::json(&openapi::document())),
            Route::Metrics => self.metrics().await,
        }
    }

    async fn status(&self, sight: &Sight) -> Result<Answer, Wrong> {
        let mut status = self.control.status().await.map_err(problem::denied)?;
        let listeners = self.edge.listeners().iter();
        status.listeners = listeners.map(ToString::to_string).collect();
        status.acme = self.acme.all();
        status.spool_problem = self.edge.spool_problem();
        status.admin_api = self.api_at.map(|address| address.to_string());
        status.metrics = self.metrics_at.map(|address| address.to_string());
        status.services.retain(|service| sight.has(&service.name));
        Ok(answer::json(&status))
    }

    async fn flip(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: FlipRequest = parse(&asked.body)?;
        if request.rehearse {
            return self.rehearse(service, asked.by, request).await;
        }
        if let Some(version) = &request.version {
            self.put_label(service, &asked.by, &request.to, Some(version))
                .await?;
        }
        let command = Command::Flip {
            to: self.slot(service, &request.to).await?,
            terms: watch::of_flip(&request)?,
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
            terms: watch::of_rollback(&request),
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
            accepted: accepted.accepted,
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

    async fn requests(&self, query: Query, sight: &Sight) -> Result<Answer, Wrong> {
        let list = tokio::time::timeout(WORKERS_TAKE, self.edge.list()).await;
        let mut requests = list.map_err(|_| workers_are_busy())?;
        let asked_for = |name: &str| query.service().is_none_or(|service| service == name);
        requests.retain(|it| sight.has(&it.service) && asked_for(&it.service));
        let schema = SCHEMA;
        Ok(answer::json(&RequestList { schema, requests }))
    }

    async fn kill(&self, id: u64, asked: &Asked<'_>) -> Result<Answer, Wrong> {
        let by = &asked.by;
        // What it was is gone with it.
        let list = tokio::time::timeout(WORKERS_TAKE, self.edge.list()).await;
        let mut requests = list.map_err(|_| workers_are_busy())?;
        requests.retain(|request| request.id == id);
        let is_seen = |request: &RequestStatus| asked.sight.has(&request.service);
        if asked.sight != Sight::Everything && !requests.iter().any(is_seen) {
            return Err(no_request(id));
        }
        let killed = tokio::time::timeout(WORKERS_TAKE, self.edge.kill(id)).await;
        if !killed.map_err(|_| workers_are_busy())? {
            return Err(no_request(id));
        }
        tracing::info!(request_id = id, actor = %by, "request killed");
        self.control.killed(by, id, requests.first()).await;
        let schema = SCHEMA;
        Ok(answer::json(&Killed { schema, id }))
    }

    /// A service in a query must exist: an empty list would hide a typing mistake.
    pub(super) async fn known(&self, service: Option<&str>) -> Result<(), Wrong> {
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

pub(super) fn until(no_wait: bool) -> Until {
    if no_wait {
        Until::Published
    } else {
        Until::Drained
    }
}

fn no_request(id: u64) -> Wrong {
    let detail = format!("there is no request {id} under way; look with `switchctl ps`");
    problem::unknown(detail)
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
