//! Gates by hand, and flips that are not carried out.

use super::actions::Asked;
use super::actions::parse;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::server::Admin;
use super::streams;
use super::watch;
use crate::api::FlipRequest;
use crate::api::GateRequest;
use crate::control::GateOrder;
use crate::control::Rehearsal;
use crate::switch::Actor;
use crate::switch::Generation;
use crate::switch::Terms;

impl Admin {
    pub(super) async fn gate(&self, service: &str, asked: Asked<'_>) -> Result<Answer, Wrong> {
        let request: GateRequest = parse(&asked.body)?;
        self.tried(GateOrder {
            service: service.to_owned(),
            slot: request.slot,
            by: asked.by,
            reason: None,
            starting: watch::starting(request.no_wait_for_start),
            rehearsal: None,
        })
        .await
    }

    pub(super) async fn rehearse(
        &self,
        service: &str,
        by: Actor,
        request: FlipRequest,
    ) -> Result<Answer, Wrong> {
        if request.force {
            let detail = "a forced flip asks no gate, so there is nothing to rehearse; leave out `force` or `rehearse`";
            return Err(problem::bad_request(detail));
        }
        self.tried(GateOrder {
            service: service.to_owned(),
            slot: request.to,
            by,
            reason: request.reason,
            starting: watch::starting(request.no_wait_for_start),
            rehearsal: Some(Rehearsal {
                expect: request.expect_generation.map(Generation),
                terms: Terms {
                    acknowledge: request.acknowledge,
                    ..Terms::default()
                },
            }),
        })
        .await
    }

    async fn tried(&self, order: GateOrder) -> Result<Answer, Wrong> {
        let (service, slot) = (order.service.clone(), order.slot.clone());
        let accepted = self.control.gate(order).await.map_err(problem::denied)?;
        Ok(streams::gates(service, slot, accepted))
    }
}
