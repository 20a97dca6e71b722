//! THE ADMIN API: HTTP over a unix socket, for `switchctl`; over TCP, for who shows a token; and the
//! Prometheus page, alone too.
//!
//! Bound and served by `daemon/`, on control's runtime. Decides nothing: it asks `control/` and `edge/`,
//! and puts their answers into the words of `api/`. Rules: who may open the socket may do everything,
//! and is named in the history; who comes over TCP may do what the token says, and every call is kept;
//! a route stands in `table`, or does not exist; the daemon owns an operation, a client that leaves changes nothing;
//! every error is an RFC 9457 problem that says what to do.

mod actions;
mod answer;
mod attempts;
mod bearer;
mod cache;
mod calls;
mod canary;
mod cancel;
mod clients;
mod entry;
mod gates;
mod history;
mod holds;
mod hooks;
mod label;
mod metrics;
mod modes;
mod openapi;
mod peer;
mod preview;
mod problem;
mod query;
mod routes;
mod server;
mod shadow;
mod sight;
mod socket;
mod streams;
mod table;
mod tcp;
mod watch;

#[cfg(test)]
mod tests;

pub use metrics::{Metrics, MetricsError};
pub use server::Admin;
pub use socket::{Socket, SocketError};
pub use tcp::{Api, ApiError};
