//! The alarm's journeys through kills: while a snapshot is written, before the first checkpoint of a job that goes on,
//! and while rows are migrated in the background. Positions and kills are sampled by a seed.

use super::alarm::{Plain, Release, Rooms, STATE, assert_ends_as, many};
use super::{Dice, rows_by_version};
use pitlane::engine::RunOptions;
use pitlane::model::{Sweep, SweptRows};
use pitlane::savepoint::Savepoint;
use pitlane::storage::{Fault, PlannedFaults};
use std::time::{Duration, Instant};

const EVENTS: usize = 1_500;

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// While a snapshot is written: after so many calls of the storage.
    Snapshot(Fault, usize),
    /// Before its first checkpoint.
    Resume,
    /// While it migrates what no event touches, in so many percent of its time, and takes checkpoints.
    Sweep(u32),
}

impl Kill {
    fn of(dice: &mut Dice) -> Self {
        match dice.below(3) {
            0 => Self::Snapshot(Fault::ALL[dice.below(5) as usize], dice.below(60) as usize),
            1 => Self::Resume,
            _ => Self::Sweep(1 + dice.below(20) as u32),
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
fn killed(trip: &Rooms, release: Release, until: usize, kill: Kill, dice: &mut Dice, seen: &mut Seen) {
    let mut options = trip.options(1 + dice.below(3) as usize, None);
    options.checkpoint_interval = Some(Duration::from_millis(2));
    let mut faults = None;
    match kill {
        Kill::Snapshot(fault, sound) => faults = Some(PlannedFaults::new(trip.data(), fault, sound)),
        Kill::Resume => options.checkpoint_interval = Some(Duration::from_secs(3_600)),
        Kill::Sweep(percent) => options.sweep = Sweep { rows: SweptRows::Old, percent },
    }
    trip.tape.show(until, false);
    // It may be the claim or the history that fails.
    if let Ok(running) = trip.release(release).start(&options) {
        let began = Instant::now();
        let has_read = || trip.has_read(until) || running.is_over();
        while !has_read() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_micros(200));
        }
        let patience = Duration::from_micros(match kill {
            Kill::Snapshot(..) => 30_000,
            Kill::Resume => 0,
            Kill::Sweep(_) => dice.below(8_000),
        });
        let began = Instant::now();
        while began.elapsed() < patience && !running.is_over() {
            std::thread::sleep(Duration::from_micros(200));
        }
        running.cancel();
        let ended = running.wait();
        assert!(ended.is_ok() || faults.is_some(), "{:?}", ended.map(drop));
    }
    match kill {
        Kill::Snapshot(..) => {
            seen.failed_snapshots += u32::from(faults.is_some_and(|f| f.failed().is_some()))
        }
        Kill::Resume => seen.without_a_checkpoint += 1,
        Kill::Sweep(_) => {
            let image = trip.newest_image().map(|image| Savepoint::open(image).unwrap());
            let versions = image.map_or(0, |image| rows_by_version(&image, STATE.0, STATE.1).len());
            seen.half_migrated += u32::from(versions > 1);
        }
    }
}

/// Runs releases one after the other, each up to a position of its own and killed on the way; returns the story.
fn run(releases: &[Release], seed: u64, seen: &mut Seen) {
    let mut dice = Dice::new(seed);
    let events = many(seed, EVENTS);
    let trip = Rooms::new(events.clone());
    let mut changes: Vec<usize> = releases[1..].iter().map(|_| dice.below(EVENTS as u64) as usize).collect();
    changes.sort_unstable();
    let begins: Vec<(usize, Release)> =
        [0].iter().chain(&changes).copied().zip(releases.iter().copied()).collect();
    let mut story = format!("seed {seed}, {begins:?}");
    let (mut told, mut options) = (Vec::new(), RunOptions::in_dir(trip.data()));
    for (nth, release) in releases.iter().enumerate() {
        let begin = begins[nth].0;
        let end = changes.get(nth).copied().unwrap_or(EVENTS);
        for _ in 0..4 {
            let until = begin + dice.below((end - begin) as u64 + 1) as usize;
            let kill = Kill::of(&mut dice);
            story.push_str(&format!("\n{release:?} up to {until}, {kill:?}"));
            // What is committed has to be seen again.
            let until = until.max(trip.newest_position());
            killed(&trip, *release, until, kill, &mut dice, seen);
        }
        options.workers = 1 + dice.below(3) as usize;
        if end < EVENTS {
            told.extend(trip.stop_at(end, trip.release(*release), &options).told);
        }
    }
    let last = *releases.last().unwrap();
    let end = trip.run(trip.release(last), &options).unwrap_or_else(|error| panic!("{error}; {story}"));
    assert_ends_as(last, &end.behind(told), &Plain::of(&events, &begins), &story);
}

#[test]
fn releases_that_are_killed_at_any_time_lose_and_repeat_nothing() {
    use Release::{Tolerant, V1, V2, V3};
    let mut seen = Seen::default();
    let journeys: [&[Release]; 4] = [&[V2, V3], &[V1, V3], &[V1, V2, V3], &[V1, Tolerant]];
    let seeds = std::env::var("PITLANE_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    for seed in 1..=seeds {
        for releases in journeys {
            println!("seed {seed} of kills, {releases:?}");
            run(releases, seed, &mut seen);
        }
    }
    println!("{seen:?}");
    let Seen { failed_snapshots, without_a_checkpoint, half_migrated } = seen;
    assert!(failed_snapshots > 0 && without_a_checkpoint > 0 && half_migrated > 0, "{seen:?}");
}
