//! `switchctl flip SLOT`

use super::args::FlipArgs;
use super::failure::Failure;
use super::operation;
use super::session::Session;
use crate::api::FlipRequest;

pub(super) async fn run(session: &Session, args: &FlipArgs) -> Result<(), Failure> {
    let path = session.service_path("flip").await?;
    let request = FlipRequest {
        to: args.slot.to_string(),
        force: args.moving.force,
        reason: args.moving.reason.clone(),
        expect_generation: args.expect_generation,
        no_wait: args.moving.no_wait,
        version: args.version.clone(),
    };
    operation::run(session, &path, &request, &args.moving).await
}
