//! Jobs that are written wrongly, and functions that fail: each is told by an error of its own, word by word, and what
//! was committed before stays.

use crate::stage::files_below;
use pitlane::Error;
use pitlane::connectors::{FileSink, Generator};
use pitlane::control::JobStatus;
use pitlane::engine::{Checkpoints, Context, Job, RunOptions, States, Stream};
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::storage::{Fault, PlannedFaults};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const NUMBERS: u64 = 3_000;

fn numbers(job: &Job) -> Stream<u64> {
    let numbers = job.source(Generator::new(1, NUMBERS, |_, n| n % 10)).uid("numbers");
    numbers.map(|number| number)
}

/// Counts the numbers by key; keys for which `fails` says so are refused.
fn counting(
    dir: &Path,
    fails: impl Fn(u64, u64) -> Result<(), &'static str> + Clone + Send + Sync + 'static,
) -> Job {
    counting_at(10_000.0, dir, fails)
}

/// The same, with so many numbers a second.
fn counting_at(
    rate: f64,
    dir: &Path,
    fails: impl Fn(u64, u64) -> Result<(), &'static str> + Clone + Send + Sync + 'static,
) -> Job {
    let job = Job::new("counting").checkpoints(Checkpoints::every(Duration::from_millis(10)));
    let source = job.source(Generator::new(1, NUMBERS, |_, n| n % 10)).uid("numbers").rate(rate);
    let count = move |states: &mut States<u64>| {
        let seen = states.value::<u64>("seen");
        let fails = fails.clone();
        move |number: u64, context: &mut Context<'_, u64, (u64, u64)>| {
            let times = seen.get()?.unwrap_or(0) + 1;
            fails(number, times)?;
            seen.set(times)?;
            context.emit((number, times));
            Ok(())
        }
    };
    let counted = source.key_by(|number| *number).process(count).uid("count");
    counted.sink(FileSink::json_lines(dir.join("out"))).uid("out");
    job
}

fn options(dir: &Path) -> RunOptions {
    RunOptions::in_dir(dir.join("data"))
}

/// Returns the last checkpoint; the one before it may not be swept yet where the job failed.
fn last_checkpoint(dir: &Path) -> Savepoint {
    let mut images: Vec<_> =
        std::fs::read_dir(dir.join("data/counting/checkpoints")).unwrap().flatten().collect();
    images.retain(|image| image.path().join("manifest.json").exists());
    images.sort_by_key(|image| image.file_name());
    Savepoint::open(images.pop().unwrap().path()).unwrap()
}

/// What is told of an error, word by word, as the command line tells it.
fn told(error: &Error) -> String {
    let mut text = Vec::new();
    error.report(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Runs a good job first; then `wrong` is refused with these words, touches nothing, and the good one runs again.
fn refused(wrong: impl Fn(&Path) -> Job, words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    counting(dir, |_, _| Ok(())).run(&options(dir)).unwrap();
    let before = files_below(dir).unwrap();
    let error = wrong(dir).run(&options(dir)).unwrap_err();
    assert_eq!(told(&error), words);
    assert!(files_below(dir).unwrap() == before, "a refused job has touched something");
    assert!(verify(&last_checkpoint(dir), Depth::Full).problems.is_empty());
    counting(dir, |_, _| Ok(())).run(&options(dir)).unwrap();
}

#[test]
fn an_operator_without_a_uid_is_refused() {
    refused(
        |_| {
            let job = Job::new("counting");
            let _ = numbers(&job).key_by(|number| *number).count();
            job
        },
        "error: job `counting`: a count operator has no uid\n\
         hint: add `.uid(\"...\")`: state is found by it in every later release\n",
    );
}

#[test]
fn two_operators_with_one_uid_are_refused() {
    refused(
        |_| {
            let job = Job::new("counting");
            let _ = numbers(&job).key_by(|number| *number).count().uid("numbers");
            job
        },
        "error: job `counting`: two operators have the uid `numbers`\n\
         hint: give each operator a uid of its own\n",
    );
}

#[test]
fn a_state_name_that_is_used_twice_is_refused() {
    refused(
        |_| {
            let job = Job::new("counting");
            let twice = |states: &mut States<u64>| {
                let (_, _) = (states.value::<u64>("seen"), states.list::<u64>("seen"));
                |_: u64, _: &mut Context<'_, u64, u64>| Ok(())
            };
            let _ = numbers(&job).key_by(|number| *number).process(twice).uid("count");
            job
        },
        "error: job `counting`: operator `count` has two states with the name `seen`\n\
         hint: give each state of an operator a name of its own\n",
    );
}

#[test]
fn another_type_of_the_keys_is_refused() {
    refused(
        |dir| {
            let job = Job::new("counting");
            let count = |states: &mut States<String>| {
                let seen = states.value::<u64>("seen");
                move |_: u64, _: &mut Context<'_, String, u64>| Ok(seen.set(1)?)
            };
            let counted = numbers(&job).key_by(|number| number.to_string()).process(count).uid("count");
            counted.sink(FileSink::json_lines(dir.join("out"))).uid("out");
            job
        },
        "error: operator `count`, state `seen`: key: found u64, wanted String: keys never change by themselves, since \
         they decide where a row lies\n\
         hint: keep the key's type; a new key needs an operator with a new uid, or a rewrite of the savepoint\n",
    );
}

#[test]
fn more_workers_than_key_groups_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = counting(dir.path(), |_, _| Ok(())).run(&options(dir.path()).workers(129)).unwrap_err();
    assert_eq!(
        told(&error),
        "error: job `counting`: 129 workers for 128 key groups\n\
         hint: start with at most 128 workers, or say a larger `max_parallelism`: in the job if it has no state yet, \
         else in a file for `pitlane migrate`\n"
    );
}

/// Lets a function fail half-way; returns the error. Then the mended job goes on, and nothing is lost or repeated.
fn fails_half_way(
    fails: impl Fn(u64, u64) -> Result<(), &'static str> + Clone + Send + Sync + 'static,
) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // However long a checkpoint takes: there is one to go on from.
    let checkpoints = dir.join("data/counting/checkpoints");
    let is_committed = |image: std::fs::DirEntry| image.path().join("manifest.json").exists();
    let fails = move |number, times| {
        let is_early = times < 50
            || !std::fs::read_dir(&checkpoints).is_ok_and(|images| images.flatten().any(is_committed));
        if is_early { Ok(()) } else { fails(number, times) }
    };
    let error = counting_at(1_000.0, dir, fails).run(&options(dir).workers(2)).unwrap_err();
    let last = last_checkpoint(dir);
    assert!(verify(&last, Depth::Full).problems.is_empty());
    let read = last.manifest().sources[0].positions[0].records;
    assert!(read > 0 && read < NUMBERS, "{read}");
    counting(dir, |_, _| Ok(())).run(&options(dir)).unwrap();
    all_is_written_once(dir);
    error
}

fn all_is_written_once(dir: &Path) {
    let mut written = BTreeMap::<(u64, u64), usize>::new();
    for (path, text) in files_below(&dir.join("out")).unwrap() {
        if !path.to_string_lossy().contains(".staged") {
            for line in String::from_utf8(text).unwrap().lines() {
                *written.entry(serde_json::from_str(line).unwrap()).or_default() += 1;
            }
        }
    }
    let wanted = (0..10).flat_map(|key| (1..=NUMBERS / 10).map(move |times| ((key, times), 1)));
    assert!(written == wanted.collect(), "{} of {NUMBERS}", written.len());
}

#[test]
fn a_function_that_panics_stops_the_job_with_operator_key_and_cause() {
    let error = fails_half_way(|number, times| {
        assert!(number != 7 || times < 50, "seven is used up");
        Ok(())
    });
    assert_eq!(
        told(&error),
        "error: operator `count` panicked on key 7: seven is used up\n\
         hint: mend the operator's code; the job goes on from its last image when it is run again\n"
    );
}

#[test]
fn a_function_that_fails_stops_the_job_with_operator_key_and_cause() {
    let error = fails_half_way(|number, _| if number == 7 { Err("seven is used up") } else { Ok(()) });
    assert_eq!(
        told(&error),
        "error: operator `count` failed on key 7\n\
         because: seven is used up\n\
         hint: mend the operator's code; the job goes on from its last image when it is run again\n"
    );
}

#[test]
fn a_function_without_keys_that_panics_stops_the_job_with_operator_and_cause() {
    let dir = tempfile::tempdir().unwrap();
    let run = |uid: Option<&str>| {
        let job = Job::new("mapping");
        let mapped = numbers(&job).map(|number| 10 / (number % 5));
        let mapped = match uid {
            Some(uid) => mapped.uid(uid),
            None => mapped,
        };
        mapped.sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
        job.run(&RunOptions::in_dir(dir.path())).unwrap_err().to_string()
    };
    assert_eq!(run(Some("ratio")), "operator `ratio` panicked: attempt to divide by zero");
    assert_eq!(run(None), "operator `map-2` panicked: attempt to divide by zero");
}

#[test]
fn a_disk_that_is_full_during_a_checkpoint_is_told_and_the_last_checkpoint_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let running = counting_at(1_000.0, dir, |_, _| Ok(())).start(&options(dir)).unwrap();
    let until = |is_so: &dyn Fn(&JobStatus) -> bool| {
        let began = Instant::now();
        while !is_so(&running.status()) {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", running.status());
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    until(&|status| status.last_checkpoint.is_some());
    let faults = PlannedFaults::new(dir.join("data/counting/checkpoints"), Fault::Full, 0);
    until(&|status| status.failed_checkpoints > 2);
    let status = running.status();
    let why = status.last_checkpoint_failure.unwrap();
    let checkpoints = std::fs::canonicalize(dir.join("data/counting/checkpoints")).unwrap();
    let place = format!("is given up: no space is left for {}/", checkpoints.display());
    assert!(why.error.starts_with(&format!("epoch {} ", why.epoch)) && why.error.contains(&place), "{why:?}");
    let last = Savepoint::open(status.last_checkpoint.unwrap().path).unwrap();
    assert!(verify(&last, Depth::Full).problems.is_empty());
    // Whoever asks for a savepoint on such a disk is told what to do.
    let more = PlannedFaults::new(dir.join("data/counting/savepoints"), Fault::Full, 0);
    let error = running.savepoint(Default::default()).unwrap_err();
    let hint = "hint: make room: the job goes on, its last good image stays, and what was written of this one is removed\n";
    assert!(matches!(error, Error::DiskFull { .. }) && told(&error).ends_with(hint), "{}", told(&error));
    let epoch = running.status().epoch;
    drop((faults, more));
    until(&|status| status.last_checkpoint.as_ref().is_some_and(|last| last.epoch > epoch));
    running.wait().unwrap();
    all_is_written_once(dir);
}
