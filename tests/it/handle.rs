//! Handles of running jobs that are let go of: by who forgets them, and by tests that panic.

use pitlane::connectors::Generator;
use pitlane::control::{RunDir, client};
use pitlane::engine::{Checkpoints, Job, JobHandle, RunOptions};
use pitlane::savepoint::Savepoint;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// Starts a job without end, which fails at a record if it is told to; returns what its operators share, too.
fn start(dir: &Path, fails_at: Option<u64>) -> (JobHandle, Arc<AtomicU64>) {
    let job = Job::new("endless").checkpoints(Checkpoints::every(Duration::from_millis(5)));
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let numbers = job.source(Generator::new(2, u64::MAX, |_, n| n)).uid("numbers").rate(2_000.0);
    let counted = numbers.map(move |n| {
        count.fetch_add(1, Relaxed);
        assert_ne!(Some(n), fails_at);
        n % 10
    });
    let _ = counted.key_by(|n| *n).count().uid("count");
    let options = RunOptions { run_dir: Some(dir.join("run")), ..RunOptions::in_dir(dir.join("data")) };
    (job.start(&options.workers(2)).unwrap(), seen)
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a test that may hang on a thread of its own.
fn within_time(test: impl FnOnce() + Send + 'static) {
    let (sender, done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = sender.send(());
    });
    if done.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    thread.join().unwrap();
}

#[test]
fn a_handle_that_is_dropped_cancels_the_job_and_waits_for_its_threads() {
    within_time(|| {
        let dir = tempfile::tempdir().unwrap();
        let (running, seen) = start(dir.path(), None);
        wait_until(|| running.status().last_checkpoint.is_some());
        drop(running);
        assert_eq!(Arc::strong_count(&seen), 1, "no operator is there any more");
        assert!(client::list(&RunDir::at(dir.path().join("run"))).unwrap().is_empty(), "nor a socket");
        // Nobody runs there, so another one can, and goes on from the last checkpoint.
        let (running, _) = start(dir.path(), None);
        wait_until(|| running.status().last_checkpoint.is_some());
        let done = running.stop(Default::default()).unwrap();
        running.wait().unwrap();
        let savepoint = Savepoint::open(done.path).unwrap();
        assert!(savepoint.manifest().parent.is_some());
    });
}

#[test]
fn a_test_that_panics_while_its_job_runs_fails_and_does_not_hang() {
    within_time(|| {
        let dir = tempfile::tempdir().unwrap();
        let seen = Arc::new(AtomicU64::new(0));
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let (running, counted) = start(dir.path(), None);
            wait_until(|| counted.load(Relaxed) > 0);
            seen.store(running.status().epoch, Relaxed);
            panic!("a test");
        }));
        assert_eq!(failed.unwrap_err().downcast_ref(), Some(&"a test"));
        assert!(seen.load(Relaxed) > 0);
    });
}

#[test]
fn a_job_that_has_failed_is_let_go_of_quietly_by_a_test_that_panics() {
    within_time(|| {
        let dir = tempfile::tempdir().unwrap();
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let (running, _) = start(dir.path(), Some(10));
            wait_until(|| running.is_over());
            // A second panic while this one is under way would end the process.
            panic!("a test");
        }));
        assert_eq!(failed.unwrap_err().downcast_ref(), Some(&"a test"));
    });
}
