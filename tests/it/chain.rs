//! Checkpoints in layers under whatever comes: random updates, removals and expiry over other numbers of workers, against
//! a model; and a storage that fails at any call while a layer is written, linked, committed, or what it supersedes is
//! removed.

use crate::faults::Random;
use crate::incremental::{self, check_retained, files_of, retained};
use pitlane::connectors::{Polled, Source, SplitReader, Taken};
use pitlane::engine::{
    Checkpoints, Clock, Context, Job, JobHandle, MapState, Process, RunOptions, ValueState,
};
use pitlane::migrate::Chain;
use pitlane::model::SourcePosition;
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::storage::{Fault, PlannedFaults};
use pitlane::{BoxError, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SPLITS: u64 = 3;
const KEYS: u64 = 400;
/// How long the state `short` lives; the clock never moves so that something is just as old.
const LIVES_MS: i64 = 1_000;
const MOVES_MS: [i64; 4] = [0, 333, 707, 1_501];

/// What is done to the states of a key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Act {
    Look,
    Set(u64),
    Clear,
    SetShort(u64),
    ClearShort,
    Put(u8, u64),
    Take(u8),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Op {
    n: u64,
    key: u64,
    act: Act,
}

/// What a key has after an act.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, State)]
struct Seen {
    n: u64,
    value: Option<u64>,
    short: Option<u64>,
    map: BTreeMap<u8, u64>,
}

/// Acts that are fed by hand, without end; those of a key are all in one split.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<Vec<Vec<Op>>>>);

struct FeedSplit {
    feed: Feed,
    split: usize,
    next: usize,
}

impl Source for Feed {
    type Item = Op;

    fn splits(&self) -> pitlane::Result<Vec<String>> {
        Ok((0..SPLITS).map(|split| split.to_string()).collect())
    }

    fn open(
        &self,
        split: &str,
        position: Option<&SourcePosition>,
    ) -> pitlane::Result<Box<dyn SplitReader<Op>>> {
        let next = position.map_or(0, |position| position.offset as usize);
        Ok(Box::new(FeedSplit { feed: self.clone(), split: split.parse().unwrap(), next }))
    }
}

impl SplitReader<Op> for FeedSplit {
    fn poll(&mut self, max: usize, out: &mut Taken<Op>) -> pitlane::Result<Polled> {
        let feed = self.feed.0.lock().unwrap();
        let new = feed[self.split].iter().skip(self.next).take(max);
        let before = out.records.len();
        out.records.extend(new);
        let read = out.records.len() - before;
        self.next += read;
        Ok(if read == 0 { Polled::Idle(Duration::from_millis(1)) } else { Polled::Ready })
    }

    fn offset(&self) -> u64 {
        self.next as u64
    }
}

struct Keeping {
    value: ValueState<u64>,
    short: ValueState<u64>,
    map: MapState<u8, u64>,
}

impl Process<u64, Op, Seen> for Keeping {
    fn process(&mut self, op: Op, context: &mut Context<'_, u64, Seen>) -> Result<(), BoxError> {
        match op.act {
            Act::Look => {}
            Act::Set(to) => self.value.set(to)?,
            Act::Clear => self.value.clear()?,
            Act::SetShort(to) => self.short.set(to)?,
            Act::ClearShort => self.short.clear()?,
            Act::Put(name, to) => drop(self.map.insert(name, to)?),
            Act::Take(name) => drop(self.map.remove(&name)?),
        }
        let map = self.map.with(|map| map.cloned().unwrap_or_default())?;
        context.emit(Seen { n: op.n, value: self.value.get()?, short: self.short.get()?, map });
        Ok(())
    }
}

/// What a key has, and when the one that expires was last set.
#[derive(Clone, Default)]
struct Kept {
    value: Option<u64>,
    short: Option<(u64, i64)>,
    map: BTreeMap<u8, u64>,
}

impl Kept {
    fn short(&self, now_ms: i64) -> Option<u64> {
        self.short.filter(|(_, at_ms)| now_ms - at_ms < LIVES_MS).map(|(short, _)| short)
    }

    fn obey(&mut self, op: Op, now_ms: i64) -> Seen {
        match op.act {
            Act::Look => {}
            Act::Set(to) => self.value = Some(to),
            Act::Clear => self.value = None,
            Act::SetShort(to) => self.short = Some((to, now_ms)),
            Act::ClearShort => self.short = None,
            Act::Put(name, to) => drop(self.map.insert(name, to)),
            Act::Take(name) => drop(self.map.remove(&name)),
        }
        Seen { n: op.n, value: self.value, short: self.short(now_ms), map: self.map.clone() }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

/// A job, its input, and what must come of it.
struct Case {
    feed: Feed,
    seen: Arc<Mutex<Vec<Seen>>>,
    clock: Clock,
    ops: u64,
    model: BTreeMap<u64, Kept>,
    wanted: Vec<Seen>,
    random: Random,
}

impl Case {
    fn new(seed: u64) -> Self {
        Self {
            feed: Feed(Arc::new(Mutex::new(vec![Vec::new(); SPLITS as usize]))),
            seen: Arc::default(),
            clock: Clock::by_hand(1_000_000),
            ops: 0,
            model: BTreeMap::new(),
            wanted: Vec::new(),
            random: Random::new(seed),
        }
    }

    fn job(&self) -> Job {
        let job = Job::new("changing").checkpoints(Checkpoints::every(Duration::from_millis(4)).keep(3));
        let seen = Arc::clone(&self.seen);
        job.source(self.feed.clone())
            .uid("ops")
            .key_by(|op| op.key)
            .process(|states| Keeping {
                value: states.value("value"),
                short: states.value("short").expire_after(Duration::from_millis(LIVES_MS as u64)),
                map: states.map("map"),
            })
            .uid("keeps")
            .inspect(move |view| seen.lock().unwrap().push(view.clone()));
        job
    }

    fn feed(&mut self, key: u64, act: Act) {
        let op = Op { n: self.ops, key, act };
        self.ops += 1;
        self.wanted.push(self.model.entry(key).or_default().obey(op, self.clock.now_ms()));
        self.feed.0.lock().unwrap()[(key % SPLITS) as usize].push(op);
    }

    fn feed_some(&mut self) {
        let acts = match self.random.below(6) {
            0 => 0,
            1 => 400,
            _ => 10 + self.random.below(60),
        };
        // Mostly the same few keys, so that layers above hide rows of those below.
        let keys = if self.random.below(3) == 0 { KEYS } else { 30 };
        for _ in 0..acts {
            let (key, name, to) = (self.random.below(keys), self.random.below(3) as u8, self.ops);
            let act = match self.random.below(9) {
                0 => Act::Look,
                1 | 2 => Act::Set(to),
                3 => Act::Clear,
                4 | 5 => Act::SetShort(to),
                6 => Act::ClearShort,
                7 => Act::Put(name, to),
                _ => Act::Take(name),
            };
            self.feed(key, act);
        }
    }

    /// Waits until all that was fed is in a checkpoint.
    fn wait_for_all(&self, running: &JobHandle) {
        let began = Instant::now();
        loop {
            let status = running.status();
            let kept = status.sources.iter().flat_map(|source| &source.positions).map(|p| p.records);
            if status.last_checkpoint.is_some() && kept.sum::<u64>() == self.ops {
                return;
            }
            assert!(began.elapsed() < LONG && !running.is_over(), "{status:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Compares the newest checkpoint, if it has all, with the model; returns whether it has layers, and tombstones.
    fn check(&self, dir: &Path) -> Option<(bool, bool)> {
        let newest = retained(dir).into_iter().rfind(|path| path.join("manifest.json").exists())?;
        // Links hold on to the files, should it be superseded meanwhile.
        let copy = tempfile::tempdir_in(dir).unwrap();
        for file in files_of(&newest).ok()? {
            let to = copy.path().join(&file);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::hard_link(newest.join(&file), to).ok()?;
        }
        let image = Savepoint::open(copy.path()).unwrap();
        let read: u64 = image.manifest().sources[0].positions.iter().map(|p| p.records).sum();
        if read < self.ops {
            return None;
        }
        assert_eq!(verify(&image, Depth::Full).problems, []);
        let keeps = image.operator("keeps").unwrap();
        let state = |name: &str| keeps.state(name).unwrap();
        let value: BTreeMap<u64, u64> =
            state("value").rows(Chain::current(1)).unwrap().map(Result::unwrap).collect();
        let map: BTreeMap<u64, BTreeMap<u8, u64>> =
            state("map").rows(Chain::current(1)).unwrap().map(Result::unwrap).collect();
        let mut short: BTreeMap<u64, u64> =
            state("short").rows(Chain::current(1)).unwrap().map(Result::unwrap).collect();
        let kept = |of: &dyn Fn(&Kept) -> Option<u64>| -> BTreeMap<u64, u64> {
            self.model.iter().filter_map(|(key, kept)| Some((*key, of(kept)?))).collect()
        };
        assert_eq!(value, kept(&|kept| kept.value));
        let maps = self.model.iter().filter(|(_, kept)| !kept.map.is_empty());
        assert_eq!(map, maps.map(|(key, kept)| (*key, kept.map.clone())).collect());
        // What has expired may still be there, under its old stamp, and is seen by nobody.
        let now_ms = self.clock.now_ms();
        short.retain(|key, found| {
            let kept = &self.model[key];
            kept.short(now_ms).is_some() || kept.short.is_none_or(|(short, _)| short != *found)
        });
        assert_eq!(short, kept(&|kept| kept.short(now_ms)));
        let entries = || image.manifest().states().map(|(_, state)| state);
        let has_tombstones = entries().any(|state| !state.tombstones.is_empty());
        Some((entries().any(|state| state.is_layered()), has_tombstones))
    }
}

#[test]
fn layers_over_random_updates_removals_and_expiry_equal_a_model_on_any_number_of_workers() {
    let first = number("PITLANE_TEST_SEED").unwrap_or(1);
    let (mut layered, mut with_tombstones) = (0, 0);
    for seed in first..first + number("PITLANE_TEST_SEEDS").unwrap_or(4) {
        println!("PITLANE_TEST_SEED={seed} PITLANE_TEST_SEEDS=1");
        let dir = tempfile::tempdir().unwrap();
        let mut case = Case::new(seed);
        for key in 0..KEYS {
            case.feed(key, Act::Set(key));
            case.feed(key, Act::SetShort(key));
            case.feed(key, Act::Put(9, key));
        }
        for _attempt in 0..6 {
            let options = RunOptions {
                workers: 1 + case.random.below(4) as usize,
                incremental: case.random.below(5) > 0,
                clock: case.clock.clone(),
                ..RunOptions::in_dir(dir.path())
            };
            let running = case.job().start(&options).unwrap();
            for _phase in 0..1 + case.random.below(4) {
                case.wait_for_all(&running);
                let by = MOVES_MS[case.random.below(4) as usize];
                case.clock.advance_to(case.clock.now_ms() + by);
                case.feed_some();
                case.wait_for_all(&running);
                let (is_layered, has_tombstones) = case.check(dir.path()).unwrap_or_default();
                layered += u32::from(is_layered);
                with_tombstones += u32::from(has_tombstones);
            }
            match case.random.below(3) {
                0 => drop(running.stop(Default::default()).unwrap()),
                _ => running.cancel(),
            }
            running.wait().unwrap();
        }
        let running = case.job().start(&RunOptions {
            workers: 2,
            clock: case.clock.clone(),
            ..RunOptions::in_dir(dir.path())
        });
        (0..KEYS).for_each(|key| case.feed(key, Act::Look));
        let running = running.unwrap();
        case.wait_for_all(&running);
        running.stop(Default::default()).unwrap();
        running.wait().unwrap();
        let mut seen = case.seen.lock().unwrap().clone();
        seen.sort();
        let wrong = seen.iter().zip(&case.wanted).find(|(seen, wanted)| seen != wanted);
        assert_eq!(wrong, None, "seed {seed}");
        assert_eq!(seen.len(), case.wanted.len(), "seed {seed}");
    }
    println!("{layered} images with layers, {with_tombstones} with tombstones");
    assert!(layered > 8 && with_tombstones > 2, "{layered}, {with_tombstones}");
}

/// Runs the job until the storage has failed and the job has noticed, or has gone on; returns the call that failed.
fn run_into(dir: &Path, workers: usize, fault: Fault, sound: usize) -> Option<String> {
    let faults = PlannedFaults::new(dir, fault, sound);
    let options = RunOptions::in_dir(dir).workers(workers);
    if let Ok(running) = incremental::job().start(&options) {
        let began = Instant::now();
        let committed = || running.status().last_checkpoint.map_or(0, |last| last.epoch);
        let mut since = None;
        while !running.is_over() && began.elapsed() < Duration::from_secs(20) {
            // Not every call can fail in every way.
            if faults.failed().is_some() || faults.calls() > sound + 40 {
                // Once the storage fails for good nothing more is committed; else the job goes on.
                let (at, epoch) = *since.get_or_insert_with(|| (Instant::now(), committed()));
                if at.elapsed() > Duration::from_millis(25) || committed() > epoch + 1 {
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        running.cancel();
        // It may have failed: what it could not write, it says.
        let _ = running.wait();
    }
    faults.failed()
}

#[test]
fn whatever_call_of_the_storage_fails_every_layered_checkpoint_is_whole_and_the_job_goes_on() {
    let seed = number("PITLANE_TEST_SEED").unwrap_or(1);
    println!("PITLANE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let (mut failed, mut layered) = (BTreeMap::<String, u32>::new(), 0);
    // More of them by hand: each looks at every row of every checkpoint that is left.
    let points = number("PITLANE_TEST_POINTS").unwrap_or(8);
    let mut dir = tempfile::tempdir().unwrap();
    for point in 0..points {
        if point % 12 == 0 {
            dir = tempfile::tempdir().unwrap();
        }
        let fault = Fault::ALL[random.below(5) as usize];
        let sound = random.below(260) as usize;
        let workers = 1 + random.below(3) as usize;
        let call = run_into(dir.path(), workers, fault, sound);
        println!("{fault:?} after {sound} calls on {workers} workers: {call:?}");
        if let Some(verb) = call.as_deref().and_then(|call| call.split(' ').next()) {
            *failed.entry(verb.to_owned()).or_default() += 1;
        }
        // Each that has a manifest is complete, whatever was being done to it or beside it.
        layered += check_retained(dir.path()).1;
        // And the job goes on from the last, on another number of workers.
        let running = incremental::job().start(&RunOptions::in_dir(dir.path()).workers(4 - workers)).unwrap();
        let began = Instant::now();
        let before = running.status().epoch;
        while running.status().last_checkpoint.is_none_or(|last| last.epoch < before + 2) {
            assert!(began.elapsed() < LONG && !running.is_over(), "{:?}", running.status());
            std::thread::sleep(Duration::from_millis(2));
        }
        running.cancel();
        running.wait().unwrap();
        let left = retained(dir.path()).len();
        assert!(left <= 8, "{left} checkpoints are left: what fails is swept");
    }
    layered += check_retained(dir.path()).1;
    println!("{failed:?}, {layered} checkpoints in layers");
    let verbs: BTreeSet<&str> = failed.keys().map(String::as_str).collect();
    for verb in ["create", "write", "finish", "link", "publish", "delete"] {
        assert!(points < 40 || verbs.contains(verb), "no {verb} has failed: {failed:?}");
    }
    assert!(layered > 0 && !failed.is_empty(), "{layered}, {failed:?}");
}
