//! J12: a job changes its key, from room to (building, room) and from there to the building, with a rule by which
//! values become one. What goes on from the savepoint with new keys is as if the job had had them from the start.

use super::{Leg, Trip, WORKERS, rows, shown};
use pitlane::connectors::Record;
use pitlane::engine::Job;
use pitlane::migrate::Chain;
use pitlane::rewrite::{MigrationFile, Options, count_collisions, run_to};
use pitlane::{Key, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

const STATE: (&str, &str) = ("moves", "seen");

/// Something moves in a room, and when. The first digit of a room is its building.
type Move = (i32, i64);
/// A room, how often something has moved there or in its building, and when last.
type Told = (i32, u64, i64);
type Moves = Trip<Move, Told>;

/// What is kept of a room or a building.
#[derive(Clone, Debug, PartialEq, State)]
struct Seen {
    count: u64,
    at_ms: i64,
    last_room: i32,
}

fn see(state: &mut Option<Seen>, (room, at_ms): Move) -> Told {
    let count = state.as_ref().map_or(0, |seen| seen.count) + 1;
    *state = Some(Seen { count, at_ms, last_room: room });
    (room, count, at_ms)
}

fn by_room((room, _): &Move) -> i32 {
    *room
}

fn by_building_and_room((room, _): &Move) -> (i32, i32) {
    (room / 100, *room)
}

fn by_building((room, _): &Move) -> i32 {
    room / 100
}

impl Moves {
    fn keyed<K: Key + Record>(&self, release: &str, key: fn(&Move) -> K) -> Job {
        let job = Job::new("moves").release(release);
        let seen = job.source(self.tape.clone()).uid("sensors").key_by(key);
        let seen = seen.flat_map_with_state(|state: &mut Option<Seen>, moved| [see(state, moved)]);
        seen.uid(STATE.0).state_name(STATE.1).sink(self.out.clone()).uid("told");
        job
    }

    /// Checks that it ended as a job does that had its key from the start; what it told from a position on.
    #[track_caller]
    fn assert_as_from_scratch<K: Key + Ord + Debug>(
        &self,
        end: &Leg<Told>,
        key: fn(&Move) -> K,
        from: usize,
        what: &str,
    ) {
        let (mut told, mut kept) = (Vec::new(), BTreeMap::<K, Option<Seen>>::new());
        for (position, moved) in moves().into_iter().enumerate() {
            let now = see(kept.entry(key(&moved)).or_default(), moved);
            told.extend((position >= from).then_some(now));
        }
        told.sort_unstable();
        assert_eq!(end.told(), told, "{what}");
        let found: BTreeMap<K, Seen> = rows(&end.savepoint, STATE, Chain::current(1));
        assert_eq!(found, kept.into_iter().map(|(key, seen)| (key, seen.unwrap())).collect(), "{what}");
    }
}

fn moves() -> Vec<Move> {
    let rooms = [101, 205, 102, 101, 310, 205, 201, 102, 101, 207, 310, 103, 205, 311];
    rooms.into_iter().zip((1..).map(|n| n * 10)).collect()
}

const FINER: &str = "[[state]]\noperator = 'moves'\nstate = 'seen'\n\
                     rekey = { type = '(i32, i32)', as = '(key / 100, key)' }\n";

fn coarser(merge: &str) -> String {
    format!(
        "[[state]]\noperator = 'moves'\nstate = 'seen'\nrekey = {{ type = 'i32', as = 'key.0'{merge} }}\n"
    )
}

/// Counts are added up, and the latest counts for the rest.
const MERGE: &str = ", merge = '{count: a.count + b.count, at_ms: max(a.at_ms, b.at_ms), \
                     last_room: if a.at_ms >= b.at_ms then a.last_room else b.last_room}'";

#[test]
fn j12_new_keys_are_as_if_the_job_had_had_them_from_the_start() {
    let trip = Moves::new(moves());
    for (position, stop) in trip.stops(&|| trip.keyed("1", by_room)).into_iter().enumerate() {
        let finer = trip.rewritten(&stop.savepoint, FINER);
        let second = || trip.keyed("2", by_building_and_room);
        for workers in WORKERS {
            let end = trip.run(second(), &trip.options(workers, Some(&finer))).unwrap();
            let what = format!("finer, position {position}, {workers} workers");
            trip.assert_as_from_scratch(&end.behind(stop.told.clone()), by_building_and_room, 0, &what);
        }
        // And on to buildings, from a savepoint of the second release a little later.
        let later = (position + 2).min(trip.tape.len());
        let half_way =
            trip.stop_at(later, second(), &trip.options(WORKERS[position % 3], Some(&finer))).savepoint;
        let file = MigrationFile::parse(&coarser(MERGE), "coarser.toml").unwrap();
        let collisions = count_collisions(&file.apply(&half_way).unwrap(), Options::default()).unwrap();
        let distinct = |of: fn(&Move) -> i32| moves()[..later].iter().map(of).collect::<BTreeSet<_>>().len();
        let too_many = (distinct(by_room) - distinct(by_building)) as u64;
        assert_eq!(collisions.iter().map(|found| found.rows).sum::<u64>(), too_many, "position {later}");
        assert!(collisions.iter().all(|found| !found.is_refused));
        let coarser = trip.rewritten(&half_way, &coarser(MERGE));
        for workers in WORKERS {
            let end = trip.run(trip.keyed("3", by_building), &trip.options(workers, Some(&coarser))).unwrap();
            let what = format!("coarser, position {later}, {workers} workers");
            trip.assert_as_from_scratch(&end, by_building, later, &what);
        }
    }
}

/// The twin of J12: nothing becomes one without a rule, and no key becomes another one by itself.
#[test]
fn j12_keys_that_become_one_without_a_rule_are_refused_and_so_is_another_key_without_a_rewrite() {
    let trip = Moves::new(moves());
    let stop = trip.stop_at(9, trip.keyed("1", by_room), &trip.options(2, None)).savepoint;
    assert_eq!(
        trip.refused(trip.keyed("2", by_building_and_room), &trip.options(2, Some(&stop))),
        "error: operator `moves`, state `seen`: key: found i32, wanted (i32, i32): keys never change by themselves, since \
         they decide where a row lies\n\
         hint: keep the key's type; a new key needs an operator with a new uid, or a rewrite of the savepoint"
    );
    let finer = trip.rewritten(&stop, FINER);
    let rewrite = MigrationFile::parse(&coarser(""), "coarser.toml").unwrap().apply(&finer).unwrap();
    let new = trip.dir.path().join("refused");
    let error = run_to(&rewrite, &new, Options::default()).map(drop).unwrap_err();
    assert_eq!(
        shown(&error),
        "error: operator `moves`, state `seen`: 2 rows would come to have the key of another one, such as 1, 2\n\
         hint: say with `merge` how two values become one, such as `merge = \"if a.at_ms >= b.at_ms then a else b\"`"
    );
    assert!(!new.join("manifest.json").exists());
}
