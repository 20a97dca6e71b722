//! TALKING TO BACKENDS: which endpoint, over which connection.
//!
//! Called by `proxy/` for requests and by `control/` for probes. Never looks at a message.
//! Rules: a pool belongs to one worker; no connection is opened ahead of a request.

mod balance;
mod pool;
mod probe;

pub use balance::pick;
pub use pool::Pools;
pub use probe::{ProbeFailure, Probed, connect_failure_in_words, probe};

use crate::net::EndpointAddr;
use crate::net::Stream;

/// Connects to an upstream. A deadline is the caller's. Cancel safe.
///
/// # Errors
/// The operating system's.
pub async fn connect(address: &EndpointAddr) -> std::io::Result<Stream> {
    Stream::connect(address).await
}
