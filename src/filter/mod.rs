//! WHO AND WHAT COMES IN: networks, paths, rates, passwords, crowds.
//!
//! Called by `proxy/` for each request of a service that asks for any of it, and by `edge/` for
//! connections. Never opens a socket and never changes a byte of a request. Rules: a path is judged
//! by every way in which a server may read it; memory is fixed before the first request comes;
//! nothing takes a lock that all workers share; time is an argument.

mod buckets;
mod path;

pub use buckets::{Buckets, Pace, Taken};
pub use path::{Path, Prefix};
