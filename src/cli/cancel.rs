//! `switchctl cancel`

use super::args::CancelArgs;
use super::failure::Failure;
use super::session::Session;
use super::style::Look;
use super::table::printable;
use crate::api::{CancelRequest, Cancelled};

pub(super) async fn run(session: &Session, args: &CancelArgs) -> Result<(), Failure> {
    let path = session.service_path("cancel").await?;
    let request = CancelRequest {
        reason: args.reason.clone(),
    };
    let document = session.client.post(&path, &request).await?;
    session.show(&document, render)
}

fn render(answer: &Cancelled, _: &Look) -> String {
    let Cancelled { from, to, flip, .. } = answer;
    printable(&format!(
        "operation {flip} from {from} to {to} is cancelled; no traffic has moved"
    ))
}
