//! A certificate authority that speaks ACME over real HTTP (RFC 8555), for one test each.
//!
//! It checks what a real one checks: signatures, nonces, URLs, the proof itself by a connection of its own,
//! and the names of the request; then it signs with a CA made for the occasion.

mod jws;
mod proof;
mod server;

pub(crate) use server::AcmeServer;
