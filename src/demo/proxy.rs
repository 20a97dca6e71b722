//! The proxy of the demo: this very program, started as an operator would.

use super::admin::Admin;
use super::home::Home;
use crate::api::ServiceStatus;
use crate::api::Status;
use anyhow::Context;
use anyhow::bail;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use std::fs::File;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::sleep;

const START_DEADLINE: Duration = Duration::from_secs(15);
/// Above the daemon's own patience with requests under way.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(20);

/// A child process; killed when dropped, stopped in peace by `stop`.
#[derive(Debug)]
pub(super) struct Proxy(Child);

impl Proxy {
    pub(super) fn start(home: &Home) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let log = File::create(home.log())?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(home.config())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the proxy")?;
        Ok(Self(child))
    }

    /// An error when it has stopped by itself, with the end of its log.
    pub(super) fn still_runs(&mut self, home: &Home) -> anyhow::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!(
                "the proxy stopped ({status}); the end of its log:\n{}",
                home.end_of_log()
            ),
        }
    }

    /// Waits until it answers and finds every slot healthy.
    pub(super) async fn ready(&mut self, admin: &Admin, home: &Home) -> anyhow::Result<Status> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            self.still_runs(home)?;
            // It cannot answer before its socket is there: only the last error counts.
            let status = admin.status().await;
            let is_late = Instant::now() > deadline;
            match status {
                Ok(status) if status.services.iter().all(all_healthy) => return Ok(status),
                Ok(_) if is_late => bail!(
                    "the slots did not get healthy; the end of the log:\n{}",
                    home.end_of_log()
                ),
                Err(error) if is_late => return Err(error.context("the proxy does not answer")),
                _ => sleep(STEP).await,
            }
        }
    }

    /// Asks it to stop and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let deadline = Instant::now() + STOP_DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the proxy ended with {status}");
            }
            sleep(STEP).await;
        }
        bail!(
            "the proxy did not stop within {} s, so it was killed",
            STOP_DEADLINE.as_secs()
        )
    }
}

fn all_healthy(service: &ServiceStatus) -> bool {
    service.slots.iter().all(|slot| slot.health == "healthy")
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
