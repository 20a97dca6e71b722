//! A real Prometheus that scrapes one address every second.

use super::eventually;
use super::get;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::process::Command;

/// Where its binaries come from.
const MISSING: &str = "install the Debian package prometheus; `make tools` does";

/// Ended, it alone, when it is dropped.
pub(crate) struct Prometheus {
    dir: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it and waits until it answers; what it scrapes is its job `switchd`.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let config = format!(
            "global:\n  scrape_interval: 1s\n\
             scrape_configs:\n  - job_name: switchd\n    static_configs:\n      - targets: [\"{target}\"]\n"
        );
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let child = spawn(dir.path());
        let mut prometheus = Self {
            dir,
            child,
            address: target,
        };
        eventually("prometheus listens", async || {
            if let Ok(Some(status)) = prometheus.child.try_wait() {
                panic!("prometheus stopped at once: {status}");
            }
            let bound = bound(&prometheus.log());
            prometheus.address = bound.unwrap_or(prometheus.address);
            bound.is_some()
        })
        .await;
        prometheus
    }

    /// The one value that `query` has now; none when it has none.
    pub(crate) async fn value(&self, query: &str) -> Option<f64> {
        let path = format!("/api/v1/query?query={}", escaped(query));
        let answer = get(self.address, &path).await;
        // Until its storage is open it says 503.
        if answer.status() == 503 {
            return None;
        }
        let document: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(document["status"], "success", "{query}: {document}");
        let result = document["data"]["result"].as_array().unwrap();
        assert!(result.len() < 2, "{query} is ambiguous: {document}");
        let value = result.first()?["value"][1].as_str().unwrap();
        Some(value.parse().unwrap())
    }

    pub(crate) async fn shows(&self, query: &str, wanted: f64) {
        eventually(&format!("{query} is {wanted}"), async || {
            let value = self.value(query).await;
            value.is_some_and(|value| (value - wanted).abs() < 0.1)
        })
        .await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.start_kill().ok();
        if std::thread::panicking() {
            eprintln!("--- what prometheus said\n{}---", self.log());
        }
    }
}

/// What `promtool check metrics` says of a page; empty when it finds nothing.
pub(crate) async fn promtool(page: &str) -> String {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect(MISSING);
    let mut stdin = tool.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(super::DEADLINE, tool.wait_with_output());
    let output = output.await.expect("promtool ends").unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert_eq!(output.status.success(), told.is_empty(), "{told}");
    told
}

fn spawn(dir: &Path) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    Command::new("prometheus")
        .arg(format!(
            "--config.file={}",
            dir.join("prometheus.yml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.join("data").display()
        ))
        .arg("--web.listen-address=127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect(MISSING)
}

/// From its log: the port was its own choice.
fn bound(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("Listening on"))?;
    let address = line.rsplit("address=").next()?;
    address
        .trim()
        .parse()
        .ok()
        .filter(|bound: &SocketAddr| bound.port() != 0)
}

fn escaped(query: &str) -> String {
    let escape = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b == b'_' => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    query.bytes().map(escape).collect()
}
