//! `switchctl deploy`: from the backup to the stop of the old slot, or back to where it was.
//!
//! Called by `cli/`. What is seen in the terminal is a viewer of a file ([`journal`]); the work is done by a
//! runner, a process of its own in a session of its own, so that a lost connection ends nothing. Never
//! decides where traffic is: it asks the daemon, also when it goes on after a crash.
//! Rules: written down before it is done; a program runs under a guard that ends it when the runner dies;
//! what was begun is taken back in reverse order; clients are held by a lease that ends with the runner.
//! Whoever may write what is read here has the rights of whoever deploys: [`folder`] takes nothing else, and programs
//! come from the config alone ([`work`]).

mod args;
mod daemon;
mod folder;
mod gates;
mod guard;
mod hold;
mod journal;
mod launch;
mod meant;
mod others;
mod places;
mod plan;
mod program;
mod receipt;
mod reconcile;
mod runner;
mod show;
mod signals;
mod step;
mod story;
mod undo;
mod viewer;
mod watching;
mod work;
mod worst;

pub(super) use args::DeployArgs;

use super::failure::Failure;
use super::session::Session;
use args::Wish;

pub(super) async fn run(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    match args.wish() {
        Wish::Guard => guard::run(args).await,
        Wish::Run(journal) => runner::run(session, journal).await,
        Wish::DryRun => launch::dry_run(session, args).await,
        Wish::Status => show::run(session, args),
        Wish::Attach => viewer::attach(session, args).await,
        Wish::GoOn(how) => launch::go_on(session, args, how).await,
        Wish::Start => launch::start(session, args).await,
    }
}
