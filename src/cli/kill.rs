//! `switchctl kill ID`

use super::args::KillArgs;
use super::failure::Failure;
use super::session::Session;
use super::style::Look;
use crate::api::Killed;

pub(super) async fn run(session: &Session, args: &KillArgs) -> Result<(), Failure> {
    let document = session
        .client
        .delete(&format!("/v1/requests/{}", args.id))
        .await?;
    session.show(&document, render)
}

fn render(killed: &Killed, _: &Look) -> String {
    format!("request {} is ended", killed.id)
}
