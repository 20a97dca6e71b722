//! Saying what runs in a slot.

use super::actions::{Asked, parse};
use super::answer;
use super::answer::Answer;
use super::problem::{Wrong, bad_request};
use super::server::Admin;
use crate::api::LabelRequest;
use crate::api::Labelled;
use crate::api::SCHEMA;
use crate::control::Until;
use crate::switch::Actor;
use crate::switch::Command;
use crate::switch::Label;

impl Admin {
    pub(super) async fn label(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: LabelRequest = parse(&asked.body)?;
        let version = request.version.as_deref();
        self.put_label(service, &asked.by, &request.slot, version)
            .await?;
        Ok(answer::json(&Labelled {
            schema: SCHEMA,
            slot: request.slot,
            version: request.version,
        }))
    }

    pub(super) async fn put_label(
        &self,
        service: &str,
        by: &Actor,
        slot: &str,
        version: Option<&str>,
    ) -> Result<(), Wrong> {
        let label = version.map(Label::new).transpose();
        let label = label.map_err(|error| bad_request(&error.to_string()))?;
        let slot = self.slot(service, slot).await?;
        let command = Command::Label { slot, label };
        self.order(service, by.clone(), command, Until::Published)
            .await?;
        Ok(())
    }
}
