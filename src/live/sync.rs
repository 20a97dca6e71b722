//! The atomics and locks that are counted with. `tests/loom.rs` compiles those who use them against loom's instead.

pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};
pub(super) use std::sync::{Mutex, MutexGuard};
