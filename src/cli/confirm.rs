//! `switchctl confirm`

use super::failure::Failure;
use super::session::Session;
use super::style::{Look, Paint};
use crate::api::Confirmed;

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let path = session.service_path("confirm").await?;
    let nothing = serde_json::Value::Object(serde_json::Map::new());
    let document = session.client.post(&path, &nothing).await?;
    session.show(&document, render)
}

fn render(answer: &Confirmed, look: &Look) -> String {
    let slot = look.style.paint(Paint::Good, &answer.slot);
    format!(
        "confirmed: {slot} stays active (generation {})",
        answer.generation
    )
}
