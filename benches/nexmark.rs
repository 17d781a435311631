//! What do the Nexmark queries cost, from the generator to a sink that counts?
//!
//!     cargo bench --bench nexmark [-- --queries source,count,q0,q5,q8 --workers 1,2 --seconds 4 --per-s 10_000
//!         --interval-ms 0 --dir DIR --json]
//!
//! The events are made as fast as they are taken, in two splits, `--per-s` of them for a second of event time. CPU time is
//! that of the whole process: `source` is what the events alone cost, and is in all other figures. `count` counts the bids
//! of each auction in tumbling windows of ten seconds. `--interval-ms` takes checkpoints. `nexmark_flink/run.py` does the
//! same with Flink.

mod common;
#[path = "../examples/nexmark/events.rs"]
#[allow(dead_code)]
mod events;
#[path = "../examples/nexmark/generator.rs"]
#[allow(dead_code)]
mod generator;
#[path = "../examples/nexmark/queries.rs"]
mod queries;
#[path = "../examples/nexmark/winning.rs"]
mod winning;

use common::{Args, Counting, Progress, Rate, Report, SPLITS};
use events::Event;
use generator::Nexmark;
use pitlane::connectors::{Generator, Record};
use pitlane::engine::{Checkpoints, Job, RunOptions, Stream, Tumbling, Window};
use std::sync::Arc;
use std::time::Duration;

const ALL: &str = "source,count,q0,q1,q2,q3,q4,q5,q6,q7,q8";

fn main() {
    let Some(args) = Args::read() else { return };
    let report = Report::new(&args, "Nexmark");
    for query in args.text("--queries").unwrap_or(ALL).split(',') {
        for workers in args.numbers("--workers", "1,2") {
            let workers = workers as usize;
            let rate = match query {
                "source" => measure(&args, workers, |events| events.filter(|_| false)),
                "count" => measure(&args, workers, count),
                "q0" => measure(&args, workers, queries::q0),
                "q1" => measure(&args, workers, queries::q1),
                "q2" => measure(&args, workers, queries::q2),
                "q3" => measure(&args, workers, queries::q3),
                "q4" => measure(&args, workers, queries::q4),
                "q5" => measure(&args, workers, queries::q5),
                "q6" => measure(&args, workers, queries::q6),
                "q7" => measure(&args, workers, queries::q7),
                "q8" => measure(&args, workers, queries::q8),
                _ => panic!("{query} is no query; there are {ALL}"),
            };
            report.figure(&format!("{query}, {workers} workers: CPU"), rate.cpu_ns_per_event, "ns/event");
            report.figure(
                &format!("{query}, {workers} workers: rate"),
                rate.events_per_s / 1e6,
                "M events/s",
            );
        }
    }
    report.figure("peak resident memory", common::peak_rss_mib(), "MiB");
}

/// The bids of each auction, every ten seconds.
fn count(events: &Stream<Event>) -> Stream<(u64, Window, u64)> {
    let bids = events.flat_map(Event::bid).map(|bid| bid.auction).key_by(|auction| *auction);
    bids.window(Tumbling::of(Duration::from_secs(10))).count().uid("counts").into()
}

fn measure<R: Record>(args: &Args, workers: usize, query: impl FnOnce(&Stream<Event>) -> Stream<R>) -> Rate {
    let nexmark = Nexmark { events_per_s: args.number("--per-s", "10_000"), ..Nexmark::default() };
    let progress = Arc::<Progress>::default();
    let noted = Arc::clone(&progress);
    let source = Generator::new(SPLITS, u64::MAX, move |split, n| {
        noted.note(split, n);
        nexmark.event(n * u64::from(SPLITS) + u64::from(split))
    });
    let checkpoints = match args.number("--interval-ms", "0") {
        0 => Checkpoints::off(),
        every => Checkpoints::every(Duration::from_millis(every)),
    };
    let job = Job::new("nexmark").checkpoints(checkpoints);
    let events = job.source(source).uid("events").watermarks(nexmark.watermarks(), Event::at_ms);
    query(&events).sink(Counting).uid("count");
    let dir = common::scratch(args);
    let running = job.start(&RunOptions::in_dir(dir.path()).workers(workers)).expect("the job starts");
    progress.wait_for(2_000_000);
    let rate = progress.measure(args.seconds("--seconds", 4.0));
    running.cancel();
    running.wait().expect("the job ends well");
    rate
}
