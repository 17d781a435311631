//! J5: what a `reduce` keeps by itself gains a part, (name, count) becomes (name, latest, count).

use super::{Dice, Leg, Trip, WORKERS, rows};
use pitlane::BoxError;
use pitlane::engine::Job;
use pitlane::migrate::{Chain, Migration, Verdict, plan_savepoint};
use pitlane::model::Value;
use std::collections::BTreeMap;

const STATE: (&str, &str) = ("count", "accumulator");

/// What happened, and when.
type Happened = (String, i64);
type CountV1 = (String, i32);
type CountV2 = (String, i64, i32);
pub(super) type Counts = Trip<Happened, CountV2>;

/// Adds when it happened last; what was counted under version 1 happened at no time that is known, which is 0.
struct CountToV2;

impl Migration for CountToV2 {
    type From = CountV1;
    type To = CountV2;
    const TO: u32 = 2;

    fn migrate(&self, _name: &Value, (name, count): CountV1) -> Result<Option<CountV2>, BoxError> {
        Ok(Some((name, 0, count)))
    }
}

impl Counts {
    /// Tells how often it has happened.
    pub(super) fn first(&self) -> Job {
        let job = Job::new("happenings").release("1");
        let happened = job.source(self.tape.clone()).uid("happenings").map(|(name, _)| (name, 1));
        let counts =
            happened.key_by(|one: &CountV1| one.0.clone()).reduce(|a, b| (a.0, a.1 + b.1)).uid(STATE.0);
        counts.map(|(name, count)| (name, -1, count)).sink(self.out.clone()).uid("told");
        job
    }

    /// Also tells when it happened last; `explained` says how older counts lead there.
    pub(super) fn second(&self, explained: bool) -> Job {
        let job = Job::new("happenings").release("2");
        let happened = job.source(self.tape.clone()).uid("happenings").map(|(name, at_ms)| (name, at_ms, 1));
        let counts = happened.key_by(|one: &CountV2| one.0.clone());
        let counts = counts.reduce(|a, b| (a.0, a.1.max(b.1), a.2 + b.2)).uid(STATE.0);
        let counts = if explained { counts.migrate(CountToV2) } else { counts.schema_version(2) };
        counts.sink(self.out.clone()).uid("told");
        job
    }
}

/// What plain code makes of it, if the second release begins at a position.
fn plain(happened: &[Happened], second: usize) -> (Vec<CountV2>, BTreeMap<String, CountV2>) {
    let (mut told, mut kept) = (Vec::new(), BTreeMap::<String, CountV2>::new());
    for (position, (name, at_ms)) in happened.iter().enumerate() {
        let count = kept.entry(name.clone()).or_insert_with(|| (name.clone(), 0, 0));
        count.2 += 1;
        if position < second {
            told.push((name.clone(), -1, count.2));
            continue;
        }
        count.1 = count.1.max(*at_ms);
        told.push(count.clone());
    }
    told.sort();
    (told, kept)
}

#[track_caller]
pub(super) fn assert_ends_well(end: &Leg<CountV2>, happened: &[Happened], second: usize, what: &str) {
    let (told, wanted) = plain(happened, second);
    assert_eq!(end.told(), told, "{what}");
    let kept: BTreeMap<String, CountV2> = rows(&end.savepoint, STATE, Chain::current(2).then(CountToV2));
    assert_eq!(kept, wanted, "{what}");
}

pub(super) fn many(seed: u64, events: usize) -> Vec<Happened> {
    let mut dice = Dice::new(seed);
    (0..events).map(|_| (format!("kind {}", dice.below(300)), 1 + dice.below(1_000_000) as i64)).collect()
}

/// Kinds that come again and again, late or early, one of them never again.
fn few() -> Vec<Happened> {
    let names =
        ["click", "buy", "look", "click", "click", "leave", "buy", "look", "look", "click", "buy", "come"];
    let times = [10, 20, 15, 40, 30, 50, 60, 5, 80, 70, 65, 90];
    names.map(str::to_owned).into_iter().zip(times).collect()
}

#[test]
fn j5_counts_go_on_without_a_jump_and_know_the_latest_time_from_then_on() {
    let trip = Counts::new(few());
    for (position, stop) in trip.stops(&|| trip.first()).into_iter().enumerate() {
        for workers in WORKERS {
            let end = trip.run(trip.second(true), &trip.options(workers, Some(&stop.savepoint))).unwrap();
            let what = format!("position {position}, {workers} workers");
            assert_ends_well(&end.behind(stop.told.clone()), &few(), position, &what);
        }
    }
}

/// The twin of J5: it is the plan that refuses, before anything is stopped, and a start says the same.
#[test]
fn j5_without_a_migration_the_plan_refuses_and_so_does_the_start() {
    let trip = Counts::new(few());
    let stop = trip.stop_at(8, trip.first(), &trip.options(2, None));
    let plan = plan_savepoint(&stop.savepoint, &trip.second(false).describe().unwrap(), &[]);
    assert_eq!(plan.verdict(), Verdict::Refused, "{plan}");
    let refused = super::shown(&plan.to_result().unwrap_err());
    assert_eq!(
        refused,
        "error: operator `count`, state `accumulator`: value: found (String, i32), wanted (String, i64, i32): 2 parts do \
         not become 3, since parts have no names to be found by, in 4 rows of version 1\n\
         hint: register a migration that says where each part comes from"
    );
    assert_eq!(trip.refused(trip.second(false), &trip.options(2, Some(&stop.savepoint))), refused);
}
