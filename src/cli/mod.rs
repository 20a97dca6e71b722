//! SWITCHCTL: the operator's hand on the daemon.
//!
//! Called by `bin/switchctl.rs`. Talks HTTP over the admin socket and knows the daemon only by the
//! documents of `api/`; never touches its files, and `check` alone needs no daemon.
//! Rules: results go to stdout, progress and complaints to stderr; every way to end has an exit
//! code ([`Exit`]); what is rendered is a pure function of a document, the time and a style;
//! with `--json` the daemon's own documents pass through untouched.

mod ack;
mod args;
mod cache;
mod canary;
mod cancel;
mod check;
mod client;
mod confirm;
mod database;
mod deploy;
mod events;
mod failback;
mod failure;
mod flip;
mod gate;
mod gate_words;
mod history;
mod hold;
mod hold_others;
mod hooks;
mod kill;
mod machine;
mod modes;
mod names;
mod openapi;
mod operation;
mod output;
mod place;
mod preview;
mod probe;
mod ps;
mod reload;
mod rollback;
mod sentence;
mod session;
mod shadow;
mod shared;
mod status;
mod strangers;
mod style;
mod table;
mod token;
mod watch;
mod words;

pub use failure::Exit;

use args::{Args, Verb};
use clap::Parser;
use failure::Failure;
use session::Session;
use std::process::ExitCode;

/// Runs the command line of this process from its first argument to its exit code.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    let session = Session::new(&args.global);
    let ended = match &args.verb {
        Verb::Check(check) => check::run(&session, check),
        Verb::Token(token) => token::run(&session, token),
        verb => match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime.block_on(perform(&session, verb)),
            Err(cause) => Err(Failure::Output(cause)),
        },
    };
    match ended {
        Ok(()) => Exit::Done.into(),
        Err(failure) => session.output.complain(&failure).into(),
    }
}

async fn perform(session: &Session, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Status(args) => status::run(session, args).await,
        Verb::Flip(args) => flip::run(session, args).await,
        Verb::Rollback(args) => rollback::run(session, args).await,
        Verb::Cancel(args) => cancel::run(session, args).await,
        Verb::Confirm => confirm::run(session).await,
        Verb::Probe(args) => probe::run(session, args).await,
        Verb::Preview(args) => preview::run(session, args).await,
        Verb::Canary(args) => canary::run(session, args).await,
        Verb::Gate(args) => gate::run(session, args).await,
        Verb::Hold(args) => hold::run(session, args).await,
        Verb::Release => hold::release(session).await,
        Verb::Maintenance(args) => modes::maintenance(session, args).await,
        Verb::ReadOnly(args) => modes::read_only(session, args).await,
        Verb::Ps => ps::run(session).await,
        Verb::Kill(args) => kill::run(session, args).await,
        Verb::Ack(args) => ack::run(session, args).await,
        Verb::History(args) => history::run(session, args).await,
        Verb::Events(args) => events::run(session, args).await,
        Verb::Cache(args) => cache::run(session, args).await,
        Verb::Hooks(args) => hooks::run(session, args).await,
        Verb::Openapi => openapi::run(session).await,
        Verb::Deploy(args) => {
            session.client.must_be_here("deploy")?;
            deploy::run(session, args).await
        }
        Verb::Shadow(args) => shadow::run(session, args).await,
        Verb::Token(args) => token::run(session, args),
        Verb::Reload => reload::run(session).await,
        Verb::Check(args) => check::run(session, args),
    }
}
