//! `switchd check`: is a config good, and what does it say?

use super::log::complain;
use crate::config;
use crate::config::Descriptors;
use crate::config::Problem;
use crate::config::Settings;
use crate::config::load;
use crate::config::summary;
use crate::net::hard_descriptor_limit;
use crate::tls::Material;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// Tells all problems of a config on stderr (exit 1), or what it amounts to on stdout.
#[must_use]
pub fn check(config: &Path) -> ExitCode {
    match load(config) {
        Ok(settings) => match Material::load(&settings, None) {
            Ok(material) => {
                for warning in material.warnings(SystemTime::now()) {
                    eprintln!("warning: {warning}");
                }
                // As the daemon would raise its limit, started from here.
                let descriptors = Descriptors::of(&settings, hard_descriptor_limit());
                if descriptors.is_short() {
                    eprintln!("warning: {descriptors}");
                }
                for advice in config::advice(&settings) {
                    eprintln!("advice: {advice}");
                }
                println!("ok: {}", in_words(&settings));
                ExitCode::SUCCESS
            }
            Err(problems) => refuse(&problems),
        },
        Err(problems) => refuse(&problems),
    }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    tell(problems);
    ExitCode::FAILURE
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
    complain(&summary(problems));
}

fn in_words(settings: &Settings) -> String {
    let slots = settings.services.iter().flat_map(|it| &it.slots);
    let certificates = settings.listeners.iter().flat_map(|it| &it.certificates);
    let members = slots.clone().flat_map(|slot| &slot.members);
    [
        counted(settings.services.len(), "service"),
        counted(slots.count(), "slot"),
        counted(
            members.map(|member| member.addresses.len()).sum(),
            "endpoint",
        ),
        counted(settings.listeners.len(), "listener"),
        counted(certificates.count(), "certificate"),
    ]
    .into_iter()
    .filter(|words| words != "0 certificates")
    .collect::<Vec<_>>()
    .join(", ")
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
