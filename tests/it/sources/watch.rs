//! Directories that are watched, and the order in which files are read.

use super::{lines_of, wait_for};
use pitlane::connectors::{FileSink, JsonLines};
use pitlane::engine::{Checkpoints, Job, JobHandle, RunOptions, Watermarks};
use pitlane::error::Error;
use pitlane::savepoint::Savepoint;
use std::fs;
use std::path::Path;
use std::time::Duration;

const OFTEN: Duration = Duration::from_millis(10);

/// Copies the numbers of the directory `in`.
fn copy(dir: &Path, with: impl Fn(JsonLines<i64>) -> JsonLines<i64>) -> Job {
    let job = Job::new("copy").checkpoints(Checkpoints::every(Duration::from_millis(50)));
    let numbers = job.source(with(JsonLines::new(dir.join("in")))).uid("numbers");
    let numbers = numbers.watermarks(Watermarks::ascending(), |n| *n);
    numbers.sink(FileSink::json_lines(dir.join("out"))).uid("out");
    job
}

fn write(dir: &Path, name: &str, numbers: std::ops::Range<i64>) {
    let text: String = numbers.map(|n| format!("{n}\n")).collect();
    fs::write(dir.join("in").join(name), text).unwrap();
}

fn numbers(range: std::ops::Range<i64>) -> Vec<String> {
    let mut numbers: Vec<_> = range.map(|n| n.to_string()).collect();
    numbers.sort();
    numbers
}

fn stop(running: JobHandle) -> Savepoint {
    let path = running.stop(Default::default()).unwrap().path;
    running.wait().unwrap();
    Savepoint::open(path).unwrap()
}

fn finished(running: &JobHandle, files: usize) {
    wait_for(running, |source| source.splits.iter().filter(|split| split.finished).count() == files);
}

#[test]
fn files_that_appear_are_read_once_on_any_number_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    write(dir, "a.jsonl", 0..100);
    let options = RunOptions::in_dir(dir.join("data"));
    let watched = |source: JsonLines<i64>| source.watch(OFTEN);
    let mut next = 1;
    for (round, workers) in [2, 3, 1].into_iter().enumerate() {
        let running = copy(dir, watched).start(&options.clone().workers(workers)).unwrap();
        for file in 0..5 {
            // Not whole yet, until it is renamed.
            let name = format!("b-{round}-{file}.jsonl");
            write(dir, &format!(".{name}"), next * 100..(next + 1) * 100);
            std::thread::sleep(Duration::from_millis(30));
            fs::rename(dir.join("in").join(format!(".{name}")), dir.join("in").join(&name)).unwrap();
            next += 1;
        }
        finished(&running, next as usize);
        let savepoint = stop(running);
        let source = &savepoint.manifest().sources[0];
        assert_eq!(source.positions.len(), next as usize);
        assert_eq!(source.watermark_ms(), Some(next * 100 - 1));
        assert_eq!(lines_of(&dir.join("out")), numbers(0..next * 100));
    }
}

#[test]
fn a_watching_worker_without_a_file_holds_nobody_back() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    let running =
        copy(dir, |source| source.watch(OFTEN)).start(&RunOptions::in_dir(dir.join("data")).workers(3));
    let running = running.unwrap();
    write(dir, "only.jsonl", 0..500);
    finished(&running, 1);
    let mark = |running: &JobHandle| {
        let operators = running.status().operators;
        operators.iter().find(|operator| operator.uid.as_str() == "out").unwrap().watermark_ms
    };
    let began = std::time::Instant::now();
    while mark(&running) != Some(499) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", mark(&running));
        std::thread::sleep(OFTEN);
    }
    stop(running);
}

#[test]
fn files_in_order_are_read_one_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    for day in 0..20 {
        write(dir, &format!("day-{day:02}.jsonl"), day * 3_000..(day + 1) * 3_000);
    }
    let job = Job::new("days");
    let days = job.source(JsonLines::<i64>::new(dir.join("in")).in_order()).uid("days");
    let days = days.watermarks(Watermarks::ascending(), |n| *n).rate(50_000.0);
    days.sink(FileSink::json_lines(dir.join("out"))).uid("out");
    let running = job.start(&RunOptions::in_dir(dir.join("data"))).unwrap();
    wait_for(&running, |source| source.splits.iter().any(|split| split.finished));
    let savepoint = stop(running);
    let positions = &savepoint.manifest().sources[0].positions;
    let open: Vec<_> = positions.iter().filter(|position| !position.finished).collect();
    assert!(open.len() == 1 && positions.len() < 20, "{positions:?}");
    assert!(open[0].watermark_ms.unwrap() >= 3_000, "{open:?}");
}

#[test]
fn a_file_that_grows_after_it_was_read_stops_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    write(dir, "a.jsonl", 0..10);
    let options = RunOptions::in_dir(dir.join("data"));
    copy(dir, |source| source).run(&options).unwrap();
    write(dir, "a.jsonl", 0..11);
    let error = copy(dir, |source| source).run(&options).unwrap_err();
    assert!(matches!(error, Error::InputChanged { found: 23, wanted: 20, .. }), "{error}");
    let wanted = "a.jsonl` has changed since it was read: found 23 bytes, wanted 20";
    assert!(error.to_string().ends_with(wanted), "{error}");
}

#[test]
fn a_file_that_is_gone_before_it_was_read_stops_the_job_and_one_that_was_read_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    write(dir, "a.jsonl", 0..10);
    write(dir, "b.jsonl", 10..20_000);
    let options = RunOptions::in_dir(dir.join("data"));
    let watched = |source: JsonLines<i64>| source.watch(OFTEN).forget_removed();
    let slow = {
        let job = Job::new("copy");
        let numbers = job.source(watched(JsonLines::<i64>::new(dir.join("in")))).uid("numbers").rate(1_000.0);
        numbers.sink(FileSink::json_lines(dir.join("out"))).uid("out");
        job
    };
    let running = slow.start(&options).unwrap();
    finished(&running, 1);
    let savepoint = stop(running);
    assert_eq!(savepoint.manifest().sources[0].positions.len(), 2);
    fs::rename(dir.join("in/b.jsonl"), dir.join("b.jsonl")).unwrap();
    let error = copy(dir, watched).run(&options).unwrap_err();
    assert!(matches!(&error, Error::InputGone { split, .. } if split.ends_with("b.jsonl")), "{error}");
    fs::rename(dir.join("b.jsonl"), dir.join("in/b.jsonl")).unwrap();
    fs::remove_file(dir.join("in/a.jsonl")).unwrap();
    let running = copy(dir, watched).start(&options).unwrap();
    finished(&running, 1);
    fs::remove_file(dir.join("in/b.jsonl")).unwrap();
    let began = std::time::Instant::now();
    // Both are forgotten in the end.
    loop {
        let path = running.savepoint(Default::default()).unwrap().path;
        if Savepoint::open(path).unwrap().manifest().sources[0].positions.is_empty() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    stop(running);
    assert_eq!(lines_of(&dir.join("out")), numbers(0..20_000));
}

#[test]
fn more_files_than_are_open_at_once_are_all_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("in")).unwrap();
    for file in 0..300 {
        write(dir, &format!("{file:03}.jsonl"), file * 10..(file + 1) * 10);
    }
    let options = RunOptions::in_dir(dir.join("data")).workers(2);
    let end = copy(dir, |source| source).run(&options).unwrap();
    assert_eq!(lines_of(&dir.join("out")), numbers(0..3_000));
    let image = Savepoint::open(end.image.unwrap()).unwrap();
    assert!(image.manifest().sources[0].positions.iter().all(|position| position.finished));
}
