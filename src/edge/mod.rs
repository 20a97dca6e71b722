//! THE CLIENTS' SIDE: threads, listeners, connections.
//!
//! Called by `daemon/` (start, stop) and `admin/` (who is here). Never parses a message: that is `proxy/`.
//! Rules: sockets are bound before any worker starts; a connection stays on the worker that accepted it;
//! a client that may still be sending is never reset.

mod connection;
mod door;
mod fleet;
mod handshake;
mod http2;
mod welcome;
mod worker;

pub use fleet::Edge;
