//! The motion alarm through its three releases, as processes.
//!
//! Two migrations in a chain, over state that release 2 may not have touched: what comes out equals what plain
//! code makes of the same events.

use crate::stage::{Place, Running, Stage};
use pitlane::savepoint::Savepoint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    let args = [release, "run", "--checkpoint-interval-ms", "40", "--workers", workers];
    let from = from.map(|savepoint| ["--from", savepoint]);
    stage.start("alarm", &[&args[..], from.as_ref().map_or(&[], |from| &from[..])].concat()).unwrap()
}

/// Stops the job after so many events; returns the savepoint, and how many it were.
fn stop_after(stage: &Stage, mut running: Running, events: u64, path: &str) -> u64 {
    stage.wait_for_rows(&mut running, events).unwrap();
    stage.expect(0, "pitlane", &["stop", "alarm", "--path", path]).unwrap();
    running.wait_well().unwrap();
    Savepoint::open(stage.path().join(path)).unwrap().manifest().sources[0].positions[0].records
}

/// What a room is like, for the newest release and all before.
#[derive(Clone, Default)]
struct Room {
    armed: bool,
    since: i64,
    /// In release 1 there is none.
    tolerance: Option<i64>,
    /// Somebody may have armed it whose name was not kept.
    by: Option<String>,
}

/// Sets off alarms as release 1 does, from event `second` on as release 2, from `third` on as release 3.
fn alarms(second: u64, third: u64) -> BTreeMap<i64, Vec<Value>> {
    let mut rooms: BTreeMap<i64, Room> = BTreeMap::new();
    let mut alarms: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    let text = std::fs::read_to_string(input()).unwrap();
    for (number, line) in (0..).zip(text.lines()) {
        let event: Value = serde_json::from_str(line).unwrap();
        let (room, now) = (event["room"].as_i64().unwrap(), event["time_ms"].as_i64().unwrap());
        let release = 1 + u8::from(number >= second) + u8::from(number >= third);
        let state = rooms.get(&room).cloned();
        if event["kind"] == "motion" {
            let Some(state) = state.filter(|state| state.armed) else { continue };
            if release == 1 || now - state.since > state.tolerance.unwrap_or(30_000) {
                let mut alarm = json!({"room": room, "time_ms": now});
                if let (3, Some(by)) = (release, state.by) {
                    alarm["armed_by"] = json!(by);
                }
                alarms.entry(room).or_default().push(alarm);
            }
            continue;
        }
        let mut next = Room { armed: event["kind"] == "activate", since: now, ..Room::default() };
        if release > 1 {
            next.tolerance = event["tolerance_ms"].as_i64().or(state.and_then(|state| state.tolerance));
        }
        if release > 2 {
            next.by = event["by"].as_str().filter(|_| next.armed).map(str::to_owned);
        }
        rooms.insert(room, next);
    }
    alarms
}

fn written(out: &Path) -> BTreeMap<i64, Vec<Value>> {
    let mut files: Vec<_> = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    let mut alarms: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for file in files {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let alarm: Value = serde_json::from_str(line).unwrap();
            alarms.entry(alarm["room"].as_i64().unwrap()).or_default().push(alarm);
        }
    }
    alarms
}

#[test]
fn release_3_takes_over_from_release_1_by_two_migrations() {
    let mut stage = stage();
    let change = stop_after(&stage, start(&stage, "v1", "2", None), 40, "one");
    set_rate(&mut stage, 10_000);
    start(&stage, "v3", "1", Some("one")).wait_well().unwrap();
    assert_eq!(written(&stage.path().join("out")), alarms(change, change));
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
    assert_eq!(written(&stage.path().join("out")), alarms(second, third));
}
