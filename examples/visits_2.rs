//! The program of the README, release 2: the state of a visitor has become a struct that also knows the level.
//!
//! `cargo run --example visits_2 -- run --workers 3` goes on where release 1 was stopped.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::Job;
use pitlane::migrate::Migration;
use pitlane::model::Value;
use pitlane::{BoxError, State};
use std::process::ExitCode;

#[derive(Clone, State)]
#[state(version = 2)]
struct Visits {
    times: u64,
    level: Option<String>,
}

/// Visitors from version 1 have no level yet.
struct VisitsToV2;

impl Migration for VisitsToV2 {
    type From = u32;
    type To = Visits;

    fn migrate(&self, _visitor: &Value, times: u32) -> Result<Option<Visits>, BoxError> {
        Ok(Some(Visits { times: times.into(), level: None }))
    }
}

fn main() -> ExitCode {
    let job = Job::new("visits").release("2");
    job.source(Generator::new(2, 50_000, |_, n| format!("v{:03}", n % (1 + n % 499))))
        .uid("doors")
        .rate(500.0) // a second and door
        .key_by(|visitor| visitor.clone())
        .flat_map_with_state(|visits: &mut Option<Visits>, visitor| {
            let visits = visits.get_or_insert(Visits { times: 0, level: None });
            visits.times += 1;
            let now = visits.times;
            visits.level = (now >= 25).then(|| "gold".to_owned());
            now.is_multiple_of(25).then(|| format!("{visitor} was here {now} times"))
        })
        .uid("count")
        .state_name("visits")
        .migrate(VisitsToV2)
        .sink(FileSink::json_lines("visits-out"))
        .uid("out");
    job.main()
}
