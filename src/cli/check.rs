//! `switchctl check FILE`

use super::args::CheckArgs;
use super::failure::{Exit, Failure};
use super::output;
use super::output::Format;
use super::session::Session;
use crate::config;
use crate::config::{Problem, Settings};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;

/// Needs no daemon: the file is checked by the same code that `switchd` runs.
pub(super) fn run(session: &Session, args: &CheckArgs) -> Result<(), Failure> {
    let file = args.file.display();
    let problems = match config::load(&args.file) {
        Ok(settings) => {
            return output::print(&match session.output.format {
                Format::Json => document(&args.file, &[], &config::advice(&settings)),
                Format::Words => summary(&args.file, &settings),
            });
        }
        Err(problems) => problems,
    };
    let text = match session.output.format {
        Format::Json => {
            output::print(&document(&args.file, &problems, &[]))?;
            format!("{file} is not valid")
        }
        Format::Words => format!("not valid:\n{}", config::summary(&problems).trim_end()),
    };
    Err(Failure::Ended {
        exit: Exit::Refused,
        text,
    })
}

fn document(file: &Path, problems: &[Problem], advice: &[String]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    json!({
        "schema": crate::api::SCHEMA,
        "path": file.display().to_string(),
        "problems": problems,
        "advice": advice,
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
    let advice = config::advice(settings);
    if !advice.is_empty() {
        text.push_str("\nadvice:");
    }
    for line in advice {
        let _ = write!(text, "\n  {line}");
    }
    text
}
