//! WHAT SURVIVES A RESTART: which slot has traffic, what is under way, and who did what.
//!
//! Called by `control/` (writing) and through it by `admin/` (history). Never decides anything, and
//! never lets a file that it cannot trust pass for an empty one. File IO here blocks: it belongs on the
//! control thread. Rules: a file is replaced as a whole (aside, fsync, rename, fsync of the folder);
//! a line is appended and fsynced; one daemon per directory. What decides where traffic goes needs no free disk:
//! its files have a reserve of room (`kept_file`); lines that find no room wait in memory, and are caught up.
//!
//! | file | holds |
//! |---|---|
//! | `state.json` | [`Persisted`](crate::switch::Persisted) of every service, with version and checksum |
//! | `waiting.json` | lines of the history that find no room there; usually absent |
//! | `reserve.*` | room taken ahead: the newest content of the file of that name while it cannot be replaced |
//! | `audit.jsonl` | one [`AuditRecord`](crate::api::AuditRecord) per line, oldest first |
//! | `modes.json` | which services are in maintenance or read only ([`Modes`]) |
//! | `calls.jsonl` | one [`AuditRecord`](crate::api::AuditRecord) per call of the admin API over TCP; bounded |
//! | `pending-<service>.json` | operations of that service that have not ended |
//! | `lock` | locked while a daemon runs; names its process |

mod audit_log;
mod call_log;
mod error;
mod files;
mod kept_file;
mod key_file;
mod lines;
mod modes;
mod pending;
mod reserve;
mod search;
mod state_dir;
mod state_file;
mod upkeep;

#[cfg(test)]
mod promises;

pub use audit_log::AuditLog;
pub use call_log::CallLog;
pub use error::JournalError;
pub use modes::{KeptMaintenance, KeptMode, Modes};
pub use search::Search;
pub use state_dir::{Journal, Recover};
pub use upkeep::TrialWrite;
