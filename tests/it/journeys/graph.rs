//! The graph of a job changes: J9, an operator comes in; J10, operators go; J11, one gets another uid. What the other
//! operators keep stays as it is, to the byte.

use super::{Leg, Tape, Trip, WORKERS, chunks, position_of, rows, shown};
use crate::dynamic_filter::{self, Event, Kind, Rule};
use pitlane::engine::{Job, RunOptions};
use pitlane::migrate::{Chain, Verdict, plan_savepoint};
use pitlane::model::OperatorUid;
use pitlane::savepoint::Savepoint;
use std::collections::{BTreeMap, BTreeSet};

const ALARM: (&str, &str) = ("motion-alarm", "armed");

/// Events, and the rules of the filter that comes in.
struct Filtered {
    trip: Trip<Event, (i32, i64)>,
    rules: Tape<Rule>,
}

impl Filtered {
    fn new() -> Self {
        let rules = [(2, true), (2, false), (1, true)].map(|(room, muted)| Rule { room, muted });
        Self { trip: Trip::new(events()), rules: Tape::new(rules.into()) }
    }

    fn without(&self) -> Job {
        dynamic_filter::job::<Tape<Rule>>(self.trip.tape.clone(), None, self.trip.out.clone(), 1e9)
    }

    /// The job with the filter, which hears of the first so many rules.
    fn with(&self, rules: usize) -> Job {
        self.rules.show(rules, rules == self.rules.len());
        dynamic_filter::job(self.trip.tape.clone(), Some(self.rules.clone()), self.trip.out.clone(), 1e9)
    }

    /// Lets the filter hear of rules before anything else happens.
    fn told_of(&self, rules: usize, from: &Savepoint, workers: usize) -> Savepoint {
        let options = self.trip.options(workers, Some(from));
        let job = self.with(rules);
        self.trip.tape.show(position_of(from), false);
        let running = job.start(&options).unwrap();
        self.trip.tape.wait_until_read(&running, position_of(from));
        self.rules.wait_until_read(&running, rules);
        let done = running.stop(Default::default()).unwrap();
        running.wait().unwrap();
        Savepoint::open(done.path).unwrap()
    }
}

/// Three rooms: armed, moved in and disarmed.
fn events() -> Vec<Event> {
    use Kind::{Activate, Deactivate, Motion};
    let kinds = [Activate, Motion, Activate, Motion, Activate, Motion, Motion, Deactivate, Motion, Activate];
    let rooms = [1, 1, 2, 2, 3, 2, 1, 3, 3, 3, 2, 1, 3, 2, 1];
    let kinds = kinds.into_iter().chain(std::iter::repeat(Motion));
    kinds.zip(rooms).zip(0..).map(|((kind, room), time_ms)| Event { kind, room, time_ms }).collect()
}

/// The alarms of plain code, of which `is_muted` says what is not heard; and the rooms that are armed.
fn plain(is_muted: impl Fn(usize, i32) -> bool) -> (Vec<(i32, i64)>, BTreeMap<i32, bool>) {
    let (mut alarms, mut armed) = (Vec::new(), BTreeMap::new());
    for (position, event) in events().into_iter().enumerate() {
        match event.kind {
            Kind::Activate => drop(armed.insert(event.room, true)),
            Kind::Deactivate => drop(armed.remove(&event.room)),
            Kind::Motion if is_muted(position, event.room) => {}
            Kind::Motion if armed.contains_key(&event.room) => alarms.push((event.room, event.time_ms)),
            Kind::Motion => {}
        }
    }
    alarms.sort_unstable();
    (alarms, armed)
}

#[test]
fn j9_a_filter_comes_in_empty_heeds_its_rules_and_leaves_the_alarm_as_it_was() {
    let filtered = Filtered::new();
    let trip = &filtered.trip;
    for (position, stop) in trip.stops(&|| filtered.without()).into_iter().enumerate() {
        let workers = WORKERS[position % 3];
        let next = WORKERS[(position + 1) % 3];
        // With as many workers as wrote it, nothing needs to lie anywhere else.
        filtered.rules.show(0, false);
        let empty = trip.taken_over(filtered.with(0), &stop.savepoint, workers);
        assert_eq!(chunks(&empty, ALARM), chunks(&stop.savepoint, ALARM), "position {position}");
        assert_eq!(empty.operator("filter").unwrap().state("muted").unwrap().entry().rows(), 0);
        // It hears of a rule, lives through a savepoint and another number of workers, and hears of the others.
        let muted = filtered.told_of(1, &empty, next);
        let second = position + (trip.tape.len() - position) / 2;
        let half_way = trip.stop_at(second, filtered.with(1), &trip.options(workers, Some(&muted)));
        let kept: BTreeMap<i32, ()> = rows(&half_way.savepoint, ("filter", "muted"), Chain::current(1));
        assert_eq!(kept, [(2, ())].into(), "position {position}");
        let told = filtered.told_of(3, &half_way.savepoint, next);
        let end =
            trip.run(filtered.with(3), &trip.options(WORKERS[(position + 2) % 3], Some(&told))).unwrap();
        let end = end.behind([stop.told, half_way.told].concat());
        let (alarms, armed) = plain(|at, room| at >= position && room == if at < second { 2 } else { 1 });
        assert_eq!(end.told(), alarms, "positions {position} and {second}");
        assert_eq!(rows::<i32, bool>(&end.savepoint, ALARM, Chain::current(1)), armed, "position {position}");
    }
}

/// The twin of J9: what comes in changes the key of what lies behind it.
#[test]
fn j9_an_operator_that_comes_in_and_changes_the_key_behind_it_is_refused() {
    let filtered = Filtered::new();
    let trip = &filtered.trip;
    let stop = trip.stop_at(8, filtered.without(), &trip.options(2, None));
    let job = Job::new("filtered-alarm").release("2");
    job.source(trip.tape.clone())
        .uid("sensors")
        .map(|event| (format!("room {}", event.room), event))
        .key_by(|(room, _)| room.clone())
        .flat_map_with_state(|_: &mut Option<bool>, (_, event)| Some((event.room, event.time_ms)))
        .uid(ALARM.0)
        .state_name(ALARM.1)
        .sink(trip.out.clone())
        .uid("alarms");
    assert_eq!(
        trip.refused(job, &trip.options(2, Some(&stop.savepoint))),
        "error: operator `motion-alarm`, state `armed`: key: found i32, wanted String: keys never change by \
         themselves, since they decide where a row lies\n\
         hint: keep the key's type; a new key needs an operator with a new uid, or a rewrite of the savepoint"
    );
}

/// Numbers, counted and added up.
type Numbers = Trip<u64, (u64, u64)>;

/// How a job of numbers is built, release for release.
#[derive(Clone, Copy, Default)]
struct Build {
    /// The uid of what counts.
    counts: &'static str,
    /// Whether it also adds up, and keeps the greatest; and shows each number, which keeps nothing.
    has_more: bool,
    /// Names that operators had before.
    renamed: &'static [(&'static str, &'static str)],
}

impl Numbers {
    fn job(&self, Build { counts, has_more, renamed }: Build) -> Job {
        let job = Job::new("numbers").release(if has_more { "1" } else { "2" });
        let job = renamed.iter().fold(job, |job, (from, to)| job.renamed(from, to));
        let numbers = job.source(self.tape.clone()).uid("in");
        let keyed = numbers.key_by(|n| n % 4);
        keyed.count().uid(counts).sink(self.out.clone()).uid("out");
        if has_more {
            let _ = numbers.inspect(|n| assert!(*n < u64::MAX)).key_by(|n| n % 3).sum(|n| *n).uid("sums");
            let _ = numbers.key_by(|n| n % 5).max().uid("greatest");
        }
        job
    }

    /// Checks what was told and is counted in the end.
    #[track_caller]
    fn assert_counted(&self, end: &Leg<(u64, u64)>, counts: &str, what: &str) {
        let (mut told, mut kept) = (Vec::new(), BTreeMap::<u64, u64>::new());
        for n in numbers() {
            let count = kept.entry(n % 4).or_default();
            *count += 1;
            told.push((n % 4, *count));
        }
        told.sort_unstable();
        assert_eq!(end.told(), told, "{what}");
        assert_eq!(rows::<u64, u64>(&end.savepoint, (counts, "count"), Chain::current(1)), kept, "{what}");
    }
}

fn numbers() -> Vec<u64> {
    vec![3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
}

const FIRST: Build = Build { counts: "counts", has_more: true, renamed: &[] };
const WITHOUT: Build = Build { has_more: false, ..FIRST };

fn uids(uids: &[&str]) -> Vec<OperatorUid> {
    uids.iter().map(|uid| OperatorUid::new(uid).unwrap()).collect()
}

#[test]
fn j10_operators_go_by_name_and_the_rest_stays_as_it_was() {
    let trip = Numbers::new(numbers());
    let dropped = uids(&["sums", "greatest"]);
    for (position, stop) in trip.stops(&|| trip.job(FIRST)).into_iter().enumerate() {
        let plan = plan_savepoint(&stop.savepoint, &trip.job(WITHOUT).describe().unwrap(), &dropped);
        assert_eq!(plan.verdict(), Verdict::Ready, "{plan}");
        let lost =
            |modulus: u64| numbers()[..position].iter().map(|n| n % modulus).collect::<BTreeSet<_>>().len();
        let report = plan.to_string();
        let report: Vec<Vec<&str>> = report.lines().map(|line| line.split_whitespace().collect()).collect();
        for (uid, state, rows) in [("sums", "sum", lost(3)), ("greatest", "accumulator", lost(5))] {
            let words = format!("- {uid} {state} {rows} rows not in the job, left behind as asked");
            let words = if rows == 1 { words.replace("rows", "row") } else { words };
            let told = report.iter().any(|line| *line == words.split(' ').collect::<Vec<_>>());
            assert_eq!(told, rows > 0, "position {position}\n{plan}");
        }
        let with = |workers, from| RunOptions {
            drop_unmatched: dropped.clone(),
            ..trip.options(workers, Some(from))
        };
        let workers = WORKERS[position % 3];
        let taken = trip.stop_at(position, trip.job(WITHOUT), &with(workers, &stop.savepoint)).savepoint;
        assert_eq!(chunks(&taken, ("counts", "count")), chunks(&stop.savepoint, ("counts", "count")));
        assert!(taken.operator("sums").is_err() && taken.operator("greatest").is_err());
        for workers in WORKERS {
            let end = trip.run(trip.job(WITHOUT), &with(workers, &stop.savepoint)).unwrap();
            let what = format!("position {position}, {workers} workers");
            trip.assert_counted(&end.behind(stop.told.clone()), "counts", &what);
        }
    }
}

/// The twin of J10: state is left behind by name, each by its own.
#[test]
fn j10_what_is_not_named_is_not_left_behind() {
    let trip = Numbers::new(numbers());
    let stop = trip.stop_at(7, trip.job(FIRST), &trip.options(2, None));
    let refused = |dropped: &[&str]| {
        let options = RunOptions { drop_unmatched: uids(dropped), ..trip.options(1, Some(&stop.savepoint)) };
        trip.refused(trip.job(WITHOUT), &options)
    };
    let of = |uid, state, rows| {
        format!(
            "error: the savepoint has state that the job does not: operator `{uid}` ({state}), {rows} rows\n\
             hint: give an operator the uid `{uid}` again, or leave the state behind with `--drop-unmatched {uid}`"
        )
    };
    assert_eq!(refused(&[]), of("sums", "sum", 3));
    assert_eq!(refused(&["sums"]), of("greatest", "accumulator", 5));
    assert_eq!(refused(&["greatest", "all", "counts"]), of("sums", "sum", 3));
}

const OLD: Build = Build { counts: "mapper-1", has_more: false, renamed: &[] };
const NEW: Build = Build { counts: "counts", has_more: false, renamed: &[("mapper-1", "counts")] };

#[test]
fn j11_state_follows_a_new_uid_said_by_the_job_or_by_a_file_to_the_same_savepoint() {
    let trip = Numbers::new(numbers());
    let forgotten = Build { renamed: &[], ..NEW };
    for (position, stop) in trip.stops(&|| trip.job(OLD)).into_iter().enumerate() {
        let workers = WORKERS[position % 3];
        let renamed = trip.rewritten(&stop.savepoint, "[[operator]]\nuid = 'mapper-1'\nrename = 'counts'\n");
        let by_job = trip.taken_over(trip.job(NEW), &stop.savepoint, workers);
        let by_file = trip.taken_over(trip.job(forgotten), &renamed, workers);
        let (by_job, by_file) = (by_job.manifest(), by_file.manifest());
        assert_eq!(by_job.operators, by_file.operators, "position {position}");
        assert_eq!(by_job.sources, by_file.sources, "position {position}");
        for workers in WORKERS {
            let end = trip.run(trip.job(NEW), &trip.options(workers, Some(&stop.savepoint))).unwrap();
            let what = format!("position {position}, {workers} workers");
            trip.assert_counted(&end.behind(stop.told.clone()), "counts", &what);
        }
        let end = trip.run(trip.job(forgotten), &trip.options(workers, Some(&renamed))).unwrap();
        trip.assert_counted(&end.behind(stop.told), "counts", &format!("position {position}, by file"));
    }
}

/// The twin of J11: who forgets to say so is offered a guess, and nobody else may claim the old uid.
#[test]
fn j11_a_forgotten_uid_is_guessed_and_one_that_two_claim_is_refused() {
    let trip = Numbers::new(numbers());
    let stop = trip.stop_at(7, trip.job(OLD), &trip.options(2, None));
    let forgotten = Build { renamed: &[], ..NEW };
    let plan = plan_savepoint(&stop.savepoint, &trip.job(forgotten).describe().unwrap(), &[]);
    assert_eq!(plan.verdict(), Verdict::DecisionNeeded, "{plan}");
    let guess = "hint: `counts` is new and has the same states: if it is `mapper-1` under a new uid, 4 rows would be found \
                 with `.renamed(\"mapper-1\", \"counts\")` on the job, or leave the state behind with `--drop-unmatched \
                 mapper-1`";
    assert!(plan.to_string().contains(guess), "{plan}");
    let found = "error: the savepoint has state that the job does not: operator `mapper-1` (count), 4 rows";
    let refused = trip.refused(trip.job(forgotten), &trip.options(1, Some(&stop.savepoint)));
    assert_eq!(refused, format!("{found}\n{guess}"));
    let claimed = Build { has_more: true, renamed: &[("mapper-1", "counts"), ("mapper-1", "sums")], ..NEW };
    assert_eq!(
        shown(&trip.job(claimed).describe().unwrap_err()),
        "error: job `numbers`: `sums` cannot have been `mapper-1`: `counts` claims to be the same\n\
         hint: a rename leads from a name that only older savepoints have to one that the job has"
    );
}
