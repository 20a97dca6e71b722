//! The lease on which clients are held: it ends with the connection, so also with this process.

use super::daemon::{Daemon, No};
use crate::api::{EventKind, HoldRequest, ReleaseCause, StreamEvent};
use crate::cli::client::Lines;
use crate::config::format_duration;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// For an answer of the daemon.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until everybody has been let go: at 500 in a second, 15,000.
const LETTING_GO: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Hold {
    state: watch::Receiver<State>,
    reader: JoinHandle<()>,
    /// The deploy must be through by then; what is left of the hold is for taking back.
    late: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Asked,
    Held,
    /// Nothing is under way.
    Drained,
    /// The daemon ended it, and lets the clients go.
    Over(ReleaseCause),
    /// All have gone on.
    Empty(Figures),
    /// The connection ended: the daemon is gone.
    Lost,
}

/// What a hold was like for the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) held_ms: u64,
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) longest_ms: u64,
    why: ReleaseCause,
}

impl State {
    fn is_over(&self) -> bool {
        matches!(self, Self::Over(_) | Self::Empty(_) | Self::Lost)
    }

    fn why(&self) -> String {
        let cause = match self {
            Self::Over(cause) => cause,
            Self::Empty(figures) => &figures.why,
            _ => return lost().words(),
        };
        let words = match cause {
            ReleaseCause::Asked => "somebody released the clients",
            ReleaseCause::Deadline => OVER,
            ReleaseCause::LeaseLost => "switchd lost the connection to this process",
            ReleaseCause::Removed => "the service was taken out of the config",
            ReleaseCause::Stopping => "switchd stops",
        };
        format!("the hold ended: {words}")
    }
}

impl Hold {
    /// New requests wait from now on: for `most` until the deploy is late, and up to `with_undo` while it is taken back.
    pub(super) async fn take(
        daemon: &Daemon,
        most: Duration,
        with_undo: Duration,
        reason: String,
    ) -> Result<Self, No> {
        let request = HoldRequest {
            at_most: format_duration(with_undo.max(most)),
            drain: true,
            lease: true,
            reason: Some(reason),
        };
        let lines = daemon.operate("hold", &request).await?;
        let (tell, state) = watch::channel(State::Asked);
        let mut hold = Self {
            state,
            reader: tokio::spawn(read(lines, tell)),
            late: Instant::now() + most,
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
            State::Lost => Err(lost()),
            state if state.is_over() => Err(No::Refused(state.why())),
            _ => Ok(hold),
        }
    }

    /// Waits until nothing is under way. Cancel safe.
    pub(super) async fn drained(&mut self) -> Result<(), String> {
        let decided = |state: &State| *state == State::Drained || state.is_over();
        let state = tokio::select! {
            state = self.state.wait_for(decided) => state,
            () = tokio::time::sleep_until(self.late) => return Err(format!("requests were still under way when {}", late())),
        };
        match state.as_deref() {
            Ok(State::Drained) => Ok(()),
            Ok(state) => Err(format!(
                "requests were still under way when {}",
                state.why()
            )),
            Err(_) => Err(lost().words()),
        }
    }

    /// Waits until clients are no longer held, or the deploy is late; says why. Cancel safe.
    pub(super) fn over(&self) -> impl Future<Output = String> + use<> {
        let (ended, at) = (self.ended(), self.late);
        async move {
            tokio::select! {
                why = ended => why,
                () = tokio::time::sleep_until(at) => late(),
            }
        }
    }

    /// Waits until clients are no longer held; says why. Cancel safe.
    pub(super) fn ended(&self) -> impl Future<Output = String> + use<> {
        let mut state = self.state.clone();
        async move {
            match state.wait_for(State::is_over).await.as_deref() {
                Ok(state) => state.why(),
                Err(_) => lost().words(),
            }
        }
    }

    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.late
    }

    /// The connection ended.
    pub(super) fn is_lost(&self) -> bool {
        *self.state.borrow() == State::Lost
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().is_over()
    }

    /// Lets the clients go on, and waits until they have. None when the daemon is gone.
    pub(super) async fn release(mut self, daemon: &Daemon) -> Option<Figures> {
        // Should it not be heard, the end of the connection says the same.
        let _ = timeout(PATIENCE, daemon.post("release", &json!({}))).await;
        let empty = |state: &State| matches!(state, State::Empty(_) | State::Lost);
        let ended = timeout(LETTING_GO, self.state.wait_for(empty)).await;
        match ended.as_ref().map(|it| it.as_deref()) {
            Ok(Ok(State::Empty(figures))) => Some(*figures),
            _ => None,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

const OVER: &str = "its time is over (`hold` in [service.NAME.deploy] is for how long)";

/// Clients are still held: it is taken back under their hold.
fn late() -> String {
    format!("the hold ended: {OVER}")
}

fn lost() -> No {
    No::Gone("the connection to switchd ended, and the hold with it".to_owned())
}

async fn read(mut lines: Lines, tell: watch::Sender<State>) {
    while let Ok(Some(line)) = lines.next().await {
        let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
            continue;
        };
        let state = match event.kind {
            EventKind::Held { .. } => State::Held,
            EventKind::HoldDrained { .. } => State::Drained,
            EventKind::Releasing { why, .. } => State::Over(why),
            EventKind::Released {
                why,
                held_ms,
                requests,
                refused,
                longest_ms,
                ..
            } => State::Empty(Figures {
                held_ms,
                requests,
                refused,
                longest_ms,
                why,
            }),
            _ => continue,
        };
        let is_last = matches!(state, State::Empty(_));
        // Without anybody who listens the lease is about to end anyway.
        let _ = tell.send(state);
        if is_last {
            return;
        }
    }
    let _ = tell.send(State::Lost);
}
