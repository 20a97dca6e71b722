//! `switchd check`: is a config good, and what does it say?

use crate::config;
use crate::config::Problem;
use crate::config::Settings;
use crate::config::load;
use crate::config::summary;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Tells all problems of a config on stderr (exit 1), or what it amounts to on stdout.
#[must_use]
pub fn check(config: &Path) -> ExitCode {
    match load(config) {
        Ok(settings) => {
            println!("ok: {}", in_words(&settings));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            tell(&problems);
            ExitCode::FAILURE
        }
    }
}

/// Shows all that a config means on stdout, or tells its problems on stderr (exit 1).
#[must_use]
pub fn explain(config: &Path) -> ExitCode {
    match config::explain(config) {
        Ok(text) => {
            // Whoever reads may have read enough: that is no failure.
            std::io::stdout().write_all(text.as_bytes()).ok();
            ExitCode::SUCCESS
        }
        Err(problems) => {
            tell(&problems);
            ExitCode::FAILURE
        }
    }
}

pub(super) fn tell(problems: &[Problem]) {
    eprint!("{}", summary(problems));
}

fn in_words(settings: &Settings) -> String {
    let slots = settings.services.iter().flat_map(|it| &it.slots);
    let members = slots.clone().flat_map(|slot| &slot.members);
    [
        counted(settings.services.len(), "service"),
        counted(slots.count(), "slot"),
        counted(
            members.map(|member| member.addresses.len()).sum(),
            "endpoint",
        ),
        counted(settings.listeners.len(), "listener"),
    ]
    .join(", ")
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
