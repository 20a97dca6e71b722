//! WHO AND WHAT COMES IN: networks, paths, rates, passwords, crowds.
//!
//! Called by `proxy/` for each request of a service that asks for any of it, and by `edge/` for connections;
//! built by `control/`. Never opens a
//! socket and never changes a byte of a request. Rules: a path is judged by every way in which a server may
//! read it; memory is fixed before the first request comes; no request takes a lock that all workers share.

mod asked;
mod buckets;
mod counts;
mod crowd;
mod passwords;
mod path;
mod paths;
mod service;
mod zone;

pub use asked::Asked;
pub use crowd::{Crowd, Headcount};
pub use passwords::{Attempt, Compared, Passwords};
pub use path::Path;
pub use paths::Paths;
pub use service::{Filter, Refusal, Refused};
pub use zone::{Zone, ZoneCounts};
