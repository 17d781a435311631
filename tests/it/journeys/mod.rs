//! Journeys: a job changes, and goes on from a savepoint that was taken at any position of its input, on one, two or
//! three workers. Whatever changes, what it tells and what it keeps in the end is what plain code makes of the whole
//! input; and each journey has a twin that is refused, with the error and the way out.

mod alarm;
mod graph;
mod keys;
mod kills;
mod processes;
mod reduce;
mod rescale;

use pitlane::connectors::{Polled, Record, Source, SplitReader, Taken};
use pitlane::engine::{Job, JobHandle, RunOptions};
use pitlane::migrate::{Chain, MigrationStatus, status};
use pitlane::model::SourcePosition;
use pitlane::rewrite::{MigrationFile, Options, Rewrite, run_to};
use pitlane::savepoint::{Depth, Savepoint, StateFile, verify};
use pitlane::testing::{Bench, Output};
use pitlane::{Error, Key, Result, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The numbers of workers that a job goes on with.
const WORKERS: [usize; 3] = [1, 2, 3];
const PATIENCE: Duration = Duration::from_secs(60);

/// A source in memory that shows its events up to a gate; its clones are the same source.
#[derive(Clone)]
struct Tape<E>(Arc<Reel<E>>);

struct Reel<E> {
    events: Vec<E>,
    gate: AtomicUsize,
    /// Whether there is nothing behind the gate.
    ends: AtomicBool,
    /// How far the attempt that runs has read.
    read: AtomicUsize,
}

impl<E> Tape<E> {
    fn new(events: Vec<E>) -> Self {
        let (gate, ends, read) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(usize::MAX));
        Self(Arc::new(Reel { events, gate, ends, read }))
    }

    fn len(&self) -> usize {
        self.0.events.len()
    }

    /// Shows the first so many events; with `ends`, as if they were all.
    fn show(&self, until: usize, ends: bool) {
        self.0.read.store(usize::MAX, SeqCst);
        self.0.gate.store(until, SeqCst);
        self.0.ends.store(ends, SeqCst);
    }

    fn has_been_read(&self, until: usize) -> bool {
        (until..usize::MAX).contains(&self.0.read.load(SeqCst))
    }

    fn wait_until_read(&self, running: &JobHandle, until: usize) {
        let began = Instant::now();
        while !self.has_been_read(until) {
            assert!(began.elapsed() < PATIENCE && !running.is_over(), "{until}: {:?}", running.status());
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl<E: Record + Sync> Source for Tape<E> {
    type Item = E;

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["0".to_owned()])
    }

    fn open(&self, _split: &str, position: Option<&SourcePosition>) -> Result<Box<dyn SplitReader<E>>> {
        let next = position.map_or(0, |position| position.offset as usize);
        Ok(Box::new(Reader { tape: self.clone(), next }))
    }
}

struct Reader<E> {
    tape: Tape<E>,
    next: usize,
}

impl<E: Record + Sync> SplitReader<E> for Reader<E> {
    fn poll(&mut self, max: usize, out: &mut Taken<E>) -> Result<Polled> {
        let reel = &*self.tape.0;
        let gate = reel.gate.load(SeqCst);
        let end = gate.min(self.next + max);
        // A commit of which nobody heard may lie behind the gate.
        out.records.extend_from_slice(&reel.events[self.next.min(end)..end]);
        self.next = self.next.max(end);
        reel.read.store(self.next, SeqCst);
        Ok(match end < gate {
            true => Polled::Ready,
            false if reel.ends.load(SeqCst) => Polled::End,
            false => Polled::Idle(Duration::from_millis(1)),
        })
    }

    fn offset(&self) -> u64 {
        self.next as u64
    }
}

/// Where a journey takes place: its input, its output, and the data of its job.
struct Trip<E, O> {
    tape: Tape<E>,
    out: Output<O>,
    dir: tempfile::TempDir,
}

/// What an attempt came to: the savepoint that it left behind, and what it told.
struct Leg<O> {
    savepoint: Savepoint,
    told: Vec<O>,
}

impl<E: Record + Sync, O: Clone + Debug + Ord + Send + 'static> Trip<E, O> {
    fn new(events: Vec<E>) -> Self {
        // These tests start hundreds of jobs, and none of them is about the disk.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.unwrap();
        Self { tape: Tape::new(events), out: Bench::new().unwrap().output(), dir }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What runs a release on so many workers, from a savepoint if there is one.
    fn options(&self, workers: usize, from: Option<&Savepoint>) -> RunOptions {
        let options = RunOptions::in_dir(self.data()).workers(workers);
        match from {
            Some(savepoint) => options.from(savepoint.location()),
            None => options,
        }
    }

    /// Runs a release until it has read the events up to `until`, and stops it with a savepoint.
    fn stop_at(&self, until: usize, job: Job, options: &RunOptions) -> Leg<O> {
        self.tape.show(until, false);
        let running = job.start(options).unwrap_or_else(|error| panic!("position {until}: {error}"));
        self.tape.wait_until_read(&running, until);
        let done = running.stop(Default::default()).unwrap();
        running.wait().unwrap();
        let savepoint = Savepoint::open(done.path).unwrap();
        assert_eq!(position_of(&savepoint), until);
        self.leg(savepoint)
    }

    /// Returns the newest image of the job, whether the attempt that wrote it lived on or not.
    fn newest_image(&self) -> Option<PathBuf> {
        let jobs = std::fs::read_dir(self.data()).into_iter().flatten().flatten().map(|job| job.path());
        let kinds = jobs.flat_map(|job| [job.join("checkpoints"), job.join("savepoints")]);
        let images =
            kinds.filter_map(|kind| std::fs::read_dir(kind).ok()).flatten().flatten().map(|e| e.path());
        let images = images.filter(|image| image.join("manifest.json").exists());
        images.max_by_key(|image| image.file_name().map(ToOwned::to_owned))
    }

    fn newest_position(&self) -> usize {
        self.newest_image().map_or(0, |image| position_of(&Savepoint::open(image).unwrap()))
    }

    /// Runs a release to the end of the input.
    fn run(&self, job: Job, options: &RunOptions) -> Result<Leg<O>> {
        self.tape.show(self.tape.len(), true);
        let end = job.run(options)?;
        Ok(self.leg(Savepoint::open(end.image.unwrap()).unwrap()))
    }

    fn leg(&self, savepoint: Savepoint) -> Leg<O> {
        Leg { savepoint, told: self.out.take() }
    }

    /// Stops a release at every position; what is told is all that was told up to there. The numbers of workers take
    /// turns.
    fn stops(&self, release: &dyn Fn() -> Job) -> Vec<Leg<O>> {
        let mut stops: Vec<Leg<O>> = Vec::new();
        for until in 0..=self.tape.len() {
            let options = self.options(WORKERS[until % 3], stops.last().map(|stop| &stop.savepoint));
            let leg = self.stop_at(until, release(), &options);
            let before = stops.last().map(|stop| stop.told.clone()).unwrap_or_default();
            stops.push(leg.behind(before));
        }
        stops
    }

    /// Makes a savepoint anew by the code of a release: all rows at once, offline.
    fn made_anew(&self, release: &Job, savepoint: &Savepoint) -> Savepoint {
        let rewrite = Rewrite::by_job(savepoint, &release.describe().unwrap(), &[]).unwrap();
        let new = self.dir.path().join(format!("anew-{}", savepoint.id()));
        let done = run_to(&rewrite, &new, Options::default()).unwrap().savepoint;
        assert_eq!(verify(&done, Depth::Full).problems, []);
        assert!(status(done.manifest()).is_done(), "rows of older versions are left");
        done
    }

    /// Makes a savepoint anew by a migration file.
    fn rewritten(&self, savepoint: &Savepoint, file: &str) -> Savepoint {
        let rewrite = MigrationFile::parse(file, "change.toml").unwrap().apply(savepoint).unwrap();
        let hash = file.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let new = self.dir.path().join(format!("rewritten-{}-{hash:x}", savepoint.id()));
        let done = run_to(&rewrite, &new, Options::default()).unwrap().savepoint;
        assert_eq!(verify(&done, Depth::Full).problems, []);
        done
    }

    /// Lets a release go on from a savepoint, and stops it before it has read any more.
    fn taken_over(&self, job: Job, savepoint: &Savepoint, workers: usize) -> Savepoint {
        let until = position_of(savepoint);
        let leg = self.stop_at(until, job, &self.options(workers, Some(savepoint)));
        assert!(leg.told.is_empty(), "{:?}", leg.told);
        leg.savepoint
    }

    /// Returns why a release does not go on from a savepoint, as people see it; nothing may be touched by that.
    fn refused(&self, release: Job, options: &RunOptions) -> String {
        let before = files_below(self.dir.path());
        let error = release.start(options).map(drop).unwrap_err();
        assert_eq!(files_below(self.dir.path()), before, "a refused job has touched something: {error}");
        shown(&error)
    }
}

impl<O: Clone + Ord> Leg<O> {
    /// Puts what was told before in front of what was told now.
    fn behind(self, before: Vec<O>) -> Self {
        Self { told: [before, self.told].concat(), ..self }
    }

    /// Returns all that was told, in an order that does not depend on the workers.
    fn told(&self) -> Vec<O> {
        let mut told = self.told.clone();
        told.sort();
        told
    }
}

/// How many events a savepoint has behind it.
fn position_of(savepoint: &Savepoint) -> usize {
    savepoint.manifest().sources[0].positions.first().map_or(0, |position| position.records as usize)
}

/// Reads a state, each row taken through the migrations; each key may be there once.
fn rows<K: Key + Ord + Debug, S: State + Debug>(
    savepoint: &Savepoint,
    (uid, state): (&str, &str),
    chain: Chain<S>,
) -> BTreeMap<K, S> {
    assert_eq!(verify(savepoint, Depth::Full).problems, []);
    let state = savepoint.operator(uid).unwrap().state(state).unwrap();
    let mut rows = BTreeMap::new();
    for row in state.rows(chain).unwrap() {
        let (key, value) = row.unwrap();
        if let Some(other) = rows.insert(key, value) {
            panic!("a key is there twice, once with {other:?}");
        }
    }
    assert!(state.entry().rows() >= rows.len() as u64);
    rows
}

/// The encoded columns of a state by their hashes, each row group with its rows, whatever file it lies in.
fn chunks(savepoint: &Savepoint, (uid, state): (&str, &str)) -> BTreeSet<(Vec<u128>, usize)> {
    let state = savepoint.operator(uid).unwrap().state(state).unwrap();
    let files = (0..state.entry().files.len()).map(|index| state.file(index).unwrap());
    let groups = |file: StateFile| {
        let hashes = |(index, rows)| (file.chunk_hashes(index).to_vec(), rows);
        let rows = file.row_groups().iter().map(|group| group.rows).enumerate();
        rows.map(hashes).collect::<Vec<_>>()
    };
    files.flat_map(groups).collect()
}

/// How many rows of a state have which schema version.
fn rows_by_version(savepoint: &Savepoint, uid: &str, state: &str) -> BTreeMap<u32, u64> {
    let MigrationStatus { states } = status(savepoint.manifest());
    let Some(found) = states.iter().find(|s| s.uid.as_str() == uid && s.state.as_str() == state) else {
        return BTreeMap::new();
    };
    let older = found.older.iter().map(|older| (older.version.0, older.rows));
    let all = [(found.newest.0, found.rows_at_newest)].into_iter().chain(older);
    all.filter(|(_, rows)| *rows > 0).collect()
}

/// Numbers that look random and are the same for the same seed (splitmix).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// An error as people see it, with its hint.
fn shown(error: &Error) -> String {
    let mut text = Vec::new();
    error.report(&mut text).unwrap();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    crate::stage::files_below(dir).unwrap()
}
