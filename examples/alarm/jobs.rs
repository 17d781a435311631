//! The job `alarm` in its three releases.

use crate::alarm::{
    ActivationToV2, ActivationToV3, ActivationV1, ActivationV2, ActivationV3, ArmedBy, USUAL_TOLERANCE_MS,
};
use pitlane::connectors::{FileSink, JsonLines};
use pitlane::engine::{Checkpoints, Job, KeyedStream, Watermarks};
use serde::{Deserialize, Serialize};
use std::env;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Activate,
    Deactivate,
    Motion,
}

/// What the alarm system sends; who and which tolerance only if somebody said so.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Event {
    kind: Kind,
    room: i32,
    time_ms: i64,
    by: Option<String>,
    tolerance_ms: Option<i64>,
}

/// The alarm goes off in a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Alarm {
    room: i32,
    time_ms: i64,
    /// Who turned it on; known from release 3 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    armed_by: Option<String>,
}

fn job(release: &str) -> Job {
    Job::new("alarm").release(release).checkpoints(Checkpoints::every(Duration::from_secs(1)))
}

/// The events of each room.
fn rooms(job: &Job) -> KeyedStream<i32, Event> {
    let input = env::var("ALARM_INPUT").unwrap_or_else(|_| "fixtures/alarm-events.jsonl".to_owned());
    let rate = env::var("ALARM_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(10.0);
    job.source(JsonLines::<Event>::new(input))
        .uid("sensors")
        .watermarks(Watermarks::ascending(), |event| event.time_ms)
        .rate(rate)
        .key_by(|event| event.room)
}

fn output() -> FileSink {
    FileSink::json_lines(env::var("ALARM_OUT").unwrap_or_else(|_| "alarm-out".to_owned()))
}

/// Release 1: any motion in a room whose alarm is on sets it off.
pub(crate) fn alarm_v1() -> Job {
    let job = job("1");
    rooms(&job)
        .flat_map_with_state(|state: &mut Option<ActivationV1>, event| match event.kind {
            Kind::Activate => {
                *state = Some((true, event.time_ms));
                None
            }
            Kind::Deactivate => {
                *state = Some((false, event.time_ms));
                None
            }
            Kind::Motion => {
                let (armed, _) = state.unwrap_or((false, -1));
                armed.then_some(Alarm { room: event.room, time_ms: event.time_ms, armed_by: None })
            }
        })
        .uid("motion-alarm")
        .state_name("activation")
        .sink(output())
        .uid("alarms");
    job
}

/// Release 2: motion is put up with for a while after the alarm was turned on, as long as the room asks for.
pub(crate) fn alarm_v2() -> Job {
    let job = job("2");
    rooms(&job)
        .flat_map_with_state(|state: &mut Option<ActivationV2>, event| match event.kind {
            Kind::Activate | Kind::Deactivate => {
                let kept = state.as_ref().map_or(USUAL_TOLERANCE_MS, |room| room.tolerance_ms);
                let tolerance_ms = event.tolerance_ms.unwrap_or(kept);
                let armed = event.kind == Kind::Activate;
                *state = Some(ActivationV2 { armed, at_ms: event.time_ms, tolerance_ms });
                None
            }
            Kind::Motion => state
                .as_ref()
                .filter(|room| room.armed && event.time_ms - room.at_ms > room.tolerance_ms)
                .map(|_| Alarm { room: event.room, time_ms: event.time_ms, armed_by: None }),
        })
        .uid("motion-alarm")
        .state_name("activation")
        .migrate(ActivationToV2)
        .sink(output())
        .uid("alarms");
    job
}

/// Release 3: also says who turned the alarm on.
pub(crate) fn alarm_v3() -> Job {
    let job = job("3");
    rooms(&job)
        .flat_map_with_state(|state: &mut Option<ActivationV3>, event| match event.kind {
            Kind::Activate | Kind::Deactivate => {
                let kept = state.as_ref().map_or(USUAL_TOLERANCE_MS, |room| room.tolerance_ms);
                let tolerance_ms = event.tolerance_ms.unwrap_or(kept);
                let armed = event.kind == Kind::Activate;
                let armed_by = match event.by {
                    _ if !armed => ArmedBy::Nobody,
                    Some(person) => ArmedBy::Person(person),
                    None => ArmedBy::Unknown,
                };
                *state = Some(ActivationV3 { armed, at_ms: event.time_ms, tolerance_ms, armed_by });
                None
            }
            Kind::Motion => state
                .as_ref()
                .filter(|room| room.armed && event.time_ms - room.at_ms > room.tolerance_ms)
                .map(|room| {
                    let armed_by = match &room.armed_by {
                        ArmedBy::Person(person) => Some(person.clone()),
                        ArmedBy::Nobody | ArmedBy::Unknown => None,
                    };
                    Alarm { room: event.room, time_ms: event.time_ms, armed_by }
                }),
        })
        .uid("motion-alarm")
        .state_name("activation")
        .migrate(ActivationToV2)
        .migrate(ActivationToV3)
        .sink(output())
        .uid("alarms");
    job
}
