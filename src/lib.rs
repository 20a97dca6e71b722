//! switchd: a blue-green traffic switcher and reverse proxy.

pub mod net;
pub mod switch;

pub mod api;
pub mod config;
pub mod telemetry;

pub mod journal;

pub mod live;
pub mod proxy;
pub mod upstream;

pub mod control;
pub mod edge;

pub mod admin;
pub mod cli;
pub mod daemon;
pub mod demo;
