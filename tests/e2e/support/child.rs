//! An upstream in a process of its own, for what only `kill -9` can show.

use super::backend::Backend;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;

/// Tells the child's process that it is one, and its backend's name.
const NAME: &str = "SWITCHD_E2E_UPSTREAM";

pub(crate) struct ChildUpstream {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl ChildUpstream {
    /// Runs this very test binary again, with `test` (a full test name) as the child's way in:
    /// that test calls [`serve_if_child`] first.
    pub(crate) async fn start(name: &str, test: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(NAME, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = tokio::time::timeout(super::DEADLINE, lines.next_line());
            let line = line.await.expect("the child listens").unwrap();
            let line = line.expect("the child says where it listens");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.parse().unwrap();
            }
        };
        Self { child, address }
    }

    /// `kill -9`
    pub(crate) fn kill(&self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
}

/// In a child: serves until the parent goes away, then true. Elsewhere false.
pub(crate) async fn serve_if_child() -> bool {
    let Ok(name) = std::env::var(NAME) else {
        return false;
    };
    let backend = Backend::start(&name).await;
    println!("listening on {}", backend.address());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.ok();
    true
}
