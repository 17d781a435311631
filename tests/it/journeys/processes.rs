//! The motion alarm through its three releases, as processes.
//!
//! Two migrations in a chain, over state that release 2 may not have touched: what comes out equals what plain
//! code makes of the same events.

use super::Dice;
use super::alarm::{Plain, Release};
use crate::alarm_jobs::{Alarm, Event};
use crate::stage::{Place, Running, Stage};
use pitlane::savepoint::Savepoint;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn input() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alarm-events.jsonl")
}

fn stage() -> Stage {
    let test = std::env::current_exe().unwrap();
    let examples = test.parent().unwrap().parent().unwrap().join("examples");
    let mut stage =
        Stage::new(Place::temporary().unwrap(), &examples.join("alarm"), &["alarm"], &input()).unwrap();
    std::os::unix::fs::symlink(examples.join("pit_stop"), stage.path().join("pitlane")).unwrap();
    stage.set("ALARM_INPUT", "alarm-events.jsonl");
    stage.set("ALARM_OUT", "out");
    set_rate(&mut stage, 60);
    stage
}

/// Sets how many events a second the jobs read that are started from here on.
fn set_rate(stage: &mut Stage, events_per_s: u32) {
    stage.set("ALARM_RATE", &events_per_s.to_string());
}

fn start(stage: &Stage, release: &str, workers: &str, from: Option<&str>) -> Running {
    let from = from.map(|savepoint| ["--from", savepoint]);
    start_with(stage, release, workers, "40", from.as_ref().map_or(&[], |from| &from[..]))
}

fn start_with(stage: &Stage, release: &str, workers: &str, interval_ms: &str, more: &[&str]) -> Running {
    let args = [release, "run", "--checkpoint-interval-ms", interval_ms, "--workers", workers];
    stage.start("alarm", &[&args, more].concat()).unwrap()
}

/// Stops the job after so many events; returns the savepoint, and how many it were.
fn stop_after(stage: &Stage, mut running: Running, events: u64, path: &str) -> u64 {
    stage.wait_for_rows(&mut running, events).unwrap();
    stage.expect(0, "pitlane", &["stop", "alarm", "--path", path]).unwrap();
    running.wait_well().unwrap();
    Savepoint::open(stage.path().join(path)).unwrap().manifest().sources[0].positions[0].records
}

/// What was told of each room, in this order.
fn by_room(alarms: impl IntoIterator<Item = Alarm>) -> BTreeMap<i32, Vec<Alarm>> {
    let mut rooms: BTreeMap<i32, Vec<Alarm>> = BTreeMap::new();
    alarms.into_iter().for_each(|alarm| rooms.entry(alarm.room).or_default().push(alarm));
    rooms
}

fn written(stage: &Stage) -> BTreeMap<i32, Vec<Alarm>> {
    let files = std::fs::read_dir(stage.path().join("out")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    by_room(text.lines().map(|line| serde_json::from_str(line).unwrap()))
}

/// What plain code makes of the events, read by release 1, from event `second` on by release 2, from `third` on by
/// release 3.
fn expected(second: u64, third: u64) -> BTreeMap<i32, Vec<Alarm>> {
    let text = std::fs::read_to_string(input()).unwrap();
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let begins = [(0, Release::V1), (second as usize, Release::V2), (third as usize, Release::V3)];
    by_room(Plain::of(&events, &begins).alarms)
}

#[test]
fn release_3_takes_over_from_release_1_by_two_migrations() {
    let mut stage = stage();
    let change = stop_after(&stage, start(&stage, "v1", "2", None), 40, "one");
    set_rate(&mut stage, 10_000);
    start(&stage, "v3", "1", Some("one")).wait_well().unwrap();
    assert_eq!(written(&stage), expected(change, change));
}

#[test]
fn each_release_takes_over_from_the_one_before_with_rooms_as_the_first_left_them() {
    let mut stage = stage();
    let second = stop_after(&stage, start(&stage, "v1", "1", None), 40, "one");
    set_rate(&mut stage, 5);
    let third = stop_after(&stage, start(&stage, "v2", "3", Some("one")), second + 1, "two");
    let half_way = Savepoint::open(stage.path().join("two")).unwrap();
    let rooms = half_way.operator("motion-alarm").unwrap().state("activation").unwrap();
    assert_eq!(rooms.entry().schemas.len(), 2, "so few events cannot have touched every room");
    set_rate(&mut stage, 10_000);
    start(&stage, "v3", "2", Some("two")).wait_well().unwrap();
    assert_eq!(written(&stage), expected(second, third));
}

#[test]
fn kill_9_while_images_are_written_before_there_is_one_and_in_a_migration_loses_and_repeats_nothing() {
    for seed in 1..=2 {
        let mut dice = Dice::new(seed);
        let mut stage = stage();
        set_rate(&mut stage, 200);
        let mut killed = |mut running: Running| {
            std::thread::sleep(Duration::from_millis(40 + dice.below(200)));
            // It may have been through before.
            if running.kill().unwrap() {
                running.wait_well().unwrap();
            }
        };
        killed(start_with(&stage, "v1", "2", "4", &[]));
        killed(start_with(&stage, "v1", "3", "4", &[]));
        let change = stop_after(&stage, start(&stage, "v1", "1", None), 1, "one");
        let far_off = "3600000";
        killed(start_with(&stage, "v3", "2", far_off, &["--from", "one"]));
        killed(start_with(&stage, "v3", "3", far_off, &[]));
        killed(start_with(&stage, "v3", "1", "4", &["--sweep", "old,5"]));
        set_rate(&mut stage, 10_000);
        start(&stage, "v3", "2", None).wait_well().unwrap();
        assert_eq!(written(&stage), expected(change, change), "seed {seed}");
    }
}
