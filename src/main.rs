//! The command line of pitlane.

use std::process::ExitCode;

fn main() -> ExitCode {
    pitlane::cli::run(std::env::args_os())
}
