//! TALKING TO BACKENDS: which endpoint, over which connection.
//!
//! Called by `proxy/` for requests and by `control/` for probes. Never looks at a message.
//! Rules: a pool belongs to one worker; no connection is opened ahead of a request.

mod balance;
mod pool;
mod probe;

pub use balance::pick;
pub use pool::{Lane, Pools};
pub use probe::{ProbeFailure, Probed, connect_failure_in_words, probe};

use crate::net::EndpointAddr;
use crate::net::Stream;
use crate::tls;
use std::io;

/// Connects to an upstream, over TLS where there are terms for it. A deadline is the caller's. Cancel safe.
///
/// # Errors
/// The operating system's, or what is wrong with the upstream's TLS.
pub async fn connect(
    address: &EndpointAddr,
    terms: Option<&tls::Upstream>,
    dialer: tls::Dialer,
) -> io::Result<Stream> {
    match terms {
        None => Stream::connect(address).await,
        // Boxed: a handshake is many times the size of what a plain connection waits for.
        Some(terms) => Box::pin(terms.connect(address, dialer)).await,
    }
}
