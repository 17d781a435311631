//! The pit stop: a job runs on real data, stops, changes its code and the type of its state, and goes on.
//!
//!     cargo run --release --example pit_stop
//!     cargo run --release --example pit_stop -- DIR     # works in DIR, and leaves everything there
//!
//! This one program is all that take part in it. Called by the name of a job (`flights_v1`, `flights_v2`,
//! `flights_bad`) it is that job, called `pitlane` it is the command line, and called by its own name it tells
//! the story: it makes links with those names in a temporary directory, and runs them as processes.

#[path = "../../migrations/flights/mod.rs"]
pub mod flights;
mod jobs;
pub mod oracle;
pub mod outcome;
pub mod stage;
mod story;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = Path::new(&called).file_name().unwrap_or_default().to_string_lossy().into_owned();
    match called.as_str() {
        "pitlane" => pitlane::cli::run(std::env::args_os()),
        "flights_v1" => jobs::flights_v1().main(),
        "flights_v2" => jobs::flights_v2().main(),
        "flights_bad" => jobs::flights_bad().main(),
        _ => match story::tell() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("\nthe pit stop went wrong: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
