//! BODIES AT REST: in memory first, then in a file that has no name.
//!
//! Called by `proxy/` for bodies that one side sends faster than the other takes them. Knows nothing of
//! HTTP. Never blocks the thread that asks: whatever touches the disk runs on the runtime's blocking
//! threads, with buffers of its own. Rules: every byte is bounded, by its body, by its [`Account`] and
//! by what the disk has; what was read is given back; after a crash nothing is left.

mod account;
mod error;
mod fifo;
mod jobs;
mod room;
mod store;

pub use account::Account;
pub use account::Amounts;
pub use account::JOBS;
pub use account::Shelf;
pub use account::Whose;
pub use error::SpoolError;
pub use fifo::Bounds;
pub use fifo::Spool;
pub use room::Room;
