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
    let slot = &answer.slot;
    match (&answer.remaining, &answer.accepted) {
        (None, Some(users)) => format!("{users} may listen on the port of {slot} from now on"),
        (None, None) => format!("{slot} is acknowledged; its quarantine is over"),
        (Some(rest), None) => format!("{slot} is acknowledged; before its quarantine ends, {rest}"),
        (Some(rest), Some(users)) => format!(
            "{slot} is acknowledged; before its quarantine ends, {rest}; {users} may listen on its port from now on"
        ),
    }
}
