//! The motion alarm through its releases: J1, only what it does changes; J2, the type of its state; J3, both types at
//! once, and from savepoints that are half-way.

use super::{Leg, Trip, WORKERS, position_of, rows, rows_by_version, shown};
use crate::alarm::{ActivationToV2, ActivationToV3, ActivationV1, ActivationV2, ActivationV3, ArmedBy};
use crate::alarm_jobs::{Alarm, Event, Kind, alarm_v1, alarm_v2, alarm_v3, heed_v3, rooms};
use pitlane::engine::{Job, StatefulStream};
use pitlane::migrate::{Chain, retire};
use pitlane::savepoint::Savepoint;
use std::collections::{BTreeMap, BTreeSet};

/// What the migrations take the tolerance of a room for.
const USUAL_MS: i64 = 30_000;
pub(super) const STATE: (&str, &str) = ("motion-alarm", "activation");

pub(super) type Rooms = Trip<Event, Alarm>;

/// What may read the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Release {
    /// Any motion sets off the alarm of a room that is armed.
    V1,
    /// The same state, with a tolerance that is the same for all rooms.
    Tolerant,
    /// Each room has its tolerance.
    V2,
    /// And knows who armed it.
    V3,
}

/// What a room is like for all releases.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Room {
    armed: bool,
    since: i64,
    tolerance: Option<i64>,
    by: Option<String>,
}

impl Room {
    fn v1(&self) -> ActivationV1 {
        (self.armed, self.since)
    }

    fn v2(&self) -> ActivationV2 {
        let tolerance_ms = self.tolerance.unwrap_or(USUAL_MS);
        ActivationV2 { armed: self.armed, at_ms: self.since, tolerance_ms }
    }

    fn v3(&self) -> ActivationV3 {
        let armed_by = match &self.by {
            _ if !self.armed => ArmedBy::Nobody,
            Some(person) => ArmedBy::Person(person.clone()),
            None => ArmedBy::Unknown,
        };
        let ActivationV2 { armed, at_ms, tolerance_ms } = self.v2();
        ActivationV3 { armed, at_ms, tolerance_ms, armed_by }
    }
}

/// What plain code makes of events.
#[derive(Default)]
pub(super) struct Plain {
    pub(super) alarms: Vec<Alarm>,
    pub(super) rooms: BTreeMap<i32, Room>,
}

impl Plain {
    /// Reads all events, each as the release does that has begun last before it.
    pub(super) fn of(events: &[Event], begins: &[(usize, Release)]) -> Self {
        let mut plain = Self::default();
        for (position, event) in events.iter().enumerate() {
            let (_, release) = begins.iter().rfind(|(begin, _)| *begin <= position).unwrap();
            plain.read(event, *release);
        }
        plain
    }

    fn read(&mut self, event: &Event, release: Release) {
        let state = self.rooms.get(&event.room);
        if event.kind == Kind::Motion {
            let Some(room) = state.filter(|room| room.armed) else { return };
            let tolerance_ms = match release {
                Release::V1 => -1,
                Release::Tolerant => USUAL_MS,
                Release::V2 | Release::V3 => room.tolerance.unwrap_or(USUAL_MS),
            };
            if event.time_ms - room.since > tolerance_ms {
                let armed_by = room.by.clone().filter(|_| release == Release::V3);
                self.alarms.push(Alarm { room: event.room, time_ms: event.time_ms, armed_by });
            }
            return;
        }
        let mut next = Room { armed: event.kind == Kind::Activate, since: event.time_ms, ..Room::default() };
        if release >= Release::V2 {
            next.tolerance = event.tolerance_ms.or(state.and_then(|room| room.tolerance));
        }
        if release == Release::V3 {
            next.by = event.by.clone().filter(|_| next.armed);
        }
        self.rooms.insert(event.room, next);
    }

    fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = self.alarms.clone();
        alarms.sort();
        alarms
    }

    fn rooms_as<T>(&self, version: fn(&Room) -> T) -> BTreeMap<i32, T> {
        self.rooms.iter().map(|(room, state)| (*room, version(state))).collect()
    }
}

fn event(kind: Kind, room: i32, time_s: i64, by: Option<&str>, tolerance_ms: Option<i64>) -> Event {
    Event { kind, room, time_ms: time_s * 1_000, by: by.map(str::to_owned), tolerance_ms }
}

/// Few events, with everything that may happen to a room between two of them; one room comes late, one only moves.
fn few() -> Vec<Event> {
    use Kind::{Activate, Deactivate, Motion};
    vec![
        event(Activate, 1, 0, Some("ann"), None),
        event(Activate, 2, 5, None, Some(5_000)),
        event(Motion, 1, 20, None, None),
        event(Motion, 9, 25, None, None),
        event(Activate, 3, 30, Some("bob"), Some(60_000)),
        event(Motion, 2, 34, None, None),
        event(Deactivate, 1, 40, Some("ann"), None),
        event(Motion, 3, 55, None, None),
        event(Motion, 1, 60, None, None),
        event(Activate, 1, 70, Some("eve"), Some(1_000)),
        event(Motion, 2, 72, None, None),
        event(Activate, 4, 80, Some("dan"), None),
        event(Motion, 1, 90, None, None),
        event(Motion, 3, 95, None, None),
        event(Activate, 2, 100, None, None),
        event(Motion, 2, 131, None, None),
        event(Motion, 4, 140, None, None),
    ]
}

/// Many events over many rooms, the same for the same seed.
pub(super) fn many(seed: u64, events: usize) -> Vec<Event> {
    let mut dice = super::Dice::new(seed);
    let mut one = |time_s: i64| {
        let kind = [Kind::Motion, Kind::Activate, Kind::Motion, Kind::Deactivate][dice.below(4) as usize];
        let by = ["ann", "bob", "eve"].get(dice.below(5) as usize).copied();
        let tolerance_ms = (dice.below(3) == 0).then(|| dice.below(90_000) as i64);
        let room = dice.below(400) as i32;
        match kind {
            Kind::Motion => event(kind, room, time_s, None, None),
            _ => event(kind, room, time_s, by, tolerance_ms),
        }
    };
    (0..events as i64).map(|n| one(n * 2)).collect()
}

impl Rooms {
    pub(super) fn release(&self, release: Release) -> Job {
        let (sensors, alarms) = (self.tape.clone(), self.out.clone());
        match release {
            Release::V1 => alarm_v1(sensors, None, alarms),
            Release::Tolerant => self.tolerant(),
            Release::V2 => alarm_v2(sensors, None, alarms),
            Release::V3 => alarm_v3(sensors, None, alarms),
        }
    }

    fn tolerant(&self) -> Job {
        let job = Job::new("alarm").release("1.1");
        rooms(&job, self.tape.clone(), None)
            .flat_map_with_state(|state: &mut Option<ActivationV1>, event| {
                if event.kind != Kind::Motion {
                    *state = Some((event.kind == Kind::Activate, event.time_ms));
                    return None;
                }
                state.filter(|(armed, since)| *armed && event.time_ms - since > USUAL_MS).map(|_| Alarm {
                    room: event.room,
                    time_ms: event.time_ms,
                    armed_by: None,
                })
            })
            .uid(STATE.0)
            .state_name(STATE.1)
            .sink(self.out.clone())
            .uid("alarms");
        job
    }

    /// Release 3 with other migrations than it should have.
    fn v3_with(
        &self,
        tell: fn(StatefulStream<ActivationV3, Alarm>) -> StatefulStream<ActivationV3, Alarm>,
    ) -> Job {
        let job = Job::new("alarm").release("3");
        let alarms = rooms(&job, self.tape.clone(), None).flat_map_with_state(heed_v3).uid(STATE.0);
        tell(alarms.state_name(STATE.1)).sink(self.out.clone()).uid("alarms");
        job
    }

    /// Stops in the middle of the input, which `few` lets some rooms lie untouched behind.
    fn stop_half_way(&self, release: Job) -> Leg<Alarm> {
        self.stop_at(10, release, &self.options(2, None))
    }
}

pub(super) fn chain_v3() -> Chain<ActivationV3> {
    Chain::current(3).then(ActivationToV2).then(ActivationToV3)
}

/// Checks what was told and what is kept at the end of the input; in versions that releases 1 and 3 read.
#[track_caller]
pub(super) fn assert_ends_as(release: Release, end: &Leg<Alarm>, plain: &Plain, what: &str) {
    assert_eq!(end.told(), plain.alarms(), "alarms, {what}");
    if release == Release::V3 {
        let kept: BTreeMap<i32, ActivationV3> = rows(&end.savepoint, STATE, chain_v3());
        assert_eq!(kept, plain.rooms_as(Room::v3), "rooms, {what}");
    } else {
        let kept: BTreeMap<i32, ActivationV1> = rows(&end.savepoint, STATE, Chain::current(1));
        assert_eq!(kept, plain.rooms_as(Room::v1), "rooms, {what}");
    }
    let entries: u64 = rows_by_version(&end.savepoint, STATE.0, STATE.1).values().sum();
    assert_eq!(entries, plain.rooms.len() as u64, "one row a room, {what}");
}

#[test]
fn j1_a_release_that_only_does_something_else_takes_over_at_any_position() {
    let trip = Rooms::new(few());
    for (position, stop) in trip.stops(&|| trip.release(Release::V1)).into_iter().enumerate() {
        let plain = Plain::of(&few(), &[(0, Release::V1), (position, Release::Tolerant)]);
        for workers in WORKERS {
            let end = trip
                .run(trip.release(Release::Tolerant), &trip.options(workers, Some(&stop.savepoint)))
                .unwrap();
            let what = format!("position {position}, {workers} workers");
            assert_ends_as(Release::Tolerant, &end.behind(stop.told.clone()), &plain, &what);
        }
    }
}

/// The twin of J1: two releases do not write side by side.
#[test]
fn j1_the_release_before_that_still_runs_is_fenced_off_and_each_alarm_is_told_once() {
    let trip = Rooms::new(few());
    trip.tape.show(6, false);
    let first = trip.release(Release::V1).start(&trip.options(2, None)).unwrap();
    trip.tape.wait_until_read(&first, 6);
    let position = position_of(&Savepoint::open(first.savepoint(Default::default()).unwrap().path).unwrap());
    trip.tape.show(10, false);
    trip.tape.wait_until_read(&first, 10);
    let second = trip.release(Release::Tolerant).start(&trip.options(1, None)).unwrap();
    trip.tape.show(trip.tape.len(), true);
    let end = second.wait().unwrap();
    assert_eq!(
        shown(&first.wait().map(drop).unwrap_err()),
        "error: attempt 1 of job `alarm` is fenced off: attempt 2 has taken over\n\
         hint: one job runs once; see `pitlane list` for the attempt that runs"
    );
    let end = trip.leg(Savepoint::open(end.image.unwrap()).unwrap());
    assert_eq!(position, 6);
    assert_eq!(end.told(), Plain::of(&few(), &[(0, Release::V1), (6, Release::Tolerant)]).alarms());
}

#[test]
fn j2_a_release_with_another_type_takes_over_at_any_position_lazily_or_all_at_once() {
    let trip = Rooms::new(few());
    for (position, stop) in trip.stops(&|| trip.release(Release::V2)).into_iter().enumerate() {
        let begins = [(0, Release::V2), (position, Release::V3)];
        let plain = Plain::of(&few(), &begins);
        let at_stop = Plain::of(&few()[..position], &begins);
        let kept: BTreeMap<i32, ActivationV3> = rows(&stop.savepoint, STATE, chain_v3());
        assert_eq!(kept, at_stop.rooms_as(Room::v3), "as version 3 reads what version 2 wrote");
        let anew = trip.made_anew(&trip.release(Release::V3), &stop.savepoint);
        let kept: BTreeMap<i32, ActivationV3> = rows(&anew, STATE, Chain::current(3));
        assert_eq!(kept, at_stop.rooms_as(Room::v3), "all rows at once, position {position}");
        for (from, how) in [(&stop.savepoint, "lazily"), (&anew, "all at once")] {
            for workers in WORKERS {
                let end = trip.run(trip.release(Release::V3), &trip.options(workers, Some(from))).unwrap();
                let what = format!("position {position}, {workers} workers, {how}");
                assert_ends_as(Release::V3, &end.behind(stop.told.clone()), &plain, &what);
            }
        }
    }
}

/// The twin of J2: code that rows still need does not go.
#[test]
fn j2_the_old_type_may_not_go_as_long_as_rows_of_it_are_left() {
    let trip = Rooms::new(few());
    let stop = trip.stop_half_way(trip.release(Release::V2));
    let half_way = trip.stop_at(12, trip.release(Release::V3), &trip.options(1, Some(&stop.savepoint)));
    let bare = || trip.v3_with(|alarms| alarms);
    // Two rooms were touched since.
    let needs = |savepoint: &Savepoint| retire([(savepoint.location(), savepoint.manifest())]);
    let left = needs(&half_way.savepoint);
    let rows: u64 = left.versions.iter().flat_map(|version| &version.left).map(|left| left.rows).sum();
    assert_eq!((left.may_go(), rows), (false, 2), "{left}");
    let options = trip.options(2, Some(&half_way.savepoint));
    assert_eq!(
        trip.refused(bare(), &options),
        "error: operator `motion-alarm`, state `activation`: value.armed_by: found no such field, wanted Nobody | \
         Unknown | Person(String): stored values have nothing to put there, in 2 rows of version 2\n\
         hint: say `#[state(default = ...)]` on it, make it `Option<Nobody | Unknown | Person(String)>`, or register a \
         migration"
    );
    let anew = trip.made_anew(&trip.release(Release::V3), &half_way.savepoint);
    assert!(needs(&anew).may_go(), "{}", needs(&anew));
    let end = trip.run(bare(), &trip.options(2, Some(&anew))).unwrap();
    let told = [stop.told, half_way.told].concat();
    let plain = Plain::of(&few(), &[(0, Release::V2), (10, Release::V3)]);
    assert_ends_as(Release::V3, &end.behind(told), &plain, "without the old type");
}

#[test]
fn j3_a_release_takes_over_from_the_one_before_the_last_at_any_position_and_from_any_mixture() {
    let trip = Rooms::new(few());
    for (first, stop) in trip.stops(&|| trip.release(Release::V1)).into_iter().enumerate() {
        let at_first = Plain::of(&few()[..first], &[(0, Release::V1)]);
        // Straight on, and by way of release 2 for so many events.
        for (between, workers) in [(0, 1), (0, 2), (0, 3), (1, 2), (3, 3), (7, 1)] {
            let second = first + between;
            if second > trip.tape.len() {
                continue;
            }
            let what = format!("positions {first} and {second}, {workers} workers");
            let half_way = if between > 0 {
                let options = trip.options(WORKERS[workers % 3], Some(&stop.savepoint));
                let half_way = trip.stop_at(second, trip.release(Release::V2), &options);
                let touched: BTreeSet<i32> = few()[first..second].iter().map(|event| event.room).collect();
                let there = Plain::of(&few()[..second], &[(0, Release::V1), (first, Release::V2)]);
                let count = |old: bool| {
                    let is_old = |room: &&i32| at_first.rooms.contains_key(room) && !touched.contains(room);
                    there.rooms.keys().filter(|room| is_old(room) == old).count() as u64
                };
                let wanted = [(1, count(true)), (2, count(false))].into_iter().filter(|(_, rows)| *rows > 0);
                let found = rows_by_version(&half_way.savepoint, STATE.0, STATE.1);
                assert_eq!(found, wanted.collect(), "rows by version, {what}");
                half_way.behind(stop.told.clone())
            } else {
                Leg {
                    savepoint: Savepoint::open(stop.savepoint.location()).unwrap(),
                    told: stop.told.clone(),
                }
            };
            let end = trip
                .run(trip.release(Release::V3), &trip.options(workers, Some(&half_way.savepoint)))
                .unwrap();
            let begins = [(0, Release::V1), (first, Release::V2), (second, Release::V3)];
            assert_ends_as(Release::V3, &end.behind(half_way.told), &Plain::of(&few(), &begins), &what);
        }
    }
}

/// The twin of J3.
#[test]
fn j3_a_link_that_is_missing_is_named_before_anything_starts() {
    let trip = Rooms::new(few());
    let stop = trip.stop_half_way(trip.release(Release::V1));
    let refused = trip.refused(
        trip.v3_with(|alarms| alarms.migrate(ActivationToV3)),
        &trip.options(3, Some(&stop.savepoint)),
    );
    assert_eq!(
        refused,
        "error: operator `motion-alarm`, state `activation`: found schema version 1, wanted 2, no migration in \
         between, in 3 rows\n\
         hint: register a migration that starts from version 1, or run the release of the job that wrote it"
    );
    // With the other link alone, the code does not hang together, whatever a savepoint has.
    let refused = trip.refused(
        trip.v3_with(|alarms| alarms.migrate(ActivationToV2)),
        &trip.options(3, Some(&stop.savepoint)),
    );
    assert!(refused.contains("ActivationToV2"), "{refused}");
}
