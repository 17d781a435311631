//! Operator state without keys: lists, unions and values of instances, dealt out again at each start.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{
    Checkpoints, Job, OperatorContext, OperatorList, OperatorProcess, OperatorUnion, OperatorValue,
    RunOptions,
};
use pitlane::migrate::{Chain, Migration};
use pitlane::model::{StateKind, Value};
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::state::Msgpack;
use pitlane::{BoxError, Error, State};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SPLITS: u32 = 3;
const RECORDS: u64 = 60;
const GROUP: usize = 7;

type Record = (u32, u64);
type Counts = Msgpack<HashMap<u32, u64>>;

/// What each instance was given at its start.
type Dealt = Vec<(usize, u64)>;

/// Sends records on in groups, and counts them, by split and in all.
struct Grouping {
    held: OperatorList<Record>,
    counts: OperatorValue<Counts>,
    totals: OperatorUnion<(usize, u64)>,
    tell: Arc<Mutex<Sender<Dealt>>>,
}

impl OperatorProcess<Record, Vec<Record>> for Grouping {
    fn start(&mut self, _: &mut OperatorContext<'_, Vec<Record>>) -> Result<(), BoxError> {
        let all = self.totals.take_all();
        assert!(self.totals.take_all().is_empty());
        Ok(self.tell.lock().unwrap().send(all)?)
    }

    fn process(
        &mut self,
        record: Record,
        context: &mut OperatorContext<'_, Vec<Record>>,
    ) -> Result<(), BoxError> {
        assert!(context.instance() < context.instances());
        self.held.push(record);
        if self.held.len() == GROUP {
            context.emit(self.held.take());
        }
        self.counts.update(|counts| {
            *counts.get_or_insert_with(|| Msgpack(HashMap::new())).0.entry(record.0).or_default() += 1;
        });
        // One element more each time for an instance that has several, so that there is something to deal out.
        self.totals.update(|own| match own.iter_mut().find(|(by, _)| *by == context.instance()) {
            Some((_, total)) => *total += 1,
            None => own.push((context.instance(), 1)),
        });
        Ok(())
    }
}

fn add(Msgpack(mut a): Counts, Msgpack(b): Counts) -> Counts {
    b.into_iter().for_each(|(split, count)| *a.entry(split).or_default() += count);
    Msgpack(a)
}

fn job(out: &Path, tell: &Sender<Dealt>) -> Job {
    let job = Job::new("grouping").checkpoints(Checkpoints::every(Duration::from_millis(4)));
    let records =
        job.source(Generator::new(SPLITS, RECORDS, |split, n| (split, n))).uid("records").rate(4_000.0);
    let tell = Arc::new(Mutex::new(tell.clone()));
    let groups = records
        .process(move |states| Grouping {
            held: states.list("held"),
            counts: states.value("counts", add),
            totals: states.union("totals"),
            tell: Arc::clone(&tell),
        })
        .uid("grouping");
    groups.sink(FileSink::json_lines(out)).uid("groups");
    job
}

fn groups(out: &Path) -> Vec<Vec<Record>> {
    let files = std::fs::read_dir(out).into_iter().flatten().flatten().map(|e| e.path());
    let text: String =
        files.filter(|path| path.is_file()).map(|f| std::fs::read_to_string(f).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn elements<S: State>(savepoint: &Savepoint, state: &str) -> Vec<S> {
    let state = savepoint.operator("grouping").unwrap().state(state).unwrap();
    state.elements(Chain::current(S::VERSION)).unwrap().map(Result::unwrap).collect()
}

/// How many records of each split a savepoint has read.
fn read(savepoint: &Savepoint) -> BTreeMap<u32, u64> {
    let positions = savepoint.manifest().sources.iter().flat_map(|source| &source.positions);
    positions.map(|p| (p.split.parse().unwrap(), p.records)).filter(|(_, n)| *n > 0).collect()
}

/// Compares the states with what plain code makes of the records that the savepoint has read.
fn check(savepoint: &Savepoint, out: &Path) {
    assert_eq!(verify(savepoint, Depth::Full).problems, []);
    let read = read(savepoint);
    let mut seen: Vec<Record> = groups(out).into_iter().flatten().collect();
    assert!(groups(out).iter().all(|group| group.len() == GROUP));
    seen.extend(elements::<Record>(savepoint, "held"));
    seen.sort_unstable();
    let wanted = read.iter().flat_map(|(split, records)| (0..*records).map(|n| (*split, n)));
    assert_eq!(seen, wanted.collect::<Vec<_>>(), "each record is held or was sent on, once");
    let counts = elements::<Counts>(savepoint, "counts");
    let counts = counts.into_iter().reduce(add).unwrap_or_default();
    assert_eq!(counts.0.into_iter().collect::<BTreeMap<_, _>>(), read);
    let total: u64 = elements::<(usize, u64)>(savepoint, "totals").iter().map(|(_, n)| n).sum();
    assert_eq!(total, read.values().sum::<u64>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn operator_states_equal_plain_code_over_stops_and_other_numbers_of_workers(
        runs in prop::collection::vec((1usize..5, 0u64..12), 1..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let options = RunOptions::in_dir(dir.path().join("data"));
        let mut before = Vec::new();
        let all_are_told = |told: &std::sync::mpsc::Receiver<_>, workers: usize, before: &[(usize, u64)]| {
            for _ in 0..workers {
                let all: Dealt = told.recv_timeout(Duration::from_secs(20)).unwrap();
                assert_eq!(all, before, "each instance sees what all had");
            }
        };
        for (workers, pause_ms) in runs {
            let (tell, told) = channel();
            let running = job(&out, &tell).start(&options.clone().workers(workers)).unwrap();
            all_are_told(&told, workers, &before);
            std::thread::sleep(Duration::from_millis(pause_ms));
            let done = running.stop(Default::default());
            running.wait().unwrap();
            // The input may have ended before.
            let Ok(done) = done else { break };
            let savepoint = Savepoint::open(done.path).unwrap();
            check(&savepoint, &out);
            before = elements(&savepoint, "totals");
        }
        let (tell, told) = channel();
        let end = job(&out, &tell).run(&options.workers(2)).unwrap();
        drop(tell);
        prop_assert_eq!(told.iter().count(), 2);
        let savepoint = Savepoint::open(end.image.unwrap()).unwrap();
        check(&savepoint, &out);
        prop_assert_eq!(read(&savepoint).values().sum::<u64>(), u64::from(SPLITS) * RECORDS);
    }
}

#[test]
fn operator_state_is_in_columns_that_every_reader_of_parquet_sees() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, _told) = channel();
    let out = dir.path().join("out");
    let end = job(&out, &tell).run(&RunOptions::in_dir(dir.path().join("data"))).unwrap();
    let savepoint = Savepoint::open(end.image.unwrap()).unwrap();
    let held = savepoint.operator("grouping").unwrap().state("held").unwrap();
    let columns: Vec<_> = held.file(0).unwrap().schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(columns, ["idx", "value"]);
    assert_eq!(held.entry().schemas[0].data_type.to_string(), "(u32, u64)");
    assert_eq!(held.entry().kind, StateKind::List);
}

/// What is held, in release 2.
#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 2)]
struct Held {
    n: u64,
    note: Option<String>,
}

/// Lets the number 3 go, and cannot answer for the number 1000.
struct HeldToV2;

impl Migration for HeldToV2 {
    type From = u64;
    type To = Held;

    fn migrate(&self, key: &Value, n: u64) -> Result<Option<Held>, BoxError> {
        assert_eq!(*key, Value::Unit);
        match n {
            1000 => Err("too large".into()),
            n => Ok((n != 3).then_some(Held { n, note: None })),
        }
    }
}

fn holding<V: State + Clone>(
    last: u64,
    hold: fn(u64) -> V,
    migrate: fn(OperatorList<V>) -> OperatorList<V>,
) -> Job {
    let job = Job::new("holding");
    let numbers = job.source(Generator::new(1, 6, move |_, n| if n == 5 { last } else { n })).uid("numbers");
    let _ = numbers
        .process(move |states| {
            let held = migrate(states.list("held"));
            move |n: u64, _: &mut OperatorContext<'_, ()>| -> Result<(), BoxError> {
                held.push(hold(n));
                Ok(())
            }
        })
        .uid("grouping");
    job
}

#[test]
fn elements_are_migrated_when_a_job_starts() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    holding::<u64>(5, |n| n, |list| list).run(&options.clone().workers(2)).unwrap();
    let new = holding::<Held>(5, |n| Held { n, note: None }, |list| list.migrate(HeldToV2));
    let image = new.run(&options.workers(3)).unwrap().image.unwrap();
    let savepoint = Savepoint::open(image).unwrap();
    let mut held: Vec<u64> = elements::<Held>(&savepoint, "held").iter().map(|held| held.n).collect();
    held.sort_unstable();
    assert_eq!(held, [0, 1, 2, 4, 5]);
}

#[test]
fn an_element_that_no_migration_answers_for_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    holding::<u64>(1000, |n| n, |list| list).run(&options).unwrap();
    let new = holding::<Held>(5, |n| Held { n, note: None }, |list| list.migrate(HeldToV2));
    let error = new.run(&options).unwrap_err();
    let text = "operator `grouping`, state `held`, key of element 5: migration from version 1 to 2 failed on the \
                stored value 1000";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_list_whose_elements_have_another_type_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    holding::<u64>(5, |n| n, |list| list).run(&options).unwrap();
    let error = holding::<String>(5, |n| n.to_string(), |list| list).run(&options).unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error}");
}

#[test]
fn two_states_of_one_name_are_refused() {
    let job = Job::new("holding");
    let numbers = job.source(Generator::new(1, 1, |_, n| n)).uid("numbers");
    let make = |states: &mut pitlane::engine::OperatorStates| {
        let (_list, _union) = (states.list::<u64>("held"), states.union::<u64>("held"));
        |_: u64, _: &mut OperatorContext<'_, ()>| -> Result<(), BoxError> { Ok(()) }
    };
    let _ = numbers.process(make).uid("grouping");
    let text = "job `holding`: operator `grouping` has two states with the name `held`";
    assert_eq!(job.describe().unwrap_err().to_string(), text);
}

#[test]
fn a_function_that_fails_stops_the_attempt_with_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("holding");
    let numbers = job.source(Generator::new(1, 3, |_, n| n)).uid("numbers");
    let make = |_: &mut pitlane::engine::OperatorStates| {
        |n: u64, _: &mut OperatorContext<'_, u64>| -> Result<(), BoxError> {
            if n == 2 { Err("too many".into()) } else { Ok(()) }
        }
    };
    let _ = numbers.process(make).uid("grouping");
    let error = job.run(&RunOptions::in_dir(dir.path())).unwrap_err();
    assert!(matches!(error, Error::OperatorFunction { .. }), "{error}");
    assert_eq!(error.to_string(), "operator `grouping` failed");
}

/// Of a type that serde does not write.
#[derive(Clone, serde::Deserialize)]
struct NeverWritten;

impl serde::Serialize for NeverWritten {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("nobody may see this"))
    }
}

#[test]
fn a_value_that_cannot_be_stored_stops_the_attempt_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let job = holding::<Msgpack<NeverWritten>>(5, |_| Msgpack(NeverWritten), |list| list);
    let error = job.run(&RunOptions::in_dir(dir.path())).unwrap_err();
    assert!(matches!(error, Error::Unstorable { .. }), "{error}");
    assert!(
        error.to_string().starts_with("operator `grouping`, state `held`, element 0: cannot store"),
        "{error}"
    );
}
