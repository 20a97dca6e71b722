//! The promises of switchd, checked from outside: the real programs on real sockets.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::default_trait_access,
    clippy::float_cmp,
    clippy::format_push_string,
    clippy::large_stack_arrays,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    clippy::unnecessary_debug_formatting,
    reason = "a test is read once from top to bottom, and is in no hurry"
)]

mod support;

mod accesslog;
mod acme;
mod admin;
mod admin_tcp;
mod api_docs;
mod big_bodies;
mod bodies;
mod buffered_answers;
mod buffered_requests;
mod burst;
mod cache;
mod canary;
mod cancel;
mod certificates;
mod cli;
mod client_auth;
mod compress;
mod confirm;
mod correlated;
mod deploy;
mod deploy_crash;
mod deploy_database;
mod deploy_examples;
mod deploy_rights;
mod drain;
mod dress;
mod errors;
mod exhaustion;
mod failback;
mod filter;
mod flip;
mod full_disk;
mod gate;
mod gates;
mod headers;
mod health;
mod history;
mod hold;
mod hold_ends;
mod hooks;
mod hostile;
mod http1;
mod http2;
mod http2_attacks;
mod http2_limits;
mod http2_moves;
mod http2_strict;
mod http2_websocket;
mod introductions;
mod limits;
mod line;
mod listeners;
mod load;
mod log_levels;
mod metrics;
mod modes;
mod moving;
mod names;
mod odoo;
mod odoo_corpus;
mod odoo_hold;
mod odoo_rules;
mod odoo_site;
mod odoo_websocket;
mod openapi;
mod outage;
mod preview;
mod queue;
mod reload;
mod restart;
mod retry;
mod sendfile;
mod services;
mod shadow;
mod shared_trouble;
mod slow_attacks;
mod stop;
mod strangers;
mod timeouts;
mod tls;
mod upgrade;
mod upstream_tls;
mod watch;
mod websocket;
