//! Windows against plain code, over records out of order, stops and rescales.

use pitlane::connectors::{FileSink, Generator, Record};
use pitlane::engine::{
    AfterRecords, Checkpoints, Clock, Every, Job, KeyedStream, LastRecords, RunOptions, Session, SideOutput,
    Sliding, Stream, Tumbling, Watermarks, Window,
};
use pitlane::migrate::Migration;
use pitlane::model::Value;
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::{BoxError, Error};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SPLITS: u32 = 3;
const RECORDS: u64 = 500;
const DISORDER_MS: i64 = 3_000;

/// A key, a time, an amount.
type Event = (u64, i64, i64);

/// The events of a split: a little out of order, with pauses.
fn event(seed: u64, split: u32, n: u64) -> Event {
    let random = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed ^ u64::from(split) << 7);
    let random = (random ^ random >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33;
    let at_ms = (n as i64) * 200 + (n as i64 / 40) * 5_000 - (random as i64 % DISORDER_MS);
    (random % 5, at_ms, (random % 1_000) as i64)
}

fn events(seed: u64) -> Vec<Event> {
    (0..SPLITS).flat_map(|split| (0..RECORDS).map(move |n| event(seed, split, n))).collect()
}

type Build<O> = fn(&KeyedStream<u64, Event>) -> Stream<O>;

fn job<O: Record>(seed: u64, dir: &Path, build: Build<O>) -> Job {
    let job = Job::new("windows").checkpoints(Checkpoints::every(Duration::from_millis(15)));
    let events = job
        .source(Generator::new(SPLITS, RECORDS, move |split, n| event(seed, split, n)))
        .uid("events")
        .watermarks(Watermarks::bounded(Duration::from_millis(DISORDER_MS as u64)), |event| event.1)
        .rate(1_000.0);
    build(&events.key_by(|event| event.0)).sink(FileSink::json_lines(dir.join("out"))).uid("out");
    job
}

fn lines<O: Record + Ord>(dir: &Path) -> Vec<O> {
    let files = std::fs::read_dir(dir).unwrap().flatten().map(|e| e.path()).filter(|p| p.is_file());
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut records: Vec<O> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort();
    records
}

/// Runs a job with two stops, on 2, 3 and 1 workers; the savepoints are sound.
fn run<O: Record + Ord>(seed: u64, build: Build<O>) -> Vec<O> {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data"));
    for (workers, pause_ms) in [(2, 20 + seed * 7), (3, 30)] {
        let running = job(seed, dir.path(), build).start(&options.clone().workers(workers)).unwrap();
        std::thread::sleep(Duration::from_millis(pause_ms));
        let done = running.stop(Default::default()).unwrap();
        running.wait().unwrap();
        assert_eq!(verify(&Savepoint::open(done.path).unwrap(), Depth::Full).problems, []);
    }
    job(seed, dir.path(), build).run(&options.workers(1)).unwrap();
    lines(&dir.path().join("out"))
}

/// Sums and counts by key and window, where `windows` says which windows a time belongs to.
fn plain(seed: u64, windows: impl Fn(i64) -> Vec<Window>) -> Vec<(u64, Window, i64, u64)> {
    let mut by_window = BTreeMap::<(u64, Window), (i64, u64)>::new();
    for (key, at_ms, amount) in events(seed) {
        for window in windows(at_ms) {
            let sum = by_window.entry((key, window)).or_default();
            *sum = (sum.0 + amount, sum.1 + 1);
        }
    }
    by_window.into_iter().map(|((key, window), (sum, count))| (key, window, sum, count)).collect()
}

fn windows_of(at_ms: i64, size: i64, slide: i64) -> Vec<Window> {
    let last = at_ms.div_euclid(slide) * slide;
    let starts = (0..).map(|n| last - n * slide).take_while(|start| start + size > at_ms);
    starts.map(|start_ms| Window { start_ms, end_ms: start_ms + size }).collect()
}

#[test]
fn tumbling_windows_equal_plain_code() {
    for seed in 0..3 {
        let counts = run(seed, |events| {
            let windows = events.window(Tumbling::of(Duration::from_secs(4)));
            (*windows.count().uid("counts")).clone()
        });
        let expected = plain(seed, |at_ms| windows_of(at_ms, 4_000, 4_000));
        let expected: Vec<_> =
            expected.into_iter().map(|(key, window, _, count)| (key, window, count)).collect();
        assert_eq!(counts, expected, "seed {seed}");
    }
}

#[test]
fn sliding_windows_that_reduce_equal_plain_code() {
    for seed in 0..2 {
        let sums = run(seed, |events| {
            let windows = events.window(Sliding::of(Duration::from_secs(6), Duration::from_secs(2)));
            let add = |a: Event, b: Event| (a.0, a.1.max(b.1), a.2 + b.2);
            let tell = |key: &u64, window, sum: &Event, out: &mut Vec<_>| out.push((*key, window, sum.2));
            (*windows.reduce_with(add, tell).uid("sums")).clone()
        });
        let expected = plain(seed, |at_ms| windows_of(at_ms, 6_000, 2_000));
        let expected: Vec<_> = expected.into_iter().map(|(key, window, sum, _)| (key, window, sum)).collect();
        assert_eq!(sums, expected, "seed {seed}");
    }
}

#[test]
fn sessions_that_keep_all_records_equal_plain_code() {
    const GAP_MS: i64 = 2_500;
    for seed in 0..3 {
        let sessions = run(seed, |events| {
            let sessions = events.window(Session::with_gap(Duration::from_millis(GAP_MS as u64)));
            let tell = |key: &u64, window: Window, events: &[Event], out: &mut Vec<_>| {
                out.push((*key, window, events.iter().map(|e| e.2).sum::<i64>(), events.len()));
            };
            (*sessions.process(tell).uid("sessions")).clone()
        });
        let mut by_key = BTreeMap::<u64, Vec<(i64, i64)>>::new();
        events(seed).into_iter().for_each(|(key, at_ms, n)| by_key.entry(key).or_default().push((at_ms, n)));
        let mut expected: Vec<(u64, Window, i64, usize)> = Vec::new();
        for (key, mut times) in by_key {
            times.sort_unstable();
            for (at_ms, amount) in times {
                match expected.last_mut() {
                    Some((k, window, sum, count)) if *k == key && at_ms <= window.end_ms => {
                        window.end_ms = at_ms + GAP_MS;
                        (*sum, *count) = (*sum + amount, *count + 1);
                    }
                    _ => {
                        let window = Window { start_ms: at_ms, end_ms: at_ms + GAP_MS };
                        expected.push((key, window, amount, 1));
                    }
                }
            }
        }
        assert_eq!(sessions, expected, "seed {seed}");
    }
}

#[test]
fn windows_over_all_keys_and_windows_that_tell_in_between_equal_plain_code() {
    let totals = run(1, |events| {
        let all = events.window(Tumbling::of(Duration::from_secs(8))).trigger(Every { interval_ms: 1_000 });
        (*all.count().uid("so-far")).clone()
    });
    // The last word of each window is the whole truth.
    let mut last = BTreeMap::new();
    last.extend(totals.into_iter().map(|(key, window, count)| ((key, window), count)));
    let expected = plain(1, |at_ms| windows_of(at_ms, 8_000, 8_000));
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(k, window, _, count)| ((k, window), count)).collect();
    assert_eq!(last, expected);
}

#[test]
fn count_windows_tell_of_each_so_many_records() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("counted");
    let numbers = job.source(Generator::new(1, 100, |_, n| n)).uid("numbers");
    let fives = numbers.key_by(|n| n % 2).count_window(5).reduce(|a, b| a + b).uid("fives");
    fives.sink(FileSink::json_lines(dir.path().join("fives"))).uid("fives-out");
    let last = numbers.key_by(|_| 0u8).sliding_count_window(3, 10);
    let last = last.process(|_, _, numbers, out| out.push(numbers.to_vec())).uid("last");
    last.sink(FileSink::json_lines(dir.path().join("last"))).uid("last-out");
    let bounded = numbers.key_by(|_| 0u8).window(pitlane::engine::Global);
    let bounded = bounded.trigger(AfterRecords { records: 50, purge: false }).evictor(LastRecords(1));
    let bounded = bounded.process(|_, _, numbers, out| out.push(numbers.len())).uid("bounded");
    bounded.sink(FileSink::json_lines(dir.path().join("bounded"))).uid("bounded-out");
    job.run(&RunOptions::in_dir(dir.path().join("data")).workers(2)).unwrap();
    let sums: Vec<u64> = (0..10).flat_map(|n| [n * 50 + 20, n * 50 + 25]).collect();
    assert_eq!(lines::<u64>(&dir.path().join("fives")), sums);
    let expected: Vec<Vec<u64>> = (1..=10).map(|n| (n * 10 - 3..n * 10).collect()).collect();
    assert_eq!(lines::<Vec<u64>>(&dir.path().join("last")), expected);
    assert_eq!(lines::<usize>(&dir.path().join("bounded")), [1, 1]);
}

#[test]
fn late_records_go_to_the_side_output_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("late");
    let events = job
        .source(Generator::new(1, 2_000, |split, n| event(5, split, n)))
        .uid("events")
        .watermarks(Watermarks::ascending(), |event| event.1);
    let late = SideOutput::new("late");
    let counts = events
        .key_by(|event| event.0)
        .window(Tumbling::of(Duration::from_secs(1)))
        .allowed_lateness(Duration::from_millis(500))
        .late_to(&late)
        .count()
        .uid("counts");
    counts.sink(FileSink::json_lines(dir.path().join("counts"))).uid("counts-out");
    counts.side_output(&late).sink(FileSink::json_lines(dir.path().join("late"))).uid("late-out");
    job.run(&RunOptions::in_dir(dir.path().join("data"))).unwrap();
    let mut last = BTreeMap::new();
    let counts: Vec<(u64, Window, u64)> = lines(&dir.path().join("counts"));
    last.extend(counts.into_iter().map(|(key, window, count)| ((key, window), count)));
    let late: Vec<Event> = lines(&dir.path().join("late"));
    assert!(!late.is_empty());
    assert_eq!(last.values().sum::<u64>() + late.len() as u64, 2_000);
}

#[test]
fn two_streams_meet_in_windows() {
    let pairs = run(2, |events| {
        // The same events on both sides: as many pairs as there are records, squared.
        let joined = events.connect(events).window(Tumbling::of(Duration::from_secs(4)));
        let joined = joined.co_group(|key: &u64, window, a: &[Event], b: &[Event], out: &mut Vec<_>| {
            out.push((*key, window, (a.len() * b.len()) as u64));
        });
        (*joined.uid("pairs")).clone()
    });
    let expected = plain(2, |at_ms| windows_of(at_ms, 4_000, 4_000));
    let expected: Vec<_> =
        expected.into_iter().map(|(k, window, _, count)| (k, window, count * count)).collect();
    assert_eq!(pairs, expected);
}

#[test]
fn windows_by_the_clock_end_with_it() {
    let clock = Clock::by_hand(1_500);
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("clock");
    let numbers = job.source(Generator::new(1, u64::MAX, |_, n| n)).uid("numbers").rate(500.0);
    let counts =
        numbers.window_all(Tumbling::of(Duration::from_secs(1)).processing_time()).count().uid("counts");
    let (tell, told) = std::sync::mpsc::channel();
    let _ = counts.inspect(move |(_, window, count)| tell.send((*window, *count)).unwrap());
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path()) };
    let running = job.start(&options).unwrap();
    while running.status().operators.iter().map(|o| o.records_in).max() < Some(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(told.try_recv().is_err());
    clock.advance_to(2_000);
    let (window, count) = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(window, Window { start_ms: 1_000, end_ms: 2_000 });
    assert!(count > 0);
    running.cancel();
    running.wait().unwrap();
}

#[test]
fn a_record_without_event_time_stops_a_job_that_goes_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("timeless");
    let numbers = job.source(Generator::new(1, 10, |_, n| n)).uid("numbers");
    let _ = numbers.window_all(Tumbling::of(Duration::from_secs(1))).count().uid("counts");
    let error = job.run(&RunOptions::in_dir(dir.path())).unwrap_err();
    assert!(matches!(error, Error::NoEventTime { .. }), "{error}");
    assert!(error.hint().unwrap().contains(".watermarks("));
}

/// The second release counts in another type.
struct CountToV2;

impl Migration for CountToV2 {
    type From = u64;
    type To = (u64, i64);
    const TO: u32 = 2;

    fn migrate(&self, _: &Value, count: u64) -> Result<Option<(u64, i64)>, BoxError> {
        Ok(Some((count, 0)))
    }
}

#[derive(Clone)]
struct CountAndSum;

impl pitlane::engine::Aggregate for CountAndSum {
    type In = Event;
    type Accumulator = (u64, i64);
    type Out = (u64, i64);

    fn create(&self) -> (u64, i64) {
        (0, 0)
    }

    fn add(&self, (count, sum): &mut (u64, i64), (_, _, amount): Event) {
        *count += 1;
        *sum += amount;
    }

    fn result(&self, accumulator: &(u64, i64)) -> (u64, i64) {
        *accumulator
    }

    fn merge(&self, into: &mut (u64, i64), other: (u64, i64)) {
        *into = (into.0 + other.0, into.1 + other.1);
    }
}

#[test]
fn the_content_of_open_windows_migrates() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data")).workers(2);
    let first: Build<(u64, Window, u64)> = |events| {
        let windows = events.window(Tumbling::of(Duration::from_secs(4)));
        (*windows.count().uid("counts")).clone()
    };
    let running = job(3, dir.path(), first).start(&options).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    let second: Build<(u64, Window, u64)> = |events| {
        let windows = events.window(Tumbling::of(Duration::from_secs(4)));
        let tell =
            |key: &u64, window, (count, _): (u64, i64), out: &mut Vec<_>| out.push((*key, window, count));
        (*windows.aggregate_with(CountAndSum, tell).uid("counts").migrate(CountToV2)).clone()
    };
    let refused: Build<(u64, Window, u64)> = |events| {
        let windows = events.window(Tumbling::of(Duration::from_secs(4)));
        let tell =
            |key: &u64, window, (count, _): (u64, i64), out: &mut Vec<_>| out.push((*key, window, count));
        (*windows.aggregate_with(CountAndSum, tell).uid("counts").schema_version(2)).clone()
    };
    let error = job(3, dir.path(), refused).start(&options).err().unwrap();
    assert!(matches!(error, Error::Incompatible { .. } | Error::NoMigration { .. }), "{error}");
    job(3, dir.path(), second).run(&options.workers(3)).unwrap();
    let counts: Vec<(u64, Window, u64)> = lines(&dir.path().join("out"));
    let expected = plain(3, |at_ms| windows_of(at_ms, 4_000, 4_000));
    let expected: Vec<_> = expected.into_iter().map(|(key, window, _, count)| (key, window, count)).collect();
    assert_eq!(counts, expected);
}
