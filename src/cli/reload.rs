//! `switchctl reload`

use super::failure::Failure;
use super::sentence::{Sentence, say};
use super::session::Session;
use super::style::{Look, Paint};
use super::words;
use crate::api::{EventKind, Reloaded};
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

/// What came of files that changed.
pub(super) fn sentence(event: &EventKind) -> Sentence {
    match event {
        EventKind::ReloadFailed { problems } => say(
            format!(
                "config not taken, {}: {}",
                words::many(problems.len() as u64, "problem"),
                problems.join("; ")
            ),
            Paint::Bad,
        ),
        EventKind::CertificatesReloaded { changes } => say(
            format!("certificates reloaded: {}", reloaded(changes, &[])),
            Paint::Plain,
        ),
        EventKind::CertificatesNotTaken { problems } => say(
            format!(
                "certificates not taken, {}: {}",
                words::many(problems.len() as u64, "problem"),
                problems.join("; ")
            ),
            Paint::Bad,
        ),
        _ => say("", Paint::Plain),
    }
}

pub(super) fn reloaded(changes: &[String], needs_restart: &[String]) -> String {
    let mut parts = if changes.is_empty() {
        vec!["nothing changed".to_owned()]
    } else {
        vec![changes.join(", ")]
    };
    if !needs_restart.is_empty() {
        parts.push(format!("after a restart: {}", needs_restart.join(", ")));
    }
    parts.join("; ")
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
