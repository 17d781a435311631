//! What nobody touches goes into the next image as it lies encoded; and the savepoint that a job goes on from is its
//! user's again once there is an image of the job's own.

use crate::cluster::{holds, until};
use pitlane::connectors::Generator;
use pitlane::engine::{Checkpoints, Clock, Job, JobHandle, RunOptions};
use pitlane::migrate::Chain;
use pitlane::savepoint::{Depth, Savepoint, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Enough for several row groups.
const KEYS: u64 = 300_000;

/// Counts each of so many keys once; later ones once more those that `again` says.
fn job(keys: u64, (stage, again): (u32, &'static [u64]), checkpoints: Checkpoints, expire: bool) -> Job {
    let job = Job::new("carrying").checkpoints(checkpoints);
    // Each stage has a split of its own, with the keys of a moment, and then nothing for long.
    let numbers = job.source(Generator::new(stage + 1, keys, move |split, n| match split {
        0 => Some(n),
        split if split == stage => again.get(n as usize).copied(),
        _ => None,
    }));
    let numbers = numbers.uid("numbers");
    let numbers = if stage > 0 { numbers.rate(20.0) } else { numbers };
    let counts = numbers.flat_map(|n| n).key_by(|n| *n).flat_map_with_state(|times: &mut Option<u64>, _| {
        *times = Some(times.unwrap_or(0) + 1);
        None::<u64>
    });
    let counts = counts.uid("count").state_name("times");
    let _ = if expire { counts.expire_after(Duration::from_millis(100)) } else { counts };
    job
}

/// A key that no record has.
const NONE: &[u64] = &[u64::MAX];

fn rows(image: impl AsRef<Path>) -> BTreeMap<u64, u64> {
    let savepoint = Savepoint::open(image.as_ref()).unwrap();
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    let state = savepoint.operator("count").unwrap().state("times").unwrap();
    let mut rows = BTreeMap::new();
    for row in state.rows(Chain::current(1)).unwrap() {
        let (key, times) = row.unwrap();
        assert_eq!(rows.insert(key, times), None, "key {key} twice");
    }
    rows.remove(&u64::MAX);
    rows
}

/// Hashes of the chunks and number of the rows of each row group.
fn row_groups(image: impl AsRef<Path>) -> BTreeMap<Vec<u128>, u64> {
    let savepoint = Savepoint::open(image.as_ref()).unwrap();
    let state = savepoint.operator("count").unwrap().state("times").unwrap();
    let mut groups = BTreeMap::new();
    for file in &state.entry().files {
        let file = savepoint.state_file(state.entry(), file).unwrap();
        for (index, group) in file.row_groups().iter().enumerate() {
            groups.insert(file.chunk_hashes(index).to_vec(), group.rows as u64);
        }
    }
    groups
}

/// The files of the state, by the hashes of their bytes.
fn files(image: impl AsRef<Path>) -> BTreeSet<String> {
    let savepoint = Savepoint::open(image.as_ref()).unwrap();
    let state = savepoint.operator("count").unwrap().state("times").unwrap();
    state.entry().files.iter().map(|file| file.sha256.to_string()).collect()
}

fn carried(running: &JobHandle) -> u64 {
    running.status().last_checkpoint.unwrap().carried_rows
}

fn has_read(running: &JobHandle, records: u64) {
    until("the keys are there", || {
        let status = running.status();
        holds(status.operators.iter().find(|o| o.uid.as_str() == "count").unwrap().records_in >= records)
    });
}

fn every_key_once() -> BTreeMap<u64, u64> {
    (0..KEYS).map(|key| (key, 1)).collect()
}

#[test]
fn row_groups_that_nobody_touches_are_copied_as_they_lie_and_the_others_are_taken_apart() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    let first = job(KEYS, (0, &[]), Checkpoints::off(), false).run(&options).unwrap().image.unwrap();
    let (source, source_files) = (row_groups(&first), files(&first));
    assert!(source.len() >= 4, "{}", source.len());

    // A row group that is not touched is copied, byte by byte.
    let running = job(KEYS, (1, NONE), Checkpoints::off(), false).start(&options).unwrap();
    has_read(&running, 1);
    let same = running.savepoint(Default::default()).unwrap();
    let all = carried(&running);
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    // The key of the new record lies beside them, in a file of its own.
    assert_eq!(all, KEYS);
    assert!(source.iter().all(|(hashes, rows)| row_groups(&same.path).get(hashes) == Some(rows)));
    assert!(source_files.is_subset(&files(&same.path)), "the file around them is another one");
    assert_eq!(rows(&same.path), every_key_once());

    // One of which a row is touched is not, and neither are those that two workers have rows of.
    let running = job(KEYS, (2, &[7, 8]), Checkpoints::off(), false);
    let from = Some(PathBuf::from(&same.path));
    let running = running.start(&RunOptions { from, ..options.clone().workers(3) }).unwrap();
    has_read(&running, 2);
    let touched = running.savepoint(Default::default()).unwrap();
    let some = carried(&running);
    assert!(some < KEYS, "{some}");
    let (source, kept) = (row_groups(&same.path), row_groups(&touched.path));
    let as_they_lay: u64 =
        source.iter().filter(|(hashes, _)| kept.contains_key(*hashes)).map(|(_, rows)| rows).sum();
    assert!(some <= as_they_lay, "{some} of {as_they_lay}");
    let mut wanted = every_key_once();
    wanted.extend([(7, 2), (8, 2)]);
    assert_eq!(rows(&touched.path), wanted);
    // The same with what is left of them, once more.
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    let running = job(KEYS, (3, NONE), Checkpoints::off(), false).start(&options.workers(2)).unwrap();
    let again = running.stop(Default::default()).unwrap();
    assert!(carried(&running) > 0);
    running.wait().unwrap();
    assert_eq!(rows(again.path), wanted);
}

#[test]
fn damage_of_what_is_carried_over_is_found_and_the_image_given_up() {
    const FEW: u64 = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    let source = job(FEW, (0, &[]), Checkpoints::off(), false).run(&options).unwrap().image.unwrap();
    let savepoint = Savepoint::open(&source).unwrap();
    let state = savepoint.operator("count").unwrap().state("times").unwrap();
    let [file] = &state.entry().files[..] else { panic!("one file") };
    let path = source.join(&file.path);
    let running = job(FEW, (1, NONE), Checkpoints::off(), false).start(&options).unwrap();
    has_read(&running, 1);
    let flip = |at: u64| {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    };
    for at in [4, (file.size_bytes - file.tail_bytes) / 2, file.size_bytes - file.tail_bytes - 1] {
        flip(at);
        let error = running.savepoint(Default::default()).unwrap_err();
        let error = format!("{error:?}");
        assert!(error.contains(path.to_str().unwrap()) && error.contains("hash"), "{error}");
        flip(at);
    }
    let sound = running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    assert_eq!(rows(sound.path).len() as u64, FEW);
}

#[test]
fn rows_whose_time_is_over_are_not_carried_over() {
    const FEW: u64 = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(1_000);
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path()) };
    let _ = job(FEW, (0, &[]), Checkpoints::off(), true).run(&options).unwrap();
    clock.advance_to(1_050);
    let running = job(FEW, (1, NONE), Checkpoints::off(), true).start(&options).unwrap();
    has_read(&running, 1);
    let live = running.savepoint(Default::default()).unwrap();
    assert_eq!((carried(&running), rows(&live.path).len() as u64), (FEW, FEW));
    clock.advance_to(1_120);
    let over = running.stop(Default::default()).unwrap();
    assert_eq!((carried(&running), rows(over.path).len()), (0, 0));
    running.wait().unwrap();
    // A release in which they do not expire has no times.
    let options = RunOptions { from: Some(live.path.into()), ..options };
    let running = job(FEW, (2, NONE), Checkpoints::off(), false).start(&options).unwrap();
    has_read(&running, 1);
    let lasting = running.stop(Default::default()).unwrap();
    assert_eq!((carried(&running), rows(lasting.path).len() as u64), (FEW, FEW));
    running.wait().unwrap();
}

#[test]
fn the_savepoint_that_a_job_goes_on_from_may_go_once_there_is_a_checkpoint_of_the_jobs_own() {
    const FEW: u64 = 9_000;
    const AGAIN: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8];
    for incremental in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = RunOptions { incremental, ..RunOptions::in_dir(dir.path().join("data")) };
        let image = job(FEW, (0, &[]), Checkpoints::off(), false).run(&options).unwrap().image.unwrap();
        let source = dir.path().join("source");
        std::fs::rename(image, &source).unwrap();
        let from = RunOptions { from: Some(source.clone()), ..options.clone().workers(2) };
        let often = Checkpoints::every(Duration::from_millis(50));
        let running = job(FEW, (1, AGAIN), often, false).start(&from).unwrap();
        until("there is a checkpoint", || holds(running.status().last_checkpoint.is_some()));
        std::fs::remove_dir_all(&source).unwrap();
        // First touches go on, of rows that were in no image of the job but as they lay.
        has_read(&running, AGAIN.len() as u64);
        let epoch = running.status().epoch;
        until("there are more", || holds(running.status().last_checkpoint.is_some_and(|c| c.epoch > epoch)));
        running.cancel();
        running.wait().unwrap();
        // And the next attempt asks for nothing but the last checkpoint.
        let mut wanted: BTreeMap<u64, u64> = (0..FEW).map(|key| (key, 1)).collect();
        wanted.extend(AGAIN.iter().map(|key| (*key, 2)));
        let running = job(FEW, (1, AGAIN), Checkpoints::off(), false).start(&options).unwrap();
        let done = running.stop(Default::default()).unwrap();
        running.wait().unwrap();
        assert_eq!(rows(done.path), wanted);
    }
}
