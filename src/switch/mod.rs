//! THE RULES OF SWITCHING: which slot is active, when traffic may move, and why not.
//!
//! Called by `control/` (and by the simulation); knows no runtime, no clock and no IO:
//! time is an argument, and every consequence is a returned [`Effect`].
//! Rules: exactly one active slot; nothing is published before its record was acknowledged;
//! no automatic move towards a slot that is bad, quarantined or unproven, nor away from one that an
//! operator forced and that has not been well since; a canary never outlives a move of all traffic; what changed without a move is written when no
//! move is being written.

mod canary;
mod command;
mod disk;
mod event;
mod failback;
mod invariants;
mod label;
mod machine;
mod moment;
mod quarantine;
mod restore;
mod share;
mod slot;
mod status;

#[cfg(test)]
mod canary_promises;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod properties;

pub use canary::{CanaryEvent, CanaryNotice, CanaryOrder, CanaryRefusal, PersistedCanary, Portion};
pub use event::{
    Actor, Command, Direction, Effect, Event, FailbackMode, FailbackRules, Notice, Operation,
    Passed, Persisted, PersistedQuarantine, Refusal, Rules, SlotHealth, Transition,
};
pub use label::{Label, LabelError};
pub use machine::Switch;
pub use moment::Moment;
pub use quarantine::Quarantine;
pub use share::{CanaryRules, CanaryStep, Share, ShareError};
pub use slot::{Epoch, FlipId, Generation, MemberName, NameError, ServiceName, SlotName};
pub use status::{Draining, Phase};
