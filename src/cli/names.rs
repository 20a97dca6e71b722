//! Host names whose name server is in trouble, as `status` shows them.

use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::NameStatus;
use std::fmt::Write;

pub(super) fn render(names: &[NameStatus], look: &Look) -> String {
    let mut text = String::new();
    for name in names {
        if let Some((paint, line)) = trouble(name) {
            // A String takes whatever is written.
            let _ = writeln!(text, "{}", look.style.paint(paint, &printable(&line)));
        }
    }
    text
}

/// None where its name server answers.
fn trouble(name: &NameStatus) -> Option<(Paint, String)> {
    let host = &name.host;
    let error = name.error.as_deref().unwrap_or("no answer");
    match name.state.as_str() {
        "stale" => {
            let age = words::about(name.age_ms.unwrap_or_default() / 1000);
            let addresses = name.addresses.join(", ");
            let line = format!(
                "name {host}: {error}; using the last known addresses ({addresses}), confirmed {age} ago"
            );
            Some((Paint::Notable, line))
        }
        "unresolved" => Some((
            Paint::Bad,
            format!("name {host}: {error}; no address is known"),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_in_trouble_are_shown_with_the_cause_and_the_age() {
        let name = |state: &str| NameStatus {
            host: "app-blue".to_owned(),
            state: state.to_owned(),
            addresses: vec!["10.0.0.5".to_owned()],
            age_ms: Some(125_000),
            error: Some("the name server does not answer (127.0.0.11:53)".to_owned()),
        };
        let (_, line) = trouble(&name("stale")).unwrap();
        assert_eq!(
            line,
            "name app-blue: the name server does not answer (127.0.0.11:53); using the last known addresses \
             (10.0.0.5), confirmed 2 min ago"
        );
        let (_, line) = trouble(&name("unresolved")).unwrap();
        assert_eq!(
            line,
            "name app-blue: the name server does not answer (127.0.0.11:53); no address is known"
        );
        for state in ["fresh", "absent", "unknown"] {
            assert!(trouble(&name(state)).is_none(), "{state}");
        }
    }
}
