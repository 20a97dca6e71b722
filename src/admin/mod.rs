//! THE ADMIN API: HTTP over a unix socket, for `switchctl`; and the Prometheus page, there and over TCP.
//!
//! Bound and served by `daemon/`, on control's runtime. Decides nothing: it asks `control/` and `edge/`,
//! and puts their answers into the words of `api/`. Rules: who may open the socket may do everything,
//! and is named in the history; who comes over TCP may look at the page and nothing else; the daemon owns an operation, a client that leaves changes nothing;
//! every error is an RFC 9457 problem that says what to do.

mod actions;
mod answer;
mod cache;
mod clients;
mod holds;
mod label;
mod metrics;
mod modes;
mod peer;
mod problem;
mod query;
mod routes;
mod server;
mod socket;
mod streams;

#[cfg(test)]
mod tests;

pub use metrics::{Metrics, MetricsError};
pub use server::Admin;
pub use socket::{Socket, SocketError};
