//! The table in docs/states.md of what operators keep is what jobs with them say of themselves.

use pitlane::BoxError;
use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{
    Aggregate, BroadcastProcess, Context, Job, Process, Session, TimerHandle, Tumbling, ValueState,
    Watermarks,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// The mean of numbers.
#[derive(Clone)]
struct Mean;

impl Aggregate for Mean {
    type In = u64;
    type Accumulator = (u64, u32);
    type Out = f64;

    fn create(&self) -> (u64, u32) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (u64, u32), n: u64) {
        *sum += n;
        *count += 1;
    }

    fn result(&self, (sum, count): &(u64, u32)) -> f64 {
        *sum as f64 / f64::from(*count)
    }

    fn merge(&self, into: &mut (u64, u32), other: (u64, u32)) {
        *into = (into.0 + other.0, into.1 + other.1);
    }
}

struct Rules;

impl BroadcastProcess<String, u64, u64, u64> for Rules {
    type Name = u64;
    type Value = bool;

    fn process_record(
        &mut self,
        _: u64,
        _: &BTreeMap<u64, bool>,
        _: &mut Context<'_, String, u64>,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    fn process_broadcast(&mut self, _: u64, _: &mut BTreeMap<u64, bool>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Has one of everything that a process function may keep.
#[expect(dead_code, reason = "the fields are declared, which is what counts")]
struct Keeper {
    value: ValueState<f64>,
    timers: [TimerHandle; 2],
}

impl Process<String, u64, u64> for Keeper {
    fn process(&mut self, _: u64, _: &mut Context<'_, String, u64>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A job with each operator that keeps something; the uid of each is how it is called.
fn job() -> Job {
    let job = Job::new("all");
    let source = |uid: &str| {
        let numbers = job.source(Generator::new(1, 1, |_, n| n)).uid(uid);
        numbers.watermarks(Watermarks::ascending(), |n: &u64| *n as i64)
    };
    let numbers = source("source");
    let keyed = numbers.key_by(|n| n.to_string());
    let other = source("second source").key_by(|n| n.to_string());
    let hour = Duration::from_secs(3600);
    let windows = || keyed.window(Tumbling::of(hour));
    let _ = keyed.flat_map_with_state(|_: &mut Option<f64>, n| Some(n)).uid("flat_map_with_state");
    let _ = keyed.reduce(|a, b| a.max(b)).uid("reduce");
    let _ = keyed.fold(String::new(), |text, n| *text += &n.to_string()).uid("fold");
    let _ = keyed.aggregate(Mean).uid("aggregate");
    let _ = keyed.count().uid("count");
    let _ = keyed.sum(|n| *n).uid("sum");
    let _ = keyed.min().uid("min, max");
    let _ = keyed.min_by(|n| *n).uid("min_by, max_by");
    let _ = windows().reduce(|a, b| a.max(b)).uid("window, reduce");
    let _ = windows().aggregate(Mean).uid("window, aggregate");
    let _ = windows().count().uid("window, count");
    let _ = windows().process(|_, _, _, _: &mut Vec<u64>| {}).uid("window, process");
    let by_clock = keyed.window(Session::with_gap(hour).processing_time());
    let _ = by_clock.count().uid("window by the clock, count");
    let _ = numbers.window_all(Tumbling::of(hour)).count().uid("window_all, count");
    let pair = || keyed.connect(&other).window(Tumbling::of(hour));
    let _ = pair().join(|a, b| a + b).uid("window join");
    let _ = pair().co_group(|_, _, _, _, _: &mut Vec<u64>| {}).uid("co_group");
    let _ = keyed.connect(&other).interval_join(0, 60_000, |a, b| a + b).uid("interval_join");
    let _ = keyed
        .process(|states| {
            let _ = (states.list::<f64>("list"), states.map::<u32, f64>("map"));
            let _ = states.reducing("reducing", |a: f64, b| a + b);
            let _ = states.aggregating("aggregating", Mean);
            Keeper {
                value: states.value("value"),
                timers: [states.event_timers(), states.processing_timers()],
            }
        })
        .uid("process");
    let _ =
        keyed.connect_broadcast(&numbers.broadcast()).process(|_| Rules).uid("connect_broadcast, process");
    numbers.sink(FileSink::json_lines("out")).uid("sink");
    job
}

/// What a state is for.
fn purpose(operator: &str, state: &str) -> &'static str {
    match (operator, state) {
        (_, "positions") => "how far each split was read",
        (_, "transactions") => "the output that belongs to the savepoint",
        ("flat_map_with_state", _) => "the state, as the function leaves it",
        ("reduce", _) => "the records so far, reduced",
        ("fold", _) => "the value so far",
        ("aggregate", _) => "the accumulator",
        ("count", _) => "the number of records",
        ("sum", _) => "the sum",
        ("min, max" | "min_by, max_by", _) => "the record that is kept",
        ("window join" | "co_group", "windows") => {
            "by window: the records of both streams, and whether it has told"
        }
        (_, "windows") => "by window: what it holds, and whether it has told",
        ("interval_join", "left" | "right") => "the records that may still find a partner",
        (_, "timers") => "when a window or the function is to be told",
        (_, "processing-timers") => "the same, by the clock",
        (_, "broadcast") => "what the function keeps of broadcast records, for all keys",
        ("process", "value" | "list" | "map" | "reducing" | "aggregating") => "declared by the function",
        (operator, state) => panic!("what is {operator}/{state} for?"),
    }
}

fn table() -> String {
    let mut text =
        "| operator | state | kind | key | schema | holds |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for operator in job().describe().unwrap().operators {
        if operator.uid.as_str() == "second source" {
            continue;
        }
        for state in &operator.states {
            let key = state.key.as_ref().map_or(String::new(), |key| format!("`{key}`"));
            let (uid, name, kind) = (&operator.uid, &state.name, state.kind.as_str());
            let (schema, holds) = (&state.schema.data_type, purpose(uid.as_str(), name.as_str()));
            let _ = writeln!(text, "| {uid} | `{name}` | {kind} | {key} | `{schema}` | {holds} |");
        }
    }
    text
}

#[test]
fn the_table_of_what_operators_keep_is_true() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/states.md")).unwrap();
    let found: String =
        page.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    let wanted = table();
    assert!(found == wanted, "docs/states.md is to have this table:\n{wanted}");
}
