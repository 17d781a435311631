//! Each call of the storage in an attempt fails once, in every way: what is left is the image before or the new one,
//! whole, and no output is lost or there twice.

use crate::faults::written;
use pitlane::Error;
use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Checkpoints, Job, RunOptions};
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::storage::{Fault, PlannedFaults};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SPLITS: u32 = 2;
const RECORDS: u64 = 120;
const KEYS: u64 = 17;
const LONG: Duration = Duration::from_secs(60);

fn key(split: u32, n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(split) % KEYS
}

fn job(out: &Path, checkpoints: Checkpoints, rate: f64) -> Job {
    let job = Job::new("counting").checkpoints(checkpoints);
    job.source(Generator::new(SPLITS, RECORDS, key))
        .uid("numbers")
        .rate(rate)
        .key_by(|key| *key)
        .count()
        .uid("count")
        .sink(FileSink::json_lines(out))
        .uid("out");
    job
}

/// Every key with every number up to how often it comes.
fn expected() -> Vec<(u64, u64)> {
    let mut counts = BTreeMap::new();
    for split in 0..SPLITS {
        (0..RECORDS).for_each(|n| *counts.entry(key(split, n)).or_insert(0) += 1);
    }
    counts.into_iter().flat_map(|(key, count)| (1..=count).map(move |n| (key, n))).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

fn options(dir: &Path) -> RunOptions {
    RunOptions::in_dir(dir.join("data"))
}

/// Runs an attempt to the end of its input, or to its failure.
fn run(dir: &Path, checkpoints: Checkpoints, rate: f64) -> Result<(), Error> {
    let running = job(&dir.join("out"), checkpoints, rate).start(&options(dir))?;
    let began = Instant::now();
    while !running.is_over() {
        assert!(began.elapsed() < LONG, "an attempt hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
    running.wait().map(drop)
}

/// An attempt that was stopped with a savepoint when it had read some of its input.
fn stopped_early(dir: &Path) {
    let running = job(&dir.join("out"), Checkpoints::off(), 100.0).start(&options(dir)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    let records = written(&dir.join("out")).len();
    assert!(records < expected().len(), "{records} records: it was to be stopped before its input is over");
}

fn images(dir: &Path) -> Vec<PathBuf> {
    let kinds = ["checkpoints", "savepoints"].map(|kind| dir.join("data/counting").join(kind));
    let images = kinds.iter().flat_map(|kind| std::fs::read_dir(kind).into_iter().flatten().flatten());
    images.map(|entry| entry.path()).collect()
}

/// Checks that each image is whole or none; returns the ids of those that are there.
fn whole_images(dir: &Path, context: &str) -> Vec<String> {
    let mut whole = Vec::new();
    for image in images(dir) {
        match Savepoint::open(&image) {
            Ok(savepoint) => {
                let problems = verify(&savepoint, Depth::Full).problems;
                // What was to become a manifest may lie beside it; nothing takes it for one.
                let problems: Vec<_> =
                    problems.iter().filter(|problem| !problem.file.starts_with(".tmp-")).collect();
                assert!(problems.is_empty(), "{context}: {}: {problems:?}", image.display());
                whole.push(savepoint.id().0.clone());
            }
            Err(Error::NotASavepoint { .. }) => {}
            Err(error) => panic!("{context}: {} is half a savepoint: {error}", image.display()),
        }
    }
    whole
}

/// At which calls an attempt fails, and how it runs.
#[derive(Clone, Copy)]
struct Plan<'a> {
    /// What is there when it begins.
    before: &'a Path,
    /// From one call that fails to the next.
    step: usize,
    checkpoints: Checkpoints,
    rate: f64,
}

impl Plan<'_> {
    /// Lets the attempt fail at each call from `first` on; returns the calls that failed. There are `calls` of them, if
    /// that is known.
    fn fail_at(self, fault: Fault, first: usize, calls: Option<usize>) -> Vec<String> {
        let old = whole_images(self.before, "before");
        assert_eq!(old.len(), 1);
        let mut all = Vec::new();
        for sound in (first..).step_by(self.step) {
            let dir = tempfile::tempdir().unwrap();
            copy(self.before, dir.path());
            let faults = PlannedFaults::new(dir.path().join("data"), fault, sound);
            let ended = run(dir.path(), self.checkpoints, self.rate);
            let failed = faults.failed();
            drop(faults);
            let said = ended.as_ref().err().map(ToString::to_string);
            let context = format!("{fault:?} after {sound} calls, {failed:?}: {said:?}");
            assert!(whole_images(dir.path(), &context).contains(&old[0]), "{context}: a savepoint is gone");
            // Whatever was there: the next attempt goes on from the last image that counts.
            run(dir.path(), self.checkpoints, 1e9).unwrap_or_else(|error| panic!("{context}: then {error}"));
            assert!(
                written(&dir.path().join("out")) == expected(),
                "{context}: output is lost, or there twice"
            );
            assert!(whole_images(dir.path(), &context).len() > 1, "{context}: no new image");
            if failed.is_none() {
                assert!(ended.is_ok(), "{context}");
                // There are calls that cannot fail in every way.
                if calls.is_none_or(|calls| sound >= calls) {
                    return all;
                }
            }
            all.extend(failed);
        }
        unreachable!("an attempt has an end")
    }

    /// Lets it fail in every way; returns the calls that failed.
    fn fail_everywhere(self) -> Vec<String> {
        let mut failed = self.fail_at(Fault::Gone, 0, None);
        let calls = failed.len() * self.step;
        std::thread::scope(|scope| {
            let ways = Fault::ALL.into_iter().enumerate().skip(1);
            let ways: Vec<_> = ways
                .map(|(n, fault)| scope.spawn(move || self.fail_at(fault, n % self.step, Some(calls))))
                .collect();
            ways.into_iter().for_each(|way| failed.extend(way.join().unwrap()));
        });
        for verb in ["create ", "write ", "finish ", "publish "] {
            assert!(failed.iter().any(|call| call.starts_with(verb)), "none of `{verb}` failed: {failed:?}");
        }
        failed
    }
}

#[test]
fn whatever_call_of_an_attempt_fails_the_image_before_or_the_new_one_is_whole_and_no_output_is_lost() {
    let before = tempfile::tempdir().unwrap();
    stopped_early(before.path());
    let failed =
        Plan { before: before.path(), step: 1, checkpoints: Checkpoints::off(), rate: 1e9 }.fail_everywhere();
    // Once the history has an entry the image counts, though its manifest finds no room.
    for place in ["publish 0", "publish manifest.json", "delete "] {
        let count = failed.iter().filter(|call| call.starts_with(place)).count();
        assert!(count >= 3, "{place}: {count}");
    }
}

#[test]
fn whatever_call_fails_among_checkpoints_of_what_has_changed_each_image_is_whole_and_no_output_is_lost() {
    let before = tempfile::tempdir().unwrap();
    stopped_early(before.path());
    let checkpoints = Checkpoints::every(Duration::from_millis(5)).keep(3).incremental();
    let failed = Plan { before: before.path(), step: 3, checkpoints, rate: 3_000.0 }.fail_everywhere();
    assert!(failed.iter().any(|call| call.starts_with("link ")), "{failed:?}");
}
