//! The atomics that admission counts with. `tests/loom.rs` compiles `admission.rs` against loom's instead.

pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};
