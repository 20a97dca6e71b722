//! The lease on which clients are held: it ends with the connection, so also with this process.

use super::daemon::{Daemon, No};
use crate::cli::client::Lines;
use crate::config::format_duration;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// For the first answer and for the last one.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Hold {
    since: Instant,
    state: watch::Receiver<State>,
    reader: JoinHandle<()>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Asked,
    Held,
    /// Nothing is under way.
    Drained,
    /// The daemon ended it; what it said.
    Over(Value),
    /// The connection ended: the daemon is gone.
    Lost,
}

/// How a hold ended.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) held_ms: u64,
    pub(super) why: String,
    /// As the daemon counted it.
    pub(super) longest_wait_ms: Option<u64>,
}

impl Hold {
    /// New requests wait from now on, at most for `most`.
    pub(super) async fn take(daemon: &Daemon, most: Duration) -> Result<Self, No> {
        let body = json!({"for": format_duration(most), "drain": true, "lease": true});
        let lines = daemon.operate("hold", &body).await?;
        let (tell, state) = watch::channel(State::Asked);
        let mut hold = Self {
            since: Instant::now(),
            state,
            reader: tokio::spawn(read(lines, tell)),
        };
        let began = hold.state.wait_for(|state| *state != State::Asked);
        let state = match timeout(PATIENCE, began).await {
            Err(_) => {
                let words = "switchd does not say whether it holds the clients";
                return Err(No::Gone(words.to_owned()));
            }
            Ok(state) => state.map_or(State::Lost, |state| state.clone()),
        };
        match state {
            State::Over(said) => Err(No::Refused(reason(&said))),
            State::Lost => Err(lost()),
            _ => Ok(hold),
        }
    }

    /// Waits until nothing is under way. Cancel safe.
    pub(super) async fn drained(&mut self) -> Result<(), String> {
        let state = self
            .state
            .wait_for(|state| !matches!(state, State::Asked | State::Held))
            .await;
        match state.as_deref() {
            Ok(State::Drained) => Ok(()),
            Ok(State::Over(said)) => Err(format!(
                "the hold ended before nothing was under way any more: {}",
                reason(said)
            )),
            _ => Err(lost().words()),
        }
    }

    /// Waits until clients are no longer held; says why. Cancel safe.
    pub(super) fn over(&self) -> impl Future<Output = String> + use<> {
        let mut state = self.state.clone();
        async move {
            let over = |state: &State| matches!(state, State::Over(_) | State::Lost);
            match state.wait_for(over).await.as_deref() {
                Ok(State::Over(said)) => format!("the hold ended: {}", reason(said)),
                _ => lost().words(),
            }
        }
    }

    /// The connection ended.
    pub(super) fn is_lost(&self) -> bool {
        *self.state.borrow() == State::Lost
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.state.borrow(), State::Over(_) | State::Lost)
    }

    /// Lets the clients go on.
    pub(super) async fn release(mut self, daemon: &Daemon) -> Released {
        // Should it not be heard, the end of the connection says the same.
        let _ = timeout(PATIENCE, daemon.post("release", &json!({}))).await;
        let over = |state: &State| matches!(state, State::Over(_) | State::Lost);
        let ended = timeout(PATIENCE, self.state.wait_for(over)).await;
        let said = match ended.as_ref().map(|it| it.as_deref()) {
            Ok(Ok(State::Over(said))) => Some(said.clone()),
            _ => None,
        };
        Released {
            held_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            why: said
                .as_ref()
                .map_or_else(|| "the connection was closed".to_owned(), reason),
            longest_wait_ms: said
                .as_ref()
                .and_then(|said| said["longest_wait_ms"].as_u64()),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn lost() -> No {
    No::Gone("the connection to switchd ended, and the hold with it".to_owned())
}

fn reason(said: &Value) -> String {
    match said["reason"].as_str() {
        Some(reason) => reason.to_owned(),
        None => "switchd does not say why".to_owned(),
    }
}

async fn read(mut lines: Lines, tell: watch::Sender<State>) {
    while let Ok(Some(line)) = lines.next().await {
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let state = match event["event"].as_str() {
            Some("held") => State::Held,
            Some("hold_drained") => State::Drained,
            Some("released") => State::Over(event),
            _ => continue,
        };
        let is_last = matches!(state, State::Over(_));
        // Without anybody who listens the lease is about to end anyway.
        let _ = tell.send(state);
        if is_last {
            return;
        }
    }
    let _ = tell.send(State::Lost);
}
