//! WHAT IS KEPT FOR THE NEXT CLIENT: answers that may be shared, in memory and in files.
//!
//! Called by `proxy/` (looking up, keeping) and `edge/` and `admin/` (starting, showing, purging). Never
//! asks an upstream, and knows nothing of slots but their generation: what says `immutable` outlives it.
//! Rules: RFC 9111 decides what is kept and how long it is fresh, and nothing is given out stale; memory
//! and disk are bounded, and what is asked for least makes room; looking up takes one shard's lock for
//! the time of a look into a map; files are written by one thread of their own, and what a crash leaves
//! half written is not found.

mod body;
mod directives;
mod entry;
mod fetch;
mod files;
mod key;
mod ledger;
mod meta;
mod rules;
mod sieve;
mod store;
mod writer;

pub use body::{Body, Form};
pub use entry::{Entry, Variance};
pub use fetch::{Joined, Lead, Waiting};
pub use key::{Key, KeyParts};
pub use rules::{Asked, Given, Terms, terms};
pub use store::{Lookup, New, Purged, Store};
