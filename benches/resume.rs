//! How long is it from the start of the process to the first record out, when a job resumes much state? And what do the
//! rows cost that lie where the savepoint left them: first touches, a sweep, images?
//!
//!     cargo bench --bench resume [-- --keys 10M --state a,b --turns 5 --percent 50 --dir DIR --json]
//!
//! State A is a number to `(bool, i64)`, state B a text to a struct of five fields.
//! The benchmark starts itself as the job: once to fill the state and stop with a savepoint, then several times
//! to resume it, with the release that wrote it and with one that migrates every value. Keys come at random,
//! so that the first records touch as many parts of the savepoint as there are.

mod common;

use common::{Args, Event, Report, event, short};
use pitlane::connectors::{Generator, Prepare, Sink, SinkContext, SinkWriter, Transaction};
use pitlane::engine::{Checkpoints, Job, JobHandle, RunOptions};
use pitlane::migrate::Migration;
use pitlane::model::{Sweep, SweptRows, Value};
use pitlane::{Key, State};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Which job the process is to be: `fill`, or `same` or `migrated` with what is measured behind a comma.
const ROLE: &str = "PITLANE_BENCH_ROLE";
/// Where and when it was started.
const DIR: &str = "PITLANE_BENCH_DIR";
const BEGAN: &str = "PITLANE_BENCH_BEGAN";
const JOB: &str = "resume";
/// After how many records out the time is taken.
const MARKS: [u64; 5] = [1, 100, 1_000, 100_000, 1_000_000];

fn main() {
    let Some(args) = Args::read() else { return };
    let keys = args.number("--keys", "10M");
    if let Ok(role) = std::env::var(ROLE) {
        let dir = PathBuf::from(std::env::var_os(DIR).expect("the directory is given"));
        let percent = args.number("--percent", "50") as u32;
        return match role.split_once(',') {
            Some(("a", role)) => be::<u64, A, A2>(role, keys, &dir, percent),
            Some((_, role)) => be::<String, B, B2>(role, keys, &dir, percent),
            None => panic!("a role has a state"),
        };
    }
    let report = Report::new(&args, &format!("resuming {} keys", short(keys)));
    for state in args.text("--state").unwrap_or("a,b").split(',') {
        let scratch = common::scratch(&args);
        start(&format!("{state},fill"), keys, scratch.path());
        for release in ["same", "migrated"] {
            let median = |what: &str, figures: &[&str]| {
                let role = format!("{state},{release},{what}");
                let turns: Vec<_> =
                    (0..args.number("--turns", "5")).map(|_| start(&role, keys, scratch.path())).collect();
                for (index, figure) in figures.iter().enumerate() {
                    let mut values: Vec<f64> = turns.iter().map(|turn| turn[index]).collect();
                    values.sort_by(f64::total_cmp);
                    let (figure, unit) = figure.rsplit_once(", ").expect("a figure has a unit");
                    report.figure(&format!("{state}, {release}, {figure}"), values[values.len() / 2], unit);
                }
            };
            median(
                "first",
                &[
                    "main, ms",
                    "first record in, ms",
                    "record out: 1, ms",
                    "record out: 100, ms",
                    "record out: 1_000, ms",
                    "record out: 100_000, ms",
                    "record out: 1_000_000, ms",
                    "memory at the last, MiB",
                ],
            );
            median(
                "swept",
                &[
                    "rate while it sweeps, M events/s",
                    "rate after it, M events/s",
                    "while it sweeps / after it, times",
                    "time that the sweep takes, s",
                ],
            );
            median(
                "images",
                &[
                    "image of untouched rows: CPU, ms",
                    "image of untouched rows: wall, ms",
                    "sweep of all: CPU, ns/row",
                    "image of live rows: CPU, ms",
                    "image of live rows: wall, ms",
                ],
            );
        }
        // The same records without any savepoint before them.
        let steady = start(&format!("{state},steady"), keys, scratch.path());
        report.figure(&format!("{state}, steady: rate"), steady[0], "M events/s");
    }
}

/// What a benchmark keeps a key, in two releases.
trait Kept: State + Clone {
    fn new() -> Self;
    fn change(&mut self, by: i64);
}

trait Newer<O>: Kept {
    fn of(old: O) -> Self;
}

trait KeyOf: Key + pitlane::connectors::Record {
    fn of(n: u64) -> Self;
}

impl KeyOf for u64 {
    fn of(n: u64) -> Self {
        n
    }
}

impl KeyOf for String {
    fn of(n: u64) -> Self {
        format!("customer-{n:011}")
    }
}

type A = (bool, i64);
type A2 = (bool, i64, u32);

impl Kept for A {
    fn new() -> Self {
        (false, 0)
    }

    fn change(&mut self, by: i64) {
        self.1 += by;
    }
}

impl Kept for A2 {
    fn new() -> Self {
        (false, 0, 1)
    }

    fn change(&mut self, by: i64) {
        self.1 += by;
    }
}

impl Newer<A> for A2 {
    fn of(old: A) -> Self {
        (old.0, old.1, 1)
    }
}

impl Newer<B> for B2 {
    fn of(old: B) -> Self {
        let B { name, score, last, seen, is_new } = old;
        Self { name, score: score.unwrap_or(0.0), last, seen, is_new }
    }
}

#[derive(Clone, State)]
struct B {
    name: String,
    score: Option<f64>,
    last: Vec<i64>,
    seen: i64,
    is_new: bool,
}

#[derive(Clone, State)]
#[state(version = 2)]
struct B2 {
    name: String,
    score: f64,
    last: Vec<i64>,
    seen: i64,
    is_new: bool,
}

impl Kept for B {
    fn new() -> Self {
        Self { name: "somebody".to_owned(), score: Some(0.5), last: vec![1, 2, 3], seen: 0, is_new: true }
    }

    fn change(&mut self, by: i64) {
        self.seen += by;
    }
}

impl Kept for B2 {
    fn new() -> Self {
        Self { name: "somebody".to_owned(), score: 0.5, last: vec![1, 2, 3], seen: 0, is_new: true }
    }

    fn change(&mut self, by: i64) {
        self.seen += by;
    }
}

/// Starts the process as a job, and returns what it prints: numbers.
fn start(role: &str, keys: u64, dir: &Path) -> Vec<f64> {
    let program = std::env::current_exe().expect("the program has a name");
    // The state must be the same each time: what a turn writes and removes is taken back.
    let kept = dir.join("data").join(JOB);
    let copy = dir.join("kept");
    if role.ends_with("fill") || role.ends_with("steady") {
    } else if copy.exists() {
        std::fs::remove_dir_all(&kept).expect("what a turn left can be removed");
        copy_dir(&copy, &kept);
    } else {
        copy_dir(&kept, &copy);
    }
    let output = Command::new(program)
        .args(std::env::args_os().skip(1))
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
fn be<K: KeyOf, O: Kept, N: Newer<O>>(role: &str, keys: u64, dir: &Path, percent: u32) {
    let in_main = since_start();
    let (release, what) = role.split_once(',').unwrap_or((role, ""));
    let dir = if release == "steady" { dir.join("steady") } else { dir.to_owned() };
    let options = RunOptions::in_dir(dir.join("data"));
    let job = Job::new(JOB).checkpoints(Checkpoints::off());
    // Ends after each key came once, which makes an image; resumed, a split more begins with random keys.
    let is_whole = matches!(release, "fill" | "steady");
    let splits = if is_whole { 1 } else { 2 };
    let first_in = AtomicU64::new(0);
    let first_in: &'static AtomicU64 = Box::leak(Box::new(first_in));
    let made: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
    let events = Generator::new(splits, if release == "fill" { keys } else { u64::MAX }, move |split, n| {
        made.store(n, Relaxed);
        if split == 0 && n < keys {
            return Event { key: n, at: n, change: 3 };
        }
        if n == 0 {
            first_in.store(since_start().to_bits(), Relaxed);
        }
        event(1, n + keys, keys)
    });
    let events = job.source(events).uid("events");
    // Images are measured alone.
    let events = if what == "images" { events.rate(0.001) } else { events };
    let by_key = events.key_by(|event| K::of(event.key));
    let first = First { in_main, first_in, is_last: what == "first" || release == "fill" };
    if release == "migrated" {
        by_key
            .flat_map_with_state(|kept: &mut Option<N>, event: Event| {
                kept.get_or_insert_with(N::new).change(event.change);
                Some(event)
            })
            .uid("kept")
            .migrate(ToNew::<O, N>(PhantomData))
            .sink(first)
            .uid("first");
    } else {
        by_key
            .flat_map_with_state(|kept: &mut Option<O>, event: Event| {
                kept.get_or_insert_with(O::new).change(event.change);
                Some(event)
            })
            .uid("kept")
            .sink(first)
            .uid("first");
    }
    match (release, what) {
        ("steady", _) => {
            let running = job.start(&options).expect("the job starts");
            while made.load(Relaxed) < 2 * keys {
                std::thread::sleep(Duration::from_millis(10));
            }
            println!("{}", rate(made, Duration::from_secs(3)));
            end(running);
        }
        (_, "swept") => swept(job.start(&options).expect("the job starts"), made, percent),
        (_, "images") => images(job.start(&options).expect("the job starts"), keys),
        _ => drop(job.run(&options).expect("the job runs")),
    }
}

/// Measures how many millions of events are made a second.
fn rate(made: &AtomicU64, time: Duration) -> f64 {
    let (began, before) = (Instant::now(), made.load(Relaxed));
    std::thread::sleep(time);
    (made.load(Relaxed) - before) as f64 / began.elapsed().as_secs_f64() / 1e6
}

fn untouched(running: &JobHandle) -> Option<u64> {
    let status = running.status();
    let states = status.operators.iter().flat_map(|operator| &operator.states);
    let (entries, untouched) = states.fold((0, 0), |sum, s| (sum.0 + s.entries, sum.1 + s.untouched));
    // Workers that have not begun have not told of their entries.
    (entries > 0).then_some(untouched)
}

fn swept(running: JobHandle, made: &AtomicU64, percent: u32) {
    while untouched(&running).is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    running.sweep(Sweep { rows: SweptRows::All, percent });
    let (began, before) = (Instant::now(), made.load(Relaxed));
    while untouched(&running) != Some(0) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed().as_secs_f64();
    let during = (made.load(Relaxed) - before) as f64 / took / 1e6;
    let after = rate(made, Duration::from_secs(3));
    println!("{during} {after} {} {took}", during / after);
    end(running);
}

fn images(running: JobHandle, keys: u64) {
    while untouched(&running).is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let image = || {
        let (began, cpu) = (Instant::now(), common::process_cpu_ns());
        running.savepoint(Default::default()).expect("there is a savepoint");
        ((common::process_cpu_ns() - cpu) as f64 / 1e6, began.elapsed().as_secs_f64() * 1e3)
    };
    let (untouched_cpu, untouched_wall) = image();
    let cpu = common::process_cpu_ns();
    running.sweep(Sweep { rows: SweptRows::All, percent: 100 });
    while untouched(&running) != Some(0) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let row_ns = (common::process_cpu_ns() - cpu) as f64 / keys as f64;
    let (live_cpu, live_wall) = image();
    println!("{untouched_cpu} {untouched_wall} {row_ns} {live_cpu} {live_wall}");
    end(running);
}

fn end(running: JobHandle) {
    running.cancel();
    running.wait().expect("the job ends");
}

/// Takes what the first release kept to what the second one keeps.
struct ToNew<O, N>(PhantomData<fn(O) -> N>);

impl<O: Kept, N: Newer<O>> Migration for ToNew<O, N> {
    type From = O;
    type To = N;

    const TO: u32 = 2;

    fn migrate(&self, _key: &Value, old: O) -> Result<Option<N>, pitlane::BoxError> {
        Ok(Some(N::of(old)))
    }
}
/// Prints when records came out, and ends the process at the last mark.
#[derive(Clone, Debug)]
struct First {
    in_main: f64,
    first_in: &'static AtomicU64,
    /// Whether the process ends with it.
    is_last: bool,
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
        if self.first.is_last && first_in != 0 && MARKS.contains(&self.records) {
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
