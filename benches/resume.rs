//! How long is it from the start of the process to the first record out, when a job resumes much state?
//!
//!     cargo bench --bench resume [-- --keys 10M --turns 5 --dir DIR --json]
//!
//! The benchmark starts itself as the job: once to fill the state and stop with a savepoint, then several times
//! to resume it, with the release that wrote it and with one that migrates every value. Keys come at random,
//! so that the first records touch as many parts of the savepoint as there are.

mod common;

use common::{Alarm, Args, Event, Report, event, short};
use pitlane::connectors::{Generator, Prepare, Sink, SinkContext, SinkWriter, Transaction};
use pitlane::engine::{Checkpoints, Job, RunOptions};
use pitlane::migrate::Migration;
use pitlane::model::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which job the process is to be: `fill`, `same`, `migrated`.
const ROLE: &str = "PITLANE_BENCH_ROLE";
/// Where and when it was started.
const DIR: &str = "PITLANE_BENCH_DIR";
const BEGAN: &str = "PITLANE_BENCH_BEGAN";
const JOB: &str = "resume";
/// After how many records out the time is taken.
const MARKS: [u64; 4] = [1, 1_000, 100_000, 1_000_000];

fn main() {
    let Some(args) = Args::read() else { return };
    let keys = args.number("--keys", "10M");
    if let Ok(role) = std::env::var(ROLE) {
        let dir = PathBuf::from(std::env::var_os(DIR).expect("the directory is given"));
        return be(&role, keys, &dir);
    }
    let report = Report::new(&args, &format!("resuming {} keys", short(keys)));
    let scratch = common::scratch(&args);
    start("fill", keys, scratch.path());
    for role in ["same", "migrated"] {
        let mut turns: Vec<Vec<f64>> = Vec::new();
        for _ in 0..args.number("--turns", "5") {
            turns.push(start(role, keys, scratch.path()));
        }
        let figures = [
            "main".to_owned(),
            "first record in".to_owned(),
            "record out: 1".to_owned(),
            "record out: 1_000".to_owned(),
            "record out: 100_000".to_owned(),
            "record out: 1_000_000".to_owned(),
            "memory at the last".to_owned(),
        ];
        for (index, figure) in figures.iter().enumerate() {
            let mut values: Vec<f64> = turns.iter().map(|turn| turn[index]).collect();
            values.sort_by(f64::total_cmp);
            let unit = if figure.starts_with("memory") { "MiB" } else { "ms" };
            report.figure(&format!("{role}, {figure}, median"), values[values.len() / 2], unit);
        }
    }
}

/// Starts the process as a job, and returns what it prints: numbers.
fn start(role: &str, keys: u64, dir: &Path) -> Vec<f64> {
    let program = std::env::current_exe().expect("the program has a name");
    // The state must be the same each time: what a turn writes into the history is taken back.
    let history = dir.join("data").join(JOB).join("history");
    let copy = dir.join("history");
    if role == "fill" {
    } else if copy.exists() {
        std::fs::remove_dir_all(&history).expect("the history can be removed");
        copy_dir(&copy, &history);
    } else {
        copy_dir(&history, &copy);
    }
    let output = Command::new(program)
        .args(["--bench", "--keys", &keys.to_string()])
        .env(ROLE, role)
        .env(DIR, dir)
        .env(BEGAN, common::monotonic_ns().to_string())
        .output()
        .expect("the benchmark starts itself");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{role} failed: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the directory can be made");
    for entry in std::fs::read_dir(from).expect("the directory can be read").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("the file can be copied");
        }
    }
}

/// The time since the process was started, in milliseconds.
fn since_start() -> f64 {
    let began: u64 = std::env::var(BEGAN).ok().and_then(|b| b.parse().ok()).expect("the start is given");
    (common::monotonic_ns() - began) as f64 / 1e6
}

/// Runs as a job.
fn be(role: &str, keys: u64, dir: &Path) {
    let in_main = since_start();
    let options = RunOptions::in_dir(dir.join("data"));
    let job = Job::new(JOB).checkpoints(Checkpoints::off());
    // Ends after each key came once, which makes an image; resumed, a split more begins with random keys.
    let fill = role == "fill";
    let splits = if fill { 1 } else { 2 };
    let first_in = AtomicU64::new(0);
    let first_in: &'static AtomicU64 = Box::leak(Box::new(first_in));
    let events = Generator::new(splits, if fill { keys } else { u64::MAX }, move |split, n| {
        if split == 0 {
            return Event { key: n, at: n, change: 3 };
        }
        if n == 0 {
            first_in.store(since_start().to_bits(), Relaxed);
        }
        event(1, n + keys, keys)
    });
    let by_key = job.source(events).uid("events").key_by(|event| event.key);
    let first = First { in_main, first_in };
    if role == "migrated" {
        by_key
            .flat_map_with_state(|alarm: &mut Option<Tolerant>, event: Event| {
                let alarm = alarm.get_or_insert((false, 0, 1));
                alarm.1 += event.change;
                Some(event)
            })
            .uid("alarms")
            .migrate(ToTolerant)
            .sink(first)
            .uid("first");
    } else {
        by_key
            .flat_map_with_state(|alarm: &mut Option<Alarm>, event: Event| {
                let alarm = alarm.get_or_insert((false, 0));
                alarm.1 += event.change;
                Some(event)
            })
            .uid("alarms")
            .sink(first)
            .uid("first");
    }
    job.run(&options).expect("the job runs");
}

/// What the second release keeps: a tolerance more.
type Tolerant = (bool, i64, u32);

#[derive(Clone)]
struct ToTolerant;

impl Migration for ToTolerant {
    type From = Alarm;
    type To = Tolerant;

    const TO: u32 = 2;

    fn migrate(&self, _key: &Value, old: Alarm) -> Result<Option<Tolerant>, pitlane::BoxError> {
        Ok(Some((old.0, old.1, 1)))
    }
}

/// Prints when records came out, and ends the process at the last mark.
#[derive(Clone, Debug)]
struct First {
    in_main: f64,
    first_in: &'static AtomicU64,
}

struct FirstWriter {
    first: First,
    records: u64,
    times: Vec<f64>,
}

impl Sink<Event> for First {
    fn open(&self, _context: &SinkContext) -> pitlane::Result<Box<dyn SinkWriter<Event>>> {
        Ok(Box::new(FirstWriter { first: self.clone(), records: 0, times: Vec::new() }))
    }

    fn commit(&self, _transactions: &[Transaction]) -> pitlane::Result<()> {
        Ok(())
    }

    fn abort_others(&self, _context: &SinkContext, _listed: &[Transaction]) -> pitlane::Result<()> {
        Ok(())
    }

    fn describe(&self) -> String {
        "the first records".to_owned()
    }
}

impl SinkWriter<Event> for FirstWriter {
    fn write(&mut self, _record: &Event) -> pitlane::Result<()> {
        self.records += 1;
        let first_in = self.first.first_in.load(Relaxed);
        if first_in != 0 && MARKS.contains(&self.records) {
            self.times.push(since_start());
            if self.times.len() == MARKS.len() {
                let mut line = format!("{} {}", self.first.in_main, f64::from_bits(first_in));
                self.times.iter().for_each(|time| line.push_str(&format!(" {time}")));
                println!("{line} {}", common::rss_mib());
                std::process::exit(0);
            }
        }
        Ok(())
    }

    fn prepare(&mut self, _epoch: u64) -> pitlane::Result<Prepare> {
        Ok(Box::new(|| Ok(Vec::new())))
    }
}
