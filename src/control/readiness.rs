//! Is a slot ready? Every endpoint passes its check afresh, and a slot that is starting is waited for.
//!
//! Programs come up in their own time: `systemctl restart` and `docker compose up --detach` return before the
//! application listens. So a refused connection, silence or a wrong answer means "not yet" until the time of the
//! gate is over. Only what no waiting mends is a "no" at once: [`ProbeReport::may_pass_later`] says what that is.

use super::clock::millis;
use super::gates::Hand;
use super::gates::Teller;
use super::message::Message;
use super::prober::ProbeReport;
use super::prober::Target;
use super::prober::once;
use crate::api::EventKind;
use crate::api::GateWaiting;
use crate::api::WaitingEndpoint;
use crate::switch::SlotName;
use crate::switch::Starting;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Between two words on a slot that is waited for, at first.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Then it is told whenever the wait has grown by this part, so that no wait, however long, tells without end.
const TOLD_PART: u32 = 30;
/// Probes of one endpoint that are told one by one.
const TOLD_PROBES: u32 = 20;

/// What each endpoint has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    /// As many as `health.rise` says, without a failure between them.
    InARow,
    One,
}

/// A slot that has to show that it is ready.
#[derive(Debug)]
pub(super) struct Readiness<'a> {
    pub(super) targets: &'a [Arc<Target>],
    pub(super) slot: &'a SlotName,
    pub(super) starting: Starting,
    pub(super) began: Instant,
    /// How long all of it may take, a start included.
    pub(super) within: Duration,
    pub(super) teller: &'a Teller,
    /// Who waits for the answer, where it is for no flip.
    pub(super) asker: Option<&'a Hand>,
}

/// Why a slot is not ready.
#[derive(Debug)]
pub(super) struct Unready {
    pub(super) reasons: Vec<String>,
    /// It may be, some time later.
    may_pass_later: bool,
}

impl Unready {
    fn for_good(reason: String) -> Self {
        Self {
            reasons: vec![reason],
            may_pass_later: false,
        }
    }
}

impl Readiness<'_> {
    /// Until every endpoint is ready at the same time, one says what no waiting mends, or the time is over.
    pub(super) async fn wait(&self, passes: Passes) -> Result<(), Unready> {
        if self.targets.is_empty() {
            let slot = self.slot;
            return Err(Unready::for_good(format!(
                "{slot} has no address that could be asked"
            )));
        }
        loop {
            let deadline = self.began + self.within;
            let round = Round::new(self, passes, self.starting, deadline);
            if round.run().await? == Came::AtOnce {
                return Ok(());
            }
            // The first to come may have gone again by the time that the last one came.
            match self.look().await {
                Err(gone) if self.may_come_back(&gone) => {}
                looked => return looked,
            }
        }
    }

    /// One probe of every endpoint now, without waiting for any.
    pub(super) async fn look(&self) -> Result<(), Unready> {
        let deadline = Instant::now() + self.within;
        let round = Round::new(self, Passes::One, Starting::Refuse, deadline);
        round.run().await.map(drop)
    }

    /// Whether what has just been lost is worth waiting for.
    pub(super) fn may_come_back(&self, unready: &Unready) -> bool {
        let has_time = self.began.elapsed() < self.within;
        self.starting == Starting::Wait && unready.may_pass_later && has_time
    }

    fn is_left_alone(&self) -> bool {
        self.asker.is_some_and(Hand::is_left_alone)
    }
}

/// An endpoint has said no; the board holds what it said.
#[derive(Debug, Clone, Copy)]
struct No {
    may_pass_later: bool,
}

/// Whether anything had to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    AtOnce,
    Late,
}

/// All endpoints, asked at the same time.
struct Round<'a> {
    readiness: &'a Readiness<'a>,
    deadline: Instant,
    provers: JoinSet<Result<Came, No>>,
    board: Arc<Board>,
    /// The others need not go on.
    lost: Arc<AtomicBool>,
}

/// What each endpoint that is not ready said last.
#[derive(Debug, Default)]
struct Board(Mutex<BTreeMap<usize, String>>);

impl Board {
    fn set(&self, index: usize, said: Option<&str>) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            Some(said) => drop(board.insert(index, said.to_owned())),
            None => drop(board.remove(&index)),
        }
    }

    fn read(&self) -> BTreeMap<usize, String> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.clone()
    }
}

impl<'a> Round<'a> {
    fn new(
        readiness: &'a Readiness<'a>,
        passes: Passes,
        starting: Starting,
        deadline: Instant,
    ) -> Self {
        let board = Arc::new(Board::default());
        let lost = Arc::new(AtomicBool::new(false));
        let mut provers = JoinSet::new();
        for (index, target) in readiness.targets.iter().enumerate() {
            let prover = Prover {
                target: Arc::clone(target),
                index,
                needed: match passes {
                    Passes::InARow => target.health.rise,
                    Passes::One => 1,
                },
                starting,
                board: Arc::clone(&board),
                lost: Arc::clone(&lost),
                told: 0,
                teller: readiness.teller.clone(),
            };
            provers.spawn(prover.run());
        }
        Self {
            readiness,
            deadline,
            provers,
            board,
            lost,
        }
    }

    /// The first "no" decides; the others finish the probe they are at, so that every reason is told.
    async fn run(mut self) -> Result<Came, Unready> {
        let mut came = Came::AtOnce;
        let mut lost: Option<No> = None;
        let mut next = Instant::now() + TOLD_EVERY / 4;
        loop {
            let joined = tokio::select! {
                joined = self.provers.join_next() => joined,
                () = tokio::time::sleep_until(self.deadline) => return Err(self.overdue()),
                () = tokio::time::sleep_until(next) => {
                    if self.readiness.is_left_alone() {
                        return Err(self.left());
                    }
                    self.tell();
                    let waited = self.readiness.began.elapsed();
                    next = Instant::now() + TOLD_EVERY.max(waited / TOLD_PART);
                    continue;
                }
            };
            match joined {
                None => break,
                Some(Ok(Ok(one))) => came = came.max(one),
                Some(Ok(Err(no))) => {
                    self.lost.store(true, Ordering::Relaxed);
                    let others = lost.is_none_or(|lost| lost.may_pass_later);
                    let may_pass_later = no.may_pass_later && others;
                    lost = Some(No { may_pass_later });
                }
                Some(Err(_)) => return Err(Unready::for_good("a probe broke off".to_owned())),
            }
        }
        let Some(No { may_pass_later }) = lost else {
            return Ok(came);
        };
        Err(Unready {
            reasons: self.said(""),
            may_pass_later,
        })
    }

    /// What each endpoint said last that is not ready.
    fn said(&self, more: &str) -> Vec<String> {
        let told = |(index, said): (usize, String)| {
            let key = &self.readiness.targets.get(index)?.key;
            Some(format!("{} {}: {said}{more}", key.member, key.address))
        };
        let mut said: Vec<String> = self.board.read().into_iter().filter_map(told).collect();
        said.sort();
        said
    }

    fn overdue(&self) -> Unready {
        let within = self.readiness.within;
        let mut reasons = self.said(&format!(", and still after {within:?} (flip.gate_timeout)"));
        if reasons.is_empty() {
            reasons = vec![format!("not proved after {within:?} (flip.gate_timeout)")];
        }
        Unready {
            reasons,
            may_pass_later: false,
        }
    }

    fn left(&self) -> Unready {
        let slot = self.readiness.slot;
        let said = self.said("").join("; ");
        Unready::for_good(format!(
            "{slot} was not ready yet ({said}), and whoever asked no longer waits"
        ))
    }

    fn tell(&self) {
        let Readiness {
            slot,
            targets,
            began,
            within,
            teller,
            ..
        } = self.readiness;
        let waiting = |(index, said): (usize, String)| {
            let key = &targets.get(index)?.key;
            Some(WaitingEndpoint {
                member: key.member.to_string(),
                endpoint: key.address.to_string(),
                said,
            })
        };
        let endpoints: Vec<_> = self.board.read().into_iter().filter_map(waiting).collect();
        if endpoints.is_empty() {
            return;
        }
        let kind = EventKind::GateWaiting(GateWaiting {
            slot: slot.to_string(),
            endpoints,
            waited_ms: millis(began.elapsed()),
            limit_ms: millis(*within),
        });
        teller.jobs.events.tell(teller.about(), kind);
    }
}

/// One endpoint's part.
struct Prover {
    target: Arc<Target>,
    index: usize,
    /// Passes in a row.
    needed: u32,
    starting: Starting,
    board: Arc<Board>,
    lost: Arc<AtomicBool>,
    /// Probes that were told.
    told: u32,
    teller: Teller,
}

impl Prover {
    async fn run(mut self) -> Result<Came, No> {
        let mut came = Came::AtOnce;
        let mut streak = 0;
        while streak < self.needed && !self.lost.load(Ordering::Relaxed) {
            let started = Instant::now();
            let report = once(&self.target, self.teller.jobs.clock).await;
            let is_no_result = report.is_no_result();
            if report.passed() {
                streak += 1;
            } else if !is_no_result {
                streak = 0;
            }
            self.tell(&report, streak);
            let (failed, may_pass_later) = (report.result.clone().err(), report.may_pass_later);
            self.teller.jobs.report(Message::Probed(report)).await;
            self.board.set(self.index, failed.as_deref());
            if failed.is_some() {
                // What we lack ourselves comes back, and speaks neither for the slot nor against it.
                let waits = self.starting == Starting::Wait || is_no_result;
                if !waits || !may_pass_later {
                    return Err(No { may_pass_later });
                }
                came = Came::Late;
            }
            if streak < self.needed {
                tokio::time::sleep_until(started + self.target.health.fast_interval).await;
            }
        }
        Ok(came)
    }

    /// Of failures while it is waited for the first is told; the rest is in what is told of the wait.
    fn tell(&mut self, report: &ProbeReport, streak: u32) {
        let is_first = self.told == 0;
        let is_told = is_first || report.passed() || self.starting == Starting::Refuse;
        if !is_told || self.told >= TOLD_PROBES {
            return;
        }
        self.told += 1;
        let key = &self.target.key;
        let kind = EventKind::Probe {
            slot: key.slot.to_string(),
            member: key.member.to_string(),
            endpoint: key.address.to_string(),
            result: report.as_status(),
            streak,
            needed: self.needed,
        };
        let Teller { jobs, .. } = &self.teller;
        jobs.events.tell(self.teller.about(), kind);
    }
}
