//! Jobs as processes: restarted when they fail, ended by signals, run in the background.
//!
//! Each job is this test binary once more, in which only [`the_job_of_the_other_tests`] runs.

use pitlane::connectors::{FileSink, Generator};
use pitlane::control::RunDir;
use pitlane::control::client::{self, RunningJob};
use pitlane::engine::{Checkpoints, Job, Restart};
use pitlane::savepoint::Savepoint;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RECORDS: u64 = 4_000;
const DIR: &str = "PITLANE_TEST_JOB_DIR";
const ARGS: &str = "PITLANE_TEST_JOB_ARGS";
/// The records a second of the jobs that are to have time for something to happen to them.
const SLOWLY: &str = "PITLANE_TEST_JOB_SLOWLY";
/// What happens at the record of this number, once for each line in the file `mishaps`: `panic`, `abort`, `nothing`.
const FATEFUL: u64 = 2_000;

#[test]
fn the_job_of_the_other_tests() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let args = std::env::var(ARGS).unwrap();
    let mishaps = dir.join("mishaps");
    let job = Job::new("fragile")
        .checkpoints(Checkpoints::every(Duration::from_millis(20)))
        .restart(Restart::fixed_delay(Duration::from_millis(50)).attempts(9));
    job.source(Generator::new(1, RECORDS, |_, n| n))
        .uid("numbers")
        .rate(if std::env::var_os(SLOWLY).is_some() { 300.0 } else { 8_000.0 })
        .key_by(|n| n % 10)
        .flat_map_with_state(move |count: &mut Option<u64>, n| {
            if n == FATEFUL {
                meet_with_the_next(&mishaps);
            }
            *count = Some(count.unwrap_or(0) + 1);
            Some(n)
        })
        .uid("picky")
        .sink(FileSink::json_lines(dir.join("out")))
        .uid("out");
    let status = job.run_command_line(["job"].into_iter().chain(args.split('\n')).map(OsString::from));
    std::process::exit(status.into());
}

fn meet_with_the_next(mishaps: &Path) {
    let left = fs::read_to_string(mishaps).unwrap_or_default();
    let (next, rest) = left.split_once('\n').unwrap_or((left.as_str(), ""));
    fs::write(mishaps, rest).unwrap();
    match next {
        "panic" => panic!("2000 is too much"),
        "abort" => std::process::abort(),
        _ => {}
    }
}

/// A directory for one job, and what is run there.
struct Place(TempDir);

impl Place {
    fn new(mishaps: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mishaps"), mishaps.join("\n")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let places =
            ["--data", self.0.path().to_str().unwrap(), "--run-dir", self.0.path().to_str().unwrap()];
        command
            .args(["supervisor::the_job_of_the_other_tests", "--exact", "--nocapture"])
            .env(DIR, self.0.path())
            .env(ARGS, [args, &places].concat().join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a job that reads slowly.
    fn start(&self, args: &[&str]) -> Running {
        Running(Some(self.command(args).env(SLOWLY, "").spawn().unwrap()))
    }

    /// Runs it to its end; returns the exit status and what it said.
    fn run(&self, args: &[&str]) -> (i32, String) {
        Running(Some(self.command(args).spawn().unwrap())).wait()
    }

    /// Waits for the job to run, and to have committed an epoch.
    fn find(&self) -> RunningJob {
        let began = Instant::now();
        loop {
            match client::find(&RunDir::at(self.0.path()), "fragile") {
                Ok(job) if job.status().last_checkpoint.is_some() => return job,
                answer => assert!(began.elapsed() < Duration::from_secs(60), "{answer:?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The records that are visible, in order.
    fn written(&self) -> Vec<u64> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.path("out")).into_iter().flatten().flatten() {
            if entry.path().is_file() {
                let text = fs::read_to_string(entry.path()).unwrap();
                records.extend(text.lines().map(|line| line.parse::<u64>().unwrap()));
            }
        }
        records.sort();
        records
    }

    fn assert_whole(&self) {
        assert!(self.written().into_iter().eq(0..RECORDS), "{:?}", self.written());
    }
}

struct Running(Option<Child>);

impl Running {
    fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn wait(mut self) -> (i32, String) {
        let done = self.0.take().unwrap().wait_with_output().unwrap();
        (done.status.code().unwrap_or(-1), String::from_utf8(done.stderr).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a test that fails leaves it running.
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The first line of `said` that starts with `error:`, and those that start so.
fn errors(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with("error: ")).collect()
}

#[test]
fn a_job_that_cannot_start_is_refused_once_and_not_restarted() {
    let place = Place::new(&[]);
    let (status, said) = place.run(&["run", "--workers", "200"]);
    assert_eq!((status, errors(&said)), (2, vec!["error: job `fragile`: 200 workers for 128 key groups"]));
    assert!(!said.contains("restarted"), "{said}");
    let (status, said) = place.run(&["run", "--restart", "always"]);
    assert_eq!(status, 2);
    assert!(said.contains("found the strategy `always`, wanted never, fixed, exponential or rate"), "{said}");
    let (status, said) = place.run(&["run", "--from", "/no/such/savepoint", "--restart"]);
    assert_eq!((status, errors(&said).len()), (2, 1), "{said}");
}

#[test]
fn without_a_supervisor_a_failure_is_the_end() {
    let place = Place::new(&["panic"]);
    let (status, said) = place.run(&["run", "--restart", "never"]);
    assert_eq!(status, 73);
    assert_eq!(errors(&said).len(), 1, "{said}");
    assert!(errors(&said)[0].starts_with("error: operator `picky` "), "{said}");
    let (status, _) = place.run(&["run", "--restart", "never"]);
    assert_eq!(status, 0);
    place.assert_whole();
}

#[test]
fn a_job_that_panics_and_aborts_is_restarted_and_its_output_is_whole() {
    let place = Place::new(&["panic", "abort", "panic", "nothing"]);
    let (status, said) = place.run(&["run", "--workers", "2"]);
    assert_eq!(status, 0, "{said}");
    place.assert_whole();
    assert!(said.contains("(restart 3): operator `picky` "), "{said}");
    assert!(said.contains("(restart 2): the process was killed by signal 6 (SIGABRT)"), "{said}");
    let first = said.lines().find(|line| line.contains("error: ") || line.contains("warning: ")).unwrap();
    assert!(
        first.contains("operator `picky` ") && first.contains("2000 is too much"),
        "the root cause first: {said}"
    );
}

#[test]
fn a_supervisor_gives_up_with_the_cause_and_its_status() {
    let place = Place::new(&["panic", "panic", "panic", "panic"]);
    let (status, said) = place.run(&["run", "--restart", "fixed,delay=1ms,attempts=2"]);
    assert_eq!(status, 73);
    let last = errors(&said).pop().unwrap();
    assert!(
        last.starts_with(
            "error: job `fragile` is given up, it was restarted twice already: operator `picky` "
        )
    );
    assert_eq!(errors(&said).len(), 4, "one for each attempt, and the supervisor's: {said}");
}

#[test]
fn a_killed_process_is_replaced_by_one_that_goes_on_and_tells_of_it() {
    let place = Place::new(&[]);
    let running = place.start(&["run", "--workers", "2"]);
    let first = place.find();
    assert_eq!(first.status().supervisor_pid, Some(running.id()));
    signal("KILL", first.status().pid);
    let second = loop {
        let job = place.find();
        if job.status().pid != first.status().pid {
            break job;
        }
    };
    let status = second.status();
    assert_eq!((status.restarts, status.attempt), (1, first.status().attempt + 1));
    let cause = &status.last_failure.as_ref().unwrap().error;
    assert_eq!(cause, "the process was killed by signal 9 (SIGKILL)");
    signal("TERM", running.id());
    assert_eq!(running.wait().0, 0);
    assert_eq!(place.run(&["run"]).0, 0);
    place.assert_whole();
}

#[test]
fn an_attempt_that_is_fenced_off_is_not_restarted() {
    let place = Place::new(&[]);
    let old = place.start(&["run"]);
    place.find();
    let new = place.start(&["run"]);
    let (status, said) = old.wait();
    signal("INT", new.id());
    assert_eq!(status, 71);
    assert!(
        said.contains("error: attempt 1 of job `fragile` is fenced off: attempt 2 has taken over"),
        "{said}"
    );
    assert_eq!(new.wait().0, 0);
    assert_eq!(place.run(&["run"]).0, 0);
    place.assert_whole();
}

#[test]
fn a_restart_goes_on_from_the_last_checkpoint_and_not_from_where_the_job_was_started() {
    let place = Place::new(&[]);
    let running = place.start(&["run"]);
    let path = place.path("before").display().to_string();
    let request = pitlane::control::StopRequest {
        savepoint: pitlane::control::SavepointRequest { path: Some(path.clone()), ..Default::default() },
        ..Default::default()
    };
    place.find().stop(&request).unwrap();
    assert_eq!(running.wait().0, 0);
    let before = place.written().len() as u64;
    assert!(before < FATEFUL, "{before}");
    fs::write(place.path("mishaps"), "panic\nnothing").unwrap();
    let (status, said) = place.run(&["run", "--from", &path]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("(restart 1)"), "{said}");
    place.assert_whole();
}

#[test]
fn signals_end_the_job_after_a_last_checkpoint_and_the_next_run_goes_on() {
    let place = Place::new(&[]);
    for (args, name) in [(&["run"][..], "TERM"), (&["run", "--restart", "never"], "INT")] {
        let running = place.start(args);
        let image = PathBuf::from(&place.find().status().last_checkpoint.as_ref().unwrap().path);
        signal(name, running.id());
        let (status, said) = running.wait();
        assert_eq!(status, 0, "{said}");
        assert!(said.contains("job `fragile` is stopped; last image: "), "{said}");
        assert!(!image.exists(), "a later checkpoint has replaced it");
    }
    assert!((place.written().len() as u64) < RECORDS);
    assert_eq!(place.run(&["run"]).0, 0);
    place.assert_whole();
    let checkpoints = fs::read_dir(place.path("fragile/checkpoints")).unwrap().count();
    assert_eq!(
        (checkpoints, place.path("fragile/savepoints").exists()),
        (1, false),
        "nothing is left lying about"
    );
}

#[test]
fn an_attempt_whose_supervisor_is_killed_ends_in_good_order() {
    let place = Place::new(&[]);
    let mut running = place.start(&["run"]);
    let job = place.find();
    let child = running.0.as_mut().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The attempt holds the pipe until it ends.
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("job `fragile` is stopped; last image: "), "{said}");
    assert!(client::list(&RunDir::at(place.0.path())).unwrap().is_empty(), "{job:?}");
    assert_eq!(place.run(&["run"]).0, 0);
    place.assert_whole();
}

#[test]
fn a_job_in_the_background_is_told_by_its_id_once_it_runs() {
    let place = Place::new(&[]);
    let launcher = place.command(&["run", "--detach"]).env(SLOWLY, "").output().unwrap();
    let (out, err) =
        (String::from_utf8(launcher.stdout).unwrap(), String::from_utf8(launcher.stderr).unwrap());
    assert!(launcher.status.success(), "{err}");
    // The test harness may have begun the line.
    assert!(out.lines().any(|line| line.ends_with("fragile-1")), "{out}");
    let log = err.trim_end().strip_prefix("runs in the background; log: ").unwrap_or_else(|| panic!("{err}"));
    let job = place.find();
    assert!(job.status().supervisor_pid.is_some());
    let done = job.stop(&Default::default()).unwrap();
    assert!(Savepoint::open(&done.path).is_ok());
    let began = Instant::now();
    let is_told = || fs::read_to_string(log).unwrap().contains("job `fragile` is stopped; last image: ");
    while !is_told() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_that_does_not_run_in_the_background_says_why() {
    let place = Place::new(&[]);
    for restart in ["never", "fixed"] {
        let args = ["run", "--detach", "--restart", restart, "--workers", "200"];
        let (status, said) = place.run(&args);
        assert_eq!(status, 2, "{said}");
        assert!(
            said.starts_with("error: job `fragile`: 200 workers for 128 key groups\nhint: start with"),
            "{said}"
        );
    }
}

#[test]
fn the_log_is_json_if_it_is_asked_for_and_the_cause_is_in_it() {
    let place = Place::new(&["panic"]);
    let mut command = place.command(&["run", "--restart", "never", "--log", "json"]);
    let done = command.env("PITLANE_LOG", "debug").output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    let lines: Vec<serde_json::Value> =
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let has = |level: &str, words: &str| {
        lines.iter().any(|l| l["level"] == level && l["message"].as_str().is_some_and(|m| m.contains(words)))
    };
    assert!(has("INFO", "job `fragile`, release 1, runs as fragile-1 on "), "{said}");
    assert!(has("DEBUG", "checkpoint of epoch 1: "), "{said}");
    assert!(has("ERROR", "2000 is too much"), "{said}");
    let checkpoint = lines.iter().find(|l| l["level"] == "DEBUG" && l["epoch"] == 1).unwrap();
    assert_eq!(
        (&checkpoint["span"]["job"], &checkpoint["span"]["id"]),
        (&"fragile".into(), &"fragile-1".into())
    );
    let done = place.command(&["run"]).env("PITLANE_LOG", "loud").output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.starts_with("error: PITLANE_LOG: found `loud`, wanted a level"), "{said}");
}
