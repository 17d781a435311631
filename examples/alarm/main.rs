//! The motion alarm in three releases, to play with by hand.
//!
//! Release 1 sets off the alarm of a room at any motion while it is on, release 2 puts up with motion for a
//! while, release 3 also knows who turned it on. The first argument is the release, the others are what every
//! job understands:
//!
//!     cargo build --bins --example alarm
//!     target/debug/examples/alarm v1 run &
//!     target/debug/pitlane list
//!     target/debug/pitlane stop alarm
//!     target/debug/pitlane plan SAVEPOINT target/debug/examples/alarm -- v3
//!     target/debug/examples/alarm v3 run --from SAVEPOINT
//!
//! It reads `fixtures/alarm-events.jsonl`, ten events a second, and writes to `alarm-out`; `ALARM_INPUT`,
//! `ALARM_RATE` and `ALARM_OUT` say otherwise.

#[path = "../../migrations/alarm/mod.rs"]
pub mod alarm;
mod jobs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    let release = if args.len() > 1 { args.remove(1) } else { Default::default() };
    let job = match release.to_str() {
        Some("v1") => jobs::alarm_v1(),
        Some("v2") => jobs::alarm_v2(),
        Some("v3") => jobs::alarm_v3(),
        _ => {
            eprintln!("error: found no release as the first argument, wanted v1, v2 or v3");
            eprintln!("hint: alarm v1 run");
            return ExitCode::from(2);
        }
    };
    job.main_from(args)
}
