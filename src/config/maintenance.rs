//! What holds whenever a service is in maintenance; the command brings the rest.

use super::change::{Differences, Lists};
use super::keys::{Section, key, section};
use super::sections::networks;
use super::settings::Network;
use super::table::Table;
use super::words;

/// Of every maintenance of a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Maintenance {
    /// What clients are told where the command says nothing; empty for a sentence of ours.
    pub message: String,
    /// Those who get in all the same.
    pub allow: Vec<Network>,
}

/// A message fits on a page and into one line.
const LONGEST_MESSAGE: usize = 500;

pub(super) const MAINTENANCE: Section = section(
    "service.NAME.maintenance",
    &[
        key("message", r#""We are back at ten.""#),
        key("allow", r#"["10.0.0.0/8"]"#),
    ],
);

pub(super) fn read(service: &Table<'_>) -> Maintenance {
    let table = service.table("maintenance", &MAINTENANCE);
    let message = table.get("message").and_then(|value| {
        let text = value.text()?;
        if let Err(what) = check_message(text) {
            value.wrong(format!("`message` {what}"), "write one plain sentence");
        }
        Some(text.to_owned())
    });
    Maintenance {
        message: message.unwrap_or_default(),
        allow: networks(&table, "allow", Vec::new()),
    }
}

/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn check_message(text: &str) -> Result<(), String> {
    if text.len() > LONGEST_MESSAGE {
        return Err(format!("is longer than {LONGEST_MESSAGE} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a line break or another control character".to_owned());
    }
    Ok(())
}

/// An address or a network in CIDR form, as the config takes it.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_network(text: &str) -> Result<Network, String> {
    words::network(text).map_err(|fault| format!("\"{text}\" {}: {}", fault.what, fault.help))
}

pub(super) fn changes(lines: &mut Differences, old: &Maintenance, new: &Maintenance) {
    lines.value("maintenance message", &old.message, &new.message);
    let networks = Lists {
        old: &old.allow,
        new: &new.allow,
    };
    lines.list("maintenance allow", &networks, Network::to_string);
}
