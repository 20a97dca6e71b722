//! Maintenance and read-only.

use super::actions::Asked;
use super::actions::parse;
use super::answer;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::server::Admin;
use crate::api::MaintenanceRequest;
use crate::api::ReadOnlyRequest;
use crate::config::check_message;
use crate::config::parse_network;
use crate::control::MaintenanceWish;
use crate::control::ModeChange;
use crate::control::ModeOrder;
use jiff::Timestamp;
use std::time::SystemTime;

impl Admin {
    pub(super) async fn maintenance(
        &self,
        service: &str,
        asked: Asked<'_>,
    ) -> Result<Answer, Wrong> {
        let request: MaintenanceRequest = parse(&asked.body)?;
        let wish = if request.on {
            Some(wish(&request).map_err(|what| problem::bad_request(&what))?)
        } else {
            None
        };
        let change = ModeChange::Maintenance(wish);
        self.switch(service, asked, (change, request.reason)).await
    }

    pub(super) async fn read_only(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: ReadOnlyRequest = parse(&asked.body)?;
        let change = ModeChange::ReadOnly(request.on);
        self.switch(service, asked, (change, request.reason)).await
    }

    async fn switch(
        &self,
        service: &str,
        asked: Asked<'_>,
        (change, reason): (ModeChange, Option<String>),
    ) -> Result<Answer, Wrong> {
        let order = ModeOrder {
            service: service.to_owned(),
            by: asked.by,
            change,
            reason,
        };
        let modes = self.control.mode(order).await;
        modes.map(|it| answer::json(&it)).map_err(problem::denied)
    }
}

fn wish(request: &MaintenanceRequest) -> Result<MaintenanceWish, String> {
    if let Some(message) = &request.message {
        check_message(message).map_err(|what| format!("\"message\" {what}"))?;
    }
    let until = request.until.as_deref().map(|text| {
        let time: Result<Timestamp, _> = text.parse();
        time.map(SystemTime::from)
            .map_err(|_| format!("\"until\" is a time like \"2026-08-01T22:00:00Z\"; got {text:?}"))
    });
    let allow = request.allow.iter().map(|text| parse_network(text));
    Ok(MaintenanceWish {
        message: request.message.clone(),
        until: until.transpose()?,
        allow: allow.collect::<Result<_, _>>()?,
        bypass: request.bypass,
    })
}
