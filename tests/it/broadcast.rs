//! Broadcast state: the same on all workers, in a savepoint once, and a filter that is told what to drop.

use crate::dynamic_filter;
use pitlane::connectors::{FileSink, Generator, JsonLines};
use pitlane::engine::{BroadcastProcess, Checkpoints, Context, Job, RunOptions};
use pitlane::migrate::{Chain, Migration};
use pitlane::model::Value;
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::{BoxError, Error, State};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

const SPLITS: u32 = 3;
const RULES: u64 = 100;
const NAMES: u64 = 7;
const KEYS: u64 = 40;

/// How many rules there were for a name, and which one was the last: of a split, with a number.
type Said = (u64, (u32, u64));
type Rules = BTreeMap<u64, Said>;

/// Tells of each record what the rules are.
struct Telling;

impl BroadcastProcess<u64, u64, (u32, u64), (u64, Rules)> for Telling {
    type Name = u64;
    type Value = Said;

    fn process_record(
        &mut self,
        key: u64,
        rules: &Rules,
        context: &mut Context<'_, u64, (u64, Rules)>,
    ) -> Result<(), BoxError> {
        context.emit((key, rules.clone()));
        Ok(())
    }

    fn process_broadcast(&mut self, rule: (u32, u64), rules: &mut Rules) -> Result<(), BoxError> {
        let (count, last) = rules.entry(rule.1 % NAMES).or_insert((0, rule));
        (*count, *last) = (*count + 1, rule);
        Ok(())
    }
}

fn job(tell: &Sender<(u64, Rules)>) -> Job {
    let job = Job::new("telling").checkpoints(Checkpoints::every(Duration::from_millis(5)));
    let keys = job.source(Generator::new(1, u64::MAX, |_, n| n % KEYS)).uid("keys").rate(2_000.0);
    // Splits contradict each other: only their order decides which rule is the last.
    let rules = job.source(Generator::new(SPLITS, RULES, |split, n| (split, n))).uid("rules").rate(2_000.0);
    let told =
        keys.key_by(|key| *key).connect_broadcast(&rules.broadcast()).process(|_| Telling).uid("telling");
    let tell = std::sync::Arc::new(std::sync::Mutex::new(tell.clone()));
    let _ = told.state_name("rules").inspect(move |told| drop(tell.lock().unwrap().send(told.clone())));
    job
}

fn count(rules: &Rules) -> u64 {
    rules.values().map(|(count, _)| count).sum()
}

#[test]
fn all_workers_have_one_broadcast_state_over_stops_and_other_numbers_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    let mut before = Rules::new();
    for (workers, wanted) in [(2, 40), (3, 150), (1, 200), (3, u64::from(SPLITS) * RULES)] {
        let (tell, told) = channel();
        let running = job(&tell).start(&options.clone().workers(workers)).unwrap();
        let mut seen = BTreeMap::<u64, Rules>::new();
        let began = Instant::now();
        while seen.len() < KEYS as usize || seen.values().any(|rules| count(rules) < wanted) {
            let (key, rules) = told.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(count(&rules) >= count(&before), "a key knows less than the savepoint did");
            seen.insert(key, rules);
            assert!(began.elapsed() < Duration::from_secs(30), "{seen:?}");
        }
        let done = running.stop(Default::default()).unwrap();
        running.wait().unwrap();
        let savepoint = Savepoint::open(done.path).unwrap();
        assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        let state = savepoint.operator("telling").unwrap().state("rules").unwrap();
        assert_eq!(state.entry().rows(), NAMES, "it is stored once");
        before = state.rows::<u64, Said>(Chain::current(1)).unwrap().map(Result::unwrap).collect();
        // Everybody who has heard all that the savepoint has heard knows the same.
        let all: Vec<_> = seen.values().filter(|rules| count(rules) == count(&before)).collect();
        assert!(all.iter().all(|rules| **rules == before), "{before:?} {all:?}");
    }
    assert_eq!(count(&before), u64::from(SPLITS) * RULES, "no rule is lost or taken twice");
}

/// A limit that may be named, in release 2.
#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 2)]
struct Limit {
    upper: u64,
    said_by: Option<String>,
}

struct LimitToV2;

impl Migration for LimitToV2 {
    type From = u64;
    type To = Limit;

    fn migrate(&self, name: &Value, upper: u64) -> Result<Option<Limit>, BoxError> {
        let is_gone = *name == Value::String("old".to_owned());
        Ok((!is_gone).then_some(Limit { upper, said_by: None }))
    }
}

/// Keeps each limit that is broadcast, made into `V`.
struct Limits<V>(fn(u64) -> V);

impl<V: State> BroadcastProcess<u64, u64, (String, u64), String> for Limits<V> {
    type Name = String;
    type Value = V;

    fn process_record(
        &mut self,
        _: u64,
        limits: &BTreeMap<String, V>,
        context: &mut Context<'_, u64, String>,
    ) -> Result<(), BoxError> {
        limits.keys().for_each(|name| context.emit(name.clone()));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (name, upper): (String, u64),
        limits: &mut BTreeMap<String, V>,
    ) -> Result<(), BoxError> {
        if upper == u64::MAX {
            return Err("no limit at all".into());
        }
        limits.insert(name, (self.0)(upper));
        Ok(())
    }
}

fn limits(
    job: &Job,
    records: u64,
    last: u64,
) -> pitlane::engine::BroadcastConnected<u64, u64, (String, u64)> {
    let numbers = job.source(Generator::new(1, 0, |_, n| n)).uid("numbers");
    let name = |n| ["old", "day", "night"][n as usize % 3].to_owned();
    let make = move |_, n| (name(n), if n == 2 { last } else { n });
    let said = job.source(Generator::new(1, records, make)).uid("limits");
    numbers.key_by(|n| *n).connect_broadcast(&said.broadcast())
}

#[test]
fn broadcast_state_is_migrated_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    let old = Job::new("limits").release("1");
    let _ = limits(&old, 3, 2).process(|_| Limits::<u64>(|upper| upper)).uid("limited");
    old.run(&options.clone().workers(2)).unwrap();
    let new = Job::new("limits").release("2");
    let _ = limits(&new, 3, 2)
        .process(|_| Limits(|upper| Limit { upper, said_by: Some("me".to_owned()) }))
        .migrate(LimitToV2)
        .uid("limited");
    let image = new.run(&options.workers(3)).unwrap().image.unwrap();
    let savepoint = Savepoint::open(image).unwrap();
    let state = savepoint.operator("limited").unwrap().state("broadcast").unwrap();
    let rows: BTreeMap<String, Limit> = state.rows(Chain::current(2)).unwrap().map(Result::unwrap).collect();
    let limit = |upper| Limit { upper, said_by: None };
    assert_eq!(rows, [("day".to_owned(), limit(1)), ("night".to_owned(), limit(2))].into());
}

#[test]
fn a_broadcast_record_that_is_not_taken_stops_the_attempt_with_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("limits");
    let _ = limits(&job, 3, u64::MAX).process(|_| Limits::<u64>(|upper| upper)).uid("limited");
    let error = job.run(&RunOptions::in_dir(dir.path()).workers(2)).unwrap_err();
    assert!(matches!(error, Error::BroadcastFunction { .. }), "{error}");
    assert_eq!(error.to_string(), "operator `limited` failed on a broadcast record");
}

#[test]
fn a_state_of_keys_with_the_name_of_the_broadcast_state_is_refused() {
    let job = Job::new("limits");
    let make = |states: &mut pitlane::engine::States<u64>| {
        let _ = states.value::<u64>("broadcast");
        Limits::<u64>(|upper| upper)
    };
    let _ = limits(&job, 1, 1).process(make).uid("limited");
    let text = "job `limits`: operator `limited` has two states with the name `broadcast`";
    assert_eq!(job.describe().unwrap_err().to_string(), text);
}

/// The rooms and times of all alarms so far.
fn alarms(out: &Path) -> Vec<(i32, i64)> {
    let files = std::fs::read_dir(out).into_iter().flatten().flatten().map(|e| e.path());
    let files = files.filter(|path| path.is_file());
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut alarms: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    alarms.sort_unstable();
    alarms
}

#[test]
fn a_filter_that_is_put_into_a_job_goes_by_its_rules_and_the_alarm_keeps_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (events, rules, out) = (path("events"), path("rules"), path("out"));
    std::fs::create_dir_all(&events).unwrap();
    std::fs::create_dir_all(&rules).unwrap();
    let options = RunOptions::in_dir(path("data"));
    let motion = |name: &str, time_ms: i64| {
        let lines =
            [1, 2, 3].map(|room| format!("{{\"kind\":\"motion\",\"room\":{room},\"time_ms\":{time_ms}}}\n"));
        std::fs::write(events.join(name), lines.concat()).unwrap();
    };
    let say = |name: &str, room: i32, muted: bool| {
        std::fs::write(rules.join(name), format!("{{\"room\":{room},\"muted\":{muted}}}\n")).unwrap();
    };
    let run = |rules: Option<&Path>, workers: usize| {
        let job = dynamic_filter::job(
            JsonLines::new(&events),
            rules.map(JsonLines::new),
            FileSink::json_lines(&out),
            1e6,
        );
        job.run(&options.clone().workers(workers)).unwrap();
    };
    let armed = [1, 2, 3].map(|room| format!("{{\"kind\":\"activate\",\"room\":{room},\"time_ms\":0}}\n"));
    std::fs::write(events.join("0"), armed.concat()).unwrap();
    run(None, 2);
    motion("1", 10);
    run(None, 1);
    assert_eq!(alarms(&out), [(1, 10), (2, 10), (3, 10)]);
    // Release 2 comes with a filter, and hears of a room before anything moves there again.
    say("0", 2, true);
    run(Some(&rules), 3);
    motion("2", 20);
    run(Some(&rules), 2);
    assert_eq!(alarms(&out), [(1, 10), (1, 20), (2, 10), (3, 10), (3, 20)]);
    say("1", 2, false);
    say("2", 1, true);
    run(Some(&rules), 1);
    motion("3", 30);
    run(Some(&rules), 3);
    assert_eq!(alarms(&out), [(1, 10), (1, 20), (2, 10), (2, 30), (3, 10), (3, 20), (3, 30)]);
}
