//! A bad release is rolled back, as docs/operations.md says.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Checkpoints, Job, JobHandle, RunOptions};
use pitlane::migrate::Migration;
use pitlane::model::Value;
use pitlane::{BoxError, State};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const RECORDS: u64 = 3_000;

fn options(dir: &Path) -> RunOptions {
    RunOptions::in_dir(dir.join("data")).workers(2)
}

/// Adds up the numbers of each key.
fn sound(dir: &Path) -> Job {
    let job = Job::new("sums").release("1").checkpoints(Checkpoints::every(Duration::from_millis(20)));
    job.source(Generator::new(1, RECORDS, |_, n| n))
        .uid("numbers")
        .rate(2_000.0)
        .key_by(|n| n % 7)
        .flat_map_with_state(|sum: &mut Option<u32>, n: u64| {
            let now = sum.unwrap_or(0) + n as u32;
            *sum = Some(now);
            Some((n, u64::from(now)))
        })
        .uid("sum")
        .sink(FileSink::json_lines(dir.join("out")))
        .uid("out");
    job
}

#[derive(Clone, State)]
#[state(version = 2)]
struct Sum {
    sum: u64,
}

struct SumToV2;

impl Migration for SumToV2 {
    type From = u32;
    type To = Sum;

    fn migrate(&self, _key: &Value, sum: u32) -> Result<Option<Sum>, BoxError> {
        Ok(Some(Sum { sum: sum.into() }))
    }
}

/// Does so with a wider sum, and forgets to add.
fn bad(dir: &Path) -> Job {
    let job = Job::new("sums").release("2").checkpoints(Checkpoints::every(Duration::from_millis(20)));
    job.source(Generator::new(1, RECORDS, |_, n| n))
        .uid("numbers")
        .rate(2_000.0)
        .key_by(|n| n % 7)
        .flat_map_with_state(|sum: &mut Option<Sum>, n: u64| {
            let kept = sum.get_or_insert(Sum { sum: 0 });
            kept.sum = n;
            Some((n, kept.sum))
        })
        .migrate(SumToV2)
        .uid("sum")
        .sink(FileSink::json_lines(dir.join("out")))
        .uid("out");
    job
}

fn visible(dir: &Path) -> Vec<(u64, u64)> {
    let mut records = Vec::new();
    for entry in fs::read_dir(dir.join("out")).into_iter().flatten().flatten() {
        if entry.path().is_file() {
            let text = fs::read_to_string(entry.path()).unwrap();
            records.extend(text.lines().map(|line| serde_json::from_str::<(u64, u64)>(line).unwrap()));
        }
    }
    records.sort();
    records
}

/// Waits until the job has made at least so many records visible.
fn wait_for(running: &JobHandle, dir: &Path, records: usize) {
    let began = Instant::now();
    while visible(dir).len() < records {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", running.status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_bad_release_is_rolled_back_and_each_record_is_there_once_and_right() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let running = sound(dir).start(&options(dir)).unwrap();
    wait_for(&running, dir, 100);
    let before = running.stop(Default::default()).unwrap().path;
    running.wait().unwrap();
    let good = visible(dir);

    let running = bad(dir).start(&options(dir)).unwrap();
    assert_eq!(running.status().id, "sums-2");
    wait_for(&running, dir, good.len() + 100);
    running.cancel();
    running.wait().unwrap();
    assert!(visible(dir).iter().any(|(n, sum)| n > &7 && n == sum), "it has done harm");

    // Without the savepoint there is no way back: the state has become what the old release does not know.
    let refused = sound(dir).start(&options(dir)).map(drop).unwrap_err();
    assert!(refused.to_string().contains("schema version 2"), "{refused}");

    for entry in fs::read_dir(dir.join("out")).unwrap().flatten() {
        if entry.file_name().to_string_lossy().contains("-a0002-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    assert_eq!(visible(dir), good, "what the bad release wrote is told by its attempt");
    sound(dir).run(&options(dir).from(before)).unwrap();
    let mut sums = [0; 7];
    let wanted = (0..RECORDS).map(|n| {
        let sum = &mut sums[(n % 7) as usize];
        *sum += n;
        (n, *sum)
    });
    assert_eq!(visible(dir), wanted.collect::<Vec<_>>());
}
