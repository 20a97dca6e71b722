//! Running the program of a step.

use super::guard::{CANNOT_START, GRACE};
use super::places::{Places, log_name};
use super::plan::Plan;
use crate::config::format_duration;
use crate::config::{DeployStep, Program};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What is told of a program that failed.
const LAST_LINES: usize = 12;
const LAST_BYTES: u64 = 8 << 10;

/// The program of a step, and what it is told.
pub(super) struct Task<'t> {
    pub(super) plan: &'t Plan,
    pub(super) places: &'t Places,
    pub(super) step: &'t DeployStep,
    pub(super) program: &'t Program,
    pub(super) purpose: Purpose<'t>,
    /// Traffic has been on the new slot.
    pub(super) flipped: bool,
    /// Clients have been held all the time since before the migration.
    pub(super) held: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'t> {
    Do,
    /// And why.
    Undo(&'t str),
}

impl Task<'_> {
    /// Waits until the program has ended well. When `stop` ends first it is ended, and that is the reason.
    pub(super) async fn run(&self, stop: impl Future<Output = String>) -> Result<(), String> {
        let id = &self.plan.id;
        let cannot = |cause: io::Error| format!("cannot run {}: {cause}", self.step.name);
        let from = size(self.places, id);
        let mut guard = self.spawn().map_err(cannot)?;
        // Its end is what tells the guard to stop.
        let pipe = guard.stdin.take();
        let stopped = tokio::select! {
            ended = guard.wait() => {
                let status = ended.map_err(cannot)?;
                return match status.code() {
                    Some(0) => Ok(()),
                    code => Err(failed(code, self.places, id, from)),
                };
            }
            why = stop => why,
            () = tokio::time::sleep(self.timeout()) => {
                format!("not over after {}; it was ended", format_duration(self.timeout()))
            }
        };
        drop(pipe);
        if timeout(GRACE + Duration::from_secs(10), guard.wait())
            .await
            .is_err()
        {
            return Err(format!(
                "{stopped}; its program does not end, not even killed"
            ));
        }
        Err(stopped)
    }

    fn timeout(&self) -> Duration {
        match self.purpose {
            Purpose::Do => self.step.timeout,
            Purpose::Undo(_) => self.step.undo_timeout(),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let output = open_log(self.places, &self.plan.id)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("switchctl")
            .arg("deploy")
            .arg("--guard")
            .arg(self.places.program_lock())
            .arg("--");
        match self.program {
            Program::Direct(words) => command.args(words),
            Program::Shell(words) => {
                let (script, arguments) = words
                    .split_first()
                    .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
                command.args(["sh", "-c", script, "sh"]).args(arguments)
            }
        };
        let home = self.plan.config.parent().unwrap_or(Path::new("/"));
        command
            .current_dir(self.step.dir.as_deref().unwrap_or(home))
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output);
        self.tell(&mut command);
        command.spawn()
    }

    fn tell(&self, command: &mut Command) {
        let plan = self.plan;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        command
            .env("SERVICE", &plan.service)
            .env("SLOT", &plan.slot)
            .env("OLD_SLOT", &plan.old_slot)
            .env("VERSION", text(&plan.version))
            .env("OLD_VERSION", text(&plan.old_version))
            .env("REASON", text(&plan.reason))
            .env("URL", &plan.url)
            .env("OLD_URL", &plan.old_url)
            .env("STEP", &self.step.name)
            .env("DEPLOY_ID", &plan.id)
            .env("SWITCHD_SOCKET", &plan.socket)
            .env("SWITCHD_SERVICE", &plan.service)
            .env("FLIPPED", if self.flipped { "1" } else { "" })
            .env("HELD", if self.held { "1" } else { "" });
        match self.purpose {
            Purpose::Do => command.env("UNDO", "").env("FAILURE", ""),
            Purpose::Undo(why) => command.env("UNDO", "1").env("FAILURE", why),
        };
        command.envs(self.step.env.iter().map(|(name, value)| (name, value)));
    }
}

pub(super) fn open_log(places: &Places, id: &str) -> io::Result<File> {
    places.folder().append(&log_name(id))
}

fn read_log(places: &Places, id: &str) -> io::Result<File> {
    places.folder().file(&log_name(id), OFlags::RDONLY)
}

pub(super) fn size(places: &Places, id: &str) -> u64 {
    let size = read_log(places, id).and_then(|log| log.metadata());
    size.map_or(0, |file| file.len())
}

fn failed(code: Option<i32>, places: &Places, id: &str, from: u64) -> String {
    let mut text = match code {
        Some(CANNOT_START) => {
            "exit code 127: the program was not found, or could not be started".to_owned()
        }
        Some(code) => format!("exit code {code}"),
        None => "its guard was killed".to_owned(),
    };
    for line in last_lines(places, id, from, LAST_LINES) {
        text.push('\n');
        text.push_str(&line);
    }
    text
}

/// The last lines that were written to the log from `from` on.
pub(super) fn last_lines(places: &Places, id: &str, from: u64, most: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = read_log(places, id)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(LAST_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(LAST_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.len().saturating_sub(most);
    lines[first..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}
