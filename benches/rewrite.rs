//! How much does it cost to make a savepoint anew, on each rung of the ladder?
//!
//!     cargo bench --bench rewrite [-- --keys 10M --turns 3 --threads 1 --dir DIR --keep DIR --json]
//!
//! State B (`benches/format/states.rs`): a field gets another name, a `u32` becomes an `i64`, a constant comes. Once by
//! a typed closure over all rows, once by a migration file, which copies the chunks of columns that stay; then a change
//! of names alone, for several numbers of keys. CPU time is that of the whole process, the least of the turns. `--keep`
//! leaves the savepoint in a directory, for `benches/format/peers.py`.

mod common;
#[path = "format/states.rs"]
#[allow(dead_code)]
mod states;

use common::{Args, Report, heap, process_cpu_ns, short};
use pitlane::migrate::{Chain, JobDescription, Migration, OperatorDescription};
use pitlane::model::{
    DataType, JobName, MaxParallelism, OperatorTraits, OperatorUid, StateKind, StateName, Value,
};
use pitlane::rewrite::{MigrationFile, Options, Rewrite, Rewritten, run_to};
use pitlane::savepoint::{Savepoint, SavepointWriter};
use pitlane::{BoxError, State};
use states::{Session, Sessions, rows};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 2)]
struct SessionV2 {
    name: String,
    score: Option<f64>,
    counts: Vec<i64>,
    #[state(was = "last_seen_ms")]
    seen_ms: i64,
    plan: i64,
    region: String,
}

/// Sessions from version 1 are all of one region.
struct SessionToV2;

impl Migration for SessionToV2 {
    type From = Session;
    type To = SessionV2;
    const FROM: u32 = 1;

    fn migrate(&self, _key: &Value, old: Session) -> Result<Option<SessionV2>, BoxError> {
        Ok(Some(SessionV2 {
            name: old.name,
            score: old.score,
            counts: old.counts,
            seen_ms: old.last_seen_ms,
            plan: old.plan.into(),
            region: "eu".to_owned(),
        }))
    }
}

/// The same change as a migration file.
const FILE: &str = "
[[state]]
operator = 'op'
state = 'state'
steps = [
  { rename = 'last_seen_ms', to = 'seen_ms' },
  { widen = 'plan', to = 'i64' },
  { add = 'region', type = 'String', value = 'eu' },
]
";

/// A change of names alone.
const NAMES: &str = "
[[operator]]
uid = 'op'
rename = 'sessions'
";

fn main() {
    let Some(args) = Args::read() else { return };
    let keys = args.number("--keys", "10M");
    let report = Report::new(&args, &format!("savepoints of {} keys made anew", short(keys)));
    let scratch = common::scratch(&args);
    let kept = args.text("--keep").map(PathBuf::from);
    let bench = Bench {
        report: &report,
        turns: args.number("--turns", "3"),
        threads: NonZeroUsize::new(args.number("--threads", "1") as usize).expect("a thread"),
        dir: scratch.path().to_owned(),
    };
    let path = kept.map_or_else(|| scratch.path().join("B"), |kept| kept.join("B"));
    let old = written(&path, keys);
    let by_file = MigrationFile::parse(FILE, "file.toml").expect("a file").apply(&old).expect("it applies");
    let by_code = Rewrite::by_job(&old, &job(), &[]).expect("there is a migration");
    let code = bench.measure("typed closure", &by_code, keys);
    let chunks = bench.measure("chunk copy", &by_file, keys);
    report.figure("typed closure / chunk copy", code / chunks, "x");
    let (one, two) = (bench.last(&by_code), bench.last(&by_file));
    assert_eq!(one, two, "both make the same");
    for part in [100, 10, 1] {
        let keys = keys / part;
        let old = written(&scratch.path().join(format!("names-{part}")), keys);
        let names =
            MigrationFile::parse(NAMES, "names.toml").expect("a file").apply(&old).expect("it applies");
        bench.measure(&format!("names of {} keys", short(keys)), &names, keys);
    }
}

struct Bench<'a> {
    report: &'a Report,
    turns: u64,
    threads: NonZeroUsize,
    dir: PathBuf,
}

impl Bench<'_> {
    /// Carries it out several times; returns the least CPU time in nanoseconds a row.
    fn measure(&self, what: &str, rewrite: &Rewrite, keys: u64) -> f64 {
        let turn = |_| {
            let (cpu, began) = (process_cpu_ns(), Instant::now());
            let done = self.once(rewrite);
            let (cpu, wall) = ((process_cpu_ns() - cpu) as f64, began.elapsed().as_secs_f64());
            std::fs::remove_dir_all(done.savepoint.location()).expect("it can be removed");
            (cpu, wall)
        };
        let (cpu, wall) = (0..self.turns).map(turn).min_by(|a, b| a.0.total_cmp(&b.0)).expect("a turn");
        self.report.figure(&format!("{what}, CPU"), cpu / keys as f64, "ns/row");
        self.report.figure(&format!("{what}, CPU in all"), cpu / 1e6, "ms");
        self.report.figure(&format!("{what}, wall"), wall * 1e3, "ms");
        let (peak, done) = heap::peak_mb(|| self.once(rewrite));
        std::fs::remove_dir_all(done.savepoint.location()).expect("it can be removed");
        self.report.figure(&format!("{what}, peak heap"), peak, "MB");
        cpu / keys as f64
    }

    fn once(&self, rewrite: &Rewrite) -> Rewritten {
        let options = Options { threads: self.threads, ..Options::default() };
        run_to(rewrite, self.dir.join("new"), options).expect("it is carried out")
    }

    fn last(&self, rewrite: &Rewrite) -> Sums {
        let done = self.once(rewrite);
        let sums = read(&done.savepoint);
        std::fs::remove_dir_all(done.savepoint.location()).expect("it can be removed");
        sums
    }
}

/// What all rows come to.
type Sums = (u64, i64, i64, u64);

fn read(savepoint: &Savepoint) -> Sums {
    let state = savepoint.operator("op").and_then(|operator| operator.state("state")).expect("it is there");
    let rows = state.rows::<String, SessionV2>(Chain::current(2)).expect("it has that type");
    rows.map(|row| row.expect("a row").1).fold((0, 0, 0, 0), |sums: Sums, row| {
        let text = (row.name.len() + row.region.len() + row.counts.len()) as u64;
        (sums.0 + 1, sums.1.wrapping_add(row.seen_ms), sums.2 + row.plan, sums.3 + text)
    })
}

fn written(path: &Path, keys: u64) -> Savepoint {
    let writer = SavepointWriter::create(path, "bench").expect("an empty directory");
    let mut state = writer.keyed_state::<String, Session>("op", "state", 1).expect("a new state");
    for (_, key, value) in rows::<Sessions>(keys) {
        state.insert(&key, &value).expect("a new key");
    }
    state.finish().expect("it is written");
    writer.finish().expect("it is published")
}

fn job() -> JobDescription {
    let name = StateName::new("state").expect("a name");
    let chain = Chain::<SessionV2>::current(2).then(SessionToV2);
    JobDescription {
        job: JobName::new("bench").expect("a name"),
        release: "2".to_owned(),
        max_parallelism: MaxParallelism::DEFAULT,
        workers: None,
        operators: vec![OperatorDescription {
            uid: OperatorUid::new("op").expect("a name"),
            kind: "bootstrap".to_owned(),
            states: vec![chain.describe(name, StateKind::Value, Some(DataType::String))],
            traits: OperatorTraits::default(),
        }],
        renames: Vec::new(),
    }
}
