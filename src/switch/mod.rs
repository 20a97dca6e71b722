//! THE RULES OF SWITCHING: which slot is active, when traffic may move, and why not.
//!
//! Called by `control/` (and by the simulation); knows no runtime, no clock and no IO:
//! time is an argument, and every consequence is a returned [`Effect`].
//! Rules: exactly one active slot; nothing is published before its record was acknowledged;
//! no automatic move towards a slot that is bad, quarantined or unproven.

mod event;
mod slot;

pub use event::{
    Actor, Command, Direction, Effect, Event, FailbackMode, FailbackRules, Moment, Notice,
    Operation, Persisted, PersistedQuarantine, Refusal, Rules, SlotHealth, Transition,
};
pub use slot::{Epoch, FlipId, Generation, MemberName, NameError, ServiceName, SlotName};
