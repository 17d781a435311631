//! Interval joins against a nested loop over the same records, over stops, rescales and a migration.

use pitlane::connectors::{FileSink, Generator};
use pitlane::control::SplitStatus;
use pitlane::engine::{Checkpoints, Job, JobHandle, RunOptions, Watermarks};
use pitlane::migrate::Migration;
use pitlane::model::Value;
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::{BoxError, State};
use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::Path;
use std::time::{Duration, Instant};

/// A key, a number of its own, and an event time.
type Event = (u64, u64, i64);
/// The numbers of two events with one key.
type Pair = (u64, u64, u64);

const RECORDS: u64 = 120;
const LEFT_SPLITS: u32 = 2;

/// Event times rise with the numbers, up to five seconds out of order; several events may have one.
fn event(seed: u64, split: u32, n: u64) -> Event {
    let noise = (n ^ seed ^ u64::from(split) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let at_ms = n as i64 * 1_000 + (noise % 5) as i64 * 1_000;
    (noise / 5 % 3, u64::from(split) * RECORDS + n, at_ms)
}

fn left(seed: u64) -> impl Fn(u32, u64) -> Event + Clone {
    move |split, n| event(seed, split, n)
}

fn right(seed: u64) -> impl Fn(u32, u64) -> Event + Clone {
    move |split, n| event(seed.rotate_left(7), split + 77, n)
}

fn job(seed: u64, (lower_ms, upper_ms): (i64, i64), out: &Path) -> Job {
    let job = Job::new("pairs").checkpoints(Checkpoints::every(Duration::from_millis(5)));
    let bound = Watermarks::bounded(Duration::from_secs(5));
    let left = job.source(Generator::new(LEFT_SPLITS, RECORDS, left(seed))).uid("left");
    let right = job.source(Generator::new(1, RECORDS, right(seed))).uid("right");
    let left = left.watermarks(bound, |e| e.2).rate(3_000.0);
    let right = right.watermarks(bound, |e| e.2).rate(2_000.0);
    let pairs = left
        .key_by(|e| e.0)
        .connect(&right.key_by(|e| e.0))
        .interval_join(lower_ms, upper_ms, |l, r| (l.0, l.1, r.1))
        .uid("pairs");
    pairs.sink(FileSink::json_lines(out)).uid("out");
    job
}

fn nested_loop(seed: u64, (lower_ms, upper_ms): (i64, i64)) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for split in 0..LEFT_SPLITS {
        for l in (0..RECORDS).map(|n| left(seed)(split, n)) {
            for r in (0..RECORDS).map(|n| right(seed)(0, n)) {
                if l.0 == r.0 && (lower_ms..=upper_ms).contains(&(r.2 - l.2)) {
                    pairs.push((l.0, l.1, r.1));
                }
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

fn lines<T: DeserializeOwned + Ord>(dir: &Path) -> Vec<T> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let files = files.filter(|path| path.is_file());
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut records: Vec<T> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort();
    records
}

/// Waits until an operator has taken so many records, or all input is read.
fn wait_for(running: &JobHandle, uid: &str, records: u64) {
    let taken = || {
        let status = running.status();
        let operator = status.operators.into_iter().find(|operator| operator.uid.as_str() == uid);
        let is_over = |splits: &[SplitStatus]| !splits.is_empty() && splits.iter().all(|s| s.finished);
        (operator.unwrap().records_in, status.sources.iter().all(|source| is_over(&source.splits)))
    };
    for _ in 0..20_000 {
        let (taken, over) = taken();
        if taken >= records || over {
            return;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    panic!("{uid} never took {records} records");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn a_join_is_a_nested_loop_wherever_it_is_stopped_and_rescaled(
        seed in any::<u64>(),
        lower_ms in -20_000i64..20_000,
        width_ms in 0i64..20_000,
        stops in proptest::collection::vec((1u64..300, 1usize..4), 0..3),
        last in 1usize..4,
        sweep in crate::sweep::any_sweep(),
    ) {
        let bounds = (lower_ms, lower_ms + width_ms);
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut options = RunOptions::in_dir(dir.path().join("data"));
        options.sweep = sweep;
        for (records, workers) in stops {
            let running = job(seed, bounds, &out).start(&options.clone().workers(workers)).unwrap();
            wait_for(&running, "pairs", records);
            // The job may have come to its end by itself.
            let _ = running.stop(Default::default());
            let image = running.wait().unwrap().image.unwrap();
            let savepoint = Savepoint::open(image).unwrap();
            prop_assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        }
        let image = job(seed, bounds, &out).run(&options.workers(last)).unwrap().image.unwrap();
        prop_assert_eq!(lines::<Pair>(&out), nested_loop(seed, bounds));
        let savepoint = Savepoint::open(image).unwrap();
        for state in savepoint.operator("pairs").unwrap().states() {
            prop_assert_eq!(state.entry().rows(), 0, "nothing is kept for longer than partners may come");
        }
    }
}

#[test]
fn an_empty_interval_is_refused_before_anything_starts() {
    let error = job(0, (1, 0), Path::new("out")).describe().unwrap_err();
    let text = "job `pairs`: operator `pairs`: nothing lies in an interval from 1 ms to 0 ms";
    assert_eq!(error.to_string(), text);
}

#[test]
fn records_without_event_times_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("timeless");
    let numbers = job.source(Generator::new(1, 10, |_, n| n)).uid("numbers").key_by(|n| *n);
    let _ = numbers.connect(&numbers).interval_join(0, 0, |a, b| a + b).uid("pairs");
    let error = job.run(&RunOptions::in_dir(dir.path())).unwrap_err();
    assert_eq!(error.to_string(), "operator `pairs`: found a record without event time, wanted one");
    assert!(error.hint().unwrap().contains(".watermarks("));
}

/// Twenty early events at a time, then twenty that are twenty minutes older; and one partner for all of them.
fn run_late(allowed: Duration) -> (usize, Vec<i64>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("late");
    let time_of = |n: u64| if n < 20 { 1_200_000 } else { 0 } + n as i64;
    let left = job.source(Generator::new(1, 40, move |_, n| time_of(n))).uid("left").rate(200.0);
    let left = left.watermarks(Watermarks::ascending(), |at_ms| *at_ms);
    let right = job.source(Generator::new(1, 1, |_, _| 1_200_000)).uid("right");
    let right = right.watermarks(Watermarks::ascending(), |at_ms| *at_ms);
    let pairs = left
        .key_by(|_| ())
        .connect(&right.key_by(|_| ()))
        .interval_join(-1_000_000, 1_200_000, |l, _| *l)
        .allowed_lateness(allowed)
        .uid("pairs");
    pairs.sink(FileSink::json_lines(dir.path().join("pairs"))).uid("out");
    pairs.late_left().sink(FileSink::json_lines(dir.path().join("late"))).uid("late");
    let running = job.start(&RunOptions::in_dir(dir.path().join("data")).workers(2)).unwrap();
    let late = || {
        let status = running.status();
        status.operators.iter().find(|o| o.uid.as_str() == "pairs").unwrap().late_records
    };
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) && late() < 20 {
        std::thread::sleep(Duration::from_micros(200));
    }
    let counted = late();
    running.wait().unwrap();
    (lines::<i64>(&dir.path().join("pairs")).len(), lines(&dir.path().join("late")), counted)
}

#[test]
fn late_records_are_counted_and_go_elsewhere_unless_they_are_waited_for() {
    let (pairs, late, counted) = run_late(Duration::ZERO);
    assert_eq!((pairs, late, counted), (20, (20..40).collect(), 20));
    let (pairs, late, counted) = run_late(Duration::from_secs(1_200));
    assert_eq!((pairs, late, counted), (40, vec![], 0));
}

/// An advertisement that was shown, in release 2.
#[derive(Clone, Serialize, Deserialize, State)]
#[state(version = 2)]
struct Shown {
    ad: u64,
    at_ms: i64,
    page: Option<String>,
}

struct ShownToV2;

impl Migration for ShownToV2 {
    type From = (u64, i64);
    type To = Shown;

    fn migrate(&self, ad: &Value, (kept, at_ms): (u64, i64)) -> Result<Option<Shown>, BoxError> {
        assert_eq!(*ad, Value::Uint(kept.into()));
        Ok((kept != 3).then_some(Shown { ad: kept, at_ms, page: None }))
    }
}

#[test]
fn records_that_wait_for_their_partners_are_migrated_one_by_one() {
    const ADS: u64 = 10;
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data"));
    let shown = |n: u64| (n % 5, n as i64 * 1_000);
    let old = Job::new("ads").release("1");
    let ads = old.source(Generator::new(1, ADS, move |_, n| shown(n))).uid("shown");
    let ads = ads.watermarks(Watermarks::ascending(), |(_, at_ms)| *at_ms);
    // So slow that there is none: what was shown has to wait.
    let clicks = old.source(Generator::new(1, 5, move |_, n| (n, 60_000))).uid("clicks").rate(1e-6);
    let clicks = clicks.watermarks(Watermarks::ascending(), |(_, at_ms): &(u64, i64)| *at_ms);
    let _ = ads
        .key_by(|(ad, _)| *ad)
        .connect(&clicks.key_by(|(ad, _)| *ad))
        .interval_join(0, 60_000, |shown, _| *shown)
        .uid("waits");
    let running = old.start(&options.clone().workers(2)).unwrap();
    wait_for(&running, "waits", ADS);
    let stopped = running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    let savepoint = Savepoint::open(stopped.path).unwrap();
    assert_eq!(savepoint.operator("waits").unwrap().state("left").unwrap().entry().rows(), 5);

    let new = Job::new("ads").release("2");
    let page = Some("front".to_owned());
    let shown = move |_, n| Shown { ad: n % 5, at_ms: n as i64 * 1_000, page: page.clone() };
    let ads = new.source(Generator::new(1, ADS, shown)).uid("shown");
    let ads = ads.watermarks(Watermarks::ascending(), |shown| shown.at_ms);
    let clicks = new.source(Generator::new(1, 5, move |_, n| (n, 60_000))).uid("clicks");
    let clicks = clicks.watermarks(Watermarks::ascending(), |(_, at_ms): &(u64, i64)| *at_ms);
    let waits = ads
        .key_by(|shown| shown.ad)
        .connect(&clicks.key_by(|(ad, _)| *ad))
        .interval_join(0, 60_000, |shown, _| (shown.ad, shown.at_ms, shown.page.clone()))
        .migrate_left(ShownToV2)
        .uid("waits");
    waits.sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
    new.run(&options.workers(3)).unwrap();
    let expected = (0..ADS).filter(|n| n % 5 != 3).map(|n| (n % 5, n as i64 * 1_000, None::<String>));
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    assert_eq!(lines::<(u64, i64, Option<String>)>(&dir.path().join("out")), expected);
}

#[test]
fn two_operators_may_read_one_keyed_stream() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("shared");
    let numbers = job.source(Generator::new(1, 400_000, |_, n| n % 100)).uid("numbers").key_by(|n| *n);
    let _ = numbers.count().uid("counts");
    let _ = numbers.max().uid("greatest");
    let image = job.run(&RunOptions::in_dir(dir.path()).workers(2)).unwrap().image.unwrap();
    let savepoint = Savepoint::open(image).unwrap();
    let counts = savepoint.operator("counts").unwrap().state("count").unwrap();
    let rows = counts.rows::<u64, u64>(pitlane::migrate::Chain::current(1)).unwrap();
    assert!(rows.map(Result::unwrap).all(|(_, count)| count == 4_000));
}
