//! Nexmark, queries 0 to 8: an auction house in jobs of a few lines each.
//!
//! The first argument is the query, the others are what every job understands:
//!
//!     cargo build --release --example nexmark
//!     target/release/examples/nexmark q5 run --workers 2
//!
//! Results go to `nexmark-out/q5`, as Parquet. `events` in place of a query writes down what happened, and the script
//! beside this runs all nine, kills them again and again, and compares what they have written with what DuckDB makes of
//! those events:
//!
//!     python examples/nexmark.py target/release/examples/nexmark
//!
//! `NEXMARK_EVENTS`, `NEXMARK_SPLITS`, `NEXMARK_EVENTS_PER_S` and `NEXMARK_DISORDER` say what the events are like,
//! `NEXMARK_RATE` how many are read of each split in a second of real time, `NEXMARK_OUT` where results go.

mod events;
mod generator;
mod queries;
mod winning;

use events::Event;
use generator::Nexmark;
use pitlane::State;
use pitlane::connectors::{FileSink, Record};
use pitlane::engine::{Checkpoints, Job, Stream};
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

fn main() -> ExitCode {
    let mut args: Vec<_> = env::args_os().collect();
    let name = if args.len() > 1 { args.remove(1) } else { Default::default() };
    let job = match name.to_str() {
        Some("events") => record(),
        Some("q0") => job("q0", queries::q0),
        Some("q1") => job("q1", queries::q1),
        Some("q2") => job("q2", queries::q2),
        Some("q3") => job("q3", queries::q3),
        Some("q4") => job("q4", queries::q4),
        Some("q5") => job("q5", queries::q5),
        Some("q6") => job("q6", queries::q6),
        Some("q7") => job("q7", queries::q7),
        Some("q8") => job("q8", queries::q8),
        _ => {
            eprintln!("error: found no query as the first argument, wanted q0 to q8, or events");
            eprintln!("hint: nexmark q5 run");
            return ExitCode::from(2);
        }
    };
    job.main_from(args)
}

/// The job that answers one query.
fn job<R: Record + State>(name: &str, query: impl FnOnce(&Stream<Event>) -> Stream<R>) -> Job {
    let (job, events) = auction_house(name);
    query(&events).sink(FileSink::parquet(out(name))).uid("results");
    job
}

/// The job that writes the events down.
fn record() -> Job {
    let (job, events) = auction_house("events");
    events.flat_map(Event::person).sink(FileSink::parquet(out("persons"))).uid("persons");
    events.flat_map(Event::auction).sink(FileSink::parquet(out("auctions"))).uid("auctions");
    events.flat_map(Event::bid).sink(FileSink::parquet(out("bids"))).uid("bids");
    job
}

fn auction_house(name: &str) -> (Job, Stream<Event>) {
    let usual = Nexmark::default();
    let nexmark = Nexmark {
        events: setting("NEXMARK_EVENTS").unwrap_or(usual.events),
        splits: setting("NEXMARK_SPLITS").unwrap_or(usual.splits).max(1),
        events_per_s: setting("NEXMARK_EVENTS_PER_S").unwrap_or(usual.events_per_s).max(1),
        disorder: setting("NEXMARK_DISORDER").unwrap_or(usual.disorder).max(1),
        ..usual
    };
    let job = Job::new(&format!("nexmark-{name}")).checkpoints(Checkpoints::every(Duration::from_secs(1)));
    let events = job.source(nexmark.source()).uid("events").watermarks(nexmark.watermarks(), Event::at_ms);
    let events = match setting("NEXMARK_RATE") {
        Some(rate) => events.rate(rate),
        None => events,
    };
    (job, events.into())
}

/// Reads a number from the environment.
fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| {
        eprintln!("error: {name} is {text}, wanted a number");
        std::process::exit(2)
    }))
}

fn out(name: &str) -> PathBuf {
    env::var_os("NEXMARK_OUT").map_or_else(|| PathBuf::from("nexmark-out"), PathBuf::from).join(name)
}
