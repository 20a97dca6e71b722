//! Why a command was not accepted.

use super::canary_event::CanaryRefusal;
use super::event::{Direction, Operation};
use super::slot::{Generation, SlotName};

/// Why a command was not accepted. Every text names the way around it, where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no slot {slot}; the slots are {}", list(.slots))]
    UnknownSlot {
        slot: SlotName,
        slots: Vec<SlotName>,
    },
    #[error("{} started by {} is still {stage}; {way_past}", describe(.operation), .operation.by)]
    Busy {
        operation: Box<Operation>,
        stage: &'static str,
        /// What to do about it.
        way_past: &'static str,
    },
    #[error(
        "generation {expected} is no longer active, {active} is (on slot {slot}); look with `switchctl status` and ask again"
    )]
    Outdated {
        expected: Generation,
        active: Generation,
        slot: SlotName,
    },
    #[error("no slot was active before {active}; name one with `switchctl flip SLOT`")]
    NothingToRollBackTo { active: SlotName },
    #[error(
        "the database's modules have changed since {slot} last served: its code may not fit them; to go there all the same: --accept-schema-change"
    )]
    SchemaMoved { slot: SlotName },
    #[error(
        "nothing is being proven that could be cancelled; traffic is on {active} (to go back: `switchctl rollback`)"
    )]
    NothingToCancel { active: SlotName },
    #[error(
        "{} is being written down already, it is too late to cancel it; to go back: `switchctl rollback`",
        describe(.operation)
    )]
    TooLateToCancel { operation: Box<Operation> },
    #[error("no move waits to be confirmed; {slot} is active for good")]
    NothingToConfirm { slot: SlotName },
    #[error("--force skips the gate and needs --reason \"...\", which is kept in the history")]
    ForceNeedsReason,
    #[error(transparent)]
    Canary(#[from] CanaryRefusal),
    #[error(
        "{slot} has been in quarantine for {lasts}, because {reason}; once that is mended, acknowledge it with `switchctl ack {slot}` and ask again"
    )]
    Quarantined {
        slot: SlotName,
        lasts: String,
        reason: String,
    },
    #[error("slot {slot} is not in quarantine")]
    NotQuarantined { slot: SlotName },
    #[error(
        "slot {slot} cannot be removed while {use_of_it}; move traffic elsewhere with `switchctl flip SLOT`, then reload"
    )]
    SlotInUse {
        slot: SlotName,
        use_of_it: &'static str,
    },
}

fn list(slots: &[SlotName]) -> String {
    slots
        .iter()
        .map(SlotName::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn describe(operation: &Operation) -> String {
    format!(
        "a {} to {}",
        match operation.direction {
            Direction::Flip => "flip",
            Direction::Rollback => "rollback",
            Direction::Failback => "failback",
            Direction::Canary => "canary",
            Direction::Abort => return format!("the end of the canary on {}", operation.from),
        },
        operation.to
    )
}
