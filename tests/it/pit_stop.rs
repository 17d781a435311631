//! The flights' jobs as processes: stopped, killed, fenced off, refused, and taken over by their next release.
//!
//! Whatever happens to them, their output and their final state are those of plain code over the same CSV.

use crate::oracle;
use crate::outcome::{difference, read};
use crate::stage::{Place, Running, Stage, files_below};
use pitlane::savepoint::{Depth, Savepoint, verify};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The exit status of an attempt that a newer one has fenced off.
const FENCED: i32 = 71;
/// The number of rows of the input.
const ROWS: u64 = 27_004;

fn input() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/flights-2013-01.csv.gz")
}

/// Makes a place to run the jobs in, with the example that `cargo test` has built beside this test.
fn stage(rows_per_s: u32) -> Stage {
    let test = std::env::current_exe().unwrap();
    let example = test.parent().unwrap().parent().unwrap().join("examples/pit_stop");
    assert!(example.exists(), "{} is missing: cargo build --example pit_stop", example.display());
    let programs = ["pitlane", "flights_v1", "flights_v2", "flights_bad"];
    let mut stage = Stage::new(Place::temporary().unwrap(), &example, &programs, &input()).unwrap();
    set_rate(&mut stage, rows_per_s);
    stage
}

/// Sets how fast the jobs read that are started from here on: slowly where there is to be time to act.
fn set_rate(stage: &mut Stage, rows_per_s: u32) {
    stage.set("FLIGHTS_RATE", &rows_per_s.to_string());
}

fn start(stage: &Stage, program: &str, workers: u64) -> Running {
    start_with(stage, program, workers, &[])
}

fn start_with(stage: &Stage, program: &str, workers: u64, more: &[&str]) -> Running {
    let workers = workers.to_string();
    let args = [&["run", "--checkpoint-interval-ms", "50", "--workers", &workers], more].concat();
    stage.start(program, &args).unwrap()
}

/// Stops the running job once it has read so many rows; returns the savepoint.
fn stop_after(stage: &Stage, running: &mut Running, rows: u64) -> PathBuf {
    stage.wait_for_rows(running, rows).unwrap();
    stage.expect(0, "pitlane", &["stop", "flights"]).unwrap();
    running.wait_well().unwrap();
    stage.last_savepoint().unwrap()
}

fn rows_read(savepoint: &Path) -> u64 {
    let savepoint = Savepoint::open(savepoint).unwrap();
    savepoint.manifest().sources[0].positions[0].records
}

/// Checks what there is at the end of the input against plain code; `change` is where release 2 began.
fn assert_right(stage: &Stage, change: Option<u64>, what: &str) {
    let last = stage.last_image().unwrap();
    assert_eq!(rows_read(&last), ROWS, "{what}");
    let report = verify(&Savepoint::open(&last).unwrap(), Depth::Full);
    assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
    let found = read(&stage.path().join("out"), &last, change.is_some()).unwrap();
    let difference = difference(&found, &oracle::outcome(&input(), change));
    assert_eq!(difference, None, "{what}");
}

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Kills the job some time after it started, up to `times` times.
fn kill_and_run_again(
    stage: &Stage,
    program: &str,
    mut running: Running,
    times: u32,
    dice: &mut Dice,
) -> Running {
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(20 + dice.below(500)));
        if running.kill().unwrap() {
            break;
        }
        running = start(stage, program, 1 + dice.below(3));
    }
    running
}

#[test]
fn a_release_that_cannot_take_over_is_refused_and_nothing_is_touched() {
    let stage = stage(4_000);
    let mut first = start(&stage, "flights_v1", 2);
    let savepoint = stop_after(&stage, &mut first, 3_000);
    let savepoint = savepoint.to_str().unwrap();
    let seen = || files_below(stage.path()).unwrap();
    let before = seen();
    let planned = stage.expect(1, "pitlane", &["plan", savepoint, "./flights_bad"]).unwrap();
    assert!(planned.stdout.contains("found u32, wanted bool"), "{}", planned.stdout);
    for args in [&["run", "--from", savepoint][..], &["run"]] {
        let refused = stage.expect(2, "flights_bad", args).unwrap();
        let error = "error: operator `aircraft`, state `state`: value.alerts: found u32, wanted bool: \
                     no rule leads from u32 to bool, in ";
        assert!(refused.stderr.starts_with(error), "{}", refused.stderr);
        let (rows, hint) = (" of version 1\n", "\nhint: keep `u32`, or register a migration");
        assert!(refused.stderr.contains(rows) && refused.stderr.contains(hint), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
        assert!(before == seen(), "a refused job has touched something");
    }
}

#[test]
fn of_two_attempts_the_older_is_fenced_off_and_the_output_is_right() {
    let mut stage = stage(4_000);
    let mut older = start(&stage, "flights_v1", 2);
    stage.wait_for_rows(&mut older, 2_000).unwrap();
    set_rate(&mut stage, 50_000);
    let mut newer = start(&stage, "flights_v1", 1);
    assert_eq!(older.wait().unwrap(), Some(FENCED), "{}", older.log());
    assert!(older.log().contains("hint:"), "{}", older.log());
    newer.wait_well().unwrap();
    assert_right(&stage, None, "two attempts");
}

#[test]
fn release_2_goes_on_where_release_1_stopped_on_any_number_of_workers() {
    for (seed, workers) in [(1, [1, 2, 3]), (2, [2, 3, 1]), (3, [3, 1, 2])] {
        let mut dice = Dice(seed);
        let what = format!("seed {seed}, workers {workers:?}");
        let mut stage = stage(5_000);
        let mut first = start(&stage, "flights_v1", workers[0]);
        let savepoint = stop_after(&stage, &mut first, dice.below(ROWS / 3));
        let change = rows_read(&savepoint);
        let from = ["--from", savepoint.to_str().unwrap()];
        let mut second = start_with(&stage, "flights_v2", workers[1], &from);
        let half_way = stop_after(&stage, &mut second, change + dice.below(3_000));
        // What was not touched yet is still there as release 1 wrote it.
        let aircraft = Savepoint::open(&half_way).unwrap();
        let aircraft = aircraft.operator("aircraft").unwrap().state("state").unwrap();
        assert_eq!(aircraft.entry().schemas.len(), 2, "{what}");
        set_rate(&mut stage, 50_000);
        let from = ["--from", half_way.to_str().unwrap()];
        start_with(&stage, "flights_v2", workers[2], &from).wait_well().unwrap();
        assert_right(&stage, Some(change), &what);
    }
}

#[test]
fn jobs_that_are_killed_at_any_time_lose_and_repeat_nothing() {
    for seed in 1..=4 {
        let mut dice = Dice(seed);
        let what = format!("seed {seed}");
        let mut stage = stage(5_000);
        let running = start(&stage, "flights_v1", 1 + dice.below(3));
        let mut first = kill_and_run_again(&stage, "flights_v1", running, 4, &mut dice);
        if seed % 2 == 0 {
            first.wait_well().unwrap();
            assert_right(&stage, None, &what);
            continue;
        }
        let change = rows_read(&stop_after(&stage, &mut first, 1));
        set_rate(&mut stage, 10_000);
        let running = start(&stage, "flights_v2", 1 + dice.below(3));
        kill_and_run_again(&stage, "flights_v2", running, 5, &mut dice).wait_well().unwrap();
        assert_right(&stage, Some(change), &what);
    }
}
