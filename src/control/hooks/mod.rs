//! WHO ELSE IS TOLD: every hook of the config, on a thread of their own.
//!
//! Started by `control/start`, told of new settings by the conductor, and otherwise a listener of the
//! event stream like any other. Rules: nobody ever waits for a hook, least of all a flip; what waits is
//! bounded, and what gives way is counted; nothing shows a URL, a secret or a header's value.

mod board;
mod deliver;
mod letter;
mod notices;
mod of_service;
mod post;
mod shapes;
mod signature;
mod state_disk;
mod teller;
mod watched;

pub(in crate::control) use board::Wishes;
pub use board::{Board, Tested};
