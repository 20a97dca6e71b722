//! THE ADMIN API: HTTP over a unix socket, for `switchctl` and Prometheus.
//!
//! Bound and served by `daemon/`, on control's runtime. Decides nothing: it asks `control/` and `edge/`,
//! and puts their answers into the words of `api/`. Rules: who may open the socket may do everything,
//! and is named in the history; the daemon owns an operation, a client that leaves changes nothing;
//! every error is an RFC 9457 problem that says what to do.

mod actions;
mod answer;
mod peer;
mod problem;
mod query;
mod routes;
mod server;
mod socket;
mod streams;

#[cfg(test)]
mod tests;

pub use server::Admin;
pub use socket::{Socket, SocketError};
