//! Operators against plain code, with a stop, a rescale and a restart in the middle.

use pitlane::connectors::{FileSink, Generator};
use pitlane::control::{Command, http};
use pitlane::engine::{Checkpoints, Job, KeyedStream, RunOptions, Stream};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SPLITS: u32 = 3;
const RECORDS: u64 = 400;

type Reading = (u64, i64);

/// The key tells the split, so that the records of a key have one order.
fn reading(split: u32, n: u64) -> Reading {
    (u64::from(split) * 10 + n % 7, (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 45) as i64 % 50 - 25)
}

/// Runs a job on 2 workers, stops it half-way, goes on with 3, and returns its output by key, in order.
fn run<O>(build: impl Fn(&KeyedStream<u64, Reading>) -> Stream<O>) -> BTreeMap<u64, Vec<O>>
where
    O: pitlane::connectors::Record + Debug + OfKey,
{
    let dir = tempfile::tempdir().unwrap();
    let job = || {
        let job = Job::new("operators").checkpoints(Checkpoints::every(Duration::from_millis(5)));
        let readings = job.source(Generator::new(SPLITS, RECORDS, reading)).uid("readings").rate(20_000.0);
        build(&readings.key_by(|r| r.0)).sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
        job
    };
    let options = RunOptions::in_dir(dir.path().join("data"));
    let running = job().start(&options.clone().workers(2)).unwrap();
    std::thread::sleep(Duration::from_millis(8));
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    job().run(&options.workers(3)).unwrap();
    let files = std::fs::read_dir(dir.path().join("out")).unwrap().flatten().map(|e| e.path());
    let mut files: Vec<_> = files.filter(|p| p.is_file()).collect();
    // The epoch comes first in what tells files apart.
    files.sort();
    let mut lines = BTreeMap::<u64, Vec<O>>::new();
    for file in files {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let record: O = serde_json::from_str(line).unwrap();
            lines.entry(record.key()).or_default().push(record);
        }
    }
    lines
}

/// What belongs to a key.
trait OfKey {
    fn key(&self) -> u64;
}

impl<V> OfKey for (u64, V) {
    fn key(&self) -> u64 {
        self.0
    }
}

/// What plain code makes of the same readings, by key: `step` sees the state and the reading, and sends one record.
fn plain<S, O>(step: impl Fn(Option<S>, Reading) -> (S, O)) -> BTreeMap<u64, Vec<O>> {
    let mut states = BTreeMap::new();
    let mut sent = BTreeMap::<u64, Vec<O>>::new();
    for split in 0..SPLITS {
        for n in 0..RECORDS {
            let reading = reading(split, n);
            let (state, record) = step(states.remove(&reading.0), reading);
            states.insert(reading.0, state);
            sent.entry(reading.0).or_default().push(record);
        }
    }
    sent
}

#[test]
fn fold_count_and_sum_equal_plain_code() {
    let folded = run(|readings| {
        let folded = readings.fold((0u64, 0i64), |sum: &mut (u64, i64), (key, amount)| {
            *sum = (key, sum.1.wrapping_mul(3).wrapping_add(amount));
        });
        (*folded.uid("folded")).clone()
    });
    let step = |before: Option<i64>, (key, amount): Reading| {
        let sum = before.unwrap_or(0).wrapping_mul(3).wrapping_add(amount);
        (sum, (key, sum))
    };
    assert_eq!(folded, plain(step));
    let counted = run(|readings| (*readings.count().uid("counted")).clone());
    let count = |n: Option<u64>, (key, _): Reading| (n.unwrap_or(0) + 1, (key, n.unwrap_or(0) + 1));
    assert_eq!(counted, plain(count));
    let summed = run(|readings| (*readings.sum(|r| r.1).uid("summed")).clone());
    let sum =
        |s: Option<i64>, (key, amount): Reading| (s.unwrap_or(0) + amount, (key, s.unwrap_or(0) + amount));
    assert_eq!(summed, plain(sum));
}

#[test]
fn min_max_and_their_likes_equal_plain_code() {
    let best = |is_better: fn(i64, i64) -> bool| {
        plain(move |kept: Option<Reading>, new: Reading| {
            let kept = kept.filter(|kept| !is_better(kept.1, new.1)).unwrap_or(new);
            (kept, kept)
        })
    };
    let least = best(|kept, new| new < kept);
    let greatest = best(|kept, new| new > kept);
    let furthest = best(|kept, new| new.abs() > kept.abs());
    assert_eq!(run(|readings| (*readings.min().uid("least")).clone()), least);
    assert_eq!(run(|readings| (*readings.max().uid("greatest")).clone()), greatest);
    assert_eq!(run(|readings| (*readings.min_by(|r| r.1).uid("least")).clone()), least);
    assert_eq!(run(|readings| (*readings.max_by(|r| r.1.abs()).uid("furthest")).clone()), furthest);
}

#[test]
fn a_union_has_the_records_of_both_streams() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("union");
    let low = job.source(Generator::new(2, 100, |_, n| (n % 5, 1i64))).uid("low");
    let high = job.source(Generator::new(1, 50, |_, n| (n % 5, 100i64))).uid("high");
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&seen);
    low.union(&high)
        .inspect(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        })
        .key_by(|r| r.0)
        .sum(|r| r.1)
        .uid("sums")
        .sink(FileSink::csv(dir.path().join("out")))
        .uid("out");
    let image = job.run(&RunOptions::in_dir(dir.path().join("data")).workers(2)).unwrap().image.unwrap();
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 250);
    let savepoint = pitlane::savepoint::Savepoint::open(image).unwrap();
    let state = savepoint.operator("sums").unwrap().state("sum").unwrap();
    let sums: BTreeMap<u64, i64> =
        state.rows(pitlane::migrate::Chain::current(1)).unwrap().map(Result::unwrap).collect();
    assert_eq!(sums, (0..5).map(|key| (key, 2 * 20 + 10 * 100)).collect());
}

#[test]
fn a_running_job_tells_its_metrics_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("meters");
    let numbers = job.source(Generator::new(1, u64::MAX, |_, n| n % 100)).uid("numbers").rate(1e6);
    let _ = numbers.key_by(|n| *n).count().uid("counts");
    let run_dir = dir.path().join("run");
    let options =
        RunOptions { run_dir: Some(run_dir.clone()), ..RunOptions::in_dir(dir.path().join("data")) };
    let running = job.start(&options).unwrap();
    running.savepoint(Default::default()).unwrap();
    let mut stream = UnixStream::connect(run_dir.join("meters-1.sock")).unwrap();
    http::write_request(&mut stream, &Command::Metrics.request()).unwrap();
    let text = String::from_utf8(http::read_response(&mut stream).unwrap().body).unwrap();
    assert!(text.contains("pitlane_state_entries{job=\"meters\",uid=\"counts\",state=\"count\"} "), "{text}");
    assert!(text.contains("pitlane_checkpoint_epoch{job=\"meters\"} 1\n"), "{text}");
    running.cancel();
    running.wait().unwrap();
}
