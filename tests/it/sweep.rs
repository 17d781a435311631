//! Sweeps: rows that no record touches are taken over in the background, and what the savepoint has is let go of.

use crate::cluster::{holds, until};
use pitlane::BoxError;
use pitlane::connectors::{FileSink, Generator};
use pitlane::control::JobStatus;
use pitlane::engine::{
    Clock, Context, Job, JobHandle, ListState, MapState, Process, RunOptions, Timer, TimerHandle, ValueState,
};
use pitlane::migrate::Chain;
use pitlane::model::Sweep;
use pitlane::savepoint::{Depth, Savepoint, verify};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

const KEYS: u64 = 4_000;
/// Value, list, map and timers.
const STATES: u64 = 4;

/// Any sweep, or none.
pub(crate) fn any_sweep() -> impl Strategy<Value = Sweep> {
    let sweeps = ["none", "old,100", "all,100", "all,5"].map(|text| text.parse().unwrap());
    prop::sample::select(sweeps.to_vec())
}

/// Keeps something of every kind, and tells of each key when its time has come.
struct Keeping {
    value: ValueState<u64>,
    list: ListState<u64>,
    map: MapState<u64, u64>,
    timers: TimerHandle,
}

impl Process<u64, u64, (u64, i64)> for Keeping {
    fn process(&mut self, n: u64, context: &mut Context<'_, u64, (u64, i64)>) -> Result<(), BoxError> {
        self.value.set(n)?;
        self.list.push(n)?;
        self.map.insert(n % 3, n)?;
        Ok(self.timers.set(due_ms(*context.key()))?)
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, u64, (u64, i64)>) -> Result<(), BoxError> {
        let kept = (self.value.get()?, self.list.get()?.len());
        assert_eq!(kept, (Some(*context.key()), 1), "what there was when the timer was set");
        context.emit((*context.key(), timer.at_ms));
        Ok(())
    }
}

fn due_ms(key: u64) -> i64 {
    10_000 + (key * 7 % KEYS) as i64
}

/// Reads each key once; the second split goes on for long, and has nothing for the state.
fn job(dir: &Path, splits: u32) -> Job {
    let job = Job::new("keeping");
    let numbers = job.source(Generator::new(splits, KEYS, |split, n| (split, n))).uid("numbers");
    let numbers = if splits > 1 { numbers.rate(0.001) } else { numbers };
    let numbers = numbers.map(|(split, n)| (split == 0).then_some(n)).flat_map(|n| n);
    let told = numbers.key_by(|n| *n).process(|states| Keeping {
        value: states.value("value"),
        list: states.list("list"),
        map: states.map("map"),
        timers: states.processing_timers(),
    });
    told.uid("kept").sink(FileSink::json_lines(dir.join("out"))).uid("out");
    job
}

fn untouched(status: &JobStatus) -> u64 {
    status.operators.iter().flat_map(|operator| &operator.states).map(|state| state.untouched).sum()
}

fn entries(status: &JobStatus) -> u64 {
    status.operators.iter().flat_map(|operator| &operator.states).map(|state| state.entries).sum()
}

/// Counts the files below a directory that this process has open.
fn open_below(dir: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).filter(|path| path.starts_with(dir)).count()
}

fn rows(savepoint: &Savepoint) -> BTreeMap<u64, u64> {
    let state = savepoint.operator("kept").unwrap().state("value").unwrap();
    state.rows(Chain::current(1)).unwrap().map(Result::unwrap).collect()
}

fn lines(out: &Path) -> Vec<(u64, i64)> {
    let files =
        std::fs::read_dir(out).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let text: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn rows_of_the_current_version_are_taken_over_when_asked_for_and_their_files_let_go_of() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(0);
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path().join("data")) };
    let image = job(dir.path(), 1).run(&options).unwrap().image.unwrap();

    let running = job(dir.path(), 2).start(&options.clone().workers(2)).unwrap();
    until("all is told", || holds(entries(&running.status()) >= STATES * KEYS));
    // Row groups that both workers have rows of are counted by both until they are read.
    assert!(untouched(&running.status()) >= STATES * KEYS);
    assert!(open_below(&image) >= STATES as usize, "{}", open_below(&image));
    running.sweep("old,100".parse().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(untouched(&running.status()) >= STATES * KEYS, "there are no old ones");

    let half = |running: &JobHandle| untouched(&running.status()) < STATES * KEYS / 2;
    running.sweep("all,50".parse().unwrap());
    until("half is taken over", || {
        assert!(!running.is_over(), "{:?}", running.status());
        holds(half(&running))
    });
    running.sweep(Sweep::NONE);
    let first = running.savepoint(Default::default()).unwrap();
    running.sweep("all,100".parse().unwrap());
    until("all is taken over", || {
        assert!(!running.is_over());
        holds(untouched(&running.status()) == 0)
    });
    until("the files are closed", || holds(open_below(&image) == 0));
    assert_eq!(entries(&running.status()), STATES * KEYS);
    let second = running.savepoint(Default::default()).unwrap();
    for path in [first.path, second.path] {
        let savepoint = Savepoint::open(path).unwrap();
        assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        assert_eq!(rows(&savepoint), (0..KEYS).map(|n| (n, n)).collect());
    }
    // Timers are due when they were to be.
    clock.advance_to(due_ms(0) + KEYS as i64 / 2);
    until("half of the timers fire", || holds(entries(&running.status()) < STATES * KEYS));
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    clock.advance_to(i64::MAX / 2);
    let running = job(dir.path(), 2).start(&options).unwrap();
    until("all timers fire", || holds((1..=3 * KEYS).contains(&entries(&running.status()))));
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    assert_eq!(lines(&dir.path().join("out")), (0..KEYS).map(|key| (key, due_ms(key))).collect::<Vec<_>>());
}

#[test]
fn a_row_group_is_let_go_of_when_records_have_touched_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    let release = |splits, records: u64| {
        let job = Job::new("touching");
        let numbers = job.source(Generator::new(splits, records, |_, n| n % KEYS)).uid("numbers");
        let _ = numbers.key_by(|n| *n).count().uid("count");
        job
    };
    let image = release(1, KEYS).run(&options).unwrap().image.unwrap();
    let running = release(2, u64::MAX).start(&options).unwrap();
    until("nothing is untouched", || {
        let status = running.status();
        holds(entries(&status) >= KEYS && untouched(&status) == 0)
    });
    until("the file is closed", || holds(open_below(&image) == 0));
    running.cancel();
    running.wait().unwrap();
}
