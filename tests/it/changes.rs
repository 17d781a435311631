//! What becomes of state when a job changes: for each change, what the plan says is what a start does. What it accepts
//! runs, and each key is there with the value that the change makes of it; what it refuses fails without it.

use pitlane::connectors::{FileSink, Generator, Record};
use pitlane::engine::{Job, KeyedStream, RunOptions, StatefulStream};
use pitlane::migrate::{Migration, Verdict, plan_savepoint, retire};
use pitlane::model::{OperatorUid, Value};
use pitlane::savepoint::Savepoint;
use pitlane::{BoxError, Key, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

/// The keys of all releases. The first one meets each twice; the second one has a split more, and meets each again.
const KEYS: u64 = 4;

/// A release of a job whose output goes below a directory.
type Release = Box<dyn Fn(&Path) -> Job>;

/// A change of a job, and what is to become of it.
struct Change {
    name: &'static str,
    before: Release,
    after: Release,
    wanted: Wanted,
}

/// What is to become of a change.
enum Wanted {
    Ready,
    /// Refused, with these words in the error.
    Refused(&'static str),
    /// Ready once the state of this operator may be left behind, which these words ask for.
    Decision(&'static str, &'static str),
}
use Wanted::{Decision, Ready, Refused};

/// A job with one keyed operator that keeps a value for each key, and stops if it finds another than it should.
fn job<K: Key + Record, S: State>(
    dir: &Path,
    splits: u32,
    key: fn(u64) -> K,
    build: impl Fn(&KeyedStream<K, u64>) -> StatefulStream<S, u64>,
) -> Job {
    let job = Job::new("changing");
    let numbers = job.source(Generator::new(splits, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
    build(&numbers.key_by(move |n| key(*n)))
        .uid("kept")
        .sink(FileSink::json_lines(dir.join("out")))
        .uid("out");
    job
}

/// The release before: it gives each key its value.
fn before<S: State>(version: u32, value: fn(u64) -> S) -> Release {
    Box::new(move |dir| {
        job(
            dir,
            1,
            |n| n,
            |numbers| {
                let kept = numbers.flat_map_with_state(move |state: &mut Option<S>, n| {
                    state.get_or_insert_with(|| value(n));
                    [n]
                });
                kept.state_name("value").schema_version(version)
            },
        )
    })
}

/// The release after: each key has to have its value.
fn after<S: State + Clone + Debug + PartialEq>(
    wanted: impl Fn(u64) -> Option<S> + Copy + Send + 'static,
    tell: impl Fn(StatefulStream<S, u64>) -> StatefulStream<S, u64> + 'static,
) -> Release {
    Box::new(move |dir| {
        job(
            dir,
            2,
            |n| n,
            |numbers| {
                let kept = numbers.flat_map_with_state(move |state: &mut Option<S>, n| {
                    assert_eq!(*state, wanted(n), "the value of key {n}");
                    [n]
                });
                tell(kept.state_name("value").schema_version(2))
            },
        )
    })
}

/// A change of the type of the state, without code.
fn retyped<A: State, B: State + Clone + Debug + PartialEq>(
    name: &'static str,
    value: fn(u64) -> A,
    becomes: fn(u64) -> B,
    wanted: Wanted,
) -> Change {
    Change { name, before: before(1, value), after: after(move |n| Some(becomes(n)), |kept| kept), wanted }
}

/// Plain types: what is wider takes all values, what is narrower none by itself.
fn plain_types() -> Vec<Change> {
    vec![
        retyped("i8 to i16", |n| n as i8 - 2, |n| n as i16 - 2, Ready),
        retyped("i16 to i32", |n| n as i16 - 2, |n| n as i32 - 2, Ready),
        retyped("i32 to i64", |n| n as i32 - 2, |n| n as i64 - 2, Ready),
        retyped("i64 to i128", |n| i64::MIN + n as i64, |n| i128::from(i64::MIN) + n as i128, Ready),
        retyped("u8 to u16", |n| n as u8, |n| n as u16, Ready),
        retyped("u16 to u32", |n| n as u16, |n| n as u32, Ready),
        retyped("u32 to u64", |n| n as u32, |n| n, Ready),
        retyped("u64 to u128", |n| u64::MAX - n, |n| u128::from(u64::MAX - n), Ready),
        retyped("u8 to i16", |n| 255 - n as u8, |n| 255 - n as i16, Ready),
        retyped("u32 to i64", |n| u32::MAX - n as u32, |n| i64::from(u32::MAX) - n as i64, Ready),
        retyped("u64 to i128", |n| u64::MAX - n, |n| i128::from(u64::MAX - n), Ready),
        retyped("f32 to f64", |n| n as f32 / 2.0, |n| n as f64 / 2.0, Ready),
        retyped("i16 to f32", |n| n as i16, |n| n as f32, Ready),
        retyped("i32 to f64", |n| n as i32, |n| n as f64, Ready),
        retyped(
            "char to String",
            |n| char::from(b'a' + n as u8),
            |n| char::from(b'a' + n as u8).to_string(),
            Ready,
        ),
        retyped("i64 to i32, all values fit", |n| n as i64 - 2, |n| n as i32 - 2, Ready),
        retyped("u64 to u8, all values fit", |n| 252 + n, |n| 252 + n as u8, Ready),
        retyped("u32 to i8, all values fit", |n| n as u32, |n| n as i8, Ready),
        retyped(
            "i64 to f32, all values fit",
            |n| (1 << 24) - n as i64,
            |n| ((1 << 24) - n as i64) as f32,
            Ready,
        ),
        retyped("u64 to f64, all values fit", |n| (1 << 53) - n, |n| ((1_u64 << 53) - n) as f64, Ready),
        retyped("i16 to i8", |n| 1000 + n as i16, |n| n as i8, Refused("found i16, wanted i8")),
        retyped(
            "i64 to i32",
            |n| i64::MAX - n as i64,
            |n| n as i32,
            Refused("not every i64 fits into i32, and stored values are"),
        ),
        retyped("u64 to i64", |n| u64::MAX - n, |n| n as i64, Refused("found u64, wanted i64")),
        retyped("i32 to u32", |n| -(n as i32), |n| n as u32, Refused("found i32, wanted u32")),
        retyped("i64 to f64", |n| i64::MAX - n as i64, |n| n as f64, Refused("found i64, wanted f64")),
        retyped("f64 to f32", |n| n as f64 / 3.0, |n| n as f32, Refused("found f64, wanted f32")),
        retyped("bool to i32", |n| n > 1, |n| n as i32, Refused("found bool, wanted i32")),
        retyped("i32 to String", |n| n as i32, |n| n.to_string(), Refused("found i32, wanted String")),
        retyped("String to char", |n| format!("{n}{n}"), |_| 'a', Refused("found String, wanted char")),
        retyped("i64 to bool", |n| n as i64, |n| n > 0, Refused("found i64, wanted bool")),
    ]
}

/// Options, collections and tuples.
fn composed_types() -> Vec<Change> {
    let words = |n: u64| (0..n).map(|i| i as i32).collect::<Vec<_>>();
    vec![
        retyped("a value to an Option", |n| n as i64, |n| Some(n as i64), Ready),
        retyped("a value to an Option of a wider one", |n| n as i32, |n| Some(n as i64), Ready),
        retyped(
            "an Option of a wider type",
            |n| (n > 1).then_some(n as i32),
            |n| (n > 1).then_some(n as i64),
            Ready,
        ),
        retyped("a list of a wider type", words, |n| (0..n as i64).collect::<Vec<_>>(), Ready),
        retyped(
            "a map of a wider type",
            |n| BTreeMap::from([(n.to_string(), n as i32)]),
            |n| BTreeMap::from([(n.to_string(), n as i64)]),
            Ready,
        ),
        retyped(
            "a set of a wider type",
            |n| BTreeSet::from([n as i32, -5]),
            |n| BTreeSet::from([n as i64, -5]),
            Ready,
        ),
        retyped("a tuple with a wider part", |n| (n as i32, true), |n| (n as i64, true), Ready),
        retyped(
            "an Option inside a list inside a map",
            |n| BTreeMap::from([(n, vec![Some(n as u8), None])]),
            |n| BTreeMap::from([(n, vec![Some(n as u32), None])]),
            Ready,
        ),
        retyped("an Option that is never None to a value", |n| Some(n as i64), |n| n as i64, Ready),
        retyped(
            "an Option of what is nested to what is narrower",
            |n| BTreeMap::from([(n, vec![(Some(n as i64), n > 1)])]),
            |n| BTreeMap::from([(n, vec![(n as u8, n > 1)])]),
            Ready,
        ),
        retyped(
            "an Option in an Option, of which one is None",
            |n| (n > 2).then(|| (n != 2).then_some(n as i64)),
            |n| (n > 2).then_some(n as i64),
            Ready,
        ),
        retyped(
            "numbers in a list, one of which does not fit",
            |n| (0..n).map(|i| i as i64 * 100).collect::<Vec<_>>(),
            |n| (0..n).map(|i| i as i8).collect::<Vec<_>>(),
            Refused(
                "value[]: found i64, wanted i8: not every i64 fits into i8, and stored values are 0 to 200",
            ),
        ),
        retyped(
            "an Option to a value",
            |n| (n > 0).then_some(n as i64),
            |n| n as i64,
            Refused("a stored None has no place in it, and 1 stored value is None"),
        ),
        retyped("a tuple with one part more", |n| (n, n), |n| (n, n, n), Refused("2 parts do not become 3")),
        retyped("a tuple with one part less", |n| (n, n, n), |n| (n, n), Refused("3 parts do not become 2")),
        retyped("a list to a value", |n| vec![n], |n| n, Refused("found Vec<u64>, wanted u64")),
        retyped("a value to a list", |n| n, |n| vec![n], Refused("found u64, wanted Vec<u64>")),
        retyped(
            "another key of a map",
            |n| BTreeMap::from([(n as i64, n)]),
            |n| BTreeMap::from([(n.to_string(), n)]),
            Refused("found i64, wanted String"),
        ),
        retyped("a set to a list", |n| BTreeSet::from([n]), |n| vec![n], Refused("no rule leads from")),
    ]
}

#[derive(Clone, Debug, PartialEq, State)]
struct Stop {
    at: i32,
    name: String,
}

fn stop(n: u64) -> Stop {
    Stop { at: n as i32, name: n.to_string() }
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopWithOption {
    at: i32,
    name: String,
    by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopWithDefault {
    at: i32,
    name: String,
    #[state(default = 7)]
    weight: u16,
}

#[derive(Clone, Debug, PartialEq, State)]
#[state(dropped = "name")]
struct StopWithoutName {
    at: i32,
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopRenamed {
    #[state(was = "at")]
    at_ms: i64,
    name: String,
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopReordered {
    name: String,
    at: i32,
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopUnnamed {
    at: i32,
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopWithMore {
    at: i32,
    name: String,
    weight: u16,
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopInWords {
    at: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, State)]
struct StopSilentlyRenamed {
    at_ms: i32,
    name: String,
}

/// Structs, found by the names of their fields.
fn structs() -> Vec<Change> {
    vec![
        retyped("the same struct", stop, stop, Ready),
        retyped(
            "a field that is an Option",
            stop,
            |n| StopWithOption { at: n as i32, name: n.to_string(), by: None },
            Ready,
        ),
        retyped(
            "a field with a default",
            stop,
            |n| StopWithDefault { at: n as i32, name: n.to_string(), weight: 7 },
            Ready,
        ),
        retyped("a field that is dropped by name", stop, |n| StopWithoutName { at: n as i32 }, Ready),
        retyped(
            "a field that is renamed and wider",
            stop,
            |n| StopRenamed { at_ms: n as i64, name: n.to_string() },
            Ready,
        ),
        retyped(
            "fields in another order",
            stop,
            |n| StopReordered { name: n.to_string(), at: n as i32 },
            Ready,
        ),
        retyped(
            "a list of structs with one field more",
            |n| vec![stop(n)],
            |n| vec![StopWithOption { at: n as i32, name: n.to_string(), by: None }],
            Ready,
        ),
        retyped(
            "a struct in an Option in a map",
            |n| BTreeMap::from([(n, Some(stop(n)))]),
            |n| BTreeMap::from([(n, Some(StopRenamed { at_ms: n as i64, name: n.to_string() }))]),
            Ready,
        ),
        retyped(
            "a field that vanishes",
            stop,
            |n| StopUnnamed { at: n as i32 },
            Refused("value.name: found String, wanted no such field"),
        ),
        retyped(
            "a field without a default",
            stop,
            |n| StopWithMore { at: 1, name: n.to_string(), weight: 1 },
            Refused("value.weight: found no such field, wanted u16"),
        ),
        retyped(
            "a field of another type",
            stop,
            |n| StopInWords { at: n.to_string(), name: n.to_string() },
            Refused("value.at: found i32, wanted String"),
        ),
        retyped(
            "a field with another name and nothing said",
            stop,
            |n| StopSilentlyRenamed { at_ms: n as i32, name: n.to_string() },
            Refused("value.at: found i32, wanted no such field"),
        ),
        retyped("a struct to a tuple", stop, |n| (n as i32, n.to_string()), Refused("no rule leads from")),
    ]
}

#[derive(Clone, Debug, PartialEq, State)]
enum Light {
    Off,
    On(i32),
}

fn light(n: u64) -> Light {
    if n > 1 { Light::On(n as i32) } else { Light::Off }
}

#[derive(Clone, Debug, PartialEq, State)]
enum LightOrBlinking {
    Blinking { ms: i64 },
    Off,
    On(i32),
}

#[derive(Clone, Debug, PartialEq, State)]
enum LightRenamed {
    Off,
    #[state(was = "On")]
    Lit(i64),
}

#[derive(Clone, Debug, PartialEq, State)]
enum LightAlwaysOn {
    On(i32),
}

#[derive(Clone, Debug, PartialEq, State)]
enum LightWithoutData {
    Off,
    On,
}

#[derive(Clone, Debug, PartialEq, State)]
enum LightWithMoreData {
    Off(bool),
    On(i32),
}

/// Enums, found by the names of their variants.
fn enums() -> Vec<Change> {
    let on = |n: u64| if n > 1 { LightOrBlinking::On(n as i32) } else { LightOrBlinking::Off };
    let lit = |n: u64| if n > 1 { LightRenamed::Lit(n as i64) } else { LightRenamed::Off };
    vec![
        retyped("a variant more", light, on, Ready),
        retyped("a variant that is renamed, its data wider", light, lit, Ready),
        retyped(
            "a variant less",
            light,
            |n| LightAlwaysOn::On(n as i32),
            Refused("value.Off: found variant Off, wanted no such variant"),
        ),
        retyped(
            "a variant that loses its data",
            light,
            |_| LightWithoutData::On,
            Refused("the data of stored values would be lost"),
        ),
        retyped(
            "a variant that gains data",
            light,
            |n| LightWithMoreData::On(n as i32),
            Refused("stored values have nothing to put there"),
        ),
    ]
}

/// The step of the posts: a count gains the time that it was last seen at.
struct CountToV2;

impl Migration for CountToV2 {
    type From = (String, i32);
    type To = (String, i64, i32);
    const FROM: u32 = 1;
    const TO: u32 = 2;

    fn migrate(&self, _: &Value, (name, count): Self::From) -> Result<Option<Self::To>, BoxError> {
        Ok(Some((name, 0, count)))
    }
}

struct CountToV3;

impl Migration for CountToV3 {
    type From = (String, i64, i32);
    type To = (String, i64);
    const FROM: u32 = 2;
    const TO: u32 = 3;
    const DROPS: &'static [&'static str] = &["value.1"];

    fn migrate(&self, _: &Value, (name, _, count): Self::From) -> Result<Option<Self::To>, BoxError> {
        Ok(Some((name, count.into())))
    }
}

/// Lets the keys go that count nothing.
struct Forget;

impl Migration for Forget {
    type From = (String, i32);
    type To = i32;
    const FROM: u32 = 1;
    const TO: u32 = 2;

    fn migrate(&self, _: &Value, (_, count): Self::From) -> Result<Option<Self::To>, BoxError> {
        Ok((count > 1).then_some(count))
    }
}

/// Starts from what a stored i32 becomes by itself.
struct FromWide;

impl Migration for FromWide {
    type From = i64;
    type To = String;
    const FROM: u32 = 1;
    const TO: u32 = 2;

    fn migrate(&self, _: &Value, old: i64) -> Result<Option<String>, BoxError> {
        Ok(Some(old.to_string()))
    }
}

/// Refuses one value.
struct NotThree;

impl Migration for NotThree {
    type From = i32;
    type To = String;
    const FROM: u32 = 1;
    const TO: u32 = 2;

    fn migrate(&self, _: &Value, old: i32) -> Result<Option<String>, BoxError> {
        if old == 3 { Err("three is too many".into()) } else { Ok(Some(old.to_string())) }
    }
}

fn count(n: u64) -> (String, i32) {
    (n.to_string(), n as i32)
}

/// Changes that code explains.
fn migrations() -> Vec<Change> {
    let change = |name, before, after, wanted| Change { name, before, after, wanted };
    let v3 = |n: u64| Some((n.to_string(), n as i64));
    vec![
        change(
            "a migration",
            before(1, count),
            after(|n| Some((n.to_string(), 0_i64, n as i32)), |kept| kept.migrate(CountToV2)),
            Ready,
        ),
        change(
            "two migrations, from the first version",
            before(1, count),
            after(v3, |kept| kept.schema_version(3).migrate(CountToV3).migrate(CountToV2)),
            Ready,
        ),
        change(
            "two migrations, from the second version",
            before(2, |n| (n.to_string(), 9_i64, n as i32)),
            after(v3, |kept| kept.schema_version(3).migrate(CountToV2).migrate(CountToV3)),
            Ready,
        ),
        change(
            "a migration that lets keys go",
            before(1, count),
            after(|n| (n > 1).then_some(n as i32), |kept| kept.migrate(Forget)),
            Ready,
        ),
        change(
            "a migration that starts from what the stored type becomes by itself",
            before(1, |n| n as i32),
            after(|n| Some(n.to_string()), |kept| kept.migrate(FromWide)),
            Ready,
        ),
        change(
            "a link that is missing",
            before(1, count),
            after(v3, |kept| kept.schema_version(3).migrate(CountToV3)),
            Refused("found schema version 1, wanted 2, no migration in between, in 4 rows"),
        ),
        change(
            "a version of a later release",
            before(3, |n| n as i32),
            after(|n| Some(n as i32), |kept| kept),
            Refused("found schema version 3, wanted at most 2, in 4 rows"),
        ),
        change(
            "no migration at all",
            before(1, count),
            after(|n| Some((n.to_string(), 0_i64, n as i32)), |kept| kept),
            Refused("2 parts do not become 3"),
        ),
    ]
}

/// The source, a counting operator, and what comes behind it.
fn counting(dir: &Path, splits: u32, uid: &str, state: &str) -> Job {
    let job = Job::new("changing");
    let numbers = job.source(Generator::new(splits, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
    let counts = numbers.key_by(|n| *n).count().uid(uid).state_name(state);
    counts.sink(FileSink::json_lines(dir.join("out"))).uid("out");
    job
}

/// As [`counting`], and each key must have been counted on.
fn counted_on(uid: &'static str, state: &'static str, tell: fn(Job) -> Job) -> Release {
    Box::new(move |dir| {
        let job = tell(Job::new("changing"));
        let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
        let counts = numbers.key_by(|n| *n).count().uid(uid).state_name(state);
        let counts = counts.inspect(|(key, count)| assert!(*count > 2, "key {key} begins anew: {count}"));
        counts.sink(FileSink::json_lines(dir.join("out"))).uid("out");
        job
    })
}

fn first_counts() -> Release {
    Box::new(|dir| counting(dir, 1, "counts", "n"))
}

/// Changes of the graph: what is found by which name.
fn graphs() -> Vec<Change> {
    let change = |name, after, wanted| Change { name, before: first_counts(), after, wanted };
    vec![
        change("nothing", counted_on("counts", "n", |job| job), Ready),
        change(
            "an operator with another uid",
            Box::new(|dir| counting(dir, 2, "tallies", "n")),
            Decision("counts", "operator `counts` (n), 4 rows"),
        ),
        change(
            "an operator with another uid, and said so",
            counted_on("tallies", "n", |job| job.renamed("counts", "tallies")),
            Ready,
        ),
        change(
            "a state with another name",
            Box::new(|dir| counting(dir, 2, "counts", "total")),
            Decision("counts", "operator `counts` (n), 4 rows"),
        ),
        change(
            "a state with another name, and said so",
            counted_on("counts", "total", |job| job.renamed_state(("counts", "n"), ("counts", "total"))),
            Ready,
        ),
        change(
            "a state that moves to another operator, and said so",
            counted_on("tallies", "total", |job| job.renamed_state(("counts", "n"), ("tallies", "total"))),
            Ready,
        ),
        change(
            "an operator that goes",
            Box::new(|dir| {
                let job = Job::new("changing");
                let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
                numbers.sink(FileSink::json_lines(dir.join("out"))).uid("out");
                job
            }),
            Decision("counts", "operator `counts` (n), 4 rows"),
        ),
        change(
            "an operator before it",
            Box::new(|dir| {
                let job = Job::new("changing");
                let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
                let even = numbers.filter(|n| n % 2 == 0).key_by(|n| *n).max().uid("greatest");
                let counts = even.key_by(|n| *n).count().uid("counts").state_name("n");
                counts.sink(FileSink::json_lines(dir.join("out"))).uid("out");
                job
            }),
            Ready,
        ),
        change(
            "another source",
            Box::new(|dir| {
                let job = Job::new("changing");
                let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("digits");
                let counts = numbers.key_by(|n| *n).count().uid("counts").state_name("n");
                counts.sink(FileSink::json_lines(dir.join("out"))).uid("out");
                job
            }),
            Decision("numbers", "operator `numbers` (positions), 1 row"),
        ),
        change(
            "one more source",
            Box::new(|dir| {
                let job = Job::new("changing");
                let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
                let more = job.source(Generator::new(1, KEYS, |_, n| n)).uid("more");
                let counts = numbers.union(&more).key_by(|n| *n).count().uid("counts").state_name("n");
                counts.sink(FileSink::json_lines(dir.join("out"))).uid("out");
                job
            }),
            Ready,
        ),
        change(
            "another key",
            Box::new(|dir| {
                let job = Job::new("changing");
                let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
                let counts = numbers.key_by(ToString::to_string).count().uid("counts").state_name("n");
                counts.sink(FileSink::json_lines(dir.join("out"))).uid("out");
                job
            }),
            Refused("key: found u64, wanted String"),
        ),
        change(
            "a wider key",
            Box::new(|dir| {
                let job = Job::new("changing");
                let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
                let counts = numbers.key_by(|n| (*n, 0_u8)).count().uid("counts").state_name("n");
                counts.sink(FileSink::json_lines(dir.join("out"))).uid("out");
                job
            }),
            Refused("key: found u64, wanted (u64, u8)"),
        ),
        change(
            "another operator on the same state",
            Box::new(|dir| {
                let job = Job::new("changing");
                let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers");
                let sums =
                    numbers.key_by(|n| *n).fold(0_u64, |sum, _| *sum += 1).uid("counts").state_name("n");
                sums.inspect(|sum| assert!(*sum > 2, "a key begins anew"))
                    .sink(FileSink::json_lines(dir.join("out")))
                    .uid("out");
                job
            }),
            Ready,
        ),
        change(
            "more key groups",
            counted_on("counts", "n", |job| {
                job.max_parallelism(pitlane::model::MaxParallelism::new(512).unwrap())
            }),
            Ready,
        ),
    ]
}

/// Runs the release before, plans the one after, and holds the plan against what a start does.
fn try_out(change: &Change) {
    let name = change.name;
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data"));
    let image = (change.before)(dir.path()).run(&options).unwrap().image.unwrap();
    let savepoint = Savepoint::open(&image).unwrap();
    let options = options.workers(2);
    let described = (change.after)(dir.path()).describe().unwrap();
    let planned = |drop: &[OperatorUid]| plan_savepoint(&savepoint, &described, drop);
    let run = |drop: Vec<OperatorUid>| {
        (change.after)(dir.path()).run(&RunOptions { drop_unmatched: drop, ..options.clone() })
    };
    let refused = |verdict: Verdict, words: &str| {
        let plan = planned(&[]);
        assert_eq!(plan.verdict(), verdict, "{name}\n{plan}");
        let error = run(Vec::new()).map(drop).expect_err(name).to_string();
        assert_eq!(
            plan.to_result().unwrap_err().to_string(),
            error,
            "{name}: the plan says what the start says"
        );
        assert!(error.contains(words), "{name}: {error}");
    };
    match change.wanted {
        Ready => {
            let plan = planned(&[]);
            assert_eq!(plan.verdict(), Verdict::Ready, "{name}\n{plan}");
            run(Vec::new()).map(drop).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        Refused(words) => refused(Verdict::Refused, words),
        Decision(uid, words) => {
            refused(Verdict::DecisionNeeded, words);
            let may_go = vec![OperatorUid::new(uid).unwrap()];
            assert_eq!(planned(&may_go).verdict(), Verdict::Ready, "{name}");
            run(may_go).map(drop).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn plain_types_change_as_the_plan_says() {
    plain_types().iter().for_each(try_out);
}

#[test]
fn composed_types_change_as_the_plan_says() {
    composed_types().iter().chain(&enums()).for_each(try_out);
}

#[test]
fn structs_change_as_the_plan_says() {
    structs().iter().chain(&migrations()).for_each(try_out);
}

#[test]
fn graphs_change_as_the_plan_says() {
    graphs().iter().for_each(try_out);
}

/// A plan reads no value, so that what code says of one shows when its key is touched, with the key and the value.
#[test]
fn a_migration_that_fails_stops_the_job_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data"));
    let image = before(1, |n| n as i32)(dir.path()).run(&options).unwrap().image.unwrap();
    let error = after(|n| Some(n.to_string()), |kept| kept.migrate(NotThree))(dir.path()).run(&options);
    assert_eq!(
        error.map(drop).unwrap_err().to_string(),
        "operator `kept`, state `value`, key 3: migration from version 1 to 2 failed on the stored value 3"
    );
    assert!(Savepoint::open(image).unwrap().operator("kept").unwrap().state("value").is_ok());
    // The release before goes on as if nothing had been.
    before(1, |n| n as i32)(dir.path()).run(&options).map(drop).unwrap();
}

/// Keys that no record touches are migrated in the background: then old code may go without a stop.
#[test]
fn what_nobody_touches_is_migrated_in_the_background_until_old_code_may_go() {
    const MANY: u64 = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data"));
    let release = |version: u32| {
        let job = Job::new("sweeping");
        // The second release has a split that says nothing for the time of this test.
        let numbers = job.source(Generator::new(version, MANY, |_, n| n)).uid("numbers");
        let numbers = if version == 2 { numbers.rate(0.01) } else { numbers };
        (job, numbers.key_by(|n| *n))
    };
    let (job, numbers) = release(1);
    let kept = numbers.flat_map_with_state(|state: &mut Option<(String, i32)>, n| {
        *state = Some(count(n));
        [n]
    });
    kept.uid("kept").sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
    job.run(&options).unwrap();

    let second = || {
        let (job, numbers) = release(2);
        let kept = numbers.flat_map_with_state(|_: &mut Option<(String, i64, i32)>, n| [n]);
        let kept = kept.uid("kept").migrate(CountToV2);
        kept.sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
        job
    };
    let left = |status: &pitlane::control::JobStatus| {
        let states = status.operators.iter().flat_map(|operator| &operator.states);
        let count = |of: fn(&pitlane::control::StateStatus) -> u64| states.clone().map(of).sum::<u64>();
        // Workers that have not begun have not told of their entries.
        let untold = MANY.saturating_sub(count(|state| state.entries));
        untold + count(pitlane::control::StateStatus::unmigrated_entries)
    };
    // Unless it is asked for, they stay as they are.
    let lazy = second().start(&options.clone().workers(2)).unwrap();
    let half_way = lazy.stop(Default::default()).unwrap();
    assert!(left(&lazy.status()) >= MANY - 2, "{}", left(&lazy.status()));
    lazy.wait().unwrap();
    let half_way = Savepoint::open(half_way.path).unwrap();
    let needs = |savepoint: &Savepoint| retire([(savepoint.location(), savepoint.manifest())]);
    assert!(!needs(&half_way).may_go());

    let sweeping = second()
        .start(&RunOptions { sweep: "old,100".parse().unwrap(), ..options.clone().workers(3) })
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while left(&sweeping.status()) > 0 {
        assert!(std::time::Instant::now() < deadline, "{} rows left", left(&sweeping.status()));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let done = sweeping.stop(Default::default()).unwrap();
    sweeping.wait().unwrap();
    let done = Savepoint::open(done.path).unwrap();
    assert!(needs(&done).may_go(), "{}", needs(&done));
    let state = done.operator("kept").unwrap().state("state").unwrap();
    let rows: BTreeMap<u64, (String, i64, i32)> =
        state.rows(pitlane::migrate::Chain::current(2)).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len() as u64, MANY);
    assert!(rows.iter().all(|(n, value)| *value == (n.to_string(), 0, *n as i32)));
}
