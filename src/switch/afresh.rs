//! Asking afresh: before traffic moves by itself, all slots are asked at the same moment.
//!
//! What the probes told last is of different ages. Two slots that depend on the same thing (a database) turn bad
//! and well some time apart, and in that time one looks better that is not. So the machine asks
//! ([`Effect::Ask`]) and judges by the answers alone, which also say when each slot last failed its checks.

use super::event::Effect;
use super::health::SlotHealth;
use super::machine::Switch;
use super::moment::Moment;
use super::slot::SlotName;
use std::collections::BTreeMap;
use std::time::Duration;

/// No slot is asked more often than that, but for news.
const SOON: Duration = Duration::from_millis(50);
/// Whoever was to answer is gone: asked again.
const LOST: Duration = Duration::from_secs(30);

/// Which question an answer is for: only the latest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskId(pub u64);

/// What one slot said, and what its checks found before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub said: Said,
    /// When it failed its checks last, a single time or for long, whether that is over or not.
    pub failing: Option<Stretch>,
    /// The latest check at which it had passed often enough to be healthy.
    pub well: Option<Moment>,
}

/// From the first of some failed checks to the last one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub since: Moment,
    pub last: Moment,
}

/// What a slot says right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It passes all its checks.
    Passed,
    /// It answers, and not all of it well.
    Failed(Trouble),
    /// Nobody can reach it: the member that takes ordinary requests has no address that gives any HTTP answer.
    Unreachable {
        trouble: Trouble,
        /// Nothing came back within the time, where others refuse at once.
        is_silent: bool,
    },
    /// We could not ask it, for want of something that is ours or everybody's: that says nothing of the slot.
    Unasked { reason: String },
}

/// What is wrong, in an endpoint's own words, and in those that two slots can have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// `websocket 127.0.0.1:8072: HTTP 404: no database`
    pub reason: String,
    /// `HTTP 404 on websocket`
    pub kind: String,
}

impl Said {
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Failed(trouble) | Self::Unreachable { trouble, .. } => Some(trouble),
            Self::Passed | Self::Unasked { .. } => None,
        }
    }
}

/// All slots at one moment.
pub type Answers = BTreeMap<SlotName, Answer>;

/// What was asked, what was answered, and when it is worth asking again.
#[derive(Debug, Clone, Default)]
pub(super) struct Afresh {
    latest: AskId,
    pending: Option<Moment>,
    /// Of the event that is being taken.
    pub(super) heard: Option<Answers>,
    /// Something waits for an answer.
    wanted: bool,
    /// Not before then; none is at once.
    next: Option<Moment>,
    /// What the last answers spoke for, where one asking is not enough.
    pub(super) agreed: Option<Agreed>,
    /// Since when they speak against a canary, likewise.
    pub(super) canary_agreed: Option<Moment>,
    /// When what is configured as shared was last seen to be away.
    pub(super) shared_was_away: Option<Moment>,
}

/// Several askings in a row agree that traffic should move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) to: SlotName,
    pub(super) since: Moment,
}

impl Afresh {
    /// What was known is no longer so: a question that waits for its time is asked at once.
    pub(super) fn ask_at_once(&mut self) {
        self.next = None;
    }
}

impl Switch {
    /// Somebody waits for what the slots say when they are asked.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        let is_agreed = self.afresh.agreed.is_some();
        self.afresh.wanted && (self.afresh.pending.is_some() || is_agreed)
    }

    pub(super) fn answered(&mut self, ask: AskId, answers: Answers) {
        if ask == self.afresh.latest && self.afresh.pending.take().is_some() {
            self.afresh.heard = Some(answers);
        }
    }

    pub(super) fn want_answers(&mut self) {
        self.afresh.wanted = true;
    }

    /// What was heard has been judged: nothing new is to be expected before `again`.
    pub(super) fn heard_enough(&mut self, again: Duration) {
        let at = self.now.after(again.max(SOON));
        let next = &mut self.afresh.next;
        *next = Some(next.filter(|it| *it > self.now).map_or(at, |it| it.min(at)));
    }

    /// Asks, where an answer is wanted and it is time.
    pub(super) fn ask_afresh(&mut self, effects: &mut Vec<Effect>) {
        self.afresh.heard = None;
        if !self.afresh.wanted {
            self.afresh.pending = None;
            self.afresh.next = None;
            self.afresh.agreed = None;
            self.afresh.canary_agreed = None;
            return;
        }
        let is_lost = |asked: Moment| asked.after(LOST) <= self.now;
        let is_due = self.afresh.next.is_none_or(|at| at <= self.now);
        let may_ask = self.afresh.pending.map_or(is_due, is_lost);
        if may_ask {
            self.afresh.latest.0 += 1;
            self.afresh.pending = Some(self.now);
            self.afresh.next = None;
            effects.push(Effect::Ask(self.afresh.latest));
        }
    }

    pub(super) fn begin_to_judge(&mut self) {
        self.afresh.wanted = false;
    }

    pub(super) fn told_shared(&mut self, health: SlotHealth) {
        let was_away = self.shared.trouble().is_some();
        if was_away || health.trouble().is_some() {
            self.afresh.shared_was_away = Some(self.now);
        }
        self.shared = health;
        self.afresh.ask_at_once();
    }

    /// When it is worth asking again.
    pub(super) fn asking_deadlines(&self) -> impl Iterator<Item = Moment> {
        let afresh = &self.afresh;
        let wanted = afresh.wanted;
        let lost = afresh.pending.map(|asked| asked.after(LOST));
        let next = afresh.next.filter(|_| afresh.pending.is_none());
        lost.into_iter().chain(next).filter(move |_| wanted)
    }
}

/// What tests answer where the question is not their subject.
#[cfg(test)]
pub(super) mod as_told {
    use super::{Answer, Answers, Said, Trouble};
    use crate::switch::{SlotHealth, Switch};

    /// Every slot says what was told of it; nobody can reach one whose trouble is not in HTTP.
    pub(in crate::switch) fn answers(switch: &Switch) -> Answers {
        let said = |health: &SlotHealth| match health {
            SlotHealth::Healthy | SlotHealth::Unknown => Said::Passed,
            SlotHealth::Unhealthy { reason } | SlotHealth::Absent { reason } => {
                let trouble = Trouble {
                    reason: reason.clone(),
                    kind: reason.clone(),
                };
                if reason.starts_with("HTTP") {
                    Said::Failed(trouble)
                } else {
                    Said::Unreachable {
                        trouble,
                        is_silent: false,
                    }
                }
            }
        };
        let answer = |health| Answer {
            said: said(health),
            failing: None,
            well: None,
        };
        let slots = switch.rules().slots.iter();
        slots
            .filter_map(|slot| Some((slot.clone(), answer(switch.health(slot)?))))
            .collect()
    }
}
