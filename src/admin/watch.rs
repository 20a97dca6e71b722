//! The terms of a move, and the word that it stays.

use super::actions::Asked;
use super::answer;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::problem::bad_request;
use super::server::Admin;
use crate::api::CanaryRequest;
use crate::api::Confirmed;
use crate::api::FlipRequest;
use crate::api::RollbackRequest;
use crate::api::SCHEMA;
use crate::config::parse_duration;
use crate::control::Until;
use crate::switch::Command;
use crate::switch::Starting;
use crate::switch::Terms;
use std::time::Duration;

pub(super) fn of_flip(request: &FlipRequest) -> Result<Terms, Wrong> {
    Ok(Terms {
        confirm_within: request.confirm_within.as_deref().map(within).transpose()?,
        accept_schema_change: request.accept_schema_change,
        starting: starting(request.no_wait_for_start),
        acknowledge: request.acknowledge,
        proof: request.proof.clone(),
    })
}

/// Whether the gate waits for a slot that does not answer yet.
pub(super) fn starting(no_wait_for_start: bool) -> Starting {
    if no_wait_for_start {
        Starting::Refuse
    } else {
        Starting::Wait
    }
}

pub(super) fn of_canary(request: &CanaryRequest) -> Terms {
    Terms {
        starting: starting(request.no_wait_for_start),
        acknowledge: request.acknowledge,
        ..Terms::default()
    }
}

pub(super) fn of_rollback(request: &RollbackRequest) -> Terms {
    Terms {
        confirm_within: None,
        accept_schema_change: request.accept_schema_change,
        // Who goes back is in a hurry, and the slot has served before: one that is down now is not starting.
        starting: starting(!request.wait_for_start),
        acknowledge: request.acknowledge,
        proof: None,
    }
}

fn within(text: &str) -> Result<Duration, Wrong> {
    match parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err(bad_request("confirm_within must be more than nothing")),
        Err(error) => Err(bad_request(&format!("confirm_within: {error}"))),
    }
}

impl Admin {
    pub(super) async fn confirm(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let command = Command::Confirm;
        self.order(service, asked.by, command, Until::Drained)
            .await?;
        let status = self.control.status().await.map_err(problem::denied)?;
        let mut services = status.services.into_iter();
        let found = services.find(|it| it.name == service);
        let (slot, generation) = found
            .map(|it| (it.active, it.generation))
            .unwrap_or_default();
        Ok(answer::json(&Confirmed {
            schema: SCHEMA,
            slot,
            generation,
        }))
    }
}
