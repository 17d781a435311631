//! Jobs of one process under faults that a seed chooses: which call of the storage or act of a sink fails and how, which
//! record panics, how long operators take. Whatever happens, the output equals plain code in the end.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Checkpoints, Job, RunOptions};
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::storage::{Fault, PlannedFaults};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const SPLITS: u32 = 3;
const RECORDS: u64 = 250;
const KEYS: u64 = 40;
const LONG: Duration = Duration::from_secs(60);

/// Numbers from a seed (xorshift), so that a failure can be tried again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What goes wrong in an attempt.
#[derive(Debug)]
struct Trouble {
    workers: usize,
    /// How many records a split has a second at most.
    rate: f64,
    /// How the storage fails, and after how many calls.
    fault: Option<(Fault, usize)>,
    /// The record at which a user function panics, counted in the attempt.
    panic: Option<u64>,
    /// One record in so many holds its operator up, for so many microseconds.
    delay: (u64, u64),
    /// Whether the job is stopped with a savepoint after a while.
    stop_after_ms: Option<u64>,
}

impl Trouble {
    fn of(random: &mut Random) -> Self {
        let mut one_in = |n| random.below(n) == 0;
        let (fails, panics, stops) = (!one_in(3), one_in(3), one_in(3));
        Self {
            workers: 1 + random.below(3) as usize,
            rate: 1_200.0,
            fault: fails.then(|| (Fault::ALL[random.below(5) as usize], random.below(90) as usize)),
            panic: panics.then(|| random.below(120)),
            delay: (5 + random.below(40), random.below(3_000)),
            stop_after_ms: stops.then(|| random.below(150)),
        }
    }
}

fn key(split: u32, n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(split) % KEYS
}

fn job(out: &Path, trouble: &Trouble) -> Job {
    let job = Job::new("counting").checkpoints(Checkpoints::every(Duration::from_millis(8)));
    let seen = Arc::new(AtomicU64::new(0));
    let (panic, delay) = (trouble.panic, trouble.delay);
    let hold_up = move |n: u64| {
        if n.is_multiple_of(delay.0) {
            std::thread::sleep(Duration::from_micros(delay.1));
        }
    };
    let numbers = job.source(Generator::new(SPLITS, RECORDS, key)).uid("numbers").rate(trouble.rate);
    let counts = numbers
        .map(move |key| {
            let n = seen.fetch_add(1, Relaxed);
            hold_up(n);
            assert!(panic != Some(n), "record {n}");
            key
        })
        .key_by(|key| *key)
        .count()
        .uid("count");
    let told = AtomicU64::new(1);
    let told = Arc::new(told);
    let counts = counts.inspect(move |_| hold_up(told.fetch_add(1, Relaxed) + 2));
    counts.sink(FileSink::json_lines(out)).uid("out");
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

/// The lines of all files that are visible.
pub(crate) fn written(out: &Path) -> Vec<(u64, u64)> {
    let files = std::fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    let text: String =
        files.filter(|path| path.is_file()).map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_unstable();
    lines
}

/// Runs one attempt; returns how it ended, and what failed.
fn attempt(dir: &Path, trouble: &Trouble) -> (Result<(), String>, Option<String>) {
    let faults = trouble.fault.map(|(fault, sound)| PlannedFaults::new(dir, fault, sound));
    run(dir, trouble, &faults)
}

fn run(
    dir: &Path,
    trouble: &Trouble,
    faults: &Option<PlannedFaults>,
) -> (Result<(), String>, Option<String>) {
    let options = RunOptions::in_dir(dir.join("data")).workers(trouble.workers);
    let job = job(&dir.join("out"), trouble);
    let ended = match job.start(&options) {
        Ok(running) => {
            if let Some(ms) = trouble.stop_after_ms {
                std::thread::sleep(Duration::from_millis(ms));
                // A job that failed meanwhile cannot be stopped, nor can one whose storage fails: it goes on.
                let _ = running.stop(Default::default());
            }
            let (sender, ended) = mpsc::channel();
            std::thread::spawn(move || sender.send(running.wait()));
            let ended = ended.recv_timeout(LONG).unwrap_or_else(|_| panic!("hangs under {trouble:?}"));
            ended.map(drop)
        }
        Err(error) => Err(error),
    };
    (ended.map_err(|error| error.to_string()), faults.as_ref().and_then(PlannedFaults::failed))
}

#[test]
fn whatever_call_fails_or_record_panics_the_output_equals_plain_code_in_the_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("PITLANE_TEST_SEED").unwrap_or(1);
    let (mut failed, mut panicked) = (0, 0);
    for seed in first..first + number("PITLANE_TEST_SEEDS").unwrap_or(8) {
        println!("PITLANE_TEST_SEED={seed} PITLANE_TEST_SEEDS=1");
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut story = Vec::new();
        for _ in 0..4 {
            let trouble = Trouble::of(&mut random);
            let (ended, fault) = attempt(dir.path(), &trouble);
            failed += u32::from(fault.is_some());
            panicked += u32::from(ended.as_ref().is_err_and(|error| error.contains("panicked")));
            story.push(format!("{trouble:?}\n  {ended:?}, failed call: {fault:?}"));
        }
        let last = Trouble {
            workers: 2,
            fault: None,
            panic: None,
            delay: (1_000, 0),
            stop_after_ms: None,
            rate: 1_200.0,
        };
        let (ended, _) = attempt(dir.path(), &last);
        let story = story.join("\n");
        assert_eq!(ended, Ok(()), "seed {seed}:\n{story}");
        assert_eq!(written(&dir.path().join("out")), expected(), "seed {seed}:\n{story}");
        for kind in ["checkpoints", "savepoints"] {
            let images = std::fs::read_dir(dir.path().join("data/counting").join(kind)).into_iter().flatten();
            for image in images.flatten().map(|image| image.path()) {
                if image.join("manifest.json").exists() {
                    let savepoint = Savepoint::open(&image).unwrap();
                    assert_eq!(verify(&savepoint, Depth::Full).problems, [], "seed {seed}:\n{story}");
                }
            }
        }
    }
    println!("{failed} attempts with a failed call, {panicked} with a panic");
    assert!(failed > 0 && panicked > 0, "nothing went wrong: {failed}, {panicked}");
}

/// Whatever a sink does with its files may fail: the attempt ends with the file and the reason, and the next one makes up
/// for it.
#[test]
fn a_disk_that_is_full_or_fails_under_the_output_of_a_sink_costs_an_attempt_and_no_record() {
    let quick =
        Trouble { workers: 1, rate: 1e9, fault: None, panic: None, delay: (1_000, 0), stop_after_ms: None };
    let mut failed = std::collections::BTreeSet::new();
    for fault in Fault::ALL {
        for sound in 0..8 {
            let dir = tempfile::tempdir().unwrap();
            let out = dir.path().join("out");
            let faults = Some(PlannedFaults::new(&out, fault, sound));
            let (ended, call) = run(dir.path(), &quick, &faults);
            drop(faults);
            if let Some(call) = call {
                let (act, path) = call.split_once(' ').unwrap();
                let error = ended.expect_err(&call);
                let file = Path::new(path).file_name().unwrap().to_str().unwrap();
                assert!(error.contains(file), "{call}: {error}");
                failed.insert(act.to_owned());
            }
            let (ended, _) = run(dir.path(), &quick, &None);
            assert_eq!(ended, Ok(()), "{fault:?} after {sound}");
            assert_eq!(written(&out), expected(), "{fault:?} after {sound}");
        }
    }
    let acts: Vec<_> = failed.iter().map(String::as_str).collect();
    assert_eq!(acts, ["create", "finish", "rename", "sync", "write"]);
}
