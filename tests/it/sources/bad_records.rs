//! Records that cannot be parsed: the job stops, passes them over, or puts them aside.

use super::{lines_of, wait_for};
use pitlane::connectors::{BadRecord, FileSink, JsonLines};
use pitlane::engine::{Checkpoints, Job, RunOptions, SourceStream};
use pitlane::error::Error;
use std::path::Path;
use std::time::Duration;

/// Writes numbers from 0 on, every seventh of which is none.
fn write_input(path: &Path, lines: u64) {
    let line = |n: u64| if n % 7 == 3 { format!("no number {n}\n") } else { format!("{n}\n") };
    std::fs::write(path, (0..lines).map(line).collect::<String>()).unwrap();
}

fn good(lines: u64) -> Vec<String> {
    let mut lines: Vec<_> = (0..lines).filter(|n| n % 7 != 3).map(|n| n.to_string()).collect();
    lines.sort();
    lines
}

/// A job that copies the numbers of `in.jsonl`.
fn copy(dir: &Path, with: impl Fn(SourceStream<u64>) -> SourceStream<u64>) -> Job {
    let job = Job::new("copy").checkpoints(Checkpoints::every(Duration::from_millis(20)));
    let numbers = with(job.source(JsonLines::<u64>::new(dir.join("in.jsonl"))).uid("numbers"));
    numbers.sink(FileSink::json_lines(dir.join("out"))).uid("out");
    job
}

#[test]
fn the_first_one_stops_the_job_with_file_line_and_reason_and_the_last_image_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    let text: String = (0..5_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(&path, format!("{text}five\n")).unwrap();
    let options = RunOptions::in_dir(dir.path().join("data"));
    let slow = |numbers: SourceStream<u64>| numbers.rate(20_000.0);
    let error = copy(dir.path(), slow).run(&options).unwrap_err();
    let wanted = format!("in.jsonl, line 5001 (byte {}): expected ident at column 2", text.len());
    assert!(error.to_string().ends_with(&wanted), "{error}");
    assert!(error.hint().unwrap().contains("skip_bad_records"), "{error}");
    assert!(matches!(error, Error::Record { .. }));
    let committed = lines_of(&dir.path().join("out")).len();
    assert!(committed > 0, "what was committed before is there");
    // Mended, the job goes on from there.
    std::fs::write(&path, format!("{text}5000\n")).unwrap();
    copy(dir.path(), slow).run(&options).unwrap();
    let mut all: Vec<_> = (0..=5_000).map(|n| n.to_string()).collect();
    all.sort();
    assert_eq!(lines_of(&dir.path().join("out")), all);
}

#[test]
fn those_that_are_passed_over_are_counted_across_savepoints() {
    let dir = tempfile::tempdir().unwrap();
    write_input(&dir.path().join("in.jsonl"), 7_000);
    let options = RunOptions::in_dir(dir.path().join("data"));
    let skipping = |numbers: SourceStream<u64>| numbers.skip_bad_records().rate(10_000.0);
    let running = copy(dir.path(), skipping).start(&options).unwrap();
    wait_for(&running, |source| source.bad_records() > 100);
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    let running = copy(dir.path(), skipping).start(&options.clone().workers(2)).unwrap();
    let source = wait_for(&running, |source| source.splits.iter().any(|split| split.finished));
    assert_eq!((source.bad_records(), source.splits[0].records), (1_000, 6_000));
    running.wait().unwrap();
    assert_eq!(lines_of(&dir.path().join("out")), good(7_000));
}

#[test]
fn those_that_are_put_aside_are_in_files_of_their_own_each_once() {
    let dir = tempfile::tempdir().unwrap();
    write_input(&dir.path().join("in.jsonl"), 7_000);
    let options = RunOptions::in_dir(dir.path().join("data"));
    let job = |rate| {
        let job = Job::new("copy").checkpoints(Checkpoints::every(Duration::from_millis(20)));
        let numbers =
            job.source(JsonLines::<u64>::new(dir.path().join("in.jsonl"))).uid("numbers").rate(rate);
        numbers.bad_records().sink(FileSink::json_lines(dir.path().join("bad"))).uid("bad");
        numbers.sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
        job
    };
    for records in [1_000, 3_000] {
        let running = job(10_000.0).start(&options).unwrap();
        wait_for(&running, |source| source.splits.iter().any(|split| split.records >= records));
        // What was not committed is read again.
        running.cancel();
        running.wait().unwrap();
    }
    job(1e9).run(&options).unwrap();
    assert_eq!(lines_of(&dir.path().join("out")), good(7_000));
    let bad = lines_of(&dir.path().join("bad"));
    let mut bad: Vec<BadRecord> = bad.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    bad.sort_by_key(|bad| bad.offset);
    assert_eq!(bad.len(), 1_000);
    for (index, bad) in bad.iter().enumerate() {
        let number = 7 * index as u64 + 3;
        assert_eq!(bad.raw, format!("no number {number}"));
        assert_eq!(bad.line, Some(number + 1));
        assert!(bad.file.ends_with("in.jsonl") && bad.reason.starts_with("expected"), "{bad:?}");
    }
}
