//! The job `alarm` in its three releases. Each is given where events come from and where alarms go: `main` gives it
//! files, a test what it has in memory.

use crate::alarm::{
    ActivationToV2, ActivationToV3, ActivationV1, ActivationV2, ActivationV3, ArmedBy, USUAL_TOLERANCE_MS,
};
use pitlane::connectors::{Sink, Source};
use pitlane::engine::{Checkpoints, Job, KeyedStream, Watermarks};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody turned its alarm on.
    Activate,
    /// Somebody turned its alarm off.
    Deactivate,
    /// Something moved.
    Motion,
}

/// What the alarm system sends; who and which tolerance only if somebody said so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// Where.
    pub room: i32,
    /// When.
    pub time_ms: i64,
    /// Who turned the alarm on or off.
    pub by: Option<String>,
    /// How long motion is to be put up with from now on.
    pub tolerance_ms: Option<i64>,
}

/// The alarm goes off in a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alarm {
    /// Where something moved.
    pub room: i32,
    /// When.
    pub time_ms: i64,
    /// Who turned it on; known from release 3 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub armed_by: Option<String>,
}

fn job(release: &str) -> Job {
    Job::new("alarm").release(release).checkpoints(Checkpoints::every(Duration::from_secs(1)))
}

/// Returns the events of each room; as many a second as `per_second` says, if it does.
pub fn rooms(
    job: &Job,
    sensors: impl Source<Item = Event> + Sync,
    per_second: Option<f64>,
) -> KeyedStream<i32, Event> {
    let events =
        job.source(sensors).uid("sensors").watermarks(Watermarks::ascending(), |event| event.time_ms);
    let events = match per_second {
        Some(rate) => events.rate(rate),
        None => events,
    };
    events.key_by(|event| event.room)
}

/// Release 1: any motion in a room whose alarm is on sets it off.
pub fn alarm_v1(
    sensors: impl Source<Item = Event> + Sync,
    per_second: Option<f64>,
    alarms: impl Sink<Alarm> + Sync,
) -> Job {
    let job = job("1");
    rooms(&job, sensors, per_second)
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
        .sink(alarms)
        .uid("alarms");
    job
}

/// Release 2: motion is put up with for a while after the alarm was turned on, as long as the room asks for.
pub fn alarm_v2(
    sensors: impl Source<Item = Event> + Sync,
    per_second: Option<f64>,
    alarms: impl Sink<Alarm> + Sync,
) -> Job {
    let job = job("2");
    rooms(&job, sensors, per_second)
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
        .sink(alarms)
        .uid("alarms");
    job
}

/// Release 3: also says who turned the alarm on.
pub fn alarm_v3(
    sensors: impl Source<Item = Event> + Sync,
    per_second: Option<f64>,
    alarms: impl Sink<Alarm> + Sync,
) -> Job {
    let job = job("3");
    rooms(&job, sensors, per_second)
        .flat_map_with_state(heed_v3)
        .uid("motion-alarm")
        .state_name("activation")
        .migrate(ActivationToV2)
        .migrate(ActivationToV3)
        .sink(alarms)
        .uid("alarms");
    job
}

/// What release 3 makes of an event.
pub fn heed_v3(state: &mut Option<ActivationV3>, event: Event) -> Option<Alarm> {
    match event.kind {
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
    }
}
