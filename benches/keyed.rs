//! What does keyed read-modify-write cost, through the public API, beside the same pipeline by hand?
//!
//!     cargo bench --bench keyed [-- --keys 1M,10M --workers 1,2 --seconds 5 --interval-ms 2000 --hot-percent 100
//!         --dir DIR --json]
//!
//! One event is made, hashed, sent to the worker that holds its key, changes `(bool, i64)` and is passed on in
//! about 36 % of all cases. CPU time is that of the whole process: source, sink and, where checkpoints are
//! on, the writing of checkpoints included.

mod common;

use common::{Args, Counting, Event, Progress, Rate, Report, event, peer, short, step};
use pitlane::connectors::Generator;
use pitlane::engine::{Checkpoints, Job, RunOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

fn main() {
    let Some(args) = Args::read() else { return };
    let report = Report::new(&args, "keyed read-modify-write");
    let time = args.seconds("--seconds", 5.0);
    let interval = Duration::from_millis(args.number("--interval-ms", "2000"));
    let share = args.number("--hot-percent", "100") as f64 / 100.0;
    for keys in args.numbers("--keys", "1M,10M") {
        for workers in args.numbers("--workers", "1,2") {
            let workers = workers as usize;
            let name = |what: &str| format!("{} keys, {workers} workers, {what}", short(keys));
            let print = |what: &str, rate: Rate| {
                report.figure(&name(&format!("{what}: CPU")), rate.cpu_ns_per_event, "ns/event");
                report.figure(&name(&format!("{what}: rate")), rate.events_per_s / 1e6, "M events/s");
            };
            let by_hand = by_hand(keys, workers, time);
            print("by hand", by_hand);
            // A share of the keys, so that there is something that does not change between two checkpoints.
            let hot = |keys: u64| (keys as f64 * share).max(1.0) as u64;
            let off = pitlane(&args, (keys, hot(keys)), workers, time, Checkpoints::off());
            print("pitlane", off);
            let ratio = off.cpu_ns_per_event / by_hand.cpu_ns_per_event;
            report.figure(&name("pitlane / by hand: CPU"), ratio, "times");
            let every = Checkpoints::every(interval);
            let on = pitlane(&args, (keys, hot(keys)), workers, time.max(3 * interval), every);
            print(&format!("checkpoints every {} ms", interval.as_millis()), on);
            let changed = Checkpoints::every(interval).incremental();
            let on = pitlane(&args, (keys, hot(keys)), workers, time.max(3 * interval), changed);
            print(&format!("of what has changed every {} ms", interval.as_millis()), on);
            report.figure(&name("resident memory at the end"), common::rss_mib(), "MiB");
        }
    }
    report.figure("peak resident memory", common::peak_rss_mib(), "MiB");
}

/// How many events pass before the measurement: the tables are full, and the machine is warm.
fn warm(keys: u64) -> u64 {
    keys + keys.max(2_000_000)
}

fn by_hand(keys: u64, workers: usize, time: Duration) -> Rate {
    let (progress, stop) = (Arc::<Progress>::default(), Arc::<AtomicBool>::default());
    let running = {
        let (progress, stop) = (Arc::clone(&progress), Arc::clone(&stop));
        std::thread::spawn(move || peer::run(workers, keys, &progress, &stop))
    };
    progress.wait_for(warm(keys));
    let rate = progress.measure(time);
    stop.store(true, Relaxed);
    running.join().expect("the pipeline ends well");
    rate
}

/// Runs the job: first all keys come, then only `hot` of them.
fn pitlane(
    args: &Args,
    (keys, hot): (u64, u64),
    workers: usize,
    time: Duration,
    checkpoints: Checkpoints,
) -> Rate {
    let progress = Arc::<Progress>::default();
    let noted = Arc::clone(&progress);
    let events = Generator::new(common::SPLITS, u64::MAX, move |split, n| {
        noted.note(split, n);
        let is_warm = n >= keys / u64::from(common::SPLITS);
        event(split, n, if is_warm { hot } else { keys })
    });
    let job = Job::new("keyed").checkpoints(checkpoints);
    job.source(events)
        .uid("events")
        .key_by(|event| event.key)
        .flat_map_with_state(|alarm: &mut Option<common::Alarm>, event: Event| {
            step(alarm.get_or_insert((false, 0)), &event)
        })
        .uid("alarms")
        .sink(Counting)
        .uid("count");
    let dir = common::scratch(args);
    let running = job.start(&RunOptions::in_dir(dir.path()).workers(workers)).expect("the job starts");
    progress.wait_for(warm(keys));
    let rate = progress.measure(time);
    running.cancel();
    running.wait().expect("the job ends well");
    rate
}
