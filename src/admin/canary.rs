//! Canaries: the order to control.

use super::actions::Asked;
use super::actions::parse;
use super::actions::until;
use super::answer::Answer;
use super::problem::Wrong;
use super::problem::bad_request;
use super::server::Admin;
use super::streams;
use super::watch;
use crate::api::CanaryAction;
use crate::api::CanaryRequest;
use crate::switch::CanaryOrder;
use crate::switch::Command;
use crate::switch::Percent;

impl Admin {
    pub(super) async fn canary(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: CanaryRequest = parse(&asked.body)?;
        let share =
            match request.percent {
                None => None,
                Some(percent) => Some(Percent::of_percent(percent).ok_or_else(|| {
                    bad_request(&format!("percent is 0 to 100, and not {percent}"))
                })?),
            };
        let slot = match &request.slot {
            None => None,
            Some(slot) => Some(self.slot(service, slot).await?),
        };
        let terms = watch::of_canary(&request);
        let (force, reason) = (request.force, request.reason);
        let order = match (request.action, share) {
            (Some(_), Some(_)) => {
                return Err(bad_request(
                    "a canary is promoted, aborted or given a percent: one of them",
                ));
            }
            (Some(CanaryAction::Promote), None) => CanaryOrder::Promote {
                slot,
                force,
                reason,
            },
            (Some(CanaryAction::Abort), None) => CanaryOrder::Abort { slot, reason },
            (None, share) => CanaryOrder::Share {
                slot,
                share,
                force,
                reason,
                terms,
            },
        };
        let until = until(request.no_wait);
        let accepted = self.order(service, asked.by, Command::Canary(order), until);
        Ok(streams::operation(service.to_owned(), accepted.await?))
    }
}
