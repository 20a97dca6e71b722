//! `switchctl rollback`

use super::args::RollbackArgs;
use super::failure::Failure;
use super::operation;
use super::session::Session;
use crate::api::RollbackRequest;

pub(super) async fn run(session: &Session, args: &RollbackArgs) -> Result<(), Failure> {
    let path = session.service_path("rollback").await?;
    let request = RollbackRequest {
        force: args.moving.force,
        reason: args.moving.reason.clone(),
        no_wait: args.moving.no_wait,
        accept_schema_change: args.accept_schema_change,
        acknowledge: args.moving.ack,
        wait_for_start: args.wait_for_start,
    };
    let ended = operation::run(session, &path, &request, &args.moving).await;
    ended.map(drop)
}
