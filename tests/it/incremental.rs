//! Checkpoints of what has changed: each that is retained has the whole state, over kills, restarts and other numbers of
//! workers.

use pitlane::connectors::Generator;
use pitlane::engine::{
    Checkpoints, Context, Job, Process, RunOptions, Timer, TimerHandle, ValueState, Watermarks,
};
use pitlane::migrate::Chain;
use pitlane::model::ImageKind;
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::{BoxError, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SPLITS: u32 = 2;
const KEYS: u64 = 4000;
/// At this count a key is let go, and begins again with the next record.
const GONE: u64 = 4;

/// First each key once, then some of them again and again.
fn key(split: u32, n: u64) -> u64 {
    let n = n * u64::from(SPLITS) + u64::from(split);
    if n < KEYS { n } else { (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % KEYS }
}

/// Wakes each key some time after its last record, by event time, once.
struct Wake {
    at_ms: ValueState<i64>,
    timers: TimerHandle,
}

impl Process<u64, (u64, i64), u64> for Wake {
    fn process(&mut self, (_, at_ms): (u64, i64), _: &mut Context<'_, u64, u64>) -> Result<(), BoxError> {
        if let Some(before) = self.at_ms.get()? {
            self.timers.delete(before + 500)?;
        }
        self.at_ms.set(at_ms)?;
        self.timers.set(at_ms + 500)?;
        Ok(())
    }

    fn on_timer(&mut self, _: Timer, _: &mut Context<'_, u64, u64>) -> Result<(), BoxError> {
        Ok(self.at_ms.clear()?)
    }
}

pub(crate) fn job() -> Job {
    let checkpoints = Checkpoints::every(Duration::from_millis(6)).keep(5).incremental();
    let job = Job::new("changing").checkpoints(checkpoints);
    let keys = job
        .source(Generator::new(SPLITS, u64::MAX, |split, n| (key(split, n), n as i64)))
        .uid("keys")
        .watermarks(Watermarks::ascending(), |(_, at_ms)| *at_ms)
        .rate(6_000.0);
    let by_key = keys.key_by(|(key, _)| *key);
    let _ = by_key
        .flat_map_with_state(|count: &mut Option<u64>, _| {
            *count = Some(count.unwrap_or(0) + 1).filter(|count| *count < GONE);
            None::<u64>
        })
        .uid("counts")
        .state_name("count");
    let _ = by_key
        .process(|states| Wake { at_ms: states.value("at"), timers: states.event_timers() })
        .uid("wakes");
    job
}

/// Compares an image with what plain code makes of the records that it has read; returns whether it is in layers.
fn check(image: &Savepoint) -> bool {
    assert_eq!(verify(image, Depth::Full).problems, [], "{}", image.location());
    let mut counts = BTreeMap::<u64, u64>::new();
    for position in &image.manifest().sources[0].positions {
        let split = position.split.parse().unwrap();
        for n in 0..position.records {
            *counts.entry(key(split, n)).or_default() += 1;
        }
    }
    counts.values_mut().for_each(|count| *count %= GONE);
    counts.retain(|_, count| *count > 0);
    let state = image.operator("counts").unwrap().state("count").unwrap();
    let found: BTreeMap<u64, u64> = state.rows(Chain::current(1)).unwrap().map(Result::unwrap).collect();
    assert!(found == counts, "{}: {} keys, wanted {}", image.location(), found.len(), counts.len());
    // Each key that waits has its one timer, and no other timer is there.
    let wakes = image.operator("wakes").unwrap();
    let at: BTreeMap<u64, i64> =
        wakes.state("at").unwrap().rows(Chain::current(1)).unwrap().map(Result::unwrap).collect();
    let mut timers = 0;
    for batch in wakes.state("timers").unwrap().scan() {
        timers += batch.unwrap().batch.num_rows();
    }
    assert_eq!(timers, at.len(), "{}", image.location());
    image.manifest().states().any(|(_, state)| state.is_layered())
}

/// The checkpoints that there are now; one may be gone a moment later.
pub(crate) fn retained(data: &Path) -> Vec<PathBuf> {
    let checkpoints = std::fs::read_dir(data.join("changing/checkpoints")).into_iter().flatten().flatten();
    let mut checkpoints: Vec<_> = checkpoints.map(|entry| entry.path()).collect();
    checkpoints.sort();
    checkpoints
}

/// Checks all retained checkpoints, in a copy, since they may be discarded any time; returns how many are in layers.
pub(crate) fn check_retained(data: &Path) -> (usize, usize) {
    let (mut whole, mut layered) = (0, 0);
    for path in retained(data) {
        // Links hold on to the files: nobody writes to them any more.
        let copy = tempfile::tempdir_in(data).unwrap();
        let Ok(files) = files_of(&path) else { continue };
        let linked = files.iter().try_for_each(|file| {
            let to = copy.path().join(file);
            std::fs::create_dir_all(to.parent().unwrap())
                .and_then(|()| std::fs::hard_link(path.join(file), to))
        });
        if linked.is_err() || !copy.path().join("manifest.json").exists() {
            continue;
        }
        match check(&Savepoint::open(copy.path()).unwrap()) {
            true => layered += 1,
            false => whole += 1,
        }
    }
    (whole, layered)
}

/// The files of a checkpoint, the manifest first: if that is there, so were all others.
pub(crate) fn files_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let image = Savepoint::open(path)?;
    let files = image.manifest().files().map(|file| PathBuf::from(&file.path));
    Ok([PathBuf::from("manifest.json")].into_iter().chain(files).collect())
}

#[test]
fn every_retained_checkpoint_has_the_whole_state_over_cancelling_and_other_numbers_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    let mut layered = 0;
    for (workers, sweep) in [(2, "none"), (1, "all,100"), (3, "none"), (2, "all,30")] {
        let options = RunOptions { sweep: sweep.parse().unwrap(), ..options.clone().workers(workers) };
        let running = job().start(&options).unwrap();
        let began = Instant::now();
        let mut seen = 0;
        while seen < 12 {
            std::thread::sleep(Duration::from_millis(10));
            seen += check_retained(dir.path()).1;
            assert!(began.elapsed() < Duration::from_secs(60), "{seen} checkpoints in layers");
        }
        layered += seen;
        running.cancel();
        running.wait().unwrap();
        check_retained(dir.path());
    }
    assert!(layered >= 48);
    // What is asked for by a user has no layers, and no file in common with another directory that it would miss.
    let running = job().start(&options.workers(2)).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let done = running.savepoint(Default::default()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let (whole, after) = check_retained(dir.path());
    assert!(whole + after > 0, "checkpoints go on after a savepoint");
    let stopped = running.stop(Default::default()).unwrap();
    running.wait().unwrap();
    for path in [done.path, stopped.path] {
        let savepoint = Savepoint::open(path).unwrap();
        assert_eq!(savepoint.manifest().kind, ImageKind::Savepoint);
        assert!(!check(&savepoint));
    }
    assert!(retained(dir.path()).len() <= 6, "those that are superseded are discarded");
}

#[test]
fn a_job_that_cannot_link_what_it_builds_on_writes_the_whole_state_again() {
    let dir = tempfile::tempdir().unwrap();
    let running = job().start(&RunOptions::in_dir(dir.path())).unwrap();
    let began = Instant::now();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(30));
        for path in retained(dir.path()) {
            let _ = std::fs::remove_dir_all(path.join("state"));
        }
    }
    // The next ones are sound, although all before are not.
    while check_retained(dir.path()).0 == 0 {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
}

/// The data directory of a child process that runs the job until it is killed.
const CHILD_DIR: &str = "PITLANE_TEST_INCREMENTAL_DIR";

/// Not a test of its own: what the test below starts and kills.
#[test]
fn child_that_runs_a_job_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let _ = job().run(&RunOptions::in_dir(dir).workers(2));
}

#[test]
fn after_kill_9_at_any_time_every_checkpoint_is_whole_and_the_job_goes_on_from_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let newest = || {
        let mut published =
            retained(dir.path()).into_iter().filter(|path| path.join("manifest.json").exists());
        published.next_back()
    };
    let mut read = 0;
    for run in 0..5_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["incremental::child_that_runs_a_job_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = newest();
        let began = Instant::now();
        while newest() == before || retained(dir.path()).len() < 3 {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(40 + 17 * run));
        child.kill().unwrap();
        child.wait().unwrap();
        let (whole, layered) = check_retained(dir.path());
        assert!(whole + layered > 0);
        let newest = Savepoint::open(newest().unwrap()).unwrap();
        let now: u64 = newest.manifest().sources[0].positions.iter().map(|p| p.records).sum();
        assert!(now >= read, "it went on from the last: {now} after {read}");
        read = now;
    }
}
