//! Running `switchctl` as an operator would.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing here takes that long on any machine: a hanging test fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

/// How a run of `switchctl` ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchctl"));
    command
        .args(arguments)
        .env("SWITCHD_SOCKET", socket)
        .env("TZ", "UTC")
        .env_remove("SWITCHD_SERVICE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) async fn run(socket: &Path, arguments: &[&str]) -> Ended {
    let output = timeout(PATIENCE, command(socket, arguments).output());
    Ended::of(output.await.expect("switchctl must end").unwrap())
}

/// The next line on stderr. What follows it can still be read.
pub(crate) async fn next_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    let stderr = child.stderr.as_mut().unwrap();
    while line.last() != Some(&b'\n') {
        let byte = tokio::io::AsyncReadExt::read_u8(stderr);
        line.push(
            timeout(PATIENCE, byte)
                .await
                .expect("a line on stderr")
                .unwrap(),
        );
    }
    String::from_utf8(line).unwrap()
}

pub(crate) async fn interrupt(child: &Child) {
    let id = child.id().unwrap().to_string();
    let status = Command::new("kill")
        .args(["-INT", &id])
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

pub(crate) async fn end(child: Child) -> Ended {
    let output = timeout(PATIENCE, child.wait_with_output());
    Ended::of(output.await.expect("switchctl must end").unwrap())
}
