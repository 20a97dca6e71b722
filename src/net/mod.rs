//! BYTES AND SOCKETS: addresses, listeners, streams. No HTTP.
//!
//! Called by every folder that opens a socket; knows nothing of slots or services.
//! Rules: every socket is non-blocking, close-on-exec and without Nagle's delay.

mod address;
mod stream;

pub use address::{AddressError, EndpointAddr};
pub use stream::Stream;
