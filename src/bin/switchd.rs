//! The daemon's command line.

use clap::Parser;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;
use switchd::daemon;
use switchd::demo;
use switchd::journal::Recover;

/// A blue-green traffic switcher and reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "switchd", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve in the foreground until SIGTERM; SIGHUP reloads, SIGUSR1 reopens the access log
    Run {
        #[arg(long, value_name = "FILE", default_value = "/etc/switchd/switchd.toml")]
        config: PathBuf,
        /// Start although the state file is broken: set it aside, and begin with each service's
        /// `initial` slot
        #[arg(long)]
        recover: bool,
    },
    /// Check a config file; tells every problem with its line, and exits 1 if there is any
    Check {
        #[arg(long, value_name = "FILE", default_value = "/etc/switchd/switchd.toml")]
        config: PathBuf,
        /// Show all that holds, and whether it comes from the file, a preset or the defaults: a config
        /// again, which means the same
        #[arg(long)]
        explain: bool,
    },
    /// Show the main job here and now: flips under load, between two slots of its own
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { config, recover } => {
            let recover = if recover {
                Recover::StartFromConfig
            } else {
                Recover::Refuse
            };
            daemon::run(&config, recover)
        }
        Command::Check {
            config,
            explain: true,
        } => Ok(daemon::explain(&config)),
        Command::Check { config, .. } => Ok(daemon::check(&config)),
        Command::Demo(args) => demo::run(&args),
    };
    result.unwrap_or_else(|error| {
        daemon::complain(&format!("switchd: {error:#}"));
        ExitCode::FAILURE
    })
}
