//! Keys that a migration fails for: they end the job, unless it is told to go on without them. Then nothing of them is
//! lost, and nothing takes their place, until a release answers for them (clauses QU-1 to QU-4).

use arrow::array::AsArray;
use pitlane::connectors::{FileSink, Generator};
use pitlane::control::{JobStatus, OperatorStatus};
use pitlane::engine::{
    Clock, Context, Job, JobHandle, Process, RunOptions, StatefulStream, Timer, TimerHandle, ValueState,
    Watermarks,
};
use pitlane::migrate::{Chain, Migration, status};
use pitlane::model::Value;
use pitlane::savepoint::{Depth, Savepoint, consolidate_to, verify};
use pitlane::{BoxError, Error, State};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KEYS: u64 = 200;

/// What a key has from release 2 on: how often it was seen by release 1, and since.
#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 2)]
struct Seen {
    before: u64,
    since: u64,
}

/// Answers for all keys but those that end in 3, and panics for those that end in 7; 9 is let go.
struct Picky;

impl Migration for Picky {
    type From = u64;
    type To = Seen;

    fn migrate(&self, key: &Value, before: u64) -> Result<Option<Seen>, BoxError> {
        let Value::Uint(key) = key else { return Err("no number".into()) };
        match key % 10 {
            3 => Err(format!("{key} is not liked").into()),
            7 => panic!("{key} is feared"),
            9 => Ok(None),
            _ => Ok(Some(Seen { before, since: 0 })),
        }
    }
}

/// Answers for all keys.
struct Kind;

impl Migration for Kind {
    type From = u64;
    type To = Seen;

    fn migrate(&self, _: &Value, before: u64) -> Result<Option<Seen>, BoxError> {
        Ok(Some(Seen { before, since: 0 }))
    }
}

fn fails(key: u64) -> bool {
    matches!(key % 10, 3 | 7)
}

/// Release 1 counts each key twice; each later one has a split more with each key once.
fn job(dir: &Path, release: u32, count: fn(StatefulStream<Seen, u64>) -> StatefulStream<Seen, u64>) -> Job {
    let job = Job::new("liking").release(&release.to_string());
    let numbers = Generator::new(release, 2 * KEYS, |_, n| n % KEYS);
    let keyed = job.source(numbers).uid("numbers").key_by(|n| *n);
    let out = FileSink::json_lines(dir.join("out"));
    if release == 1 {
        let counted = keyed.flat_map_with_state(|times: &mut Option<u64>, n| {
            *times = Some(times.unwrap_or(0) + 1);
            [n]
        });
        counted.uid("count").state_name("times").sink(out).uid("out");
    } else {
        let counted = keyed.flat_map_with_state(|seen: &mut Option<Seen>, n| {
            let seen = seen.get_or_insert(Seen { before: 0, since: 0 });
            seen.since += 1;
            [n]
        });
        count(counted.uid("count").state_name("times")).sink(out).uid("out");
    }
    job
}

fn picky(dir: &Path, release: u32) -> Job {
    job(dir, release, |count| count.migrate(Picky))
}

fn kind(dir: &Path, release: u32) -> Job {
    job(dir, release, |count| count.migrate(Kind))
}

/// A directory in which release 1 has run.
fn begun() -> (tempfile::TempDir, RunOptions) {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data")).workers(2);
    picky(dir.path(), 1).run(&options).unwrap();
    (dir, options)
}

fn quarantining(options: &RunOptions) -> RunOptions {
    RunOptions { quarantine_failing_keys: true, ..options.clone() }
}

/// Runs a job to its end; returns its last savepoint.
fn run(job: Job, options: &RunOptions) -> Savepoint {
    let savepoint = Savepoint::open(job.run(options).unwrap().image.unwrap()).unwrap();
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    savepoint
}

/// The rows of a state that are in quarantine: schema version, value as JSON, and reason.
fn set_aside(savepoint: &Savepoint, uid: &str, state: &str) -> BTreeMap<u64, (u32, String, String)> {
    let state = savepoint.operator(uid).unwrap().state(state).unwrap();
    let mut found = BTreeMap::new();
    for batch in state.scan() {
        let batch = batch.unwrap();
        let schema = &state.entry().schemas[batch.schema];
        let Some(reasons) = batch.batch.column_by_name("reason") else { continue };
        for row in 0..batch.batch.num_rows() {
            let key = batch.batch.column(1).as_primitive::<arrow::datatypes::UInt64Type>().value(row);
            let value = pitlane::model::value_at(batch.batch.column(2), &schema.data_type, row).unwrap();
            let reason = reasons.as_string::<i32>().value(row).to_owned();
            found.insert(key, (schema.version.0, value.to_json().to_string(), reason));
        }
    }
    assert_eq!(found.len() as u64, state.entry().quarantined_rows());
    found
}

fn values(savepoint: &Savepoint) -> BTreeMap<u64, Seen> {
    let state = savepoint.operator("count").unwrap().state("times").unwrap();
    state.rows(Chain::<Seen>::current(2).then(Kind)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn unless_it_is_asked_for_a_failing_key_ends_the_job_and_nothing_is_changed() {
    let (dir, options) = begun();
    let error = picky(dir.path(), 2).run(&options).map(drop).unwrap_err();
    let Error::MigrationFailed { key, value, source, .. } = &error else { panic!("{error}") };
    assert_eq!(value, "2");
    let key: u64 = key.parse().unwrap();
    let said = if key % 10 == 3 { "is not liked" } else { "is feared" };
    assert!(fails(key) && source.to_string().contains(said), "{key}: {source}");
    assert!(error.hint().unwrap().contains("--quarantine-failing-keys"));
    // The old release goes on as if nothing had been.
    assert!(picky(dir.path(), 1).run(&options).is_ok());
}

/// Clauses QU-1, QU-2 and QU-4.
#[test]
fn failing_keys_are_set_aside_with_the_reason_and_nothing_takes_their_place() {
    let (dir, options) = begun();
    let savepoint = run(picky(dir.path(), 2), &quarantining(&options));
    let aside = set_aside(&savepoint, "count", "times");
    assert_eq!(
        aside.keys().copied().collect::<Vec<_>>(),
        (0..KEYS).filter(|n| fails(*n)).collect::<Vec<_>>()
    );
    for (key, (version, value, reason)) in &aside {
        let said = if key % 10 == 3 { "is not liked" } else { "it panicked" };
        assert_eq!((*version, value.as_str()), (1, "2"), "{key}");
        assert!(reason.starts_with("migration from version 1 to 2 failed: "), "{reason}");
        assert!(reason.contains(said) && reason.contains(&key.to_string()), "{reason}");
    }
    // The others are as if those were not there: 9 began anew, since its value was let go.
    for (key, seen) in values(&savepoint) {
        let before = if key % 10 == 9 { 0 } else { 2 };
        let wanted = if fails(key) { Seen { before: 2, since: 0 } } else { Seen { before, since: 2 } };
        assert_eq!(seen, wanted, "{key}");
    }
    let left: u64 = status(savepoint.manifest()).states.iter().flat_map(|s| &s.older).map(|v| v.rows).sum();
    assert_eq!(left, aside.len() as u64);
    let told = std::fs::read_dir(dir.path().join("out")).unwrap().map(|file| file.unwrap().path());
    let told = told.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap());
    let (mut of_failing, mut all) = (0, 0);
    for line in told.collect::<String>().lines() {
        all += 1;
        of_failing += u64::from(fails(line.parse().unwrap()));
    }
    // Of the first release, and none of the second.
    assert_eq!((of_failing, all), (2 * aside.len() as u64, 2 * KEYS + 2 * (KEYS - aside.len() as u64)));
}

/// Waits until a running job is as it should be.
fn wait_until(handle: &JobHandle, what: &str, is_so: impl Fn(&JobStatus) -> bool) -> JobStatus {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = handle.status();
        if is_so(&status) {
            return status;
        }
        if handle.is_over() || Instant::now() > deadline {
            handle.cancel();
            panic!("not {what}: {status:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn operator<'s>(status: &'s JobStatus, uid: &str) -> &'s OperatorStatus {
    status.operators.iter().find(|operator| operator.uid.as_str() == uid).unwrap()
}

/// Clause QU-3.
#[test]
fn rows_in_quarantine_are_carried_on_until_a_release_answers_for_them() {
    let (dir, options) = begun();
    let first = run(picky(dir.path(), 2), &quarantining(&options));
    let aside = set_aside(&first, "count", "times");
    for workers in [1, 3] {
        let options = quarantining(&options.clone().workers(workers));
        let next = run(picky(dir.path(), 2), &options);
        assert_eq!(set_aside(&next, "count", "times"), aside, "{workers} workers");
        let more = run(picky(dir.path(), 2 + workers as u32), &options);
        assert_eq!(set_aside(&more, "count", "times"), aside, "{workers} workers, more records");
    }
    // Who does not ask for it meets the key again.
    let error = picky(dir.path(), 6).run(&options).map(drop).unwrap_err();
    assert!(matches!(error, Error::MigrationFailed { .. }), "{error}");
    // A release that can: the values of old, and the records that come from now on.
    let kinder = run(kind(dir.path(), 7), &options.clone().workers(3));
    assert_eq!(set_aside(&kinder, "count", "times"), BTreeMap::new());
    assert!(!kinder.manifest().operators.iter().any(|o| o.states.iter().any(|s| s.schemas.len() > 1)));
    for (key, seen) in values(&kinder) {
        if fails(key) {
            assert_eq!(seen.before, 2, "{key}");
            assert!(seen.since > 0, "{key}");
        }
    }
}

/// Counts a key, and wakes it later, by event time.
struct Waking {
    seen: ValueState<Seen>,
    other: ValueState<u64>,
    timers: TimerHandle,
}

impl Process<u64, (u64, i64), (u64, u64)> for Waking {
    fn process(
        &mut self,
        (_, at_ms): (u64, i64),
        _: &mut Context<'_, u64, (u64, u64)>,
    ) -> Result<(), BoxError> {
        // The healthy state comes first: it must not be changed for a key whose other state is in quarantine.
        self.other.set(self.other.get()?.unwrap_or(0) + 1)?;
        let seen = self.seen.get()?.unwrap_or(Seen { before: 0, since: 0 });
        self.seen.set(Seen { since: seen.since + 1, ..seen })?;
        self.timers.set(at_ms + 1_000_000)?;
        Ok(())
    }

    fn on_timer(&mut self, _: Timer, context: &mut Context<'_, u64, (u64, u64)>) -> Result<(), BoxError> {
        // Each key has several timers, of which the first one tells.
        let Some(seen) = self.seen.get()? else { return Ok(()) };
        let key = *context.key();
        context.emit((key, seen.before));
        Ok(self.seen.clear()?)
    }
}

/// Release 1 of the job with timers.
struct WakingV1 {
    seen: ValueState<u64>,
    other: ValueState<u64>,
    timers: TimerHandle,
}

impl Process<u64, (u64, i64), (u64, u64)> for WakingV1 {
    fn process(
        &mut self,
        (_, at_ms): (u64, i64),
        _: &mut Context<'_, u64, (u64, u64)>,
    ) -> Result<(), BoxError> {
        self.seen.set(self.seen.get()?.unwrap_or(0) + 1)?;
        self.other.set(1)?;
        self.timers.set(at_ms + 1_000_000)?;
        Ok(())
    }
}

/// A job whose keys have two states and a timer each. It is stopped while it waits for records.
fn waking(dir: &Path, release: u32) -> Job {
    let job = Job::new("waking").release(&release.to_string());
    // Later records of later releases lie far ahead, so that all timers of the first one are due.
    let numbers = Generator::new(release, u64::MAX, move |split, n| match (split, n) {
        (0, n) if n < 20 => (n, n as i64),
        (_, n) if n < 20 => (n, 10_000 + n as i64),
        _ => (0, 5_000_000 * i64::from(release - 1) + 20),
    });
    let keyed = job
        .source(numbers)
        .uid("numbers")
        .rate(2_000.0)
        .watermarks(Watermarks::ascending(), |(_, at_ms)| *at_ms)
        .key_by(|(n, _)| *n);
    let out = FileSink::json_lines(dir.join("out"));
    match release {
        1 => {
            let woken = keyed.process(|states| WakingV1 {
                seen: states.value("seen"),
                other: states.value("other"),
                timers: states.event_timers(),
            });
            woken.uid("wake").sink(out).uid("out");
        }
        2 => {
            let woken = keyed.process(|states| Waking {
                seen: states.value("seen").migrate(Picky),
                other: states.value("other"),
                timers: states.event_timers(),
            });
            woken.uid("wake").sink(out).uid("out");
        }
        _ => {
            let woken = keyed.process(|states| Waking {
                seen: states.value("seen").migrate(Kind),
                other: states.value("other"),
                timers: states.event_timers(),
            });
            woken.uid("wake").sink(out).uid("out");
        }
    }
    job
}

/// Whether event time has come that far for both workers.
fn has_come(status: &JobStatus, ms: i64) -> bool {
    operator(status, "wake").watermark_ms.is_some_and(|now_ms| (ms..i64::MAX).contains(&now_ms))
}

/// The timers of a savepoint: key and time.
fn timers(savepoint: &Savepoint) -> BTreeSet<(u64, i64)> {
    let state = savepoint.operator("wake").unwrap().state("timers").unwrap();
    let mut found = BTreeSet::new();
    for batch in state.scan() {
        let batch = batch.unwrap().batch;
        let keys = batch.column(1).as_struct();
        let at_ms = keys.column_by_name("at_ms").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
        let key = keys.column_by_name("key").unwrap().as_primitive::<arrow::datatypes::UInt64Type>();
        found.extend(key.values().iter().copied().zip(at_ms.values().iter().copied()));
    }
    found
}

#[test]
fn timers_of_failing_keys_wait_and_their_other_states_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data")).workers(2);
    let stopped = |release: u32, is_so: &dyn Fn(&JobStatus) -> bool| {
        let options = RunOptions { quarantine_failing_keys: release == 2, ..options.clone() };
        let handle = waking(dir.path(), release).start(&options).unwrap();
        wait_until(&handle, "through", is_so);
        let path: PathBuf = handle.stop(Default::default()).unwrap().path.into();
        handle.wait().unwrap();
        let savepoint = Savepoint::open(path).unwrap();
        assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        savepoint
    };
    let failing: Vec<u64> = (0..20).filter(|n| fails(*n)).collect();
    let waiting = |savepoint: &Savepoint| -> BTreeSet<(u64, i64)> {
        timers(savepoint).into_iter().filter(|(key, _)| *key != 0).collect()
    };
    let first = stopped(1, &|status| operator(status, "wake").records_in > 40);
    assert_eq!(waiting(&first).len(), 19);

    let second = stopped(2, &|status| has_come(status, 5_000_020));
    assert_eq!(set_aside(&second, "wake", "seen").into_keys().collect::<Vec<_>>(), failing);
    assert_eq!(waiting(&second), failing.iter().map(|n| (*n, 1_000_000 + *n as i64)).collect());
    let other = second.operator("wake").unwrap().state("other").unwrap();
    for row in other.rows::<u64, u64>(Chain::current(1)).unwrap() {
        let (key, times) = row.unwrap();
        assert!(key == 0 || times == if fails(key) { 1 } else { 2 }, "{key}: {times}");
    }

    // The next release answers for them: what waited is told with the value of old.
    let third = stopped(3, &|status| has_come(status, 10_000_020));
    assert_eq!(set_aside(&third, "wake", "seen"), BTreeMap::new());
    assert_eq!(waiting(&third), BTreeSet::new());
    let out = std::fs::read_dir(dir.path().join("out")).unwrap().map(|file| file.unwrap().path());
    let out: String =
        out.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let told: BTreeSet<&str> = out.lines().collect();
    for key in failing {
        assert!(told.contains(format!("[{key},1]").as_str()), "{key} in {told:?}");
    }
}

#[test]
fn a_running_job_tells_how_many_keys_are_in_quarantine_and_what_was_passed_over() {
    let (dir, options) = begun();
    let endless = |dir: &Path| {
        let job = Job::new("liking").release("2");
        let numbers = job.source(Generator::new(2, u64::MAX, |_, n| n % KEYS)).uid("numbers").rate(20_000.0);
        let counted = numbers.key_by(|n| *n).flat_map_with_state(|_: &mut Option<Seen>, n| [n]);
        let counted = counted.uid("count").state_name("times").migrate(Picky);
        counted.sink(FileSink::json_lines(dir.join("out"))).uid("out");
        job
    };
    // In the background too: what fails there is set aside, and the others get to the end.
    let options = RunOptions { sweep: "old,100".parse().unwrap(), ..quarantining(&options) };
    let handle = endless(dir.path()).start(&options).unwrap();
    wait_until(&handle, "passing records over, and all migrated but for 40", |status| {
        let count = operator(status, "count");
        let state = &count.states[0];
        count.passed_over_records > 80 && state.quarantined == 40 && state.unmigrated_entries() == 40
    });
    handle.cancel();
    handle.wait().unwrap();
}

/// Checkpoints of what has changed have the rows that were set aside, and what the background has let go is gone.
#[test]
fn checkpoints_in_layers_have_what_was_set_aside() {
    let (dir, options) = begun();
    let paused = |dir: &Path| {
        let job = Job::new("liking").release("2").checkpoints(
            pitlane::engine::Checkpoints::every(Duration::from_millis(10)).keep(3).incremental(),
        );
        // Nothing comes from the new split for the time of this test, and the old one is at its end.
        let numbers = job.source(Generator::new(2, 2 * KEYS, |_, n| n % KEYS)).uid("numbers").rate(0.01);
        let counted = numbers.key_by(|n| *n).flat_map_with_state(|seen: &mut Option<Seen>, n| {
            seen.get_or_insert(Seen { before: 0, since: 0 }).since += 1;
            [n]
        });
        let counted = counted.uid("count").state_name("times").migrate(Picky);
        counted.sink(FileSink::json_lines(dir.join("out"))).uid("out");
        job
    };
    let options = RunOptions { sweep: "old,100".parse().unwrap(), ..quarantining(&options) };
    let handle = paused(dir.path()).start(&options).unwrap();
    let status = wait_until(&handle, "through", |status| {
        let state = &operator(status, "count").states[0];
        state.quarantined == 40 && state.unmigrated_entries() == 40
    });
    let epoch = status.epoch;
    let mut layered = None;
    wait_until(&handle, "a checkpoint after that", |status| {
        status.last_checkpoint.as_ref().is_some_and(|last| last.epoch > epoch + 2)
    });
    handle.cancel();
    handle.wait().unwrap();
    for entry in std::fs::read_dir(dir.path().join("data/liking/checkpoints")).unwrap() {
        // What was given up is none.
        let Ok(image) = Savepoint::open(entry.unwrap().path()) else { continue };
        assert_eq!(verify(&image, Depth::Full).problems, []);
        if image.manifest().epoch.0 > epoch && image.manifest().states().any(|(_, s)| s.is_layered()) {
            layered = Some(image);
        }
    }
    let layered = layered.unwrap();
    let flat = consolidate_to(&layered, dir.path().join("flat")).unwrap();
    assert_eq!(verify(&flat, Depth::Full).problems, []);
    let keys = |image: &Savepoint| values(image).into_keys().collect::<BTreeSet<_>>();
    // But for the one key that the new split began with, what was let go is gone.
    let stays: BTreeSet<u64> = (0..KEYS).filter(|n| n % 10 != 9).collect();
    assert_eq!(keys(&layered), stays);
    assert_eq!(keys(&flat), stays);
    assert_eq!(set_aside(&flat, "count", "times").len(), 40);
    // The next attempt goes on from there.
    let kinder = run(kind(dir.path(), 3), &options.from(dir.path().join("flat")));
    assert_eq!(set_aside(&kinder, "count", "times"), BTreeMap::new());
    assert!(values(&kinder).iter().all(|(key, seen)| !fails(*key) || seen.before == 2));
}

/// What somebody is to look at does not go by itself; once it is tried again, its time may be over.
#[test]
fn values_do_not_expire_while_they_are_in_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(1_000);
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path().join("data")) };
    let expiring = |release: u32| {
        let job = Job::new("liking").release(&release.to_string());
        let keyed = job.source(Generator::new(release, 20, |_, n| n)).uid("numbers").key_by(|n| *n);
        let out = FileSink::json_lines(dir.path().join("out"));
        let life = Duration::from_secs(60);
        if release == 1 {
            let kept = keyed.flat_map_with_state(|times: &mut Option<u64>, n| {
                *times = Some(1);
                [n]
            });
            kept.uid("count").state_name("times").expire_after(life).sink(out).uid("out");
        } else {
            let kept = keyed.flat_map_with_state(move |seen: &mut Option<Seen>, n| {
                assert!(seen.is_some() || n % 10 == 9 || release > 2, "{n}");
                [n]
            });
            let kept = kept.uid("count").state_name("times").expire_after(life);
            let kept = if release == 2 { kept.migrate(Picky) } else { kept.migrate(Kind) };
            kept.sink(out).uid("out");
        }
        job
    };
    run(expiring(1), &options);
    clock.advance_to(30_000);
    let second = run(expiring(2), &quarantining(&options));
    assert_eq!(set_aside(&second, "count", "times").len(), 4);
    clock.advance_to(100_000);
    let third = run(expiring(2), &quarantining(&options));
    assert_eq!(third.operator("count").unwrap().state("times").unwrap().entry().rows(), 4);
    assert_eq!(set_aside(&third, "count", "times").len(), 4);
    let fourth = run(expiring(3), &options);
    assert_eq!(fourth.operator("count").unwrap().state("times").unwrap().entry().rows(), 0);
}

fn pitlane(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["pitlane"].iter().chain(args).map(std::ffi::OsString::from);
    let status = pitlane::cli::run_with(args, &mut out, &mut err);
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Offline it is the same: by default nothing is made, and what fails is set aside if that is asked for.
#[test]
fn a_rewrite_by_code_sets_failing_rows_aside_if_it_is_told_to_and_tries_those_again_that_were() {
    let (dir, options) = begun();
    let job = |release: u32, kind: bool| {
        let options = options.clone();
        drop(options);
        match kind {
            true => self::kind(dir.path(), release),
            false => picky(dir.path(), release),
        }
    };
    let first = Savepoint::open(picky(dir.path(), 1).run(&options).unwrap().image.unwrap()).unwrap();
    let (old, new) = (first.location(), dir.path().join("new"));
    let new = new.to_str().unwrap();
    let migrate = |kind: bool, args: &[&str]| {
        job(2, kind).run_command_line(["job", "migrate"].iter().chain(args).map(std::ffi::OsString::from))
    };
    assert_eq!(migrate(false, &[&old, new]), 2);
    assert!(Savepoint::open(new).is_err());
    assert_eq!(migrate(false, &[&old, new, "--quarantine-failing-keys"]), 0);
    let made = Savepoint::open(new).unwrap();
    assert_eq!(verify(&made, Depth::Full).problems, []);
    let aside = set_aside(&made, "count", "times");
    assert_eq!(aside.len(), 40);
    assert!(aside.values().all(|(version, value, _)| (*version, value.as_str()) == (1, "2")), "{aside:?}");
    assert_eq!(values(&made).len(), 180, "and 20 were let go");
    // Again: what fails stays, with what the migration says now.
    let again = dir.path().join("again");
    let again = again.to_str().unwrap();
    assert_eq!(migrate(false, &[new, again]), 2);
    assert_eq!(migrate(false, &[new, again, "--quarantine-failing-keys"]), 0);
    assert_eq!(set_aside(&Savepoint::open(again).unwrap(), "count", "times"), aside);
    // And by a release that answers for all.
    let kinder = dir.path().join("kinder");
    assert_eq!(migrate(true, &[again, kinder.to_str().unwrap()]), 0);
    let kinder = Savepoint::open(kinder).unwrap();
    assert_eq!(verify(&kinder, Depth::Full).problems, []);
    assert_eq!(set_aside(&kinder, "count", "times"), BTreeMap::new());
    assert!(values(&kinder).values().all(|seen| *seen == Seen { before: 2, since: 0 }));
    // The job goes on from any of them.
    run(self::kind(dir.path(), 2), &options.from(made.location()));
}

#[test]
fn every_verb_tells_of_rows_in_quarantine_and_they_are_left_behind_by_name_alone() {
    let (dir, options) = begun();
    let made = run(picky(dir.path(), 2), &quarantining(&options));
    let path = made.location();
    let (code, out, _) = pitlane(&["inspect", &path]);
    assert!(
        code == 0 && out.contains("quarantine  count/times: 40 rows, see `pitlane quarantine`\n"),
        "{out}"
    );
    let (code, out, _) = pitlane(&["inspect", &path, "count/times"]);
    assert!(code == 0 && out.contains("in quarantine"), "{out}");
    let (code, out, _) = pitlane(&["verify", &path]);
    assert!(code == 0 && out.contains("; 40 rows in quarantine, see `pitlane quarantine`"), "{out}");
    let (_, out, _) = pitlane(&["migrate", "status", &path, "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["states"][1]["quarantined"], 40);
    let (code, out, _) = pitlane(&["get", &path, "count", "13"]);
    assert!(
        code == 0 && out.contains("in quarantine: migration from version 1 to 2 failed: 13 is not"),
        "{out}"
    );
    let plan = pitlane::migrate::plan_savepoint(&made, &kind(dir.path(), 3).describe().unwrap(), &[]);
    assert!(
        plan.to_string().contains("warning: count/times: 40 rows in quarantine; each is tried again"),
        "{plan}"
    );
    let stored =
        plan.to_json()["operators"].as_array().unwrap().iter().find(|o| o["uid"] == "count").cloned();
    assert_eq!(stored.unwrap()["states"][0]["quarantined"], 40);

    let (code, out, _) = pitlane(&["quarantine", &path, "--limit", "1"]);
    assert_eq!(code, 1);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert_eq!((lines[0], lines[2]), ("count/times: 40 rows in quarantine", "  and 39 more, see --limit"));
    assert!(lines[1].contains("v1  2  migration from version 1 to 2 failed: "), "{out}");
    let (_, out, _) = pitlane(&["quarantine", &path, "count/times", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["rows"], 40);

    let new = dir.path().join("new");
    let new = new.to_str().unwrap();
    // Not without saying which, and not what is not there.
    assert_eq!(pitlane(&["quarantine", "drop", &path, new, "count"]).0, 2);
    let (code, _, err) = pitlane(&["quarantine", "drop", &path, new, "count", "--key", "14"]);
    assert!(code == 2 && err.contains("40 rows in quarantine, none with the key 14\n"), "{err}");
    let (code, _, err) = pitlane(&["quarantine", "drop", &path, new, "out/transactions", "--all"]);
    assert!(code == 2 && err.contains("0 rows in quarantine\n"), "{err}");
    assert!(Savepoint::open(new).is_err());
    let (code, out, _) = pitlane(&["quarantine", "drop", &path, new, "count", "--key", "13", "--key", "17"]);
    assert!(code == 0 && out.contains("38 rows in quarantine"), "{out}");
    let less = Savepoint::open(new).unwrap();
    assert_eq!(verify(&less, Depth::Full).problems, []);
    let left = set_aside(&less, "count", "times");
    assert!(left.len() == 38 && !left.contains_key(&13) && !left.contains_key(&17), "{left:?}");
    assert_eq!(values(&less).len() + 2, values(&made).len());
    assert_eq!(less.manifest().migrations.last().unwrap().what, "2 rows in quarantine dropped");
    let none = dir.path().join("none");
    assert_eq!(pitlane(&["quarantine", "drop", new, none.to_str().unwrap(), "count", "--all"]).0, 0);
    assert_eq!(
        pitlane(&["quarantine", none.to_str().unwrap()]),
        (0, "no row is in quarantine\n".to_owned(), String::new())
    );
    run(picky(dir.path(), 2), &options.from(none));
}

/// Clause QU-3: whoever writes a savepoint anew by a migration file keeps what is in quarantine, and what lies beside it.
#[test]
fn migration_files_keep_rows_in_quarantine_and_give_them_no_new_keys() {
    let made = Savepoint::open("fixtures/v1/quarantine/savepoint").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rewritten = |file: &str, name: &str| {
        let path = dir.path().join(format!("{name}.toml"));
        std::fs::write(&path, file).unwrap();
        let rewrite = pitlane::rewrite::MigrationFile::open(&path)?.apply(&made)?;
        pitlane::rewrite::run_to(&rewrite, dir.path().join(name), Default::default())
            .map(|done| done.savepoint)
    };
    let rows = |savepoint: &Savepoint, state: &str| -> BTreeSet<String> {
        let state = savepoint.operator("orders").unwrap().state(state).unwrap();
        let mut found = BTreeSet::new();
        for batch in state.scan() {
            let batch = batch.unwrap();
            let shown = |row: usize, name: &str| {
                let column = batch.batch.column_by_name(name)?;
                Some(arrow::util::display::array_value_to_string(column, row).unwrap())
            };
            let of = |row: usize| {
                let beside = (shown(row, "touched_ms"), shown(row, "reason"));
                format!("{:?} {:?} {beside:?}", shown(row, "key"), shown(row, "value"))
            };
            found.extend((0..batch.batch.num_rows()).map(of));
        }
        assert_eq!(found.len() as u64, state.entry().rows());
        found
    };
    let regrouped = rewritten("max_parallelism = 64\n", "groups");
    let regrouped = regrouped.unwrap();
    assert_eq!(verify(&regrouped, Depth::Full).problems, []);
    assert_eq!(regrouped.manifest().max_parallelism.get(), 64);
    for state in ["by-id", "by-id-for-a-while"] {
        assert_eq!(rows(&regrouped, state), rows(&made, state), "{state}");
        let entry = regrouped.operator("orders").unwrap().state(state).unwrap();
        assert_eq!(entry.entry().quarantined_rows(), 4);
    }
    // New keys want values of one type.
    let old_alone = dir.path().join("old-alone");
    let mut manifest = made.manifest().clone();
    for state in &mut manifest.operators[0].states {
        state.files.retain(|file| file.schema == 1);
        for file in &mut state.files {
            let to = old_alone.join(&file.path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(Path::new(&made.location()).join(&file.path), to).unwrap();
            file.schema = 0;
        }
        state.schemas.remove(0);
    }
    std::fs::write(old_alone.join("manifest.json"), pitlane::format::seal(&manifest).bytes).unwrap();
    let made = Savepoint::open(old_alone).unwrap();
    assert_eq!(verify(&made, Depth::Full).problems, []);
    let rekeyed = |state| {
        format!("[[state]]\noperator = 'orders'\nstate = '{state}'\nrekey = {{ as = 'key + 1000' }}\n")
    };
    let rekeyed = [rekeyed("by-id"), rekeyed("by-id-for-a-while")].concat();
    std::fs::write(dir.path().join("keys.toml"), rekeyed).unwrap();
    let file = pitlane::rewrite::MigrationFile::open(dir.path().join("keys.toml")).unwrap();
    let rewrite = file.apply(&made).unwrap();
    let error = pitlane::rewrite::run_to(&rewrite, dir.path().join("keys"), Default::default()).unwrap_err();
    assert!(matches!(error, Error::InQuarantine { rows: 4, .. }), "{error}");
    let error = pitlane::rewrite::count_collisions(&rewrite, Default::default()).unwrap_err();
    assert!(matches!(error, Error::InQuarantine { rows: 4, .. }), "{error}");
}
