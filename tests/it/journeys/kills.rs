//! Journeys through kills: while a snapshot is written, before the first checkpoint of a job that goes on,
//! and while rows are migrated in the background. Positions and kills are sampled by a seed.

use super::alarm::{Plain, Release, Rooms, assert_ends_as, many};
use super::{Dice, Leg, Trip, reduce, rescale};
use pitlane::connectors::Record;
use pitlane::engine::Job;
use pitlane::migrate::status;
use pitlane::model::{Sweep, SweptRows};
use pitlane::savepoint::Savepoint;
use pitlane::storage::{Fault, PlannedFaults};
use std::fmt::Debug;
use std::time::{Duration, Instant};

const EVENTS: usize = 1_500;

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// While a snapshot is written: after so many calls of the storage.
    Snapshot(Fault, usize),
    /// Before its first checkpoint.
    Resume,
    /// While it takes over what no event touches, and takes checkpoints.
    Sweep(Sweep),
}

impl Kill {
    fn of(dice: &mut Dice) -> Self {
        match dice.below(3) {
            0 => Self::Snapshot(Fault::ALL[dice.below(5) as usize], dice.below(60) as usize),
            1 => Self::Resume,
            _ => {
                let rows = [SweptRows::Old, SweptRows::All][dice.below(2) as usize];
                Self::Sweep(Sweep { rows, percent: 1 + dice.below(20) as u32 })
            }
        }
    }
}

/// How many attempts ended as they were to.
#[derive(Debug, Default)]
struct Seen {
    failed_snapshots: u32,
    without_a_checkpoint: u32,
    half_migrated: u32,
}

/// Runs an attempt of a release up to a position at most, and kills it.
fn killed<E, O>(trip: &Trip<E, O>, job: Job, until: usize, kill: Kill, dice: &mut Dice, seen: &mut Seen)
where
    E: Record + Sync,
    O: Clone + Debug + Ord + Send + 'static,
{
    let mut options = trip.options(1 + dice.below(3) as usize, None);
    options.checkpoint_interval = Some(Duration::from_millis(2));
    let mut faults = None;
    match kill {
        Kill::Snapshot(fault, sound) => faults = Some(PlannedFaults::new(trip.data(), fault, sound)),
        Kill::Resume => options.checkpoint_interval = Some(Duration::from_secs(3_600)),
        Kill::Sweep(sweep) => options.sweep = sweep,
    }
    trip.tape.show(until, false);
    // It may be the claim or the history that fails.
    if let Ok(running) = job.start(&options) {
        let wait = |patience: Duration, is_enough: &dyn Fn() -> bool| {
            let began = Instant::now();
            while began.elapsed() < patience && !running.is_over() && !is_enough() {
                std::thread::sleep(Duration::from_micros(200));
            }
        };
        wait(Duration::from_secs(60), &|| trip.tape.has_been_read(until));
        let longer_us = match kill {
            Kill::Snapshot(..) => 30_000,
            Kill::Resume => 0,
            Kill::Sweep(_) => dice.below(8_000),
        };
        wait(Duration::from_micros(longer_us), &|| false);
        running.cancel();
        let ended = running.wait();
        assert!(ended.is_ok() || faults.is_some(), "{:?}", ended.map(drop));
    }
    match kill {
        Kill::Snapshot(..) => {
            seen.failed_snapshots += u32::from(faults.is_some_and(|faults| faults.failed().is_some()));
        }
        Kill::Resume => seen.without_a_checkpoint += 1,
        Kill::Sweep(_) => {
            let image = trip.newest_image().map(|image| Savepoint::open(image).unwrap());
            seen.half_migrated += u32::from(image.is_some_and(|image| !status(image.manifest()).is_done()));
        }
    }
}

/// Runs releases one after the other, each up to a position of its own and killed on the way. Returns what they came
/// to at the end of the input, where each began, and the story.
fn through_kills<E, O>(
    trip: &Trip<E, O>,
    releases: &[&dyn Fn() -> Job],
    seed: u64,
    seen: &mut Seen,
) -> (Leg<O>, Vec<usize>, String)
where
    E: Record + Sync,
    O: Clone + Debug + Ord + Send + 'static,
{
    let mut dice = Dice::new(seed);
    let all = trip.tape.len();
    let mut begins: Vec<usize> = releases[1..].iter().map(|_| dice.below(all as u64) as usize).collect();
    begins.push(0);
    begins.sort_unstable();
    let mut story = format!("seed {seed}, releases begin at {begins:?}");
    println!("{story}");
    let mut told = Vec::new();
    for (nth, release) in releases.iter().enumerate() {
        let (begin, end) = (begins[nth], begins.get(nth + 1).copied().unwrap_or(all));
        for _ in 0..4 {
            let until = begin + dice.below((end - begin) as u64 + 1) as usize;
            let kill = Kill::of(&mut dice);
            story.push_str(&format!("\nrelease {} up to {until}, {kill:?}", nth + 1));
            // What is committed has to be seen again.
            killed(trip, release(), until.max(trip.newest_position()), kill, &mut dice, seen);
        }
        let options = trip.options(1 + dice.below(3) as usize, None);
        if nth + 1 < releases.len() {
            told.extend(trip.stop_at(end, release(), &options).told);
            continue;
        }
        let end = trip.run(release(), &options).unwrap_or_else(|error| panic!("{error}; {story}"));
        return (end.behind(told), begins, story);
    }
    unreachable!("there is a last release")
}

fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=std::env::var("PITLANE_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

#[test]
fn releases_of_the_alarm_that_are_killed_at_any_time_lose_and_repeat_nothing() {
    use Release::{Tolerant, V1, V2, V3};
    let mut seen = Seen::default();
    let journeys: [&[Release]; 4] = [&[V2, V3], &[V1, V3], &[V1, V2, V3], &[V1, Tolerant]];
    for (seed, releases) in seeds().flat_map(|seed| journeys.map(|releases| (seed, releases))) {
        let events = many(seed, EVENTS);
        let trip = Rooms::new(events.clone());
        let jobs: Vec<_> = releases.iter().map(|release| || trip.release(*release)).collect();
        let jobs: Vec<&dyn Fn() -> Job> = jobs.iter().map(|job| job as &dyn Fn() -> Job).collect();
        let (end, begins, story) = through_kills(&trip, &jobs, seed, &mut seen);
        let begins: Vec<_> = begins.into_iter().zip(releases.iter().copied()).collect();
        let story = format!("{releases:?}, {story}");
        assert_ends_as(*releases.last().unwrap(), &end, &Plain::of(&events, &begins), &story);
    }
    println!("{seen:?}");
    let Seen { failed_snapshots, without_a_checkpoint, half_migrated } = seen;
    assert!(failed_snapshots > 0 && without_a_checkpoint > 0 && half_migrated > 0, "{seen:?}");
}

#[test]
fn counts_whose_type_changes_go_on_through_kills() {
    for seed in seeds() {
        let events = reduce::many(seed, EVENTS);
        let trip = reduce::Counts::new(events.clone());
        let (end, begins, story) =
            through_kills(&trip, &[&|| trip.first(), &|| trip.second(true)], seed, &mut Seen::default());
        reduce::assert_ends_well(&end, &events, begins[1], &story);
    }
}

#[test]
fn state_of_every_kind_goes_on_through_kills() {
    for seed in seeds() {
        let trip = rescale::Everything::new(rescale::events(EVENTS / 5));
        let (end, _, story) =
            through_kills(&trip, &[&|| trip.job(), &|| trip.job()], seed, &mut Seen::default());
        rescale::assert_ends_well(&trip, &end, &story);
    }
}
