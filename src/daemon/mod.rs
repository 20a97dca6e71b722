//! ASSEMBLY: start order and stop order on one page (`assembly`), and what a process needs around it:
//! signals, the shape of the log, the service manager.
//!
//! Called by `bin/switchd`, and by whoever wants a daemon inside another program ([`Daemon::start`]).
//! Never decides anything about traffic. Rules: whatever can fail at the start fails before the first
//! connection is taken; nothing here waits for a terminal; stopping ends, whatever hangs.

mod assembly;
mod check;
mod log;
mod notify;
mod run;
mod signals;

pub use assembly::Daemon;
pub use check::{check, explain};
pub use log::complain;
pub use run::run;
