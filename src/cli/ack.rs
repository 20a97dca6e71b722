//! `switchctl ack SLOT`

use super::args::SlotArgs;
use super::failure::Failure;
use super::session::Session;
use super::style::Look;
use crate::api::{Acknowledged, SlotRequest};

pub(super) async fn run(session: &Session, args: &SlotArgs) -> Result<(), Failure> {
    let path = session.service_path("ack").await?;
    let request = SlotRequest {
        slot: args.slot.to_string(),
    };
    let document = session.client.post(&path, &request).await?;
    session.show(&document, render)
}

fn render(answer: &Acknowledged, _: &Look) -> String {
    match &answer.remaining {
        None => format!("{} is acknowledged; its quarantine is over", answer.slot),
        Some(rest) => format!(
            "{} is acknowledged; before its quarantine ends, {rest}",
            answer.slot
        ),
    }
}
