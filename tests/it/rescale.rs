//! Everything that a job keeps goes on in any number of processes with any number of workers, whatever ended the one
//! before: values, lists, timers, windows, both sides of a join, state of instances and of all, positions.

use crate::cluster::{Place, holds, said, until};
use pitlane::BoxError;
use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{
    BroadcastProcess, Checkpoints, Context, Job, ListState, OperatorContext, OperatorList, OperatorProcess,
    Process, Timer, TimerHandle, Tumbling, Watermarks,
};
use pitlane::migrate::Chain;
use pitlane::model::MaxParallelism;
use pitlane::savepoint::{Depth, Savepoint, verify};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SPLITS: u32 = 5;
const RECORDS: u64 = 300;
const PARTNERS: u64 = 200;
const RULES: u64 = 60;
pub(crate) const DISORDER_MS: i64 = 3_000;
const WAIT_MS: i64 = 20_000;
pub(crate) const WINDOW_MS: i64 = 30_000;
pub(crate) const REACH_MS: i64 = 4_000;
pub(crate) const GROUP: usize = 7;

/// A key, an event time, and a number that no other event has.
pub(crate) type Event = (u64, i64, u64);

fn event(split: u32, n: u64) -> Event {
    let noise = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as i64;
    let number = u64::from(split) * 1_000 + n;
    (number.wrapping_mul(0xd134_2543_de82_ef95) >> 60, n as i64 * 1_000 + noise % DISORDER_MS, number)
}

fn partner(n: u64) -> Event {
    event(SPLITS, n)
}

/// Tells a while after each event how many there were up to then that nothing told of yet.
pub(crate) struct Waiting {
    pub(crate) times_ms: ListState<i64>,
    pub(crate) timers: TimerHandle,
}

impl Process<u64, Event, (u64, i64, usize)> for Waiting {
    fn process(&mut self, event: Event, _: &mut Context<'_, u64, (u64, i64, usize)>) -> Result<(), BoxError> {
        self.times_ms.push(event.1)?;
        Ok(self.timers.set(event.1 + WAIT_MS)?)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut Context<'_, u64, (u64, i64, usize)>,
    ) -> Result<(), BoxError> {
        let (due, later): (Vec<i64>, Vec<i64>) =
            self.times_ms.take()?.into_iter().partition(|at_ms| *at_ms <= timer.at_ms);
        later.into_iter().try_for_each(|at_ms| self.times_ms.push(at_ms))?;
        context.emit((*context.key(), timer.at_ms, due.len()));
        Ok(())
    }
}

/// Sends numbers on in groups.
pub(crate) struct Grouping(pub(crate) OperatorList<u64>);

impl OperatorProcess<Event, Vec<u64>> for Grouping {
    fn process(&mut self, event: Event, context: &mut OperatorContext<'_, Vec<u64>>) -> Result<(), BoxError> {
        self.0.push(event.2);
        if self.0.len() >= GROUP {
            context.emit(self.0.take());
        }
        Ok(())
    }
}

/// Counts rules by name.
pub(crate) struct Counting;

impl BroadcastProcess<u64, Event, u64, ()> for Counting {
    type Name = u64;
    type Value = u64;

    fn process_record(
        &mut self,
        _: Event,
        _: &BTreeMap<u64, u64>,
        _: &mut Context<'_, u64, ()>,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    fn process_broadcast(&mut self, rule: u64, rules: &mut BTreeMap<u64, u64>) -> Result<(), BoxError> {
        *rules.entry(rule % 7).or_default() += 1;
        Ok(())
    }
}

/// The job that the processes run, so many times as fast as one that has to be stopped before it is through.
pub(crate) fn job(out: &Path, times: f64) -> Job {
    let job = Job::new("counting").checkpoints(Checkpoints::every(Duration::from_millis(40)));
    let bound = Watermarks::bounded(Duration::from_millis(DISORDER_MS as u64));
    let events = job.source(Generator::new(SPLITS, RECORDS, event)).uid("events");
    let events = events.watermarks(bound, |event| event.1).rate(60.0 * times);
    let partners = job.source(Generator::new(1, PARTNERS, |_, n| partner(n))).uid("partners");
    let partners = partners.watermarks(bound, |event| event.1).rate(40.0 * times);
    let rules = job.source(Generator::new(1, RULES, |_, n| n)).uid("rules").rate(12.0 * times);
    let keyed = events.key_by(|event| event.0);
    let told = keyed
        .process(|states| Waiting { times_ms: states.list("times"), timers: states.event_timers() })
        .uid("waiting");
    told.sink(FileSink::json_lines(out.join("told"))).uid("told");
    let window = Tumbling::of(Duration::from_millis(WINDOW_MS as u64));
    let sums = keyed.window(window).reduce(|a, b| (a.0, a.1 + b.1, a.2 + b.2)).uid("sums");
    sums.sink(FileSink::json_lines(out.join("sums"))).uid("sums-out");
    let pairs = keyed
        .connect(&partners.key_by(|event| event.0))
        .interval_join(-REACH_MS, REACH_MS, |a, b| (a.2, b.2))
        .uid("pairs");
    pairs.sink(FileSink::json_lines(out.join("pairs"))).uid("pairs-out");
    let groups = events.process(|states| Grouping(states.list("held"))).uid("groups");
    groups.sink(FileSink::json_lines(out.join("groups"))).uid("groups-out");
    let _ = keyed.connect_broadcast(&rules.broadcast()).process(|_| Counting).uid("rules-of-all");
    job
}

fn events() -> impl Iterator<Item = Event> {
    (0..SPLITS).flat_map(|split| (0..RECORDS).map(move |n| event(split, n)))
}

pub(crate) fn told_of(events: impl Iterator<Item = Event>) -> Vec<(u64, i64, usize)> {
    let mut by_key = BTreeMap::<u64, Vec<i64>>::new();
    events.for_each(|event| by_key.entry(event.0).or_default().push(event.1));
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

pub(crate) fn sums_of(events: impl Iterator<Item = Event>) -> Vec<Event> {
    let mut sums = BTreeMap::<(u64, i64), (i64, u64)>::new();
    for (key, at_ms, number) in events {
        let sum = sums.entry((key, at_ms.div_euclid(WINDOW_MS))).or_default();
        *sum = (sum.0 + at_ms, sum.1 + number);
    }
    let mut sums: Vec<_> =
        sums.into_iter().map(|((key, _), (times, numbers))| (key, times, numbers)).collect();
    sums.sort_unstable();
    sums
}

pub(crate) fn pairs_of(lefts: impl Iterator<Item = Event>, rights: &[Event]) -> Vec<(u64, u64)> {
    let of = |a: Event| {
        let near = rights.iter().filter(move |b| a.0 == b.0 && (a.1 - b.1).abs() <= REACH_MS);
        near.map(move |b| (a.2, b.2)).collect::<Vec<_>>()
    };
    let mut pairs: Vec<_> = lefts.flat_map(of).collect();
    pairs.sort_unstable();
    pairs
}

/// Numbers from a seed (xorshift), so that a failure can be tried again.
fn random(state: &mut u64, below: u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below) as usize
}

/// Runs the job over stops and kills with random numbers of processes and workers; returns what was done.
fn run(seed: u64, place: &mut Place) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut done = Vec::new();
    for phase in 0..4 {
        let (processes, workers) = (1 + random(&mut state, 3), 1 + random(&mut state, 3));
        let is_killed = random(&mut state, 2) == 0;
        done.push(format!("{processes} x {workers}{}", if is_killed { ", killed" } else { "" }));
        place.is_on(processes);
        let workers = workers.to_string();
        let sweep = ["none", "all,50"][random(&mut state, 2)];
        let variant = if phase == 3 { "everything in haste" } else { "everything" };
        let mut running: Vec<_> = (0..processes)
            .map(|p| place.start_with(p, variant, &["--workers", &workers, "--sweep", sweep]))
            .collect();
        if phase == 3 {
            for process in running {
                let (status, text) = process.end();
                assert_eq!(status, 0, "{done:?}: {text}");
            }
            break;
        }
        let before = place.history();
        // The claim, and a checkpoint.
        until("a checkpoint is taken", || holds(place.history() > before + 1));
        std::thread::sleep(Duration::from_millis(random(&mut state, 150) as u64));
        if is_killed {
            let victim = random(&mut state, processes as u64);
            running.remove(victim).kill();
            for survivor in running {
                assert_eq!(survivor.end().0, 70, "{done:?}");
            }
        } else {
            place.running().stop(&Default::default()).unwrap();
            running.into_iter().for_each(|process| assert_eq!(process.end().0, 0, "{done:?}"));
        }
    }
    done.join("; ")
}

#[test]
fn a_job_with_state_of_every_kind_equals_plain_code_over_random_numbers_of_processes_and_workers() {
    let seeds = std::env::var("PITLANE_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    for seed in 1..=seeds {
        let mut place = Place::new(1);
        println!("seed {seed} of rescale");
        let done = run(seed, &mut place);
        assert_eq!(place.lines::<(u64, i64, usize)>("told"), told_of(events()), "seed {seed}: {done}");
        assert_eq!(place.lines::<Event>("sums"), sums_of(events()), "seed {seed}: {done}");
        assert_eq!(
            place.lines::<(u64, u64)>("pairs"),
            pairs_of(events(), &(0..PARTNERS).map(partner).collect::<Vec<_>>()),
            "seed {seed}: {done}"
        );
        let last = Savepoint::open(place.last_image()).unwrap();
        assert_eq!(verify(&last, Depth::Full).problems, [], "seed {seed}: {done}");
        let held = last.operator("groups").unwrap().state("held").unwrap();
        let held = held.elements::<u64>(Chain::current(1)).unwrap().map(Result::unwrap);
        let mut numbers: Vec<u64> =
            place.lines::<Vec<u64>>("groups").into_iter().flatten().chain(held).collect();
        numbers.sort_unstable();
        let mut wanted: Vec<u64> = events().map(|event| event.2).collect();
        wanted.sort_unstable();
        assert_eq!(numbers, wanted, "seed {seed}: {done}");
        let rules = last.operator("rules-of-all").unwrap().state("broadcast").unwrap();
        let rules = rules.rows::<u64, u64>(Chain::current(1)).unwrap().map(|row| row.unwrap().1);
        assert_eq!(rules.sum::<u64>(), RULES, "seed {seed}: {done}");
    }
}

#[test]
fn more_workers_than_key_groups_are_refused_with_the_way_out_by_all_processes() {
    let mut place = Place::new(2);
    let groups = MaxParallelism::DEFAULT.get();
    let workers = (groups / 2 + 1).to_string();
    let running: Vec<_> =
        (0..2).map(|p| place.start_with(p, "everything", &["--workers", &workers])).collect();
    for (process, status) in running.into_iter().zip([2, 70]) {
        let (found, text) = process.end();
        let wanted = format!("start with at most {groups} workers");
        said(&text, &[&(groups + 2).to_string(), &wanted, "max_parallelism"]);
        assert_eq!(found, status, "{text}");
    }
    assert_eq!(place.history(), 0, "an attempt was claimed");
    place.is_on(1);
    let (status, text) = place.start_with(0, "everything", &["--workers", &(groups + 1).to_string()]).end();
    said(&text, &["start with at most"]);
    assert_eq!(status, 2, "{text}");
}
