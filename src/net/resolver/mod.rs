//! NAMES: host names to addresses, for the whole process, beside everybody's way.
//!
//! Called by whoever connects to a name. Answers are remembered within their time to live and kept while the
//! name server fails; each name has a task of its own on one thread, so a silent one delays no other.
//! Never used for what a client names: the names are the operator's.
//! Rules: known addresses are had without waiting; one look-up of a name at a time; every wait has a deadline.

mod failure;
mod hosts;
mod known;
mod lookup;
mod name;
mod query;
mod settings;
mod system;
mod tending;
mod thread;

pub use failure::{NameFailure, NameTrouble};
pub use known::NameState;
pub use name::Name;
pub use settings::ResolverSettings;
pub use thread::{NameCounts, NameReport, Resolver};

use std::sync::LazyLock;

/// The one that everything in this process asks. Its thread starts with the first name.
#[must_use]
pub fn resolver() -> &'static Resolver {
    static RESOLVER: LazyLock<Resolver> = LazyLock::new(Resolver::default);
    &RESOLVER
}
