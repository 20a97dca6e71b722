//! `switchctl openapi`

use super::failure::Failure;
use super::output;
use super::session::Session;

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let document = session.client.get("/v1/openapi.json").await?;
    output::print(&document.text)
}
