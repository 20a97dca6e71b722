//! A real `PostgreSQL` on a unix socket of its own, and sessions of its own program `psql`.

use super::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const MISSING: &str = "install the Debian package postgresql; `make tools` does";
const DATABASE: &str = "prod";

/// Ended, it alone, when it is dropped.
pub(crate) struct Postgres {
    dir: TempDir,
    child: Child,
}

impl Postgres {
    /// Starts it with one empty database.
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        give_away(dir.path());
        let data = dir.path().join("data");
        let made = program("initdb")
            .args(["--auth=trust", "--username=postgres", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .current_dir(dir.path())
            .status()
            .await
            .expect(MISSING);
        assert!(made.success(), "initdb failed: {made}");
        let child = serve(dir.path());
        let postgres = Self { dir, child };
        eventually("postgres takes connections", async || {
            let made = postgres.command("psql", "postgres");
            let sql = format!("CREATE DATABASE {DATABASE}");
            finished(made, &["-qc", &sql]).await.0
        })
        .await;
        postgres
    }

    /// As `systemctl stop postgresql` does; nothing is left of it then.
    pub(crate) async fn stop(&mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        kill_process(pid.and_then(Pid::from_raw).expect("it runs"), Signal::INT).unwrap();
        let ended = tokio::time::timeout(super::DEADLINE, self.child.wait());
        ended.await.expect("it stops").unwrap();
    }

    /// Starts it again on the same data; it takes sessions when this returns.
    pub(crate) async fn resume(&mut self) {
        self.child = serve(self.dir.path());
        eventually("postgres is back", async || {
            self.try_run(&["-c", "SELECT 1"]).await.0
        })
        .await;
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    /// For programs that are told where the database is.
    pub(crate) fn env(&self) -> String {
        format!(
            "{{ PGHOST = {:?}, PGUSER = \"postgres\", PGDATABASE = {DATABASE:?} }}",
            self.dir.path().display().to_string()
        )
    }

    /// For `psql`, in one text.
    pub(crate) fn connection(&self) -> String {
        format!(
            "host={} user=postgres dbname={DATABASE}",
            self.dir.path().display()
        )
    }

    /// Runs SQL to its end; what it printed.
    pub(crate) async fn run(&self, sql: &str) -> String {
        let (good, said) = self.try_run(&["-c", sql]).await;
        assert!(good, "{sql}: {said}");
        said.trim().to_owned()
    }

    /// With the arguments of `psql`; whether it went well, and what it said.
    pub(crate) async fn try_run(&self, arguments: &[&str]) -> (bool, String) {
        let psql = self.command("psql", DATABASE);
        let usual = ["-XqAt", "-v", "ON_ERROR_STOP=1"];
        finished(psql, &[&usual, arguments].concat()).await
    }

    /// A session that stays.
    pub(crate) fn session(&self) -> Psql {
        let mut child = Command::new("stdbuf")
            .args(["-oL", "psql", "-XqAt"])
            .envs(self.variables(DATABASE))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect(MISSING);
        Psql {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    fn command(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(name);
        command.envs(self.variables(database));
        command
    }

    fn variables(&self, database: &str) -> [(&'static str, String); 3] {
        [
            ("PGHOST", self.dir.path().display().to_string()),
            ("PGUSER", "postgres".to_owned()),
            ("PGDATABASE", database.to_owned()),
        ]
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // Its own processes end with it, at once.
            kill_process(pid, Signal::QUIT).ok();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log"));
            eprintln!("--- what postgres said\n{}---", log.unwrap_or_default());
        }
    }
}

/// One session of `psql`.
pub(crate) struct Psql {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

/// Why a statement failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlError {
    /// `40001`: could not serialize access.
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Psql {
    /// One statement; the lines of its answer.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<String>, SqlError> {
        const END: &str = "=end= ";
        let text = format!("{sql};\n\\echo '{END}':SQLSTATE :LAST_ERROR_MESSAGE\n");
        self.input.write_all(text.as_bytes()).await.unwrap();
        let mut lines = Vec::new();
        loop {
            let line = self.output.next_line().await.unwrap();
            let line = line.expect("psql is there");
            let Some(end) = line.strip_prefix(END) else {
                lines.push(line);
                continue;
            };
            let (code, message) = end.split_once(' ').unwrap_or((end, ""));
            if code == "00000" {
                return Ok(lines);
            }
            return Err(SqlError {
                code: code.to_owned(),
                message: message.to_owned(),
            });
        }
    }
}

fn serve(dir: &Path) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    program("postgres")
        .arg("-D")
        .arg(dir.join("data"))
        .arg("-k")
        .arg(dir)
        // What a crash of the machine would lose is of no interest here.
        .args(["-c", "listen_addresses=", "-c", "fsync=off"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect(MISSING)
}

async fn finished(mut command: Command, arguments: &[&str]) -> (bool, String) {
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect(MISSING);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// Those who run as root hand it to the user of Debian's package: it refuses to be root.
fn program(name: &str) -> Command {
    let mut command = if user().is_some() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg(found(name));
        command
    } else {
        Command::new(found(name))
    };
    command.kill_on_drop(true);
    command
}

/// Debian keeps the servers of all versions apart, outside of PATH.
fn found(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut paths: Vec<PathBuf> = versions
        .map(|entry| entry.unwrap().path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    paths.pop().unwrap_or_else(|| name.into())
}

struct User {
    uid: u32,
    gid: u32,
}

/// None where we are not root ourselves.
fn user() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect(MISSING).split(':').skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some(User {
        uid: number(),
        gid: number(),
    })
}

fn give_away(dir: &Path) {
    if let Some(user) = user() {
        std::os::unix::fs::chown(dir, Some(user.uid), Some(user.gid)).unwrap();
    }
}
