//! `switchctl preview SLOT`

use super::args::SlotArgs;
use super::failure::Failure;
use super::session::Session;
use super::style::Look;
use super::words;
use crate::api::{PreviewLink, SlotRequest};

pub(super) async fn run(session: &Session, args: &SlotArgs) -> Result<(), Failure> {
    let path = session.service_path("preview").await?;
    let slot = args.slot.to_string();
    let document = session.client.post(&path, &SlotRequest { slot }).await?;
    session.show(&document, render)
}

fn render(link: &PreviewLink, look: &Look) -> String {
    format!(
        "{}\nleads to {} once, within {}; the browser that follows it sees {} until its cookie is too old",
        link.url,
        link.slot,
        words::until(&link.expires, look),
        link.slot,
    )
}
