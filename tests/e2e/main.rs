//! The promises of switchd, checked from outside: the real programs on real sockets.
#![allow(clippy::unwrap_used)]

mod support;

mod accesslog;
mod admin;
mod bodies;
mod buffered_answers;
mod buffered_requests;
mod burst;
mod certificates;
mod cli;
mod client_auth;
mod drain;
mod failback;
mod flip;
mod gate;
mod headers;
mod health;
mod hostile;
mod http1;
mod limits;
mod line;
mod load;
mod metrics;
mod odoo;
mod odoo_websocket;
mod queue;
mod reload;
mod restart;
mod retry;
mod services;
mod stop;
mod timeouts;
mod tls;
mod upgrade;
mod upstream_tls;
mod websocket;
