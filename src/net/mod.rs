//! BYTES AND SOCKETS: addresses, listeners, streams. No HTTP.
//!
//! Called by every folder that opens a socket; knows nothing of slots or services.
//! Rules: every socket is non-blocking, close-on-exec and without Nagle's delay.

mod address;

pub use address::{AddressError, EndpointAddr};
