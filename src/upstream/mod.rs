//! TALKING TO BACKENDS.

mod probe;

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
