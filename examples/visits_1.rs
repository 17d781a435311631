//! The program of the README, release 1: counts how often each visitor came.
//!
//! `cargo run --example visits_1 -- run`, then `pitlane list`, `pitlane stop visits`.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::Job;
use std::process::ExitCode;

fn main() -> ExitCode {
    let job = Job::new("visits").release("1");
    job.source(Generator::new(2, 50_000, |_, n| format!("v{:03}", n % (1 + n % 499))))
        .uid("doors")
        .rate(500.0) // a second and door
        .key_by(|visitor| visitor.clone())
        .flat_map_with_state(|times: &mut Option<u32>, visitor| {
            let now = times.unwrap_or(0) + 1;
            *times = Some(now);
            now.is_multiple_of(25).then(|| format!("{visitor} was here {now} times"))
        })
        .uid("count")
        .state_name("visits")
        .sink(FileSink::json_lines("visits-out"))
        .uid("out");
    job.main()
}
