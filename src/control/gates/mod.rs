//! GATES: what a slot has to show before traffic moves to it, beyond its health.
//!
//! Tried by the gate of a flip and by hand; asks the slot's own addresses, as its clients would ask. Never moves
//! traffic, never executes a program. Rules: every wait has a deadline and every body a bound; what cannot be told
//! is inconclusive, and that is no success; each check says what came back and what to do about it.

mod asking;
mod check;
mod hand;
mod latency;
mod left;
mod odoo;
mod page;
mod proof;
mod rpc;
mod shared;
mod smoke;
mod steps;
mod teller;
mod trial;
mod versions;
mod warm_up;
mod websocket;

pub(super) use check::Findings;
pub(super) use hand::Ended;
pub(super) use hand::GatesMessage;
pub(super) use hand::Hand;
pub(super) use hand::SlotGates;
pub(super) use hand::warned;
pub(super) use proof::Reused;
pub(super) use teller::Teller;
pub(super) use trial::Pace;
pub(super) use trial::Trial;
