//! The promises of switchd, checked from outside: the real programs on real sockets.
#![allow(clippy::unwrap_used)]

mod support;

mod accesslog;
mod acme;
mod admin;
mod big_bodies;
mod bodies;
mod buffered_answers;
mod buffered_requests;
mod burst;
mod cache;
mod cli;
mod compress;
mod drain;
mod failback;
mod filter;
mod flip;
mod gate;
mod headers;
mod health;
mod hostile;
mod http1;
mod http2;
mod http2_attacks;
mod http2_limits;
mod http2_moves;
mod http2_strict;
mod http2_websocket;
mod limits;
mod line;
mod load;
mod metrics;
mod moving;
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
mod websocket;
