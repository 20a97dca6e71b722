//! The operator's command line; see `switchd::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    switchd::cli::run()
}
