//! `switchctl flip SLOT`

use super::args::FlipArgs;
use super::failure::{Exit, Failure};
use super::gate;
use super::operation;
use super::operation::Ended;
use super::output;
use super::output::Format;
use super::session::Session;
use crate::api::FlipRequest;
use crate::config;

pub(super) async fn run(session: &Session, args: &FlipArgs) -> Result<(), Failure> {
    let path = session.service_path("flip").await?;
    let request = FlipRequest {
        to: args.slot.to_string(),
        force: args.moving.force,
        reason: args.moving.reason.clone(),
        expect_generation: args.expect_generation,
        no_wait: args.moving.no_wait,
        rehearse: args.rehearse,
        confirm_within: args.confirm_within.map(config::format_duration),
        accept_schema_change: args.accept_schema_change,
        version: args.version.clone(),
        acknowledge: args.moving.ack,
        proof: None,
        no_wait_for_start: args.start.no_wait_for_start,
    };
    if args.rehearse {
        return gate::follow(session, &path, &request, args.moving.timeout).await;
    }
    let ended = operation::run(session, &path, &request, &args.moving).await;
    let is_moved = match &ended {
        Ok(ended) => *ended == Ended::Moved,
        Err(failure) => failure.exit() == Exit::CutOff,
    };
    if let Some(time) = &request.confirm_within
        && is_moved
        && session.output.format == Format::Words
    {
        output::print(&format!(
            "traffic goes back unless you say `switchctl confirm` within {time}"
        ))?;
    }
    ended.map(drop)
}
