//! The motion alarm with a filter that is told while it runs which rooms not to listen to.
//!
//! Release 1 is an alarm as simple as can be. Release 2 puts a filter in front of it that drops the motion events of
//! muted rooms, and goes on from release 1's savepoint: the alarm keeps its state, the new operator starts with none.
//! Which rooms are muted is broadcast state, which all workers have and a savepoint holds once:
//!
//!     cargo build --bins --example dynamic_filter
//!     target/debug/examples/dynamic_filter v1 run &
//!     target/debug/pitlane stop filtered-alarm
//!     target/debug/examples/dynamic_filter v2 run
//!     target/debug/pitlane list
//!
//! It reads `fixtures/alarm-events.jsonl`, ten events a second, and rules such as `{"room": 3, "muted": true}` from
//! `fixtures/alarm-rules.jsonl`; it writes to `filtered-alarm-out`.

use pitlane::BoxError;
use pitlane::connectors::{FileSink, JsonLines, Sink, Source};
use pitlane::engine::{BroadcastProcess, Context, Job, Stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// What happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody armed it.
    Activate,
    /// Somebody disarmed it.
    Deactivate,
    /// Something moved.
    Motion,
}

/// What the alarm system sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// Where.
    pub room: i32,
    /// When.
    pub time_ms: i64,
}

/// What whoever runs the alarm says of a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// The room.
    pub room: i32,
    /// Whether nothing that moves there matters.
    pub muted: bool,
}

/// Drops the motion events of muted rooms.
struct Filter;

impl BroadcastProcess<i32, Event, Rule, Event> for Filter {
    /// A room.
    type Name = i32;
    /// Muted rooms have an entry, others none.
    type Value = ();

    fn process_record(
        &mut self,
        event: Event,
        muted: &BTreeMap<i32, ()>,
        context: &mut Context<'_, i32, Event>,
    ) -> Result<(), BoxError> {
        if event.kind != Kind::Motion || !muted.contains_key(&event.room) {
            context.emit(event);
        }
        Ok(())
    }

    fn process_broadcast(&mut self, rule: Rule, muted: &mut BTreeMap<i32, ()>) -> Result<(), BoxError> {
        if rule.muted {
            muted.insert(rule.room, ());
        } else {
            muted.remove(&rule.room);
        }
        Ok(())
    }
}

/// Makes the job, of which the alarms are rooms and times; without `rules` it is release 1.
pub fn job<R: Source<Item = Rule> + Sync>(
    events: impl Source<Item = Event> + Sync,
    rules: Option<R>,
    alarms: impl Sink<(i32, i64)> + Sync,
    per_second: f64,
) -> Job {
    let job = Job::new("filtered-alarm").release(if rules.is_some() { "2" } else { "1" });
    let events = job.source(events).uid("sensors").rate(per_second);
    let heard: Stream<Event> = match rules {
        None => (*events).clone(),
        Some(rules) => {
            let rules = job.source(rules).uid("rules");
            let filtered = events
                .key_by(|event| event.room)
                .connect_broadcast(&rules.broadcast())
                .process(|_| Filter)
                .uid("filter")
                .state_name("muted");
            (*filtered).clone()
        }
    };
    heard
        .key_by(|event| event.room)
        .flat_map_with_state(|armed: &mut Option<bool>, event| {
            match event.kind {
                Kind::Activate => *armed = Some(true),
                Kind::Deactivate => *armed = None,
                Kind::Motion => {}
            }
            (event.kind == Kind::Motion && armed.is_some()).then_some((event.room, event.time_ms))
        })
        .uid("motion-alarm")
        .state_name("armed")
        .sink(alarms)
        .uid("alarms");
    job
}

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    let release = if args.len() > 1 { args.remove(1) } else { Default::default() };
    let rules = match release.to_str() {
        Some("v1") => None,
        Some("v2") => Some(JsonLines::new("fixtures/alarm-rules.jsonl")),
        _ => {
            eprintln!("error: found no release as the first argument, wanted v1 or v2");
            eprintln!("hint: dynamic_filter v1 run");
            return ExitCode::from(2);
        }
    };
    let events = JsonLines::new("fixtures/alarm-events.jsonl");
    job(events, rules, FileSink::json_lines("filtered-alarm-out"), 10.0).main_from(args)
}
