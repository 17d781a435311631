//! When images are taken, and what becomes of a job whose images fail.

use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Checkpoints, EndReason, Job, JobHandle, RunOptions};
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(20);

/// Numbers, the same ones again and again, counted by number; as many as asked for or without an end.
fn counting(out: &Path, records: u64, checkpoints: Checkpoints) -> Job {
    let job = Job::new("counting").checkpoints(checkpoints);
    job.source(Generator::new(1, records, |_, n| n % 5_000))
        .uid("numbers")
        .rate(200_000.0)
        .key_by(|number| *number)
        .flat_map_with_state(|seen: &mut Option<u64>, number| {
            let times = seen.unwrap_or(0) + 1;
            *seen = Some(times);
            (number == 0).then_some(times)
        })
        .uid("count")
        .sink(FileSink::json_lines(out))
        .uid("out");
    job
}

/// Waits until something is so; gives up loudly.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn epochs(job: &JobHandle) -> u64 {
    job.status().last_checkpoint.map_or(0, |last| last.epoch)
}

/// The numbers that the sink made visible, in order.
fn written(out: &Path) -> Vec<u64> {
    let files = names(out).into_iter().filter(|name| !name.starts_with('.'));
    let texts = files.map(|name| fs::read_to_string(out.join(name)).unwrap());
    let mut numbers: Vec<u64> =
        texts.flat_map(|text| text.lines().map(|line| line.parse().unwrap()).collect::<Vec<_>>()).collect();
    numbers.sort();
    numbers
}

#[test]
fn one_failure_more_than_is_tolerated_ends_the_attempt_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let options = RunOptions::in_dir(&data);
    // No directory can be made where a file lies.
    fs::create_dir_all(data.join("counting")).unwrap();
    fs::write(data.join("counting/checkpoints"), "in the way").unwrap();
    let checkpoints = Checkpoints::every(MOMENT).tolerate_failures(2);
    let error = counting(&dir.path().join("out"), u64::MAX, checkpoints).run(&options).unwrap_err();
    assert_eq!(error.to_string(), "3 checkpoints in a row failed, and the job tolerates 2");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("cannot create ") && cause.contains("counting/checkpoints/"), "{cause}");
}

#[test]
fn a_job_goes_on_without_checkpoints_until_it_can_take_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let in_the_way = data.join("counting/checkpoints");
    fs::create_dir_all(data.join("counting")).unwrap();
    fs::write(&in_the_way, "in the way").unwrap();
    let job = counting(&out, 100_000, Checkpoints::every(MOMENT));
    let job = job.start(&RunOptions::in_dir(&data)).unwrap();
    until("two checkpoints fail", || job.status().failed_checkpoints >= 2);
    let status = job.status();
    assert_eq!(status.last_checkpoint, None);
    assert!(status.last_checkpoint_failure.unwrap().error.contains("counting/checkpoints/"));
    fs::remove_file(in_the_way).unwrap();
    assert_eq!(job.wait().unwrap().reason, EndReason::Finished);
    assert_eq!(written(&out), (1..=20).collect::<Vec<_>>());
}

#[test]
fn savepoints_of_the_schedule_are_whole_and_only_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data/counting");
    let checkpoints = Checkpoints::every(MOMENT).savepoint_every(MOMENT, 2);
    let job = counting(&dir.path().join("out"), u64::MAX, checkpoints);
    let job = job.start(&RunOptions::in_dir(dir.path().join("data"))).unwrap();
    let mine = job.savepoint(Default::default()).unwrap();
    let mut seen = BTreeSet::new();
    until("six savepoints", || {
        seen.extend(names(&root.join("savepoints/scheduled")));
        seen.len() >= 6
    });
    job.end();
    job.wait().unwrap();
    let left = names(&root.join("savepoints/scheduled"));
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left, seen.iter().rev().filter(|name| left.contains(*name)).cloned().collect());
    for path in left.iter().map(|name| root.join("savepoints/scheduled").join(name)).chain([mine.path.into()])
    {
        let savepoint = Savepoint::open(&path).unwrap();
        assert_eq!(savepoint.manifest().kind, pitlane::model::ImageKind::Savepoint);
        assert!(verify(&savepoint, Depth::Full).problems.is_empty());
    }
}

#[test]
fn an_attempt_that_is_replaced_ends_soon_although_it_commits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path().join("data"));
    let (out, never) = (dir.path().join("out"), Checkpoints::off());
    let old = counting(&out, u64::MAX, never).start(&options).unwrap();
    let new = counting(&out, u64::MAX, never).start(&options).unwrap();
    let began = Instant::now();
    let error = old.wait().unwrap_err();
    assert!(matches!(error, Error::Fenced { attempt: 1, by: 2, .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
    new.cancel();
    new.wait().unwrap();
}

#[test]
fn a_job_that_is_to_end_leaves_a_last_checkpoint_and_the_next_run_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (out, options) = (dir.path().join("out"), RunOptions::in_dir(dir.path().join("data")));
    for _ in 0..3 {
        let job = counting(&out, u64::MAX, Checkpoints::off()).start(&options).unwrap();
        let before = written(&out).len() as u64;
        until("a few records", || job.status().operators[0].records_out > 20_000);
        job.end();
        let end = job.wait().unwrap();
        assert_eq!(end.reason, EndReason::Stopped);
        let image = Savepoint::open(end.image.unwrap()).unwrap();
        assert_eq!(image.manifest().kind, pitlane::model::ImageKind::Checkpoint);
        let all = written(&out);
        assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
        assert!(all.len() as u64 > before);
    }
    assert_eq!(names(&dir.path().join("data/counting/checkpoints")).len(), 1);
}

#[test]
fn a_job_that_is_to_end_and_can_leave_no_checkpoint_ends_without() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let job = counting(&dir.path().join("out"), u64::MAX, Checkpoints::off());
    let job = job.start(&RunOptions::in_dir(&data)).unwrap();
    fs::write(data.join("counting/checkpoints"), "in the way").unwrap();
    job.end();
    assert_eq!(job.wait().unwrap().reason, EndReason::Cancelled);
}

/// The mount point of a small disk, for the half of the test that runs on it.
const SMALL_DISK: &str = "PITLANE_TEST_SMALL_DISK";

/// Runs in a process of its own, for which a small disk is mounted; needs Linux' user namespaces.
#[test]
fn a_full_disk_fails_checkpoints_and_nothing_else() {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return on_a_small_disk(Path::new(&disk)).unwrap();
    }
    let unshare = |script: &str, args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).args(args);
        command
    };
    let disk = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=2m none \"$0\"";
    let at = disk.path().to_str().unwrap();
    if !unshare(mount, &[at]).status().is_ok_and(|status| status.success()) {
        return eprintln!("not tested: this machine lets nobody mount a small disk");
    }
    let exe = std::env::current_exe().unwrap();
    let test = "checkpoints::a_full_disk_fails_checkpoints_and_nothing_else";
    let args = [at, exe.to_str().unwrap(), "--exact", test, "--nocapture"];
    let done = unshare(&format!("{mount} && exec \"$@\""), &args).env(SMALL_DISK, at).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
}

fn on_a_small_disk(disk: &Path) -> Result<()> {
    let out = tempfile::tempdir().unwrap();
    let job = counting(out.path(), u64::MAX, Checkpoints::every(MOMENT)).start(&RunOptions::in_dir(disk))?;
    until("a checkpoint", || epochs(&job) > 0);
    let fill = disk.join("fill");
    let mut file = fs::File::create(&fill).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    let failed = job.status().failed_checkpoints;
    until("checkpoints fail", || job.status().failed_checkpoints > failed + 3);
    // What was in use when the disk filled up is freed by the job's own sweeping, and taken again.
    while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    until("checkpoints fail", || job.status().failed_checkpoints > failed + 6);
    let status = job.status();
    let why = status.last_checkpoint_failure.unwrap().error;
    let (epoch, rest) = why.strip_prefix("epoch ").unwrap().split_once(' ').unwrap();
    assert!(epoch.parse::<u64>().is_ok(), "{why}");
    let wanted = format!("is given up: no space is left for {}/counting/checkpoints/", disk.display());
    assert!(rest.starts_with(&wanted), "{why}");
    let read = status.operators[0].records_out;
    until("records flow", || job.status().operators[0].records_out > read + 10_000);
    let last = PathBuf::from(status.last_checkpoint.unwrap().path);
    assert!(verify(&Savepoint::open(&last)?, Depth::Full).problems.is_empty());
    drop(file);
    fs::remove_file(fill).unwrap();
    let before = epochs(&job);
    until("checkpoints are taken again", || epochs(&job) > before + 2);
    job.end();
    let end = job.wait()?;
    let left = names(&disk.join("counting/checkpoints"));
    assert_eq!(left.len(), 1, "nothing is left of those that failed: {left:?}");
    assert!(verify(&Savepoint::open(end.image.unwrap())?, Depth::Full).problems.is_empty());
    let all = written(out.path());
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    Ok(())
}
