//! WHAT DECIDES: a runtime of its own, on a thread of its own.
//!
//! Started by `daemon/`, asked by `admin/`. Never touches a request: it publishes into `live/` and reads
//! what is counted there. Rules: one writer (`conductor` alone publishes, everybody else sends it messages);
//! written before published; whatever is slow (a probe, a gate, a drain) is a job that reports back.

mod afresh;
mod canary;
mod certificates;
mod clock;
mod conductor;
mod course;
mod descriptors;
mod disk;
mod doorway;
mod drain;
mod endpoints;
mod events;
mod gate;
mod gates;
mod handle;
mod health;
mod hold_desk;
mod hold_watch;
mod holds;
mod hooks;
mod jobs;
mod log_level;
mod message;
mod modes;
mod names;
mod operations;
mod orders;
mod outages;
mod page;
mod previews;
mod prober;
mod queues;
mod readiness;
mod reload;
mod shadow;
mod shared;
mod shared_trouble;
mod slot_health;
mod start;
mod status;
mod steered;
mod strangers;
mod underway;
mod verdict;
mod views;
mod watch;

#[cfg(test)]
pub(crate) mod tests;

pub use doorway::Doorway;
pub use events::Subscription;
pub use handle::Handle;
pub use hold_desk::{HoldOrder, HoldRefusal, HoldTaken};
pub use hooks::{Board, Tested};
pub use message::{Accepted, Denied, GateOrder, Order, Rehearsal, Until};
pub use modes::{MaintenanceWish, ModeChange, ModeOrder};
pub use shadow::ShadowOrder;
pub use start::{Control, Prepared};
