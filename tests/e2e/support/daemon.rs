//! The real `switchd`, and `switchctl` beside it.

use super::api_client::{EventStream, Reply, call};
use super::config::Config;
use super::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use switchd::api::AuditRecord;
use switchd::api::History;
use switchd::api::RequestList;
use switchd::api::RequestStatus;
use switchd::api::ServiceStatus;
use switchd::api::SlotStatus;
use switchd::api::Status;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::process::Command;

/// One running daemon in a temporary folder.
pub(crate) struct Daemon {
    dir: Arc<TempDir>,
    child: Child,
    /// Of the first listener.
    pub(crate) address: SocketAddr,
}

/// What one run of a program left behind.
#[derive(Debug)]
pub(crate) struct CtlOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CtlOutput {
    /// # Panics
    /// When stdout is no JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl Daemon {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(config: &Config) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        std::fs::create_dir(dir.path().join("state")).unwrap();
        config.write_files(dir.path());
        std::fs::write(config_path(dir.path()), config.text(dir.path())).unwrap();
        Self::start_in(dir, &[]).await
    }

    /// Starts it as the last words of `wrapper`, a command that ends in running what follows.
    pub(crate) async fn start_through(config: &Config, wrapper: &[&str]) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        std::fs::create_dir(dir.path().join("state")).unwrap();
        config.write_files(dir.path());
        std::fs::write(config_path(dir.path()), config.text(dir.path())).unwrap();
        Self::start_through_in(dir, wrapper).await
    }

    /// The same in a folder that is there already, with its config.
    pub(crate) async fn start_through_in(dir: Arc<TempDir>, wrapper: &[&str]) -> Self {
        let child = spawn(dir.path(), wrapper, &[]);
        Self::answers(dir, child).await
    }

    /// Starts it in a folder where another one ran before.
    pub(crate) async fn start_in(dir: Arc<TempDir>, arguments: &[&str]) -> Self {
        let child = spawn(dir.path(), &[], arguments);
        Self::answers(dir, child).await
    }

    async fn answers(dir: Arc<TempDir>, child: Child) -> Self {
        let mut daemon = Self {
            dir,
            child,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let socket = daemon.socket();
        eventually("switchd answers", async || {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                panic!("switchd stopped at once: {status}");
            }
            call(&socket, "GET /v1/status", "").await.is_ok()
        })
        .await;
        daemon.address = daemon.status().await.listeners[0].parse().unwrap();
        daemon
    }

    /// Of the listener at this place in the config.
    pub(crate) async fn listener(&self, at: usize) -> SocketAddr {
        self.status().await.listeners[at].parse().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        config_path(self.dir.path())
    }

    /// Keeps the folder alive for a restart.
    pub(crate) fn dir(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    pub(crate) fn write_config(&self, config: &Config) {
        std::fs::write(self.config_path(), config.text(self.dir.path())).unwrap();
    }

    pub(crate) fn stderr(&self) -> String {
        read_stderr(self.dir.path())
    }

    /// Bytes of memory that it occupies now.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.child.id().expect("the daemon runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.expect("it is resident").split_whitespace().next();
        words.unwrap().parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("the daemon runs");
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(super::DEADLINE, self.child.wait());
        ended.await.expect("the daemon ends").unwrap()
    }

    /// `kill -9`, then a new one on the same state and config.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
        *self = Self::start_in(self.dir(), &[]).await;
    }

    /// Ended in order, then a new one on the same state and config.
    pub(crate) async fn stop_and_restart(&mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().await.code(), Some(0));
        *self = Self::start_in(self.dir(), &[]).await;
    }

    pub(crate) async fn call(&self, request: &str, body: &str) -> Reply {
        call(&self.socket(), request, body).await.unwrap()
    }

    pub(crate) async fn stream(&self, request: &str, body: &str) -> EventStream {
        EventStream::start(self.socket(), request, body).await
    }

    /// Begins a flip of service `app`; the answer is its stream.
    pub(crate) async fn begin_flip(&self, to: &str) -> EventStream {
        let body = format!("{{\"to\":\"{to}\"}}");
        self.stream("POST /v1/services/app/flip", &body).await
    }

    pub(crate) async fn status(&self) -> Status {
        self.call("GET /v1/status", "").await.json()
    }

    pub(crate) async fn service(&self, name: &str) -> ServiceStatus {
        let mut services = self.status().await.services;
        services.retain(|service| service.name == name);
        services.pop().expect("the service exists")
    }

    /// The sum of all samples on the metrics page whose line holds every one of `words`.
    pub(crate) async fn metric(&self, words: &[&str]) -> f64 {
        let page = self.call("GET /metrics", "").await.text;
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// # Panics
    /// When the metrics page lacks one of these lines.
    pub(crate) async fn counts(&self, lines: &[&str]) {
        let page = self.call("GET /metrics", "").await.text;
        for line in lines {
            assert!(page.lines().any(|it| it == *line), "no {line} in\n{page}");
        }
    }

    /// What `ps` shows.
    pub(crate) async fn requests(&self) -> Vec<RequestStatus> {
        let list: RequestList = self.call("GET /v1/ps", "").await.json();
        list.requests
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the daemon runs")
    }

    /// Of service `app`.
    pub(crate) async fn active(&self) -> String {
        self.service("app").await.active
    }

    /// Of service `app`.
    pub(crate) async fn slot(&self, name: &str) -> SlotStatus {
        let mut slots = self.service("app").await.slots;
        slots.retain(|slot| slot.name == name);
        slots.pop().expect("the slot exists")
    }

    /// Waits until both slots of `app` have proved themselves.
    pub(crate) async fn healthy(&self) {
        for slot in ["blue", "green"] {
            self.slot_becomes(slot, "healthy").await;
        }
    }

    pub(crate) async fn slot_becomes(&self, slot: &str, health: &str) {
        eventually(&format!("{slot} becomes {health}"), async || {
            self.slot(slot).await.health == health
        })
        .await;
    }

    pub(crate) async fn becomes_active(&self, slot: &str) {
        eventually(&format!("{slot} becomes active"), async || {
            self.active().await == slot
        })
        .await;
    }

    pub(crate) async fn history(&self) -> Vec<AuditRecord> {
        let history: History = self.call("GET /v1/history", "").await.json();
        history.operations
    }

    /// Runs `switchctl` with this daemon's socket.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> CtlOutput {
        finish(self.ctl_command(arguments)).await
    }

    pub(crate) fn ctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchctl"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    /// # Panics
    /// When it does not succeed.
    pub(crate) async fn flip(&self, to: &str) -> CtlOutput {
        let output = self.ctl(&["flip", to]).await;
        assert_eq!(output.code, 0, "flip {to}: {output:?}");
        output
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.start_kill().ok();
        if std::thread::panicking() {
            eprintln!("--- what switchd said\n{}---", self.stderr());
        }
    }
}

/// Runs `switchd` to its end.
pub(crate) async fn switchd(arguments: &[&str]) -> CtlOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchd"));
    command.args(arguments);
    finish(command).await
}

/// Runs `switchctl` without any daemon's socket.
pub(crate) async fn switchctl(arguments: &[&str], environment: &[(&str, &str)]) -> CtlOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchctl"));
    command.args(arguments).envs(environment.iter().copied());
    finish(command).await
}

async fn finish(mut command: Command) -> CtlOutput {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(super::DEADLINE, command.output())
        .await
        .expect("the program ends")
        .unwrap();
    CtlOutput {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn spawn(dir: &Path, wrapper: &[&str], arguments: &[&str]) -> Child {
    let stderr = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("stderr"))
        .unwrap();
    let stdout = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("stdout"))
        .unwrap();
    let program = [wrapper, &[env!("CARGO_BIN_EXE_switchd"), "run", "--config"]].concat();
    Command::new(program[0])
        .args(&program[1..])
        .arg(config_path(dir))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn config_path(dir: &Path) -> PathBuf {
    dir.join("switchd.toml")
}

fn read_stderr(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("stderr")).unwrap_or_default()
}
