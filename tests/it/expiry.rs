//! State that expires: values of all kinds against plain code, stamps on disk, and rows that nobody migrates any more.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use pitlane::connectors::{FileSink, Generator, JsonLines};
use pitlane::engine::{
    Aggregate, AggregatingState, Checkpoints, Clock, Context, Job, ListState, MapState, Process,
    ReducingState, RunOptions, StatefulStream, ValueState,
};
use pitlane::migrate::{Chain, Migration};
use pitlane::model::Value;
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::{BoxError, State};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// A record: to keep its number, or to look only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Op {
    n: u64,
    key: u64,
    writes: bool,
}

/// What a key has after a record: value, list, map, sum and mean, as far as they are there.
type Seen = (Op, Option<u64>, Vec<u64>, BTreeMap<u64, u64>, Option<u64>, Option<u64>);

#[derive(Clone)]
struct Mean;

impl Aggregate for Mean {
    type In = u64;
    type Accumulator = (u64, u64);
    type Out = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (u64, u64), value: u64) {
        (*sum, *count) = (*sum + value, *count + 1);
    }

    fn result(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / count
    }

    fn merge(&self, into: &mut (u64, u64), other: (u64, u64)) {
        *into = (into.0 + other.0, into.1 + other.1);
    }
}

struct Keeping {
    value: ValueState<u64>,
    list: ListState<u64>,
    map: MapState<u64, u64>,
    sum: ReducingState<u64>,
    mean: AggregatingState<Mean>,
}

impl Process<u64, Op, Seen> for Keeping {
    fn process(&mut self, op: Op, context: &mut Context<'_, u64, Seen>) -> Result<(), BoxError> {
        if op.writes {
            self.value.set(op.n)?;
            self.list.push(op.n)?;
            self.map.insert(op.n % 3, op.n)?;
            self.sum.add(op.n)?;
            self.mean.add(op.n)?;
        }
        let map = self.map.with(|map| map.cloned().unwrap_or_default())?;
        context.emit((op, self.value.get()?, self.list.get()?, map, self.sum.get()?, self.mean.get()?));
        Ok(())
    }
}

/// How long each of the five lives; whether looking at it counts is of the first and the fourth only.
type Lives = [u64; 5];
const ON_READ: [bool; 5] = [true, false, false, true, false];

fn job(input: &Path, out: &Path, lives: Option<Lives>) -> Job {
    let job = Job::new("keeping").checkpoints(Checkpoints::every(Duration::from_millis(3)));
    let ops = job.source(JsonLines::<Op>::new(input)).uid("ops");
    ops.key_by(|op| op.key)
        .process(move |states| {
            let (value, list, map) = (states.value("value"), states.list("list"), states.map("map"));
            let (sum, mean) = (states.reducing("sum", |a, b| a + b), states.aggregating("mean", Mean));
            let Some(lives) = lives.map(|lives| lives.map(Duration::from_millis)) else {
                return Keeping { value, list, map, sum, mean };
            };
            Keeping {
                value: value.expire_unused_after(lives[0]),
                list: list.expire_after(lives[1]),
                map: map.expire_after(lives[2]),
                sum: sum.expire_unused_after(lives[3]),
                mean: mean.expire_after(lives[4]),
            }
        })
        .uid("keeping")
        .sink(FileSink::json_lines(out))
        .uid("seen");
    job
}

/// The same in plain code.
#[derive(Default)]
struct Model {
    /// By key, for each of the five: what was written, and when it was last touched.
    kept: BTreeMap<u64, [(Vec<u64>, i64); 5]>,
}

impl Model {
    fn take(&mut self, op: Op, now_ms: i64, lives: Option<Lives>) -> Seen {
        let kept = self.kept.entry(op.key).or_default();
        for (index, (written, touched_ms)) in kept.iter_mut().enumerate() {
            if lives.is_some_and(|lives| *touched_ms + lives[index] as i64 <= now_ms) {
                written.clear();
            }
            if op.writes {
                written.push(op.n);
            }
            if op.writes || ON_READ[index] {
                *touched_ms = now_ms;
            }
        }
        let last = |index: usize| kept[index].0.last().copied();
        let sum = |index: usize| (!kept[index].0.is_empty()).then(|| kept[index].0.iter().sum::<u64>());
        let map = kept[2].0.iter().map(|n| (n % 3, *n)).collect();
        let mean = sum(4).map(|sum| sum / kept[4].0.len() as u64);
        (op, last(0), kept[1].0.clone(), map, sum(3), mean)
    }

    /// Lets go of what has expired: images do not have it.
    fn ended(&mut self, now_ms: i64, lives: Option<Lives>) {
        for kept in self.kept.values_mut() {
            for (index, (written, touched_ms)) in kept.iter_mut().enumerate() {
                if lives.is_some_and(|lives| *touched_ms + lives[index] as i64 <= now_ms) {
                    written.clear();
                }
            }
        }
    }

    /// Forgets times that a job without expiry does not keep: what is there counts as touched at the next start.
    fn started(&mut self, now_ms: i64, had_lives: bool) {
        if !had_lives {
            self.kept.values_mut().flatten().for_each(|(_, touched_ms)| *touched_ms = now_ms);
        }
    }
}

fn lines<T: serde::de::DeserializeOwned + Ord>(dir: &Path) -> Vec<T> {
    let files = std::fs::read_dir(dir).unwrap().flatten().map(|e| e.path()).filter(|p| p.is_file());
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut records: Vec<T> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort();
    records
}

prop_compose! {
    /// A part of the input, how much later than the one before it comes, with how many workers, and the lifetimes.
    fn stage()(
        later_ms in 0u64..25,
        ops in prop::collection::vec((0u64..6, any::<bool>()), 0..12),
        workers in 1usize..4,
        lives in prop::option::weighted(0.8, [1u64..20, 1..20, 1..20, 1..20, 1..20]),
    ) -> (u64, Vec<(u64, bool)>, usize, Option<Lives>) {
        (later_ms, ops, workers, lives)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Clauses EX-1, EX-2 and EX-3.
    ///
    /// Each part of the input is read by a job of its own, which goes on from the last image of the one before: so
    /// stamps pass through files, of other numbers of workers, and lifetimes are added, changed and taken away.
    #[test]
    fn what_expires_equals_plain_code_over_restarts(
        stages in prop::collection::vec(stage(), 1..7),
        sweep in crate::sweep::any_sweep(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("input"), dir.path().join("out"));
        std::fs::create_dir_all(&input).unwrap();
        let (mut now_ms, mut n, mut wanted) = (1_000, 0, Vec::new());
        let (mut model, mut had_lives) = (Model::default(), true);
        for (index, (later_ms, ops, workers, lives)) in stages.into_iter().enumerate() {
            now_ms += later_ms as i64;
            model.started(now_ms, had_lives);
            had_lives = lives.is_some();
            let mut text = String::new();
            for (key, writes) in ops {
                n += 1;
                let op = Op { n, key, writes };
                wanted.push(model.take(op, now_ms, lives));
                text += &(serde_json::to_string(&op).unwrap() + "\n");
            }
            model.ended(now_ms, lives);
            std::fs::write(input.join(format!("{index:03}.jsonl")), text).unwrap();
            let clock = Clock::by_hand(now_ms);
            let options = RunOptions { clock, sweep, ..RunOptions::in_dir(dir.path().join("data")) };
            let end = job(&input, &out, lives).run(&options.workers(workers)).unwrap();
            let savepoint = Savepoint::open(end.image.unwrap()).unwrap();
            prop_assert_eq!(verify(&savepoint, Depth::Full).problems, []);
            for state in savepoint.operator("keeping").unwrap().states() {
                prop_assert!(state.entry().files.iter().all(|file| file.touched == lives.is_some()));
            }
        }
        wanted.sort();
        let found = if out.exists() { lines::<Seen>(&out) } else { Vec::new() };
        prop_assert_eq!(found, wanted);
    }
}

/// Counts the records of 20 keys, of which 10 stop to come after a while.
fn counting(expire: impl Fn(StatefulStream<u64, (u64, u64)>) -> StatefulStream<u64, (u64, u64)>) -> Job {
    let job = Job::new("counting");
    let key = |_, n| if n < 100 { n % 20 } else { n % 10 };
    let keys = job.source(Generator::new(1, u64::MAX, key)).uid("keys").rate(2_000.0);
    let _ = expire(keys.key_by(|key| *key).count().uid("counts"));
    job
}

#[test]
fn a_running_job_lets_go_of_what_has_expired_and_never_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(0);
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path()) };
    let job = counting(|counts| counts.expire_after(Duration::from_secs(60)));
    let running = job.start(&options.workers(2)).unwrap();
    let entries =
        || running.status().operators.iter().flat_map(|o| &o.states).map(|s| s.entries).sum::<u64>();
    let until = |done: &dyn Fn() -> bool, what: &str| {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let records = || running.status().operators.iter().map(|operator| operator.records_in).max().unwrap_or(0);
    until(&|| records() > 300 && entries() == 20, "all keys");
    let all = Savepoint::open(running.savepoint(Default::default()).unwrap().path).unwrap();
    let rows = |savepoint: &Savepoint| -> BTreeMap<u64, u64> {
        let state = savepoint.operator("counts").unwrap().state("count").unwrap();
        state.rows(Chain::current(1)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(rows(&all).len(), 20);
    clock.advance_to(60_000);
    until(&|| entries() <= 10, "those that do not come any more are swept off the heap");
    let done = running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    let savepoint = Savepoint::open(done.path).unwrap();
    let (before, after) = (rows(&all), rows(&savepoint));
    assert!(after.keys().all(|key| *key < 10), "{after:?}");
    let read = |s: &Savepoint| s.manifest().sources[0].positions[0].records;
    let since = read(&savepoint) - read(&all);
    assert!(after.values().sum::<u64>() <= since, "counts began again: {before:?} {after:?} {since}");
    let state = savepoint.operator("counts").unwrap().state("count").unwrap();
    for batch in state.scan() {
        let batch = batch.unwrap().batch;
        let touched_ms = batch.column_by_name("touched_ms").unwrap().as_primitive::<Int64Type>();
        assert!(touched_ms.values().iter().all(|at| *at == 60_000));
    }
}

/// A count of release 2, to which no count of release 1 leads.
#[derive(Clone, State)]
#[state(version = 2)]
struct Count2(u64, bool);

struct NeverRun;

impl Migration for NeverRun {
    type From = u64;
    type To = Count2;

    fn migrate(&self, key: &Value, old: u64) -> Result<Option<Count2>, BoxError> {
        Err(format!("{key} with {old} is migrated").into())
    }
}

fn job_2(splits: u32, records: u64) -> Job {
    let job = Job::new("counting").release("2");
    let keys = job.source(Generator::new(splits, records, |_, n| n % 20)).uid("keys");
    let counts = keys.key_by(|key| *key).flat_map_with_state(|count: &mut Option<Count2>, _| {
        let before = count.as_ref().map_or(0, |count| count.0);
        *count = Some(Count2(before + 1, true));
        None::<u64>
    });
    let _ = counts.uid("counts").state_name("count").migrate(NeverRun).expire_after(Duration::from_secs(60));
    job
}

#[test]
fn rows_that_expire_before_they_are_touched_go_without_being_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let options = |now_ms| RunOptions { clock: Clock::by_hand(now_ms), ..RunOptions::in_dir(dir.path()) };
    let old = Job::new("counting").release("1");
    let keys = old.source(Generator::new(1, 40, |_, n| n % 20)).uid("keys");
    let _ = keys.key_by(|key| *key).count().uid("counts");
    old.run(&options(0)).unwrap();
    let state = |end: pitlane::engine::JobEnd| {
        let savepoint = Savepoint::open(end.image.unwrap()).unwrap();
        assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        let state = savepoint.operator("counts").unwrap().state("count").unwrap();
        let mut stamps = Vec::new();
        for batch in state.scan() {
            let batch = batch.unwrap().batch;
            stamps.extend(batch.column(3).as_primitive::<Int64Type>().values().iter().copied());
        }
        let versions: Vec<_> = state.entry().rows_by_version().into_iter().map(|(v, n)| (v.0, n)).collect();
        (versions, stamps)
    };
    // Nothing is read: rows stay under the old schema, and count as touched when the job started.
    let (versions, stamps) = state(job_2(1, 40).run(&options(500)).unwrap());
    assert_eq!((versions, stamps), (vec![(1, 20)], vec![500; 20]));
    // A moment before their time is over a key would be migrated.
    let error = job_2(2, 1).run(&options(60_499)).unwrap_err();
    assert!(error.to_string().contains("key 0: migration from version 1 to 2 failed"), "{error}");
    let (versions, stamps) = state(job_2(2, 2).run(&options(60_500)).unwrap());
    assert_eq!((versions, stamps), (vec![(2, 2)], vec![60_500; 2]), "the other 18 are gone too");
}

#[test]
fn broadcast_state_that_is_to_expire_is_refused() {
    struct Nothing;
    impl pitlane::engine::BroadcastProcess<u64, u64, u64, u64> for Nothing {
        type Name = u64;
        type Value = u64;

        fn process_record(
            &mut self,
            _: u64,
            _: &BTreeMap<u64, u64>,
            _: &mut Context<'_, u64, u64>,
        ) -> Result<(), BoxError> {
            Ok(())
        }

        fn process_broadcast(&mut self, _: u64, _: &mut BTreeMap<u64, u64>) -> Result<(), BoxError> {
            Ok(())
        }
    }
    let job = Job::new("rules");
    let numbers = job.source(Generator::new(1, 0, |_, n| n)).uid("numbers");
    let rules = job.source(Generator::new(1, 0, |_, n| n)).uid("rules");
    let _ = numbers
        .key_by(|n| *n)
        .connect_broadcast(&rules.broadcast())
        .process(|_| Nothing)
        .uid("nothing")
        .expire_after(Duration::from_secs(1));
    let text = "job `rules`: operator `nothing`: state `broadcast`: a broadcast state does not expire";
    assert_eq!(job.describe().unwrap_err().to_string(), text);
}
