//! What runs beside a hold: the watch over it, and the letting go at its end.

use super::clock::millis;
use super::drain::counts_status;
use super::drain::sum;
use super::events::About;
use super::hold_desk::HoldMessage;
use super::hold_desk::HoldName;
use super::jobs::Jobs;
use super::message::Message;
use crate::api::EventKind;
use crate::api::ReleaseCause;
use crate::live::Counts;
use crate::live::DrainPass;
use crate::live::Hold;
use crate::live::Lobby;
use crate::live::Slot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often those who may go are let go.
const STEP: Duration = Duration::from_millis(10);
/// How long those take at most who were let go to notice.
const LOOKS_UP: Duration = Duration::from_secs(1);
/// How often a hold is told of.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Watches one hold until it has to end.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) name: HoldName,
    pub(super) until: Instant,
    /// On which requests may still be under way.
    pub(super) pictures: Vec<Arc<Slot>>,
    pub(super) lobby: Arc<Lobby>,
    /// It is to be told when nothing is under way.
    pub(super) drain: bool,
    /// What may pass until nothing else is under way.
    pub(super) drain_pass: Option<Arc<DrainPass>>,
    pub(super) lease: Option<oneshot::Receiver<()>>,
}

impl Watch {
    pub(super) async fn run(mut self, jobs: Jobs) {
        let started = Instant::now();
        let mut told = started;
        loop {
            if self.is_alone() {
                self.close(&jobs).await;
            }
            let left = sum(&self.pictures);
            // While others may still pass, nothing under way is no more than a moment.
            if self.drain && self.drain_pass.is_none() && is_drained(left) {
                self.drain = false;
                let name = self.name.clone();
                jobs.report(Message::Hold(HoldMessage::Drained(name))).await;
            }
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                self.tell(&jobs, left);
            }
            let pause = if self.drain && started.elapsed() < TOLD_EVERY {
                STEP / 2
            } else {
                STEP * 5
            };
            let over = tokio::select! {
                () = tokio::time::sleep_until(self.until) => ReleaseCause::Deadline,
                () = lost(&mut self.lease) => ReleaseCause::LeaseLost,
                () = tokio::time::sleep(pause) => continue,
            };
            let over = HoldMessage::Over(self.name, over);
            return jobs.report(Message::Hold(over)).await;
        }
    }

    /// Whether nothing is under way but requests that pass because something else may need them.
    fn is_alone(&self) -> bool {
        let count = || {
            let left = sum(&self.pictures);
            left.requests + left.transfers
        };
        let pass = self.drain_pass.as_ref();
        pass.is_some_and(|pass| pass.others(count) == 0)
    }

    /// From now on nobody passes for that reason; those that did end by themselves.
    async fn close(&mut self, jobs: &Jobs) {
        let (answer, closed) = oneshot::channel();
        let alone = HoldMessage::Alone(self.name.clone(), answer);
        jobs.report(Message::Hold(alone)).await;
        // Without an answer nobody is there any more who would be told of a drain.
        if closed.await.is_ok() {
            self.drain_pass = None;
        }
    }

    fn tell(&self, jobs: &Jobs, left: Counts) {
        let now = self.lobby.now();
        let kind = EventKind::Holding {
            hold: self.name.number,
            waiting: now.waiting as u64,
            oldest_ms: millis(now.oldest),
            left: counts_status(left),
        };
        let about = About::service(self.name.service.as_str());
        jobs.events.tell(about, kind);
    }
}

/// Websockets stay: what they carry is no business of an application's workers.
fn is_drained(left: Counts) -> bool {
    left.requests + left.transfers == 0
}

/// Never for a hold that is no lease.
async fn lost(lease: &mut Option<oneshot::Receiver<()>>) {
    match lease {
        // Nothing is ever sent.
        Some(lease) => drop(lease.await),
        None => std::future::pending().await,
    }
}

/// Lets those go who wait, at a rate.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) name: HoldName,
    pub(super) hold: Arc<Hold>,
    /// Per second; 0 is all at once.
    pub(super) rate: u64,
}

impl Release {
    pub(super) async fn run(self, jobs: Jobs) {
        let_go(&self.hold, self.rate).await;
        let line = self.hold.lobby.line();
        // Those who were let go last have yet to look up; a worker that is too busy is not waited for.
        let since = Instant::now();
        while self.hold.lobby.now().waiting > line.waiting() && since.elapsed() < LOOKS_UP {
            tokio::time::sleep(STEP / 5).await;
        }
        let empty = HoldMessage::Empty(self.name);
        jobs.report(Message::Hold(empty)).await;
    }
}

/// Lets everybody go who waits, `rate` of them per second; 0 is all at once.
pub(super) async fn let_go(hold: &Hold, rate: u64) {
    let started = Instant::now();
    let line = hold.lobby.line();
    // Those who come meanwhile stand behind; where more come than are let go, it ends all the same.
    let most = line.waiting().saturating_mul(2);
    let mut gone = 0;
    while line.waiting() > 0 && gone < most {
        let due = due(rate, started.elapsed()).saturating_sub(gone);
        gone += hold.places.let_go(due);
        if line.waiting() > 0 {
            tokio::time::sleep(STEP).await;
        }
    }
}

/// How many may have been let go by now; the first goes at once.
fn due(rate: u64, elapsed: Duration) -> usize {
    if rate == 0 {
        return usize::MAX;
    }
    let due = 1 + u128::from(rate) * elapsed.as_millis() / 1000;
    usize::try_from(due).unwrap_or(usize::MAX)
}
