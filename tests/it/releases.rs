//! A job in three releases, with a state type that changes twice, under stops, crashes and rescales.
//!
//! Whatever happens, output and final state equal those of plain code: each record folded by the release that
//! read it, state migrated where the release changes.

use crate::sweep::any_sweep;
use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Checkpoints, Job, RunOptions};
use pitlane::migrate::{Chain, Migration};
use pitlane::model::{Sweep, Value};
use pitlane::rewrite::{Options, Rewrite, run_to};
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::{BoxError, State};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

const SPLITS: u32 = 3;
/// Keys of one split, so that the order of each key's records is the order of the split.
const KEYS: u64 = 17;

/// Release 1 counts.
type CountV1 = (u32,);

/// Release 2 also keeps the largest amount.
#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 2)]
struct CountV2 {
    count: u32,
    largest: i64,
}

/// Release 3 counts wider, renames, and remembers who was there last.
#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 3)]
struct CountV3 {
    count: u64,
    top: i64,
    last: Option<i64>,
}

/// What version 1 knows nothing of starts at the smallest amount.
struct CountToV2;

impl Migration for CountToV2 {
    type From = CountV1;
    type To = CountV2;

    fn migrate(&self, _key: &Value, (count,): CountV1) -> Result<Option<CountV2>, BoxError> {
        Ok(Some(CountV2 { count, largest: i64::MIN }))
    }
}

/// Lets keys go that were counted a multiple of five times.
struct CountToV3;

impl Migration for CountToV3 {
    type From = CountV2;
    type To = CountV3;

    fn migrate(&self, _key: &Value, old: CountV2) -> Result<Option<CountV3>, BoxError> {
        Ok((!old.count.is_multiple_of(5)).then_some(CountV3 {
            count: old.count.into(),
            top: old.largest,
            last: None,
        }))
    }
}

type Record = (u64, i64);
type Line = (u64, u32, u64, i64);

fn record(split: u32, n: u64) -> Record {
    let amount = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i64 % 1000;
    (u64::from(split) * 1000 + (n * n + 3 * n) % KEYS, amount)
}

/// A job of one of the releases; it fails when `fuse` has counted down to zero.
fn job(release: u32, records: u64, out: &Path, fuse: &Arc<AtomicI64>) -> Job {
    let job = Job::new("ledger").release(&release.to_string());
    let job = job.checkpoints(Checkpoints::every(Duration::from_millis(3)));
    let fuse = Arc::clone(fuse);
    let keyed = job
        .source(Generator::new(SPLITS, records, record))
        .uid("records")
        .rate(20_000.0)
        .map(move |record| {
            assert!(fuse.fetch_sub(1, Relaxed) != 0, "the fuse has burnt down");
            record
        })
        .key_by(|record| record.0);
    let lines = match release {
        1 => {
            let counts = keyed.flat_map_with_state(|state: &mut Option<CountV1>, record: Record| {
                let count = state.unwrap_or_default().0 + 1;
                *state = Some((count,));
                Some((record.0, 1, u64::from(count), 0))
            });
            (*counts.uid("count").state_name("counts")).clone()
        }
        2 => {
            let counts = keyed.flat_map_with_state(|state: &mut Option<CountV2>, (key, amount): Record| {
                let old = state.take().unwrap_or(CountV2 { count: 0, largest: i64::MIN });
                let new = CountV2 { count: old.count + 1, largest: old.largest.max(amount) };
                let line = (key, 2, u64::from(new.count), new.largest);
                *state = Some(new);
                Some(line)
            });
            (*counts.uid("count").state_name("counts").migrate(CountToV2)).clone()
        }
        _ => {
            let counts = keyed.flat_map_with_state(|state: &mut Option<CountV3>, (key, amount): Record| {
                let old = state.take().unwrap_or(CountV3 { count: 0, top: i64::MIN, last: None });
                let new = CountV3 { count: old.count + 1, top: old.top.max(amount), last: Some(amount) };
                let line = (key, 3, new.count, new.top);
                // A third release also discards: a key that has seen everything starts anew.
                *state = (new.count < 40).then_some(new);
                Some(line)
            });
            (*counts.uid("count").state_name("counts").migrate(CountToV3).migrate(CountToV2)).clone()
        }
    };
    lines.sink(FileSink::json_lines(out)).uid("lines");
    job
}

/// A value of any release.
#[derive(Clone, Debug, PartialEq)]
enum Counted {
    V1(CountV1),
    V2(CountV2),
    V3(CountV3),
}

impl Counted {
    /// Takes the value to a release, as plain code would do it.
    fn at(self, release: u32) -> Option<Self> {
        match (self, release) {
            (Self::V1((count,)), 2..) => Self::V2(CountV2 { count, largest: i64::MIN }).at(release),
            (Self::V2(old), 3..) if old.count.is_multiple_of(5) => None,
            (Self::V2(old), 3..) => {
                Some(Self::V3(CountV3 { count: old.count.into(), top: old.largest, last: None }))
            }
            (value, _) => Some(value),
        }
    }
}

/// What plain code makes of the records: output lines with their number, and the last state of each key.
struct Oracle {
    lines: BTreeMap<Line, usize>,
    state: BTreeMap<u64, Counted>,
}

impl Oracle {
    /// `ends` says for each release how many records of each split it and those before it have read.
    fn fold(ends: &[(u32, Vec<u64>)]) -> Self {
        let mut oracle = Self { lines: BTreeMap::new(), state: BTreeMap::new() };
        let mut from = vec![0; SPLITS as usize];
        for (release, to) in ends {
            let state = std::mem::take(&mut oracle.state);
            oracle.state = state.into_iter().filter_map(|(key, v)| Some((key, v.at(*release)?))).collect();
            for split in 0..SPLITS {
                for n in from[split as usize]..to[split as usize] {
                    oracle.read(*release, record(split, n));
                }
            }
            from.clone_from(to);
        }
        oracle
    }

    fn read(&mut self, release: u32, (key, amount): Record) {
        let before = self.state.remove(&key);
        let (line, after) = match (release, before) {
            (1, before) => {
                let count = if let Some(Counted::V1((count,))) = before { count + 1 } else { 1 };
                ((key, 1, u64::from(count), 0), Some(Counted::V1((count,))))
            }
            (2, before) => {
                let (count, largest) =
                    if let Some(Counted::V2(v)) = before { (v.count, v.largest) } else { (0, i64::MIN) };
                let new = CountV2 { count: count + 1, largest: largest.max(amount) };
                ((key, 2, u64::from(new.count), new.largest), Some(Counted::V2(new)))
            }
            (_, before) => {
                let (count, top) =
                    if let Some(Counted::V3(v)) = before { (v.count, v.top) } else { (0, i64::MIN) };
                let new = CountV3 { count: count + 1, top: top.max(amount), last: Some(amount) };
                ((key, 3, new.count, new.top), (new.count < 40).then_some(Counted::V3(new)))
            }
        };
        *self.lines.entry(line).or_default() += 1;
        if let Some(after) = after {
            self.state.insert(key, after);
        }
    }
}

fn written(out: &Path) -> BTreeMap<Line, usize> {
    let mut lines = BTreeMap::new();
    for entry in std::fs::read_dir(out).unwrap().flatten().filter(|e| e.path().is_file()) {
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            *lines.entry(serde_json::from_str(line).unwrap()).or_default() += 1;
        }
    }
    lines
}

/// The newest image of the job, whether the attempt that wrote it lived on or not.
fn newest_image(data: &Path) -> Option<PathBuf> {
    let images = ["checkpoints", "savepoints"]
        .iter()
        .filter_map(|d| std::fs::read_dir(data.join("ledger").join(d)).ok());
    let images = images.flatten().flatten().map(|e| e.path()).filter(|p| p.join("manifest.json").exists());
    images.max_by_key(|p| p.file_name().map(|n| n.to_owned()))
}

fn positions(image: Option<&Path>) -> Vec<u64> {
    let mut read = vec![0; SPLITS as usize];
    if let Some(path) = image {
        for position in &Savepoint::open(path).unwrap().manifest().sources[0].positions {
            read[position.split.parse::<usize>().unwrap()] = position.records;
        }
    }
    read
}

/// The last state, each row taken through the migrations at once, as an offline rewrite would.
fn last_state(image: &Path) -> BTreeMap<u64, Counted> {
    let savepoint = Savepoint::open(image).unwrap();
    let state = savepoint.operator("count").unwrap().state("counts").unwrap();
    let chain = Chain::<CountV3>::current(3).then(CountToV2).then(CountToV3);
    let mut values = BTreeMap::new();
    for row in state.rows(chain).unwrap() {
        let (key, value) = row.unwrap();
        assert_eq!(values.insert(key, Counted::V3(value)), None, "a key in two rows");
    }
    values
}

/// What becomes of one attempt.
#[derive(Clone, Debug)]
enum Fate {
    /// It fails after so many records.
    Crash(i64),
    /// It is stopped with a savepoint after so many milliseconds.
    Stop(u64),
    /// A savepoint is taken after so many milliseconds, and it is cancelled a little later.
    Cancel(u64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        (1i64..900).prop_map(Fate::Crash),
        (0u64..25).prop_map(Fate::Stop),
        (0u64..25).prop_map(Fate::Cancel),
    ]
}

fn swept() -> impl Strategy<Value = Way> {
    (any_sweep(), any::<bool>()).prop_map(|(sweep, incremental)| Way::Swept(sweep, incremental))
}

/// Makes the newest image anew by the code of a release, all rows at once; returns the new savepoint.
fn made_anew(release: u32, data: &Path, out: &Path) -> Option<PathBuf> {
    let image = Savepoint::open(newest_image(data)?).unwrap();
    let description = job(release, 0, out, &Arc::new(AtomicI64::new(-1))).describe().unwrap();
    let rewrite = Rewrite::by_job(&image, &description, &[]).unwrap();
    let new = data.join(format!("anew-{}-{release}", image.id()));
    let done = run_to(&rewrite, &new, Options::default()).unwrap();
    assert_eq!(verify(&done.savepoint, Depth::Full).problems, []);
    assert!(pitlane::migrate::status(done.savepoint.manifest()).is_done(), "rows of older releases are left");
    Some(new)
}

/// Runs the attempts, each with its release and number of workers, then release 3 to the end.
fn check(attempts: &[(u32, usize, Fate)], records: u64) {
    let lazily: Vec<_> =
        attempts.iter().map(|(step, workers, fate)| (*step, *workers, fate.clone(), Way::Lazy)).collect();
    check_with(&lazily, false, records);
}

/// How rows get to the schema of an attempt's release.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// When they are touched.
    Lazy,
    /// Offline, all of them, before the attempt.
    Anew,
    /// In the background too; with checkpoints that have only what has changed, or not.
    Swept(Sweep, bool),
}

/// As [`check`]; before the last run all state is made anew offline if `is_last_anew`.
fn check_with(attempts: &[(u32, usize, Fate, Way)], is_last_anew: bool, records: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let fuse = Arc::new(AtomicI64::new(-1));
    let mut release = 1;
    let mut ends = Vec::new();
    for (step, workers, fate, way) in attempts {
        release = (release + step).min(3);
        let mut options = RunOptions::in_dir(&data).workers(*workers);
        match way {
            Way::Lazy => {}
            Way::Anew => options.from = made_anew(release, &data, &out),
            Way::Swept(sweep, incremental) => (options.sweep, options.incremental) = (*sweep, *incremental),
        }
        fuse.store(if let Fate::Crash(after) = fate { *after } else { -1 }, Relaxed);
        let running = job(release, records, &out, &fuse)
            .start(&options)
            .unwrap_or_else(|e| panic!("release {release}: {e}"));
        match fate {
            Fate::Crash(_) => {}
            Fate::Stop(after_ms) => {
                std::thread::sleep(Duration::from_millis(*after_ms));
                // The input may have ended already.
                let _ = running.stop(Default::default());
            }
            Fate::Cancel(after_ms) => {
                std::thread::sleep(Duration::from_millis(*after_ms));
                let _ = running.savepoint(Default::default());
                std::thread::sleep(Duration::from_millis(2));
                running.cancel();
            }
        }
        let ended = running.wait();
        assert!(ended.is_ok() || matches!(fate, Fate::Crash(_)), "{ended:?}");
        ends.push((release, positions(newest_image(&data).as_deref())));
    }
    fuse.store(-1, Relaxed);
    let mut options = RunOptions::in_dir(&data).workers(2);
    options.from = if is_last_anew { made_anew(3, &data, &out) } else { None };
    let end = job(3, records, &out, &fuse).run(&options).unwrap();
    ends.push((3, vec![records; SPLITS as usize]));
    let oracle = Oracle::fold(&ends);
    assert_eq!(written(&out), oracle.lines, "output; releases read up to {ends:?}");
    assert_eq!(last_state(&end.image.unwrap()), oracle.state, "state; releases read up to {ends:?}");
}

#[test]
fn three_releases_with_a_stop_in_between_equal_plain_code() {
    check(&[(0, 2, Fate::Stop(10)), (1, 3, Fate::Stop(10)), (1, 1, Fate::Stop(5))], 600);
}

#[test]
fn a_half_migrated_image_is_taken_over_by_the_release_after_next() {
    check(
        &[(0, 1, Fate::Stop(8)), (1, 2, Fate::Cancel(1)), (1, 3, Fate::Cancel(1)), (0, 2, Fate::Crash(40))],
        600,
    );
}

#[test]
fn all_rows_at_once_are_the_same_as_each_at_its_first_touch() {
    let attempts = |anew: [bool; 2]| {
        let [first, second] = anew.map(|anew| if anew { Way::Anew } else { Way::Lazy });
        [(0, 2, Fate::Stop(6), Way::Lazy), (1, 3, Fate::Stop(2), first), (1, 1, Fate::Stop(2), second)]
    };
    for anew in [[false, false], [true, false], [false, true], [true, true]] {
        check_with(&attempts(anew), anew[0], 600);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Some releases migrate each key at its first touch, others all of them offline, from whatever mixture the
    /// attempts before have left.
    #[test]
    fn lazy_and_offline_migration_are_the_same_in_any_history(
        attempts in prop::collection::vec((0u32..2, 1usize..4, fate(), prop_oneof![Just(Way::Lazy), Just(Way::Anew)]), 1..6),
        is_last_anew in any::<bool>(),
    ) {
        check_with(&attempts, is_last_anew, 500);
    }

    /// Images are taken while a sweep is half-way through rows of several versions, or done with them.
    #[test]
    fn a_sweep_in_any_history_changes_nothing_but_when_rows_are_migrated(
        attempts in prop::collection::vec((0u32..2, 1usize..4, fate(), swept()), 1..7),
    ) {
        check_with(&attempts, false, 500);
    }

    #[test]
    fn any_history_of_releases_stops_crashes_and_rescales_equals_plain_code(
        attempts in prop::collection::vec((0u32..2, 1usize..4, fate()), 1..7),
    ) {
        check(&attempts, 500);
    }
}
