//! `switchctl reload`

use super::failure::Failure;
use super::session::Session;
use super::style::Look;
use crate::api::Reloaded;
use serde_json::json;

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let document = session.client.post("/v1/reload", &json!({})).await?;
    session.show(&document, render)
}

fn render(reloaded: &Reloaded, _: &Look) -> String {
    let mut lines = if reloaded.changes.is_empty() {
        vec!["the config is valid; nothing changed".to_owned()]
    } else {
        vec!["the config is in force:".to_owned()]
    };
    lines.extend(reloaded.changes.iter().map(|change| format!("  {change}")));
    if !reloaded.needs_restart.is_empty() {
        lines.push("only after a restart of switchd:".to_owned());
        lines.extend(reloaded.needs_restart.iter().map(|key| format!("  {key}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    #[test]
    fn what_waits_for_a_restart_is_told_apart() {
        let reloaded = Reloaded {
            schema: 1,
            changes: vec!["service odoo: slot green has new addresses".to_owned()],
            needs_restart: vec!["runtime.workers".to_owned()],
        };
        assert_eq!(
            render(&reloaded, &look()),
            "the config is in force:\n  service odoo: slot green has new addresses\n\
             only after a restart of switchd:\n  runtime.workers"
        );
    }
}
