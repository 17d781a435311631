//! J8: a job with state of every kind goes on with another number of workers, also after its number of key groups has
//! changed.

use super::{Leg, Trip, rows};
use crate::rescale::{
    Counting, DISORDER_MS, Event, GROUP, Grouping, REACH_MS, WINDOW_MS, Waiting, pairs_of, sums_of, told_of,
};
use pitlane::engine::{Job, RunOptions, Tumbling, Watermarks};
use pitlane::migrate::Chain;
use pitlane::savepoint::Savepoint;
use std::time::Duration;

const COUNTS: [usize; 6] = [1, 2, 3, 5, 8, 16];

pub(super) type Everything = Trip<Event, String>;

/// Events of sixteen keys, a few seconds out of order.
pub(super) fn events(count: usize) -> Vec<Event> {
    let event = |n: u64| {
        let noise = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (noise >> 60, n as i64 * 1_000 + (noise >> 33) as i64 % DISORDER_MS, n)
    };
    (0..count as u64).map(event).collect()
}

fn is_left(event: &Event) -> bool {
    event.2.is_multiple_of(2)
}

fn is_rule(event: &Event) -> bool {
    event.2.is_multiple_of(3)
}

impl Everything {
    pub(super) fn job(&self) -> Job {
        let job = Job::new("everything");
        let bound = Watermarks::bounded(Duration::from_millis(DISORDER_MS as u64));
        let events = job.source(self.tape.clone()).uid("events").watermarks(bound, |event| event.1);
        let keyed = events.key_by(|event| event.0);
        let told = keyed
            .process(|states| Waiting { times_ms: states.list("times"), timers: states.event_timers() })
            .uid("waiting");
        told.map(|told| format!("told {told:?}")).sink(self.out.clone()).uid("told-out");
        let window = Tumbling::of(Duration::from_millis(WINDOW_MS as u64));
        let sums = keyed.window(window).reduce(|a, b| (a.0, a.1 + b.1, a.2 + b.2)).uid("sums");
        sums.map(|sum| format!("sum {sum:?}")).sink(self.out.clone()).uid("sums-out");
        let lefts = events.filter(is_left).key_by(|event| event.0);
        let rights = events.filter(|event| !is_left(event)).key_by(|event| event.0);
        let pairs = lefts.connect(&rights).interval_join(-REACH_MS, REACH_MS, |a, b| (a.2, b.2)).uid("pairs");
        pairs.map(|pair| format!("pair {pair:?}")).sink(self.out.clone()).uid("pairs-out");
        let groups = events.process(|states| Grouping(states.list("held"))).uid("groups");
        groups.map(|group| format!("group {group:?}")).sink(self.out.clone()).uid("groups-out");
        let rules = events.filter(is_rule).map(|event| event.2).broadcast();
        let _ = keyed.connect_broadcast(&rules).process(|_| Counting).uid("rules-of-all");
        job
    }
}

/// Checks what was told and what is kept at the end of the input: each event is in it once.
#[track_caller]
pub(super) fn assert_ends_well(trip: &Everything, end: &Leg<String>, what: &str) {
    let events = &trip.tape.0.events;
    let all = || events.iter().copied();
    let rights: Vec<Event> = all().filter(|event| !is_left(event)).collect();
    let mut wanted: Vec<String> = told_of(all()).iter().map(|told| format!("told {told:?}")).collect();
    wanted.extend(sums_of(all()).iter().map(|sum| format!("sum {sum:?}")));
    wanted.extend(pairs_of(all().filter(is_left), &rights).iter().map(|pair| format!("pair {pair:?}")));
    wanted.sort();
    let (groups, told): (Vec<String>, Vec<String>) =
        end.told().into_iter().partition(|line| line.starts_with("group "));
    assert_eq!(told, wanted, "{what}");

    let numbers =
        |line: &String| serde_json::from_str::<Vec<u64>>(line.strip_prefix("group ").unwrap()).unwrap();
    let groups: Vec<Vec<u64>> = groups.iter().map(numbers).collect();
    assert!(groups.iter().all(|group| group.len() >= GROUP), "{what}");
    let held = end.savepoint.operator("groups").unwrap().state("held").unwrap();
    let held = held.elements::<u64>(Chain::current(1)).unwrap().map(Result::unwrap);
    let mut seen: Vec<u64> = groups.into_iter().flatten().chain(held).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        all().map(|event| event.2).collect::<Vec<_>>(),
        "each is held or was sent on, once; {what}"
    );

    let rules = rows::<u64, u64>(&end.savepoint, ("rules-of-all", "broadcast"), Chain::current(1));
    assert_eq!(rules.values().sum::<u64>(), all().filter(is_rule).count() as u64, "{what}");
}

/// Each number of workers is followed by each, and each position is one of a stop.
#[test]
fn j8_any_number_of_workers_goes_on_where_any_other_was_stopped_at_any_position() {
    let trip = Everything::new(events(36));
    let mut position = 0;
    for before in COUNTS {
        for after in COUNTS {
            let what = format!("position {position}, {before} workers and then {after}");
            let stop =
                trip.stop_at(position, trip.job(), &RunOptions { fresh: true, ..trip.options(before, None) });
            let end = trip.run(trip.job(), &trip.options(after, Some(&stop.savepoint))).unwrap();
            assert_ends_well(&trip, &end.behind(stop.told), &what);
            position += 1;
        }
    }
}

fn with_groups(groups: u16) -> String {
    format!("max_parallelism = {groups}\n")
}

fn stop_half_way(trip: &Everything) -> Leg<String> {
    trip.stop_at(20, trip.job(), &trip.options(3, None))
}

#[test]
fn j8_another_number_of_key_groups_moves_everything_and_loses_nothing() {
    let trip = Everything::new(events(36));
    let stop = stop_half_way(&trip);
    for (groups, workers) in [(1, 1), (2, 2), (3, 2), (5, 5), (16, 16), (1_000, 3)] {
        let other = trip.rewritten(&stop.savepoint, &with_groups(groups));
        assert_eq!(other.manifest().max_parallelism.get(), groups);
        // On for a while, and then with a number of workers that does not divide it.
        let leg = trip.stop_at(28, trip.job(), &trip.options(workers, Some(&other)));
        let last = trip.options(workers.min(2), Some(&leg.savepoint));
        let end = trip.run(trip.job(), &last).unwrap();
        let told = [stop.told.clone(), leg.told].concat();
        assert_ends_well(&trip, &end.behind(told), &format!("{groups} key groups, {workers} workers"));
    }
}

/// The twin of J8.
#[test]
fn j8_more_workers_than_key_groups_are_refused_and_the_way_out_leads_on() {
    let trip = Everything::new(events(36));
    let stop = stop_half_way(&trip);
    let few: Savepoint = trip.rewritten(&stop.savepoint, &with_groups(5));
    assert_eq!(
        trip.refused(trip.job(), &trip.options(8, Some(&few))),
        "error: job `everything`: 8 workers for 5 key groups\n\
         hint: start with at most 5 workers, or say a larger `max_parallelism`: in the job if it has no state yet, else in \
         a file for `pitlane migrate`"
    );
    let more = trip.rewritten(&few, &with_groups(8));
    let end = trip.run(trip.job(), &trip.options(8, Some(&more))).unwrap();
    assert_ends_well(&trip, &end.behind(stop.told), "8 workers for 8 key groups");
}
