//! Process functions: keyed states of all kinds and timers, against plain code, over stops and rescales.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{
    Checkpoints, Clock, CoProcess, Context, Job, ListState, MapState, Process, RunOptions, SideOutput, Timer,
    TimerHandle, ValueState, Watermarks,
};
use pitlane::savepoint::{Depth, verify};
use pitlane::{BoxError, Error};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SPLITS: u32 = 3;
const RECORDS: u64 = 300;
const WAIT_MS: i64 = 60_000;

/// A key and an event time, up to five seconds out of order.
type Event = (u64, i64);

fn event(split: u32, n: u64) -> Event {
    let noise = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i64;
    (u64::from(split) * 10 + n % 4, n as i64 * 2_000 + noise % 5_000)
}

/// A minute after each event, tells how many events there were up to then that nothing told of yet.
struct Waiting {
    times_ms: ListState<i64>,
    by_second: MapState<i64, u32>,
    told: ValueState<u64>,
    timers: TimerHandle,
    tenths: SideOutput<Event>,
}

impl Process<u64, Event, (u64, i64, usize)> for Waiting {
    fn process(
        &mut self,
        (key, at_ms): Event,
        context: &mut Context<'_, u64, (u64, i64, usize)>,
    ) -> Result<(), BoxError> {
        assert_eq!((key, Some(at_ms)), (*context.key(), context.time_ms()));
        self.times_ms.push(at_ms)?;
        let before = self.by_second.get(&(at_ms / 1000))?;
        self.by_second.insert(at_ms / 1000, before.unwrap_or(0) + 1)?;
        self.timers.set(at_ms + WAIT_MS)?;
        // Set twice, it is still one; set and deleted, it is none.
        self.timers.set(at_ms + WAIT_MS)?;
        self.timers.set(at_ms + WAIT_MS - 1)?;
        self.timers.delete(at_ms + WAIT_MS - 1)?;
        if at_ms % 10 == 0 {
            context.emit_to(&self.tenths, (key, at_ms));
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut Context<'_, u64, (u64, i64, usize)>,
    ) -> Result<(), BoxError> {
        let key = *context.key();
        let (due, later): (Vec<i64>, Vec<i64>) =
            self.times_ms.take()?.into_iter().partition(|at_ms| *at_ms <= timer.at_ms);
        later.into_iter().try_for_each(|at_ms| self.times_ms.push(at_ms))?;
        for at_ms in &due {
            self.by_second.remove(&(at_ms / 1000))?;
        }
        self.told.update(|told| *told = Some(told.unwrap_or(0) + due.len() as u64))?;
        context.emit((key, timer.at_ms, due.len()));
        Ok(())
    }
}

fn job(out: &Path) -> Job {
    let job = Job::new("waiting").checkpoints(Checkpoints::every(Duration::from_millis(5)));
    let tenths = SideOutput::new("tenths");
    let events = job
        .source(Generator::new(SPLITS, RECORDS, event))
        .uid("events")
        .watermarks(Watermarks::bounded(Duration::from_secs(5)), |(_, at_ms)| *at_ms)
        .rate(600.0);
    let side = tenths.clone();
    let told = events
        .key_by(|(key, _)| *key)
        .process(move |states| Waiting {
            times_ms: states.list("times"),
            by_second: states.map("by-second"),
            told: states.value("told"),
            timers: states.event_timers(),
            tenths: side.clone(),
        })
        .uid("waiting");
    told.sink(FileSink::json_lines(out.join("told"))).uid("told");
    told.side_output(&tenths).sink(FileSink::json_lines(out.join("tenths"))).uid("tenths");
    job
}

fn lines<T: serde::de::DeserializeOwned + Ord>(dir: &Path) -> Vec<T> {
    let files = std::fs::read_dir(dir).unwrap().flatten().map(|e| e.path()).filter(|p| p.is_file());
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut records: Vec<T> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort();
    records
}

fn expected() -> Vec<(u64, i64, usize)> {
    let mut by_key = BTreeMap::<u64, Vec<i64>>::new();
    for split in 0..SPLITS {
        for n in 0..RECORDS {
            let (key, at_ms) = event(split, n);
            by_key.entry(key).or_default().push(at_ms);
        }
    }
    let mut told = Vec::new();
    for (key, times_ms) in by_key {
        let mut timers: Vec<i64> = times_ms.iter().map(|at_ms| at_ms + WAIT_MS).collect();
        timers.sort_unstable();
        timers.dedup();
        let mut after = i64::MIN;
        for at_ms in timers {
            told.push((key, at_ms, times_ms.iter().filter(|t| **t > after && **t <= at_ms).count()));
            after = at_ms;
        }
    }
    told.sort_unstable();
    told
}

#[test]
fn states_and_timers_equal_plain_code_over_stops_and_other_numbers_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = RunOptions::in_dir(dir.path().join("data"));
    for (workers, sweep) in [(2, "none"), (3, "all,100"), (1, "all,20")] {
        let sweep = sweep.parse().unwrap();
        let options = RunOptions { sweep, ..options.clone().workers(workers) };
        let running = job(&out).start(&options).unwrap();
        std::thread::sleep(Duration::from_millis(7));
        running.stop(Default::default()).unwrap();
        running.wait().unwrap();
    }
    let image = job(&out).run(&options.workers(2)).unwrap().image.unwrap();
    assert_eq!(lines::<(u64, i64, usize)>(&out.join("told")), expected());
    let mut tenths: Vec<Event> = (0..SPLITS).flat_map(|s| (0..RECORDS).map(move |n| event(s, n))).collect();
    tenths.retain(|(_, at_ms)| at_ms % 10 == 0);
    tenths.sort_unstable();
    assert_eq!(lines::<Event>(&out.join("tenths")), tenths);
    let savepoint = pitlane::savepoint::Savepoint::open(image).unwrap();
    let rows = |state: &str| savepoint.operator("waiting").unwrap().state(state).unwrap().entry().rows();
    assert_eq!((rows("timers"), rows("times"), rows("by-second")), (0, 0, 0), "all was told");
    assert_eq!(rows("told"), 12);
}

#[test]
fn a_savepoint_has_the_timers_that_are_set_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data")).workers(2);
    let running = job(&dir.path().join("out")).start(&options).unwrap();
    let taken = || {
        running.status().operators.iter().find(|o| o.uid.as_str() == "waiting").map_or(0, |o| o.records_in)
    };
    while taken() < 50 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let done = running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    let savepoint = pitlane::savepoint::Savepoint::open(&done.path).unwrap();
    let timers = savepoint.operator("waiting").unwrap().state("timers").unwrap();
    assert_eq!(timers.entry().kind.as_str(), "timers");
    assert!(timers.entry().rows() > 0);
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
}

/// Remembers the last price of an item, and tells it to whoever asks.
struct Prices {
    price: ValueState<u64>,
}

impl CoProcess<u64, (u64, u64), u64, (u64, u64)> for Prices {
    fn process_first(
        &mut self,
        (_, price): (u64, u64),
        _: &mut Context<'_, u64, (u64, u64)>,
    ) -> Result<(), BoxError> {
        Ok(self.price.update(|kept| *kept = (*kept).max(Some(price)))?)
    }

    fn process_second(
        &mut self,
        item: u64,
        context: &mut Context<'_, u64, (u64, u64)>,
    ) -> Result<(), BoxError> {
        let price = self.price.get()?.unwrap_or(0);
        context.emit((item, price));
        Ok(())
    }
}

#[test]
fn two_streams_share_state_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("prices");
    let prices = job.source(Generator::new(1, 100, |_, n| (n % 10, n))).uid("prices");
    let asked = job.source(Generator::new(2, 50, |_, n| n % 10)).uid("asked");
    let keyed = prices.key_by(|(item, _)| *item);
    let told = keyed
        .connect(&asked.key_by(|item| *item))
        .process(|states| Prices { price: states.value("price") })
        .uid("last");
    told.sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
    let options = RunOptions::in_dir(dir.path().join("data")).workers(2);
    let image = job.run(&options).unwrap().image.unwrap();
    let told: Vec<(u64, u64)> = lines(&dir.path().join("out"));
    assert_eq!(told.len(), 100);
    assert!(told.iter().all(|(item, price)| *price == 0 || price % 10 == *item));
    let savepoint = pitlane::savepoint::Savepoint::open(image).unwrap();
    let state = savepoint.operator("last").unwrap().state("price").unwrap();
    let rows = state.rows::<u64, u64>(pitlane::migrate::Chain::current(1)).unwrap();
    let prices: BTreeMap<u64, u64> = rows.map(Result::unwrap).collect();
    assert_eq!(prices, (0..10).map(|item| (item, 90 + item)).collect());
}

#[test]
fn timers_by_the_clock_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(1_000);
    let job = Job::new("clock");
    let numbers = job.source(Generator::new(1, u64::MAX, |_, n| n)).uid("numbers").rate(200.0);
    struct Once(ValueState<i64>, TimerHandle);
    impl Process<(), u64, i64> for Once {
        fn process(&mut self, _: u64, context: &mut Context<'_, (), i64>) -> Result<(), BoxError> {
            if self.0.get()?.is_none() {
                self.0.set(context.now_ms())?;
                self.1.set(context.now_ms() + 3_600_000)?;
            }
            Ok(())
        }

        fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, (), i64>) -> Result<(), BoxError> {
            context.emit(timer.at_ms);
            Ok(())
        }
    }
    let rung = numbers
        .key_by(|_| ())
        .process(|states| Once(states.value("since"), states.processing_timers()))
        .uid("alarm");
    let (tell, told) = std::sync::mpsc::channel();
    let _ = rung.inspect(move |at_ms| tell.send(*at_ms).unwrap());
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path().join("data")) };
    let running = job.start(&options).unwrap();
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
    clock.advance_to(3_601_000);
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(3_601_000));
    running.cancel();
    running.wait().unwrap();
}

#[test]
fn a_function_that_fails_or_panics_stops_the_attempt_with_operator_and_key() {
    let run = |panics: bool| {
        let dir = tempfile::tempdir().unwrap();
        let job = Job::new("failing");
        let numbers = job.source(Generator::new(1, 100, |_, n| format!("n{n}"))).uid("numbers");
        let fail = move |name: String, _: &mut Context<'_, String, String>| match name.as_str() {
            "n42" if panics => panic!("forty-two"),
            "n42" => Err("forty-two".into()),
            _ => Ok(()),
        };
        let _ = numbers.key_by(|name| name.clone()).process(move |_| fail).uid("picky");
        job.run(&RunOptions::in_dir(dir.path())).unwrap_err()
    };
    let error = run(false);
    assert!(matches!(error, Error::UserFunction { .. }), "{error}");
    assert_eq!(error.to_string(), "operator `picky` failed on key \"n42\"");
    assert_eq!(run(true).to_string(), "operator `picky` panicked on key \"n42\": forty-two");
}

#[test]
fn a_state_name_that_is_used_twice_is_refused() {
    let job = Job::new("twice");
    let numbers = job.source(Generator::new(1, 1, |_, n| n)).uid("numbers");
    let twice = |states: &mut pitlane::engine::States<u64>| {
        let (_, _) = (states.value::<u64>("seen"), states.list::<u64>("seen"));
        |_: u64, _: &mut Context<'_, u64, u64>| Ok(())
    };
    let _ = numbers.key_by(|n| *n).process(twice).uid("twice");
    let error = job.describe().unwrap_err();
    assert_eq!(error.to_string(), "job `twice`: operator `twice` has two states with the name `seen`");
}
