//! Copies of requests for an idle slot.

use super::actions::Asked;
use super::actions::parse;
use super::answer;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::problem::bad_request;
use super::server::Admin;
use crate::api::ShadowRequest;
use crate::config::Share;
use crate::control::ShadowOrder;

impl Admin {
    pub(super) async fn shadow(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: ShadowRequest = parse(&asked.body)?;
        let is_off = request.percent == Some(0.0);
        let share = request.percent.filter(|_| !is_off).map(|percent| {
            Share::of_percent(percent).ok_or_else(|| {
                bad_request(&format!(
                    "percent is between 0.01 and 100, or 0 for no copies; got {percent}"
                ))
            })
        });
        let order = ShadowOrder {
            by: asked.by,
            slot: request.slot.filter(|_| !is_off),
            share: share.transpose()?,
        };
        self.shadow_report(service, Some(order)).await
    }

    pub(super) async fn shadow_report(
        &self,
        service: &str,
        order: Option<ShadowOrder>,
    ) -> Result<Answer, Wrong> {
        let report = self.control.shadow(service.to_owned(), order).await;
        report.map(|it| answer::json(&it)).map_err(problem::denied)
    }
}
