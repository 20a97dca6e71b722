//! `switchd run`: serves in the foreground until it is told to stop.

use super::assembly::Daemon;
use super::check;
use super::log;
use super::notify;
use super::signals::Signals;
use super::signals::Wish;
use crate::config::load;
use crate::journal::Recover;
use crate::switch::Actor;
use anyhow::Context;
use std::path::Path;
use std::process::ExitCode;

/// Runs a daemon for `config`; the exit code says how it ended.
///
/// # Errors
/// What kept it from starting.
pub fn run(config: &Path, recover: Recover) -> anyhow::Result<ExitCode> {
    // What is shown and watched later must not depend on the folder we were started in.
    let config = &std::path::absolute(config).context("cannot find the current folder")?;
    let settings = match load(config) {
        Ok(settings) => settings,
        Err(problems) => {
            check::tell(&problems);
            return Ok(ExitCode::FAILURE);
        }
    };
    let log = log::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the main runtime")?;
    let ended = runtime.block_on(async {
        // Before anything else runs: a signal during the start must not kill us half-way.
        let signals = Signals::listen().context("cannot listen to signals")?;
        let daemon = Daemon::start(&settings, config, recover)?;
        Ok(serve(daemon, signals).await)
    });
    log.flush();
    // A thread that hangs must not keep the process from ending.
    runtime.shutdown_background();
    ended
}

async fn serve(daemon: Daemon, mut signals: Signals) -> ExitCode {
    notify::tell("READY=1");
    loop {
        let wish = tokio::select! {
            wish = signals.next() => wish,
            () = daemon.failed() => {
                tracing::error!("a worker died; ending, so that the service manager starts a whole proxy");
                return ExitCode::FAILURE;
            }
        };
        match wish {
            Wish::Stop => return stop(daemon, signals).await,
            Wish::ReopenLogs => daemon.reopen_logs(),
            Wish::Reload => {
                let control = daemon.control().clone();
                // Its result is in the log and in the status.
                tokio::spawn(async move { drop(control.reload(Actor("SIGHUP".to_owned())).await) });
            }
        }
    }
}

async fn stop(daemon: Daemon, mut signals: Signals) -> ExitCode {
    tracing::info!("stopping; a second signal ends at once");
    notify::tell("STOPPING=1");
    tokio::select! {
        _cut = daemon.stop() => ExitCode::SUCCESS,
        () = signals.stop() => {
            tracing::warn!("stopped at once by a second signal");
            ExitCode::FAILURE
        }
    }
}
