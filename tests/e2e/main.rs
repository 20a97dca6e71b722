//! The promises of switchd, checked from outside: the real programs on real sockets.
#![allow(clippy::unwrap_used)]

mod support;

mod accesslog;
mod admin;
mod bodies;
mod cache;
mod cli;
mod compress;
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
mod upgrade;
mod websocket;
