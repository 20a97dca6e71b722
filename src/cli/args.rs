//! What may be written behind `switchctl`.

use super::canary::CanaryArgs;
use super::deploy::DeployArgs;
use super::gate::GateArgs;
use super::history::HistoryArgs;
use super::hold::HoldArgs;
use super::hooks::HooksArgs;
use super::modes::{MaintenanceArgs, ReadOnlyArgs};
use super::place::{self, Place, Web};
use super::shadow::ShadowArgs;
use super::token::TokenArgs;
use crate::config;
use crate::switch::Label;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use http::Uri;
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused (the refusal names the way around it), or a probe or a check failed
  2  the command line is wrong
  3  switchd cannot be reached
  4  no longer waiting; the operation goes on in switchd
  5  traffic moved back by itself, or a deploy was taken back
  6  done, but requests were cut off; the application may have done them";

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

    /// Talk to the admin API at this URL instead (`[admin.tcp]`): <https://HOST:PORT>
    #[arg(long, global = true, value_name = "URL", env = "SWITCHD_URL", value_parser = place::url)]
    pub(super) url: Option<Uri>,

    /// The token for it, in a file; else it is taken from `SWITCHD_TOKEN`
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,

    /// Trust whom the certificates (PEM) in this file vouch for
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,

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

impl Global {
    /// Whom the command talks to.
    pub(super) fn place(&self) -> Place {
        match &self.url {
            Some(url) => Place::Web(Box::new(Web {
                url: url.clone(),
                token_file: self.token_file.clone(),
                ca: self.ca.clone(),
            })),
            None => Place::Socket(self.socket.clone()),
        }
    }
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
    /// Some of the new visitors to SLOT, before all traffic moves there
    Canary(CanaryArgs),
    /// End a flip, rollback or canary that is still being proven; no traffic has moved yet
    Cancel(CancelArgs),
    /// Say that the last move stays (after `flip --confirm-within`)
    Confirm,
    /// Print a link that leads one browser to SLOT, whichever is active
    Preview(SlotArgs),
    /// Probe every endpoint of SLOT once, now
    Probe(SlotArgs),
    /// Try the gates of SLOT now; nothing changes, and the exit code is 1 when a flip would be refused
    Gate(GateArgs),
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
    /// Acknowledge what went wrong on SLOT, so that its quarantine may end; accept who listens there
    Ack(SlotArgs),
    /// Operations of the past, newest last
    History(HistoryArgs),
    /// What happens, as it happens
    Events(EventsArgs),
    /// Answers that are kept for the next client
    Cache(CacheArgs),
    /// Who else is told what happens, and how it goes; send one of them a test
    Hooks(HooksArgs),
    /// The description of the admin API (`OpenAPI` 3.1)
    Openapi,
    /// Deploy a new version: prepare, migrate, prove, flip, watch; or take it all back
    Deploy(DeployArgs),
    /// Tokens for the admin API over TCP
    Token(TokenArgs),
    /// Send copies of GETs to an idle SLOT and compare the answers; nothing of it reaches a client
    Shadow(ShadowArgs),
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
    /// Try every gate and tell what would happen; nothing changes
    #[arg(long, conflicts_with_all = ["force", "no_wait"])]
    pub(super) rehearse: bool,
    /// Go back to the old slot unless `switchctl confirm` comes within this time (10m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) confirm_within: Option<Duration>,
    /// Let traffic go back by itself even where the database's modules have changed
    #[arg(long)]
    pub(super) accept_schema_change: bool,
    /// What runs in SLOT; shown in status, history, metrics and logs
    #[arg(long, value_name = "TEXT", value_parser = version)]
    pub(super) version: Option<String>,
    #[command(flatten)]
    pub(super) start: StartArgs,
}

#[derive(Debug, Group)]
pub(super) struct StartArgs {
    /// Refuse at once when SLOT does not answer yet, instead of waiting for it to start (`flip.gate_timeout`)
    #[arg(long)]
    pub(super) no_wait_for_start: bool,
}

#[derive(Debug, Group)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    pub(super) moving: MoveArgs,
    /// Go there even though the database's modules have changed since it last served
    #[arg(long)]
    pub(super) accept_schema_change: bool,
    /// When the slot does not answer, wait for it to start (`flip.gate_timeout`) instead of refusing at once
    #[arg(long)]
    pub(super) wait_for_start: bool,
}

#[derive(Debug, Group)]
pub(super) struct MoveArgs {
    /// Return as soon as traffic has moved; the old slot is drained in the background
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Skip the gate: move even to a slot that is not healthy
    #[arg(long, requires = "reason")]
    pub(super) force: bool,
    /// The slot is in quarantine and has been mended: acknowledge that with this move; the gate is tried all the same
    #[arg(long)]
    pub(super) ack: bool,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Stop waiting after this long (30s, 5m, 1h); the operation itself goes on
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(super) timeout: Duration,
}

#[derive(Debug, Group)]
pub(super) struct CancelArgs {
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
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
