//! What the machine of switchd lacks: its disk, its file descriptors.

use super::sentence::{Sentence, say};
use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{EventKind, Status};

/// Nothing while nothing is lacking.
pub(super) fn render(status: &Status, look: &Look) -> String {
    let mut lines = Vec::new();
    let state = &status.state;
    if let Some(problem) = &state.problem {
        let since = state.since.as_deref();
        let since = since.map_or(String::new(), |since| {
            format!(" (for {})", words::since(since, look))
        });
        lines.push((
            Paint::Bad,
            format!("the state cannot be written{since}: {problem}"),
        ));
    }
    if let Some(problem) = &status.spool_problem {
        lines.push((Paint::Bad, format!("bodies find no room: {problem}")));
    }
    if let Some(problem) = &status.descriptors.problem {
        lines.push((Paint::Notable, format!("file descriptors: {problem}")));
    }
    let mut text = String::new();
    for (paint, line) in lines {
        text.push_str(&look.style.paint(paint, &printable(&line)));
        text.push('\n');
    }
    text
}

pub(super) fn sentence(event: &EventKind) -> Sentence {
    match event {
        EventKind::StateNotWritten { problem } => say(
            format!("the state cannot be written: {problem}"),
            Paint::Bad,
        ),
        _ => say("the state can be written again", Paint::Good),
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;
    use crate::api::{ConfigStatus, DescriptorsStatus, StateStatus};

    #[test]
    fn what_is_lacking_is_told_with_what_to_do() {
        let mut status = Status {
            schema: 1,
            version: "1".to_owned(),
            pid: 1,
            started: "2026-08-01T09:00:00Z".to_owned(),
            listeners: Vec::new(),
            metrics: None,
            admin_api: None,
            config: ConfigStatus {
                path: String::new(),
                loaded: "2026-08-01T09:00:00Z".to_owned(),
                problems: Vec::new(),
                needs_restart: Vec::new(),
            },
            certificates: crate::api::CertificatesStatus::default(),
            state: StateStatus::default(),
            descriptors: DescriptorsStatus::default(),
            spool_problem: None,
            services: Vec::new(),
            names: Vec::new(),
            acme: Vec::new(),
        };
        assert_eq!(render(&status, &look()), "");
        status.state.problem = Some("disk full; make room".to_owned());
        status.descriptors.problem = Some("at most 71".to_owned());
        let text = render(&status, &look());
        assert_eq!(
            text,
            "the state cannot be written: disk full; make room\nfile descriptors: at most 71\n"
        );
    }
}
