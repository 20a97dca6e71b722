//! `switchd demo`: THE MAIN JOB, SHOWN ON THIS MACHINE.
//!
//! Called by `switchd` alone. Starts the real daemon as a child process, with a real config and a real
//! admin socket in a temporary folder, in front of two small upstreams; sends a light load through it,
//! checks every answer, and tells what each flip did to it.
//! Never needs root or a fixed port, never touches a process it did not start.
//! Rule: a number that is printed was counted by the clients and the upstreams, not by the proxy.

mod admin;
mod client;
mod home;
mod load;
mod proxy;
mod screen;
mod story;
mod tally;
mod upstreams;

use std::fmt;
use std::process::ExitCode;

/// What `switchd demo` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Flip this often by itself, then hand over to you
    #[arg(long, value_name = "N")]
    pub flips: Option<u32>,
    /// Stop after the flips (20 unless --flips says otherwise); exit 1 if any request failed or was lost
    #[arg(long)]
    pub exit: bool,
    /// Port of the proxy on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

impl Args {
    fn flips(&self) -> u32 {
        self.flips.unwrap_or(if self.exit { 20 } else { 0 })
    }
}

/// Runs the demo until Ctrl-C, or until the flips are done with `--exit`.
///
/// # Errors
/// When the proxy does not start, stops by itself, or refuses a flip.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(story::tell(args))
}

/// The two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Blue,
    Green,
}

impl Colour {
    const BOTH: [Self; 2] = [Self::Blue, Self::Green];

    fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    fn named(text: &str) -> Option<Self> {
        Self::BOTH
            .into_iter()
            .find(|colour| colour.as_str() == text)
    }

    fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
