//! Jobs run in this process: what goes in comes out once, whatever happens in between.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Checkpoints, EndReason, Job, RunOptions};
use pitlane::savepoint::{Depth, Savepoint, verify};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Counts each number's turns: `(number, n-th time)`, so that any loss or repetition shows.
fn counting(out: &Path, splits: u32, records: u64) -> Job {
    let job = Job::new("counting").checkpoints(Checkpoints::every(Duration::from_millis(20)));
    job.source(Generator::new(splits, records, |split, n| (u64::from(split) + 7 * n) % 101))
        .uid("numbers")
        .key_by(|number| *number)
        .flat_map_with_state(|seen: &mut Option<u64>, number| {
            let times = seen.unwrap_or(0) + 1;
            *seen = Some(times);
            Some((number, times))
        })
        .uid("count")
        .sink(FileSink::json_lines(out))
        .uid("out");
    job
}

fn written(out: &Path) -> BTreeMap<(u64, u64), usize> {
    let mut records = BTreeMap::new();
    for entry in std::fs::read_dir(out).unwrap().flatten().filter(|e| e.path().is_file()) {
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            *records.entry(serde_json::from_str(line).unwrap()).or_default() += 1;
        }
    }
    records
}

fn expected(splits: u32, records: u64) -> BTreeMap<(u64, u64), usize> {
    let mut counts = BTreeMap::<u64, u64>::new();
    let mut all = BTreeMap::new();
    for number in (0..splits).flat_map(|split| (0..records).map(move |n| (u64::from(split) + 7 * n) % 101)) {
        let times = counts.entry(number).or_default();
        *times += 1;
        all.insert((number, *times), 1);
    }
    all
}

#[test]
fn every_record_is_counted_once_on_any_number_of_workers() {
    for workers in 1..=3 {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let options = RunOptions::in_dir(dir.path().join("data")).workers(workers);
        let end = counting(&out, 4, 5_000).run(&options).unwrap();
        assert_eq!(end.reason, EndReason::Finished);
        assert_eq!(written(&out), expected(4, 5_000), "{workers} workers");
        let image = Savepoint::open(end.image.unwrap()).unwrap();
        let report = verify(&image, Depth::Full);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!(image.operator("count").unwrap().state("state").unwrap().entry().rows(), 101);
    }
}

#[test]
fn a_finished_job_that_is_run_again_reads_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for workers in [2, 3, 1] {
        let options = RunOptions::in_dir(dir.path().join("data")).workers(workers);
        counting(&out, 3, 1_000).run(&options).unwrap();
        assert_eq!(written(&out), expected(3, 1_000));
    }
}

#[test]
fn a_job_goes_on_with_more_input_on_another_number_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for (splits, workers) in [(2, 2), (3, 3), (5, 1)] {
        let options = RunOptions::in_dir(dir.path().join("data")).workers(workers);
        counting(&out, splits, 2_000).run(&options).unwrap();
        assert_eq!(written(&out), expected(splits, 2_000), "{splits} splits");
    }
}
