//! THE RULES OF SWITCHING: which slot is active, when traffic may move, and why not.
//!
//! Called by `control/` (and by the simulation); knows no runtime, no clock and no IO:
//! time is an argument, and every consequence is a returned [`Effect`].
//! Rules: exactly one active slot; nothing is published before its record was acknowledged;
//! no automatic move towards a slot that is bad, quarantined or unproven, or whose code the database may
//! have left behind, nor away from one that an operator forced and that has not been well since; a canary
//! never outlives a move of all traffic; what changed without a move is written when no
//! move is being written.

mod account;
mod afresh;
mod blame;
mod bounds;
mod breach;
mod broken;
mod canary;
mod canary_course;
mod canary_event;
mod cancel;
mod command;
mod disk;
mod event;
mod evidence;
mod failback;
mod health;
mod invariants;
mod label;
mod limits;
mod machine;
mod moment;
mod owner;
mod parts;
mod percent;
mod quarantine;
mod refusal;
mod restore;
mod rules;
mod slot;
mod status;
mod tally;
mod times;
mod verdict;
mod watch;

#[cfg(test)]
mod blame_promises;
#[cfg(test)]
mod canary_promises;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod watch_world;

pub use account::{Account, ClientId, Met, Observation};
pub use afresh::{Answer, Answers, AskId, Said, Stretch, Trouble};
pub use canary_event::{
    CanaryEvent, CanaryNotice, CanaryOrder, CanaryRefusal, Judgement, PersistedCanary, Portion,
};
pub use event::{
    Actor, Command, Direction, Effect, Event, Notice, Operation, Passed, Persisted,
    PersistedConfirm, PersistedQuarantine, Transition,
};
pub use evidence::{Aside, Believes, Evidence, History};
pub use health::SlotHealth;
pub use label::{Label, LabelError};
pub use limits::{Thresholds, WatchRules};
pub use machine::Switch;
pub use moment::Moment;
pub use owner::Owner;
pub use percent::{CanaryRules, CanaryStep, Percent, PercentError};
pub use quarantine::Quarantine;
pub use refusal::Refusal;
pub use rules::{FailbackMode, FailbackRules, Rules};
pub use slot::{Epoch, FlipId, Generation, MemberName, NameError, ServiceName, SlotName};
pub use status::{Draining, Phase};
pub use tally::{Marked, Share, Tally, Track};
pub use times::{TIME_BUCKETS, time_bucket};
pub use verdict::{Before, Finding, Judge, Now, WatchVerdict};
pub use watch::{Starting, Terms};
