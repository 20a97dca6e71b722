//! The guard of one program: a process between the runner and the program, which ends the program when the
//! runner dies.
//!
//! Its stdin is a pipe that nobody writes to; it ends with the runner. While it is there it holds a lock, so
//! that whoever goes on later knows that nothing of the interrupted step still works.

use super::args::DeployArgs;
use super::folder::Folder;
use crate::cli::failure::Failure;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// After SIGTERM; what is there then is killed.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Not a code that programs end with by themselves.
pub(super) const CANNOT_START: i32 = 127;

/// Runs the program to its end, and ends with its exit code.
pub(super) async fn run(args: &DeployArgs) -> Result<(), Failure> {
    let (Some(lock), Some((program, arguments))) = (&args.guard, args.program.split_first()) else {
        return Err(Failure::Usage(
            "a guard needs a lock and a program".to_owned(),
        ));
    };
    // Whoever is asked to stop is the runner, and the pipe tells.
    let _ignored = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let (dir, name) = (lock.parent(), lock.file_name());
    let (Some(dir), Some(name)) = (dir, name.and_then(|name| name.to_str())) else {
        return Err(Failure::Usage("that is no lock".to_owned()));
    };
    let locked = Folder::open(dir).and_then(|dir| dir.lock(name));
    let locked = locked.map_err(Failure::Output)?;
    if locked.is_none() {
        return Err(Failure::Usage(format!(
            "another program of a deploy still runs: {} is locked",
            lock.display()
        )));
    }
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    let code = match child {
        Ok(child) => watch(child).await,
        Err(cause) => {
            eprintln!("cannot start {}: {cause}", program.display());
            CANNOT_START
        }
    };
    drop(locked);
    std::process::exit(code)
}

async fn watch(mut child: Child) -> i32 {
    let mut runner = tokio::io::stdin();
    let mut nothing = [0; 1];
    let ended = tokio::select! {
        ended = child.wait() => ended.map_or(CANNOT_START, code),
        _ = runner.read(&mut nothing) => stop(child).await,
    };
    ended
}

/// Ends the program with all that it started in its group.
async fn stop(mut child: Child) -> i32 {
    let group = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    let Some(group) = group else {
        return child.wait().await.map_or(CANNOT_START, code);
    };
    // Gone already is as good.
    let _ = kill_process_group(group, Signal::TERM);
    let ended = timeout(GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    match ended {
        Ok(ended) => ended.map_or(CANNOT_START, code),
        Err(_) => child.wait().await.map_or(CANNOT_START, code),
    }
}

/// As shells tell it: 128 and more for a signal.
fn code(status: ExitStatus) -> i32 {
    let by_signal = status.signal().map(|signal| 128 + signal);
    status.code().or(by_signal).unwrap_or(CANNOT_START)
}
