//! What may be written behind `switchctl`.

use super::deploy::DeployArgs;
use super::hold::HoldArgs;
use super::modes::{MaintenanceArgs, ReadOnlyArgs};
use crate::config;
use crate::switch::Label;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused (the refusal names the way around it), or a probe or a check failed
  2  the command line is wrong
  3  switchd cannot be reached
  4  no longer waiting; the operation goes on in switchd
  5  traffic moved back by itself";

/// Looks at switchd and moves its traffic.
#[derive(Debug, Parser)]
#[command(name = "switchctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// The admin socket of switchd
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "SWITCHD_SOCKET",
        default_value = "/run/switchd/admin.sock"
    )]
    pub(super) socket: PathBuf,

    /// The service that is meant; needed where switchd serves several
    #[arg(long, global = true, value_name = "NAME", env = "SWITCHD_SERVICE")]
    pub(super) service: Option<ServiceName>,

    /// Print the documents of the admin API; streams as one JSON object per line
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// When to use colours; `auto` means on a terminal and without `NO_COLOR`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Which slot is active, how well every slot is, and what goes on
    Status(StatusArgs),
    /// Move traffic to SLOT: prove it healthy, switch, wait until the old slot is empty
    Flip(FlipArgs),
    /// Move traffic to the slot that was active before
    Rollback(RollbackArgs),
    /// Probe every endpoint of SLOT once, now
    Probe(SlotArgs),
    /// Make new requests wait, until Ctrl-C: what is under way ends meanwhile
    Hold(HoldArgs),
    /// End a hold: those who wait go on, to the slot that is active now
    Release,
    /// Answer 503 to clients, with a page of yours, until it is off again
    Maintenance(MaintenanceArgs),
    /// Let nothing write, and everything read
    ReadOnly(ReadOnlyArgs),
    /// Requests that are under way
    Ps,
    /// End one request; its client sees the connection break
    Kill(KillArgs),
    /// Acknowledge what went wrong on SLOT, so that its quarantine may end
    Ack(SlotArgs),
    /// Operations of the past, newest last
    History(HistoryArgs),
    /// What happens, as it happens
    Events(EventsArgs),
    /// Answers that are kept for the next client
    Cache(CacheArgs),
    /// Deploy a new version: prepare, migrate, prove, flip, watch; or take it all back
    Deploy(DeployArgs),
    /// Read the config file again (switchd also does so by itself when the file changes)
    Reload,
    /// Check a config file without a running switchd
    Check(CheckArgs),
}

#[derive(Debug, Group)]
pub(super) struct StatusArgs {
    /// Show it again every second, until Ctrl-C
    #[arg(long, short)]
    pub(super) watch: bool,
}

#[derive(Debug, Group)]
pub(super) struct FlipArgs {
    /// Where traffic shall go
    #[arg(value_name = "SLOT")]
    pub(super) slot: SlotName,
    #[command(flatten)]
    pub(super) moving: MoveArgs,
    /// Refuse unless generation N is still active (`status` shows it)
    #[arg(long, value_name = "N")]
    pub(super) expect_generation: Option<u64>,
    /// What runs in SLOT; shown in status, history, metrics and logs
    #[arg(long, value_name = "TEXT", value_parser = version)]
    pub(super) version: Option<String>,
}

#[derive(Debug, Group)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    pub(super) moving: MoveArgs,
}

#[derive(Debug, Group)]
pub(super) struct MoveArgs {
    /// Return as soon as traffic has moved; the old slot is drained in the background
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Skip the gate: move even to a slot that is not healthy
    #[arg(long, requires = "reason")]
    pub(super) force: bool,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Stop waiting after this long (30s, 5m, 1h); the operation itself goes on
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(super) timeout: Duration,
}

#[derive(Debug, Group)]
pub(super) struct SlotArgs {
    #[arg(value_name = "SLOT")]
    pub(super) slot: SlotName,
}

#[derive(Debug, Group)]
pub(super) struct KillArgs {
    /// The id that `ps` shows
    #[arg(value_name = "ID")]
    pub(super) id: u64,
}

#[derive(Debug, Group)]
pub(super) struct HistoryArgs {
    /// How many operations at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(super) limit: usize,
}

#[derive(Debug, Group)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    pub(super) what: CacheVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum CacheVerb {
    /// What is kept, most hits first
    List(CacheListArgs),
    /// Forget what begins with PREFIX; `/` is everything
    Purge(CachePurgeArgs),
}

#[derive(Debug, Group)]
pub(super) struct CacheListArgs {
    /// Only paths that begin so, as clients write them: /web/assets/
    #[arg(value_name = "PREFIX")]
    pub(super) prefix: Option<String>,
    /// How many at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(super) limit: usize,
}

#[derive(Debug, Group)]
pub(super) struct CachePurgeArgs {
    /// What the path begins with, as clients write it: /web/assets/
    #[arg(value_name = "PREFIX", value_parser = path_prefix)]
    pub(super) prefix: String,
}

#[derive(Debug, Group)]
pub(super) struct EventsArgs {
    /// Go on until Ctrl-C; without it, end after the next event
    #[arg(long, short)]
    pub(super) follow: bool,
}

#[derive(Debug, Group)]
pub(super) struct CheckArgs {
    /// The TOML file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

fn path_prefix(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err("a path begins with `/`".to_owned())
}

/// What a slot may be labelled with.
pub(super) fn version(text: &str) -> Result<String, String> {
    match Label::new(text) {
        Ok(label) => Ok(label.as_str().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match config::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be more than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_forced_flip_needs_a_reason() {
        assert!(Args::try_parse_from(["switchctl", "flip", "green", "--force"]).is_err());
        assert!(
            Args::try_parse_from(["switchctl", "flip", "green", "--force", "--reason", "x"])
                .is_ok()
        );
    }

    #[test]
    fn global_options_may_follow_the_verb() {
        let args =
            Args::try_parse_from(["switchctl", "status", "--socket", "/x", "--json"]).unwrap();
        assert_eq!(args.global.socket, PathBuf::from("/x"));
        assert!(args.global.json);
    }

    #[test]
    fn a_timeout_is_a_number_with_a_unit_and_more_than_zero() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for wrong in ["", "90", "0s", "-5s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
