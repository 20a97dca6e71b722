//! Whose fault it is that the active slot fails, by what all slots said at one moment.
//!
//! - Both fail: they share a cause, whatever the words. Nothing moves.
//! - The other one passes, but failed after the active slot was last well: they shared a cause, and the other one
//!   has only recovered first. Nothing moves until the active slot is well again, or `shared_grace` is over.
//! - Nobody can reach the active slot, and the other one passes: to stay would be to be down beside a slot that
//!   answers. Neither that grace nor a quarantine nor the limit of moves holds this back, once two askings in a
//!   row agree. A slot that is left in such a grace is not put into quarantine: its fault is not proven.
//! - The active slot answers, but wrongly, or is silent: two askings a round of checks apart must agree, for a slot
//!   that was not probed during a short outage of what both share knows nothing of it.

use super::afresh::{Agreed, Answer, Answers, Said, Trouble};
use super::failback::{Decision, Judgement};
use super::machine::Switch;
use super::moment::Moment;
use super::slot::SlotName;
use super::status::{clock, words};
use std::time::Duration;

/// Between two askings of a slot that refuses at once.
const REPEAT: Duration = Duration::from_millis(250);
/// Between two askings while no slot is better.
const NO_CHOICE: Duration = Duration::from_secs(10);
/// After a move by itself, before a rule is passed over for the sake of a slot that nobody can reach: two slots
/// that die in turns shall not pass all traffic to and fro in every moment.
const PAUSE: Duration = Duration::from_secs(5);

/// What speaks for a slot, or against it.
enum Standing {
    Fit,
    /// Good enough only when nobody can reach the active slot.
    Held {
        why: String,
        /// What the active slot does may be the fault of what both depend on.
        is_shared: bool,
    },
    Unfit(String),
    /// It fails at the same time as the active slot.
    Shares(String),
}

impl Switch {
    /// May traffic leave the active slot for its health?
    pub(super) fn judge_health(&self, answers: &Answers) -> Decision {
        let active = &self.state.active;
        let Some(answer) = answers.get(active) else {
            return Decision::stay(unasked(active, "no answer"), self.rules.round);
        };
        let Some((trouble, reach)) = answer.said.trouble().zip(Reach::of(&answer.said)) else {
            let judgement = match &answer.said {
                Said::Unasked { reason } => Judgement::Stay(unasked(active, reason)),
                _ => Judgement::Recovers(format!(
                    "{active} passes its checks when asked again; its probes have yet to agree"
                )),
            };
            return Decision {
                again: self.rules.round,
                ..Decision::now(judgement)
            };
        };
        let mut why = Vec::new();
        let mut held = None;
        let mut shared_cause = None;
        for slot in self.candidates() {
            match self.standing(slot, answers) {
                Standing::Fit => {
                    return self.leave(slot, trouble, reach.alone(self.rules.round), false);
                }
                Standing::Held {
                    why: reason,
                    is_shared,
                } => {
                    if reach != Reach::Answers {
                        held.get_or_insert((slot, is_shared));
                    }
                    why.push(reason);
                }
                Standing::Unfit(reason) => why.push(reason),
                Standing::Shares(reason) => {
                    shared_cause.get_or_insert_with(|| reason.clone());
                    why.push(reason);
                }
            }
        }
        let Some((slot, is_shared)) = held else {
            let pause = if self.has_choice() {
                self.rules.round
            } else {
                NO_CHOICE
            };
            return Decision {
                shared_cause,
                ..Decision::stay(why.join("; "), pause)
            };
        };
        if let Some(ends) = self.pause_ends() {
            let left = words(ends.since(self.now));
            let why = format!(
                "traffic moved by itself just now, and may move again in {left} ({})",
                why.join("; ")
            );
            return Decision::stay(why, ends.since(self.now));
        }
        self.leave(
            slot,
            trouble,
            Some(reach.against_a_rule(self.rules.round)),
            is_shared,
        )
    }

    /// May traffic leave the active slot for what the watch found?
    pub(super) fn judge_breach(&self, breach: &str, answers: &Answers) -> Decision {
        let mut why = Vec::new();
        for slot in self.candidates() {
            let standing = match self.doubt(slot, answers) {
                Some(doubt) => Standing::Unfit(doubt),
                None => self.standing(slot, answers),
            };
            match standing {
                Standing::Fit => {
                    return Decision::now(Judgement::Move {
                        to: slot.clone(),
                        reason: breach.to_owned(),
                        blameless: false,
                    });
                }
                Standing::Held { why: reason, .. }
                | Standing::Unfit(reason)
                | Standing::Shares(reason) => why.push(reason),
            }
        }
        Decision::stay(why.join("; "), self.rules.round)
    }

    /// Why what the watch counted may be the fault of what all slots depend on.
    fn doubt(&self, slot: &SlotName, answers: &Answers) -> Option<String> {
        let lasts = self.rules.failback.shared_grace.max(self.rules.evidence);
        let failed = answers.get(slot)?.failing.map(|failing| failing.last);
        let away = self.afresh.shared_was_away;
        let last = failed.max(away)?;
        let until = last.after(lasts);
        (until > self.now).then(|| {
            format!(
                "{} until {}: what was counted then may be the fault of what the slots share, \
                 and is judged again at {}",
                if failed == Some(last) {
                    format!("{slot} failed its checks too")
                } else {
                    "what the slots share was away".to_owned()
                },
                clock(last),
                clock(until),
            )
        })
    }

    /// Whether `to` is better than `from`, which fails; none while that is not known.
    pub(super) fn is_better(&self, from: &SlotName, to: &SlotName) -> Option<Better> {
        let answers = self.afresh.heard.as_ref()?;
        let (bad, good) = (answers.get(from)?, answers.get(to)?);
        if good.said != Said::Passed {
            return None;
        }
        let reach = Reach::of(&bad.said)?;
        let is_shared = self.shared_until(good, bad).is_some();
        let wait = match (is_shared, reach) {
            (true, Reach::Answers) => return None,
            (true, _) => Some(reach.against_a_rule(self.rules.round)),
            (false, _) => reach.alone(self.rules.round),
        };
        Some(Better {
            blame: if is_shared {
                Blame::Unproven
            } else {
                Blame::Slot
            },
            wait: wait.unwrap_or_default(),
        })
    }

    /// The same for what the watch found on `from`.
    pub(super) fn is_no_worse(&self, to: &SlotName) -> bool {
        let Some(answers) = &self.afresh.heard else {
            return false;
        };
        let passes = |answer: &Answer| answer.said == Said::Passed;
        answers.get(to).is_some_and(passes) && self.doubt(to, answers).is_none()
    }

    fn standing(&self, slot: &SlotName, answers: &Answers) -> Standing {
        let active = answers.get(&self.state.active);
        let (Some(answer), Some(active)) = (answers.get(slot), active) else {
            return Standing::Unfit(unasked(slot, "no answer"));
        };
        if let (Some(its), Some(ours)) = (answer.said.trouble(), active.said.trouble()) {
            return self.both_fail((slot, its, answer), (ours, active));
        }
        let fails = match &answer.said {
            Said::Passed => None,
            Said::Unasked { reason } => Some(unasked(slot, reason)),
            Said::Failed(trouble) | Said::Unreachable { trouble, .. } => {
                Some(format!("{slot} is unhealthy too: {}", trouble.reason))
            }
        };
        let why = fails
            .or_else(|| self.unknown(slot))
            .or_else(|| self.schema_moved(slot));
        if let Some(why) = why {
            return Standing::Unfit(why);
        }
        if let Some(until) = self.shared_until(answer, active) {
            return Standing::Held {
                why: self.in_grace(slot, answer, until),
                is_shared: true,
            };
        }
        match self.quarantined(slot).or_else(|| self.limit()) {
            Some(why) => Standing::Held {
                why,
                is_shared: false,
            },
            None => Standing::Fit,
        }
    }

    /// Until when `well`, which passes, may only have recovered sooner than `bad` from what both met.
    fn shared_until(&self, well: &Answer, bad: &Answer) -> Option<Moment> {
        let failed = well.failing.map(|failing| failing.last);
        let last = failed.max(self.afresh.shared_was_away)?;
        let together = bad.well.is_none_or(|was_well| last >= was_well);
        let until = last.after(self.rules.failback.shared_grace);
        (together && until > self.now).then_some(until)
    }

    fn in_grace(&self, slot: &SlotName, answer: &Answer, until: Moment) -> String {
        let active = &self.state.active;
        let failed = answer.failing.map(|failing| failing.last);
        let what = match failed {
            Some(last) if Some(last) >= self.afresh.shared_was_away => {
                format!("{slot} failed too, until {}", clock(last))
            }
            _ => "what the slots share was away".to_owned(),
        };
        format!(
            "{what}: {active} may only be slower to recover from what both depend on, \
             and has until {} to be healthy again",
            clock(until)
        )
    }

    fn both_fail(
        &self,
        (slot, its, answer): (&SlotName, &Trouble, &Answer),
        (ours, active_answer): (&Trouble, &Answer),
    ) -> Standing {
        let active = &self.state.active;
        let unfit = || Standing::Unfit(format!("{slot} is unhealthy too: {}", its.reason));
        // One whose program is gone and one that fails otherwise have nothing in common that is known.
        let is_gone = |answer: &Answer| {
            matches!(
                answer.said,
                Said::Unreachable {
                    is_silent: false,
                    ..
                }
            )
        };
        if its.kind != ours.kind && (is_gone(answer) || is_gone(active_answer)) {
            return unfit();
        }
        let since = |answer: &Answer| answer.failing.map(|failing| failing.since);
        let (Some(a), Some(b)) = (since(active_answer), since(answer)) else {
            return unfit();
        };
        // So far apart can probes be that notice the same thing.
        let apart = 2 * self.rules.round + Duration::from_secs(5);
        let together = a.max(b).since(a.min(b)) <= apart;
        if !together {
            return unfit();
        }
        let what = if its.kind == ours.kind {
            format!("both fail with {}", its.kind)
        } else {
            format!("both fail ({}; {})", ours.kind, its.kind)
        };
        Standing::Shares(format!(
            "{active} and {slot} {what} since {}: look at the database, the network and \
             whatever else both depend on",
            clock(a.min(b))
        ))
    }

    /// Moves to `slot` once what was heard has been heard often enough.
    fn leave(
        &self,
        slot: &SlotName,
        trouble: &Trouble,
        wait: Option<Duration>,
        blameless: bool,
    ) -> Decision {
        let moves = || {
            Decision::now(Judgement::Move {
                to: slot.clone(),
                reason: trouble.reason.clone(),
                blameless,
            })
        };
        let Some(wait) = wait else {
            return moves();
        };
        let agreed = self.afresh.agreed.as_ref().filter(|it| it.to == *slot);
        let since = agreed.map_or(self.now, |it| it.since);
        let left = since.after(wait).since(self.now);
        if agreed.is_some() && left.is_zero() {
            return moves();
        }
        Decision {
            judgement: Judgement::Ask,
            again: left,
            agreed: Some(Agreed {
                to: slot.clone(),
                since,
            }),
            shared_cause: None,
        }
    }

    fn pause_ends(&self) -> Option<Moment> {
        let last = self.state.automatic_moves.last()?.after(PAUSE);
        (last > self.now).then_some(last)
    }

    /// Some other slot is told to be healthy.
    fn has_choice(&self) -> bool {
        self.candidates().any(|slot| self.is_healthy(slot))
    }
}

/// One slot passes where another one fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Better {
    pub(super) blame: Blame,
    /// How far apart two askings must agree.
    pub(super) wait: Duration,
}

/// Whose fault a failure is, when traffic leaves a slot for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    Slot,
    /// It may be what several slots depend on.
    Unproven,
}

/// How a slot fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Answers,
    Silent,
    Refused,
}

impl Reach {
    /// None of a slot that does not fail.
    fn of(said: &Said) -> Option<Self> {
        match said {
            Said::Passed | Said::Unasked { .. } => None,
            Said::Failed(_) => Some(Self::Answers),
            Said::Unreachable { is_silent, .. } if *is_silent => Some(Self::Silent),
            Said::Unreachable { .. } => Some(Self::Refused),
        }
    }

    /// How far apart two askings must agree where no rule speaks against a move; none where one is enough.
    fn alone(self, round: Duration) -> Option<Duration> {
        match self {
            Self::Answers | Self::Silent => Some(round),
            Self::Refused => None,
        }
    }

    /// The same where a rule would speak against it.
    fn against_a_rule(self, round: Duration) -> Duration {
        match self {
            Self::Answers | Self::Silent => round.max(REPEAT),
            Self::Refused => REPEAT,
        }
    }
}

pub(super) fn unasked(slot: &SlotName, reason: &str) -> String {
    format!("switchd itself cannot ask {slot} now, which is not the slot's fault: {reason}")
}
