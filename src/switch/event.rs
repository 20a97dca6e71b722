//! What happened ([`Event`]) and what to do now ([`Effect`]); why not is a [`Refusal`](super::refusal::Refusal).

use super::afresh::{Answers, AskId};
use super::canary_event::{CanaryEvent, CanaryNotice, CanaryOrder, PersistedCanary, Portion};
use super::health::SlotHealth;
use super::label::Label;
use super::moment::Moment;
use super::rules::Rules;
use super::slot::{FlipId, Generation, SlotName};
use super::watch::Terms;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Who asked: `uid 1000 (alice)` for a peer of the admin socket, `switchd` for the daemon itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Actor(pub String);

impl Actor {
    /// The daemon, moving traffic by itself.
    #[must_use]
    pub fn itself() -> Self {
        Self("switchd".to_owned())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an operator may ask of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Flip {
        to: SlotName,
        /// Skips the gate; needs a reason.
        force: bool,
        reason: Option<String>,
        /// Refuse unless this generation is still the active one.
        expect: Option<Generation>,
        terms: Terms,
    },
    /// A flip to the slot that was active before.
    Rollback {
        force: bool,
        reason: Option<String>,
        terms: Terms,
    },
    /// The last move stays.
    Confirm,
    /// Ends what is still being proven.
    Cancel {
        reason: Option<String>,
    },
    /// Lifts the operator's half of a quarantine.
    Acknowledge {
        slot: SlotName,
    },
    Canary(CanaryOrder),
    /// Says what runs in a slot; none takes it back.
    Label {
        slot: SlotName,
        label: Option<Label>,
    },
}

/// What a gate that was passed has found besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passed {
    /// Which modules the database holds, in which versions: the same text for the same ones. None where no
    /// gate looks at that.
    pub fingerprint: Option<String>,
    /// What the code of the slot that traffic leaves is made for, in the same text. None where that is not known.
    pub left: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Command {
        by: Actor,
        command: Command,
    },
    /// The gate of `flip` is through; `Err` holds every reason.
    Gated {
        flip: FlipId,
        verdict: Result<Passed, Vec<String>>,
    },
    /// The transition of `flip` is on disk, or could not be put there.
    Recorded {
        flip: FlipId,
        result: Result<(), String>,
    },
    /// A record that names no operation could not be put on disk.
    Unrecorded {
        reason: String,
    },
    /// Nothing is left on `generation`, or what was left has been cut off (`cut` of them).
    Drained {
        generation: Generation,
        cut: u64,
    },
    /// A slot's health changed (or is told for the first time).
    Health {
        slot: SlotName,
        health: SlotHealth,
    },
    /// What both slots share (a database) answers, or not: the reason.
    Shared {
        health: SlotHealth,
    },
    /// What every slot said when it was asked.
    Answered {
        ask: AskId,
        answers: Answers,
    },
    /// The users who listen at the addresses of a slot while it serves: who else does so is a stranger.
    Users {
        slot: SlotName,
        users: BTreeMap<String, BTreeSet<u32>>,
    },
    Canary(CanaryEvent),
    /// Why the slot of this generation does too badly to stay active; none when it does not.
    Judged {
        generation: Generation,
        breach: Option<String>,
    },
    /// Time has passed; asked for by [`Effect::WakeAt`].
    Tick,
    /// The operator's settings changed.
    Configured {
        rules: Rules,
    },
}

/// Why traffic moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Flip,
    Rollback,
    /// By itself, away from a bad slot.
    Failback,
    /// Some of the new visitors only.
    Canary,
    /// Nobody goes to the canary any more.
    Abort,
}

/// One operation under way or done: who moves what to where, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Operation {
    pub flip: FlipId,
    pub direction: Direction,
    pub by: Actor,
    pub from: SlotName,
    pub to: SlotName,
    pub forced: bool,
    pub reason: Option<String>,
    pub started: Moment,
    /// How many of the visitors, where it is some of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portion: Option<Portion>,
    #[serde(default)]
    pub terms: Terms,
    /// What is left may not be to blame, and is not put into quarantine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blameless: bool,
}

/// What a restart must know of one service. Written before it is published.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Persisted {
    pub active: SlotName,
    /// Where a rollback goes.
    pub previous: Option<SlotName>,
    pub generation: Generation,
    /// The last id given out.
    pub flip: FlipId,
    /// When traffic last moved.
    pub moved: Option<Moment>,
    /// Traffic was forced onto a slot that was not well, and the slot has not been well since:
    /// failback leaves it where the operator put it.
    #[serde(default)]
    pub unproven: bool,
    /// When traffic moved by itself, oldest first; those that no limit looks at any more are forgotten.
    pub automatic_moves: Vec<Moment>,
    pub quarantines: BTreeMap<SlotName, PersistedQuarantine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<PersistedCanary>,
    /// The newest generation given out, where a canary had it.
    #[serde(default)]
    pub newest: Generation,
    /// The database of each slot as it was when the slot began to serve, or as its code wants it where nobody
    /// looked then; absent where that is not known either.
    #[serde(default)]
    pub fingerprints: BTreeMap<SlotName, String>,
    /// Going back is fine even where the database has changed.
    #[serde(default)]
    pub accept_schema_change: bool,
    /// The last move goes back unless it is confirmed.
    #[serde(default)]
    pub confirm: Option<PersistedConfirm>,
    /// What was said to run in each slot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<SlotName, Label>,
    /// The users who listened at each address of a slot when it last served; absent where nobody knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<SlotName, BTreeMap<String, BTreeSet<u32>>>,
}

/// Until when a move must be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PersistedConfirm {
    pub until: Moment,
    /// As the operator asked.
    pub within: Duration,
}

/// A slot that traffic left by itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PersistedQuarantine {
    pub since: Moment,
    pub reason: String,
    pub acknowledged: bool,
}

/// What goes to disk in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Absent for changes that move no traffic (a new id, an acknowledgement, the end of a quarantine).
    pub operation: Option<Operation>,
    pub state: Persisted,
}

/// What to do now, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask every slot, and what they share, at this moment; answer with [`Event::Answered`].
    Ask(AskId),
    /// Prove every member of `slot` freshly; answer with [`Event::Gated`].
    RunGate {
        flip: FlipId,
        slot: SlotName,
    },
    /// Put it on disk. Where it names an operation, answer with [`Event::Recorded`];
    /// where it names none, answer a failure only, with [`Event::Unrecorded`].
    Record(Box<Transition>),
    /// From now on new requests go to `slot`, counted as `generation`.
    Publish {
        flip: FlipId,
        slot: SlotName,
        generation: Generation,
    },
    /// From now on so many of the new visitors go to the canary's slot, counted as its generation; none: nobody.
    Share {
        flip: FlipId,
        canary: Option<PersistedCanary>,
    },
    /// Wait until nothing is left on `generation`, cut off what outlives its budget; answer with [`Event::Drained`].
    Drain {
        flip: FlipId,
        slot: SlotName,
        generation: Generation,
    },
    /// Call again with [`Event::Tick`] at this time (or a little later). A later `WakeAt` replaces it.
    WakeAt(Moment),
    Tell(Notice),
}

/// What is told to whoever listens: the event stream, the log, the waiting client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Started(Operation),
    /// A flip asked for the slot that is active already.
    Unchanged {
        slot: SlotName,
        generation: Generation,
    },
    /// The operation ended before traffic moved.
    Failed {
        operation: Operation,
        reasons: Vec<String>,
    },
    /// The operation was ended before its target was proven; nothing has moved.
    Cancelled {
        operation: Operation,
        reason: String,
    },
    Published {
        operation: Operation,
        generation: Generation,
    },
    /// The generation that `operation` replaced is empty.
    Drained {
        operation: Operation,
        generation: Generation,
        cut: u64,
    },
    /// The service is steady again: nothing drains, nothing is watched.
    Settled,
    Quarantined {
        slot: SlotName,
        reason: String,
    },
    QuarantineEnded {
        slot: SlotName,
    },
    Acknowledged {
        slot: SlotName,
        by: Actor,
    },
    Canary(CanaryNotice),
    /// The move to `slot` stays.
    Confirmed {
        slot: SlotName,
        by: Actor,
    },
    Labelled {
        slot: SlotName,
        label: Option<Label>,
        by: Actor,
    },
    /// The active slot is bad and traffic stays; told once per change of the reason.
    Staying {
        slot: SlotName,
        reason: String,
    },
}
