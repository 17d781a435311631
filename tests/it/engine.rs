//! Jobs run in this process: what goes in comes out once, whatever happens in between.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Checkpoints, EndReason, Job, RunOptions};
use pitlane::savepoint::{Depth, Savepoint, SavepointWriter, verify};
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

/// Copies a directory of files and directories.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten().map(|e| e.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_flipped_bit_anywhere_in_a_savepoint_stops_the_job_that_resumes_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let end = counting(&out, 2, 600).run(&RunOptions::in_dir(&data)).unwrap();
    let image = end.image.unwrap();
    let mut flipped = 0;
    for file in files_below(&image) {
        let size = std::fs::metadata(&file).unwrap().len() as usize;
        for at in (0..size).step_by(1 + size / 25) {
            flipped += 1;
            let damaged = tempfile::tempdir().unwrap();
            let savepoint = damaged.path().join("savepoint");
            copy(&image, &savepoint);
            let path = savepoint.join(file.strip_prefix(&image).unwrap());
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, bytes).unwrap();
            // More input, which touches every key.
            let options = RunOptions::in_dir(damaged.path().join("data")).from(&savepoint);
            let error = counting(&damaged.path().join("out"), 3, 600).run(&options).unwrap_err();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(error.to_string().contains(name), "byte {at} of {name}: {error}");
        }
    }
    assert!(flipped > 60, "{flipped}");
}

#[test]
fn a_directory_without_a_manifest_is_not_taken_for_a_savepoint() {
    let dir = tempfile::tempdir().unwrap();
    let end =
        counting(&dir.path().join("out"), 1, 100).run(&RunOptions::in_dir(dir.path().join("data"))).unwrap();
    let image = end.image.unwrap();
    std::fs::remove_file(image.join("manifest.json")).unwrap();
    let options = RunOptions::in_dir(dir.path().join("other")).from(&image);
    let error = counting(&dir.path().join("out2"), 1, 100).run(&options).unwrap_err();
    assert!(error.to_string().ends_with("is not a savepoint: it has no manifest.json"), "{error}");
}

#[test]
fn a_job_without_uid_with_one_twice_or_with_too_many_workers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    let job = Job::new("nameless");
    let _ = job.source(Generator::new(1, 1, |_, n| n)).key_by(|n| *n).reduce(|a, _| a).uid("r");
    let error = job.run(&options).unwrap_err();
    assert_eq!(error.to_string(), "job `nameless`: a source operator has no uid");
    let job = Job::new("twice");
    let _ = job.source(Generator::new(1, 1, |_, n| n)).uid("x").key_by(|n| *n).reduce(|a, _| a).uid("x");
    assert_eq!(job.run(&options).unwrap_err().to_string(), "job `twice`: two operators have the uid `x`");
    let error = counting(&dir.path().join("out"), 1, 1).run(&options.workers(129)).unwrap_err();
    assert_eq!(error.to_string(), "job `counting`: 129 workers for 128 key groups");
}

#[test]
fn an_operator_that_panics_stops_the_job_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("fragile");
    job.source(Generator::new(2, 100, |_, n| n))
        .uid("numbers")
        .key_by(|n| *n)
        .flat_map_with_state(|_: &mut Option<u64>, n| {
            assert!(n != 50, "{n} is too much");
            Some(n)
        })
        .uid("picky")
        .sink(FileSink::json_lines(dir.path().join("out")))
        .uid("out");
    let error = job.run(&RunOptions::in_dir(dir.path().join("data")).workers(2)).unwrap_err();
    assert_eq!(error.to_string(), "operator `picky` panicked on key 50: 50 is too much");
}

#[test]
fn records_wait_for_no_image_and_a_savepoint_shows_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("pairs").checkpoints(Checkpoints::off());
    // Both operators see every record: in one moment of both, their counts are equal key by key.
    let numbers =
        job.source(Generator::new(2, u64::MAX, |split, n| (u64::from(split) + n) % 5_000)).uid("numbers");
    for uid in ["left", "right"] {
        let count = |seen: &mut Option<u64>, _| {
            *seen = Some(seen.unwrap_or(0) + 1);
            None::<u64>
        };
        let _ = numbers.key_by(|n| *n).flat_map_with_state(count).uid(uid);
    }
    let running = job.start(&RunOptions::in_dir(dir.path()).workers(2)).unwrap();
    for _ in 0..3 {
        let done = running.savepoint(Default::default()).unwrap();
        let savepoint = Savepoint::open(&done.path).unwrap();
        assert!(verify(&savepoint, Depth::Full).problems.is_empty());
        let read: u64 = savepoint.manifest().sources[0].positions.iter().map(|p| p.records).sum();
        let mut sums = Vec::new();
        for uid in ["left", "right"] {
            let state = savepoint.operator(uid).unwrap().state("state").unwrap();
            let mut counts = BTreeMap::new();
            for batch in state.scan() {
                let batch = batch.unwrap().batch;
                let column = |index: usize| {
                    use pitlane::state::Read as _;
                    let reader = <u64 as pitlane::State>::Reader::new(batch.column(index)).unwrap();
                    (0..batch.num_rows()).map(|row| reader.read(row)).collect::<Vec<_>>()
                };
                counts.extend(column(1).into_iter().zip(column(2)));
            }
            assert_eq!(counts.values().sum::<u64>(), read, "{uid} holds exactly what the sources have read");
            sums.push(counts);
        }
        assert_eq!(sums[0], sums[1]);
    }
    running.cancel();
    running.wait().unwrap();
}

#[test]
fn output_of_the_last_committed_epoch_appears_even_if_the_job_starts_afresh() {
    use pitlane::State;
    use pitlane::connectors::Transaction;
    use pitlane::state::Read as _;
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let image = counting(&out, 1, 500).run(&RunOptions::in_dir(&data)).unwrap().image.unwrap();
    let all = written(&out);
    // As if the process had died between the commit and the output's becoming visible.
    std::fs::remove_file(image.join("committed")).unwrap();
    let savepoint = Savepoint::open(&image).unwrap();
    for batch in savepoint.operator("out").unwrap().state("transactions").unwrap().scan() {
        let reader = <Transaction as State>::Reader::new(batch.unwrap().batch.column(1)).unwrap();
        let transaction = reader.read(0);
        std::fs::rename(out.join(&transaction.target), out.join(&transaction.staged)).unwrap();
    }
    let lost = all.values().sum::<usize>() - written(&out).values().sum::<usize>();
    assert!(lost > 0);
    let options = RunOptions { fresh: true, ..RunOptions::in_dir(&data) };
    counting(&out, 0, 0).run(&options).unwrap();
    assert_eq!(written(&out), all);
}

#[test]
fn a_job_starts_from_a_savepoint_that_was_built_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (out, first) = (dir.path().join("out"), dir.path().join("first"));
    let writer = SavepointWriter::create(&first, "counting").unwrap();
    let mut counts = writer.keyed_state::<u64, u64>("count", "state", 1).unwrap();
    for number in (0..101).rev() {
        counts.insert(&number, &(number * 1_000)).unwrap();
    }
    counts.finish().unwrap();
    // The first split was read by others, up to its 600th record.
    let position = pitlane::model::SourcePosition {
        split: "0".to_owned(),
        offset: 600,
        records: 600,
        finished: false,
        watermark_ms: None,
    };
    writer.position("numbers", position).unwrap().finish().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data")).workers(2).from(&first);
    let end = counting(&out, 2, 1_000).run(&options).unwrap();
    let records = written(&out);
    assert_eq!(records.len(), 1_400);
    for number in 0..101 {
        let times: Vec<_> =
            records.range((number, 0)..(number + 1, 0)).map(|((_, times), _)| *times).collect();
        let after: Vec<_> = (1..=times.len() as u64).map(|n| number * 1_000 + n).collect();
        assert_eq!(times, after, "{number}");
    }
    let image = Savepoint::open(end.image.unwrap()).unwrap();
    assert_eq!(image.operator("count").unwrap().state("state").unwrap().entry().rows(), 101);
}
