//! TALKING TO BACKENDS: which endpoint, over which connection.
//!
//! Called by `proxy/` for requests and by `control/` for probes. Never looks at a message.
//! Rules: a pool belongs to one worker; no connection is opened ahead of a request.

mod balance;
mod pool;
mod probe;
mod visit;

pub use balance::pick;
pub use pool::{Lane, Pools};
pub use probe::{ProbeFailure, Probed, connect_failure_in_words, printable, probe};
pub use visit::{Asked, Opened, Place, Visited, open_websocket, visit};

use crate::net::Dial;
use crate::net::EndpointAddr;
use crate::net::Stream;
use crate::tls;
use std::io;
use tokio::io::AsyncWriteExt;

/// How an upstream is spoken to, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// None without TLS.
    pub terms: Option<&'a tls::Upstream>,
    pub dialer: tls::Dialer,
    /// A PROXY header, which comes before anything else; empty for none.
    pub introduction: &'a [u8],
    pub dial: Dial,
}

/// Connects to an upstream, over TLS where there are terms for it. The deadline is the caller's. Cancel safe.
///
/// # Errors
/// The operating system's, what is wrong with the upstream's TLS, or with its name ([`crate::net::NameFailure`]).
pub async fn connect(address: &EndpointAddr, call: Call<'_>) -> io::Result<Stream> {
    let Call {
        terms,
        dialer,
        introduction,
        dial,
    } = call;
    match terms {
        None if introduction.is_empty() => Stream::connect(address, dial).await,
        None => Box::pin(introduced(address, introduction, dial)).await,
        // Boxed: a handshake is many times the size of what a plain connection waits for.
        Some(terms) => Box::pin(terms.connect((address, dial), dialer, introduction)).await,
    }
}

async fn introduced(address: &EndpointAddr, introduction: &[u8], dial: Dial) -> io::Result<Stream> {
    let mut stream = Stream::connect(address, dial).await?;
    stream.write_all(introduction).await?;
    Ok(stream)
}
