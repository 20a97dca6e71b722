//! Control as a whole, in front of real upstreams.

mod failback;
mod flips;
mod health;
mod reload;
pub(crate) mod support;
