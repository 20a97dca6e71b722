//! `switchctl check FILE`

use super::args::CheckArgs;
use super::failure::{Exit, Failure};
use super::output;
use super::output::Format;
use super::session::Session;
use super::words;
use crate::config;
use crate::config::Settings;
use serde_json::json;
use std::fmt::Write;
use std::path::Path;

/// Needs no daemon: the file is checked by the same code that `switchd` runs.
pub(super) fn run(session: &Session, args: &CheckArgs) -> Result<(), Failure> {
    let problems: Vec<String> = match config::load(&args.file) {
        Ok(settings) => {
            return output::print(&match session.output.format {
                Format::Json => document(&args.file, &[]),
                Format::Words => summary(&args.file, &settings),
            });
        }
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    let count = words::many(problems.len() as u64, "problem");
    let found = format!("{}: {count}", args.file.display());
    if session.output.format == Format::Json {
        output::print(&document(&args.file, &problems))?;
        return Err(Failure::Ended {
            exit: Exit::Refused,
            text: found,
        });
    }
    Err(Failure::Ended {
        exit: Exit::Refused,
        text: format!("{found}\n{}", problems.join("\n")),
    })
}

fn document(file: &Path, problems: &[String]) -> String {
    json!({
        "schema": crate::api::SCHEMA,
        "path": file.display().to_string(),
        "problems": problems,
    })
    .to_string()
}

fn summary(file: &Path, settings: &Settings) -> String {
    let listeners: Vec<String> = settings
        .listeners
        .iter()
        .map(|listener| listener.address.to_string())
        .collect();
    let mut text = format!("{} is valid: {}", file.display(), listeners.join(", "));
    for service in &settings.services {
        let slots: Vec<&str> = service
            .slots
            .iter()
            .map(|slot| slot.name.as_str())
            .collect();
        let _ = write!(text, "\n  {}: {}", service.name, slots.join(", "));
    }
    text
}
