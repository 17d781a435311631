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
pub mod jobs;

use pitlane::connectors::{FileSink, JsonLines};
use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args: Vec<_> = env::args_os().collect();
    let release = if args.len() > 1 { args.remove(1) } else { Default::default() };
    let setting = |name, usual: &str| env::var(name).unwrap_or_else(|_| usual.to_owned());
    let sensors = JsonLines::new(setting("ALARM_INPUT", "fixtures/alarm-events.jsonl"));
    let rate = Some(setting("ALARM_RATE", "10").parse().unwrap_or(10.0));
    let alarms = FileSink::json_lines(setting("ALARM_OUT", "alarm-out"));
    let job = match release.to_str() {
        Some("v1") => jobs::alarm_v1(sensors, rate, alarms),
        Some("v2") => jobs::alarm_v2(sensors, rate, alarms),
        Some("v3") => jobs::alarm_v3(sensors, rate, alarms),
        _ => {
            eprintln!("error: found no release as the first argument, wanted v1, v2 or v3");
            eprintln!("hint: alarm v1 run");
            return ExitCode::from(2);
        }
    };
    job.main_from(args)
}
