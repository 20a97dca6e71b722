//! What is asked of a canary, what happens to it, what is told of it, and what is kept.

use super::event::{Direction, Operation};
use super::moment::Moment;
use super::percent::Percent;
use super::slot::{FlipId, Generation, SlotName};
use super::watch::Terms;

/// What an operator may ask of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryOrder {
    /// Begins one, or changes its share.
    Share {
        /// None for the one that runs.
        slot: Option<SlotName>,
        /// None for the steps of the rules.
        share: Option<Percent>,
        /// Skips the gate; needs a reason.
        force: bool,
        reason: Option<String>,
        terms: Terms,
    },
    /// All traffic follows: a flip.
    Promote {
        /// Only if it runs there.
        slot: Option<SlotName>,
        force: bool,
        reason: Option<String>,
    },
    /// Nobody goes there any more.
    Abort {
        slot: Option<SlotName>,
        reason: Option<String>,
    },
}

/// What happened to a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryEvent {
    /// Somebody came to this generation since that was last told.
    Seen(Generation),
    /// How this generation does, by what its visitors got.
    Judged {
        generation: Generation,
        judgement: Judgement,
    },
}

/// How a canary does since its share was last set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Judgement {
    /// Too few came to say.
    #[default]
    Inconclusive,
    /// Well enough to go on.
    Good,
    /// Too badly to stay; why.
    Breach(String),
}

/// A slot that some of the new visitors go to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PersistedCanary {
    pub slot: SlotName,
    /// Newer than the active one.
    pub generation: Generation,
    pub share: Percent,
    /// Which of the rules' steps it is at; none when an operator sets the share.
    pub step: Option<usize>,
    pub since: Moment,
    /// When the share was last set.
    pub changed: Moment,
    /// It was forced onto a slot that was not well, and has not been well since.
    #[serde(default)]
    pub unproven: bool,
}

/// What is told of a canary.
#[allow(
    clippy::large_enum_variant,
    reason = "told a few times a day, and matched by its fields"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryNotice {
    /// It has begun or changed its share; none: it has come to its end.
    Set {
        operation: Operation,
        canary: Option<PersistedCanary>,
    },
    /// It has that share already.
    Unchanged { slot: SlotName, share: Percent },
    /// Traffic has moved: to its slot, or elsewhere.
    Over {
        flip: FlipId,
        slot: SlotName,
        promoted: bool,
    },
    /// Its next step failed, and no more follow by themselves.
    Halted { slot: SlotName, share: Percent },
}

/// Why an order about a canary was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanaryRefusal {
    #[error(
        "no canary is running, all traffic is on {active}; begin one with `switchctl canary SLOT 5%`"
    )]
    None { active: SlotName },
    #[error("slot {slot} is active: all traffic goes there already; a canary is for another slot")]
    OnActive { slot: SlotName },
    #[error(
        "a canary runs on {slot}; end it with `switchctl canary abort`, or move all traffic there with `switchctl canary promote`"
    )]
    Another { slot: SlotName },
    #[error(
        "how many of the new visitors? Say `switchctl canary SLOT 5%`, or write `steps` under [service.NAME.canary]"
    )]
    NoSteps,
}

/// What an operation wants of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Portion {
    pub share: Percent,
    /// Which of the rules' steps it is; none for one that an operator set.
    pub step: Option<usize>,
}

impl Direction {
    /// The active slot stays the active one.
    #[must_use]
    pub fn is_aside(self) -> bool {
        matches!(self, Self::Canary | Self::Abort)
    }
}

impl PersistedCanary {
    #[must_use]
    pub fn portion(&self) -> Portion {
        Portion {
            share: self.share,
            step: self.step,
        }
    }
}
