//! What may be written behind `switchctl deploy`.

use crate::cli::args::version;
use crate::switch::SlotName;
use clap::Args as Group;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const STORY: &str = "\
A deploy takes the steps of [[service.NAME.deploy.step]] in order, and takes back what it did, in reverse
order, when one fails. Ctrl-C takes back, too; a lost connection changes nothing: the deploy goes on, and
--attach shows it again.

Exit codes: as of every command; 1 also when something is left to do by hand, 5 when the deploy was taken
back and everything is as it was.";

#[derive(Debug, Group)]
#[command(after_help = STORY)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one word of the command line"
)]
pub(in crate::cli) struct DeployArgs {
    /// The config file of switchd, which says what the steps are
    #[arg(
        long,
        value_name = "FILE",
        env = "SWITCHD_CONFIG",
        default_value = "/etc/switchd/switchd.toml"
    )]
    pub(super) config: PathBuf,

    /// The slot to deploy to; needed where more than one is idle
    #[arg(long, value_name = "SLOT")]
    pub(super) to: Option<SlotName>,

    /// What is deployed: steps see it as VERSION, and it labels the slot
    #[arg(long, value_name = "TEXT", value_parser = version)]
    pub(super) version: Option<String>,

    /// Why; kept in the history and in the receipt
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,

    /// The slot is in quarantine and has been mended; needed only where no program runs before the gates
    #[arg(long)]
    pub(super) ack: bool,

    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with_all = ["attach", "status", "resume", "undo", "detach"])]
    pub(super) dry_run: bool,

    /// Return at once; the deploy goes on by itself
    #[arg(long, conflicts_with_all = ["attach", "status"])]
    pub(super) detach: bool,

    /// Show the deploy that runs, or the last one
    #[arg(long, conflicts_with_all = ["status", "resume", "undo"])]
    pub(super) attach: bool,

    /// How far the last deploy came, step by step
    #[arg(long, conflicts_with_all = ["resume", "undo"])]
    pub(super) status: bool,

    /// Go on with a deploy that was interrupted by a crash
    #[arg(long, conflicts_with = "undo")]
    pub(super) resume: bool,

    /// Take an interrupted deploy back
    #[arg(long)]
    pub(super) undo: bool,

    /// With --undo: take back with the steps that stand in the config now, although they have changed since
    #[arg(long, requires = "undo")]
    pub(super) with_current_steps: bool,

    /// The deploy that is meant, instead of the last one
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,

    #[arg(long, hide = true, value_name = "JOURNAL")]
    runner: Option<PathBuf>,

    #[arg(long, hide = true, value_name = "LOCK")]
    pub(super) guard: Option<PathBuf>,

    #[arg(last = true, hide = true, requires = "guard")]
    pub(super) program: Vec<OsString>,
}

/// What is asked for.
pub(super) enum Wish<'a> {
    Start,
    DryRun,
    Status,
    Attach,
    GoOn(Direction),
    /// By switchctl itself.
    Run(&'a Path),
    /// By switchctl itself.
    Guard,
}

/// Which way an interrupted deploy goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Back,
}

impl DeployArgs {
    pub(super) fn wish(&self) -> Wish<'_> {
        match self {
            Self { guard: Some(_), .. } => Wish::Guard,
            Self {
                runner: Some(journal),
                ..
            } => Wish::Run(journal),
            Self { dry_run: true, .. } => Wish::DryRun,
            Self { status: true, .. } => Wish::Status,
            Self { attach: true, .. } => Wish::Attach,
            Self { resume: true, .. } => Wish::GoOn(Direction::Forward),
            Self { undo: true, .. } => Wish::GoOn(Direction::Back),
            Self { .. } => Wish::Start,
        }
    }
}
