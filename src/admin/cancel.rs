//! The end of what is still being proven.

use super::actions::Asked;
use super::actions::parse;
use super::answer;
use super::answer::Answer;
use super::problem::Wrong;
use super::server::Admin;
use crate::api::CancelRequest;
use crate::api::Cancelled;
use crate::api::SCHEMA;
use crate::control::Until;
use crate::switch::Command;

impl Admin {
    pub(super) async fn cancel(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let body = match &asked.body[..] {
            // Every field has a default.
            b"" => b"{}",
            body => body,
        };
        let CancelRequest { reason } = parse(body)?;
        let command = Command::Cancel { reason };
        let order = self.order(service, asked.by, command, Until::Published);
        let cancelled = order.await?.cancelled;
        let name = |slot: &crate::switch::SlotName| slot.to_string();
        Ok(answer::json(&Cancelled {
            schema: SCHEMA,
            flip: cancelled.as_ref().map_or(0, |it| it.flip.0),
            from: cancelled
                .as_ref()
                .map(|it| name(&it.from))
                .unwrap_or_default(),
            to: cancelled
                .as_ref()
                .map(|it| name(&it.to))
                .unwrap_or_default(),
        }))
    }
}
