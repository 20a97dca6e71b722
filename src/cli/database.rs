//! Who else works on the database of a service: asked with the operator's own `psql`, never by the daemon.
//!
//! Requests are not all that writes: jobs of the application, other programs and people at a prompt come past
//! switchd. Passwords stay where libpq looks for them (`~/.pgpass`, `PGPASSFILE`).

use super::table::printable;
use super::words;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// For one look, from the start of `psql` to its end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of what is seen waits to be heard.
const WAITING: usize = 4;
const LOOKS: Duration = Duration::from_millis(100);
/// So long nobody must be seen: whoever writes again and again has pauses, too.
const CALM: Duration = Duration::from_millis(500);
/// Of those that are seen, so many are told.
const MOST_TOLD: usize = 10;

/// Sessions that have written or are at work. Of other users only those may be seen that `pg_read_all_stats` shows.
const QUERY: &str = "\
SELECT json_build_object('hidden', count(*) FILTER (WHERE hidden), 'sessions', \
  coalesce(json_agg(json_build_object('pid', pid, 'application', application, 'user', usename, 'state', state, \
    'writes', writes, 'age_ms', age_ms, 'query', query) ORDER BY age_ms DESC) FILTER (WHERE NOT hidden), '[]')) \
FROM (SELECT pid, application_name AS application, usename, coalesce(state, '') AS state, \
    backend_xid IS NOT NULL AS writes, left(coalesce(query, ''), 200) AS query, \
    greatest(0, (extract(epoch FROM clock_timestamp() - coalesce(xact_start, query_start, backend_start)) * 1000)::bigint) \
      AS age_ms, \
    (state IS NULL OR state = 'disabled') AND backend_xid IS NULL AS hidden \
  FROM pg_stat_activity \
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' \
    AND (backend_xid IS NOT NULL OR state IS DISTINCT FROM 'idle') \
  LIMIT 100) AS at_work";

/// What one look showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Activity {
    /// At work or with something written, the oldest first.
    pub(super) sessions: Vec<DatabaseSession>,
    /// Of other users: what they do is not shown to us.
    pub(super) hidden: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DatabaseSession {
    pub(super) pid: i64,
    pub(super) application: String,
    pub(super) user: String,
    /// `active`, `idle in transaction` ...
    pub(super) state: String,
    /// It has written in its transaction.
    pub(super) writes: bool,
    /// Of its transaction.
    pub(super) age_ms: u64,
    pub(super) query: String,
}

impl DatabaseSession {
    fn in_words(&self) -> String {
        let application = match &*self.application {
            "" => "a program without a name",
            application => application,
        };
        let written = if self.writes { ", has written" } else { "" };
        let query: String = words::in_one_line(&self.query).chars().take(80).collect();
        printable(&format!(
            "{application} (pid {}, {}): {} for {}{written}: {query}",
            self.pid,
            self.user,
            self.state,
            words::took(self.age_ms),
        ))
    }
}

impl Activity {
    /// One line each.
    pub(super) fn in_words(&self) -> String {
        let mut lines: Vec<String> = self
            .sessions
            .iter()
            .map(DatabaseSession::in_words)
            .collect();
        let more = lines.len().saturating_sub(MOST_TOLD);
        lines.truncate(MOST_TOLD);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines.join("\n")
    }

    /// What could not be seen; empty when that is nothing.
    pub(super) fn unseen(&self) -> String {
        let mut text = String::new();
        if self.hidden > 0 {
            let _ = write!(
                text,
                "; what {} of other users do is not shown to this one (pg_read_all_stats shows it)",
                words::many(self.hidden, "session")
            );
        }
        text
    }
}

/// What is told while a database is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Seen {
    /// Somebody is at work, and others than before.
    Busy(Activity),
    /// For a while nobody was. Nothing is told after it.
    Quiet(Activity),
    /// Nobody knows. Nothing is told after it.
    Blind(String),
}

/// Looks in the background until nobody else is at work for a while, or until that cannot be seen. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Looking {
    told: mpsc::Receiver<Seen>,
    task: AbortHandle,
}

impl Looking {
    pub(super) fn begin(connection: String) -> Self {
        let (tell, told) = mpsc::channel(WAITING);
        let task = tokio::spawn(look_on(connection, tell)).abort_handle();
        Self { told, task }
    }

    /// The next that is seen. Cancel safe.
    pub(super) async fn next(&mut self) -> Seen {
        match self.told.recv().await {
            Some(seen) => seen,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_on(connection: String, tell: mpsc::Sender<Seen>) {
    let mut calm: Option<Instant> = None;
    let mut known: Vec<i64> = Vec::new();
    loop {
        let last = match look(&connection).await {
            Err(why) => Some(Seen::Blind(why)),
            Ok(activity) if activity.sessions.is_empty() => {
                let since = *calm.get_or_insert_with(Instant::now);
                (since.elapsed() >= CALM).then_some(Seen::Quiet(activity))
            }
            Ok(activity) => {
                calm = None;
                let mut pids: Vec<i64> = activity.sessions.iter().map(|it| it.pid).collect();
                pids.sort_unstable();
                if pids != known {
                    known = pids;
                    // Whoever does not listen has ended.
                    let _ = tell.send(Seen::Busy(activity)).await;
                }
                None
            }
        };
        if let Some(last) = last {
            let _ = tell.send(last).await;
            return;
        }
        sleep(LOOKS).await;
    }
}

/// Who is at work on the database of `connection`, a connection string of libpq.
async fn look(connection: &str) -> Result<Activity, String> {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only"])
        .args(["--no-align", "--set", "ON_ERROR_STOP=1"])
        .args(["--dbname", connection, "--command", QUERY])
        .env("PGCONNECT_TIMEOUT", "3")
        .env("PGAPPNAME", "switchctl")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match timeout(PATIENCE, psql.output()).await {
        Err(_) => return Err(format!("psql does not end within {} s", PATIENCE.as_secs())),
        Ok(Err(cause)) if cause.kind() == ErrorKind::NotFound => {
            return Err("there is no psql in PATH; install the client of PostgreSQL".to_owned());
        }
        Ok(Err(cause)) => return Err(format!("psql cannot be started: {cause}")),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = words::in_one_line(said.trim()).chars().take(300).collect();
        return Err(format!("psql: {said}"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|_| "psql answered something else than what it was asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_at_work_is_named_in_one_line_and_not_by_its_own_control_characters() {
        let mut session = DatabaseSession {
            pid: 4242,
            application: "odoo-\u{1b}[2Jcron".to_owned(),
            user: "odoo".to_owned(),
            state: "idle in transaction".to_owned(),
            writes: true,
            age_ms: 3200,
            query: "UPDATE ir_cron\n   SET nextcall = now()".to_owned(),
        };
        assert_eq!(
            session.in_words(),
            "odoo-\u{fffd}[2Jcron (pid 4242, odoo): idle in transaction for 3.2 s, has written: \
             UPDATE ir_cron SET nextcall = now()"
        );
        session.application.clear();
        session.query = "x".repeat(1000);
        assert!(session.in_words().starts_with("a program without a name"));
        assert!(session.in_words().len() < 200);
        let activity = Activity {
            sessions: vec![session; 12],
            hidden: 2,
        };
        assert_eq!(activity.in_words().lines().count(), 11);
        assert!(activity.unseen().contains("2 sessions of other users"));
    }
}
