//! The job `flights`: its first release, its second, and a second one that cannot take over the first one's state.
//!
//! What they read and write, relative to where they run: `flights-2013-01.csv.gz` and `out/`, or what
//! `FLIGHTS_INPUT` and `FLIGHTS_OUT` say. `FLIGHTS_RATE` is the number of rows read a second.

use crate::flights::{AircraftBad, AircraftV1, AircraftV2, DelaysToV2, DelaysV1, DelaysV2};
use pitlane::connectors::{CsvFiles, FileSink};
use pitlane::engine::{Checkpoints, Job, SourceStream, Stream, Watermarks};
use serde::{Deserialize, Serialize};
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// How late a flight arrives that counts as delayed, in minutes.
const DELAYED_MIN: i64 = 15;
const MINUTE_MS: i64 = 60_000;

/// A row of the input, as far as it matters.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flight {
    year: i64,
    month: i64,
    day: i64,
    /// Hours and minutes, as `HHMM`.
    sched_dep_time: i64,
    dep_delay: Option<i64>,
    arr_delay: Option<i64>,
    carrier: String,
    tailnum: Option<String>,
    dest: String,
    distance: i64,
}

impl Flight {
    /// When it is due to leave.
    fn due_ms(&self) -> i64 {
        let days = days_since_1970(self.year, self.month, self.day);
        (days * 1440 + self.sched_dep_time / 100 * 60 + self.sched_dep_time % 100) * MINUTE_MS
    }

    /// When it left; when it was due to if it never did.
    fn left_ms(&self) -> i64 {
        self.due_ms() + self.dep_delay.unwrap_or(0) * MINUTE_MS
    }

    /// When the aircraft can be back at the earliest: there and back at 480 miles an hour, and 40 minutes for
    /// take-offs and landings. `None` if it never left.
    fn back_ms(&self) -> Option<i64> {
        self.dep_delay.map(|_| self.left_ms() + (40 + self.distance / 4) * MINUTE_MS)
    }
}

/// Counts the days in a calendar whose years begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    365 * year + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + day - 1 - 719_468
}

/// An aircraft was due to leave before it could be back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Alert {
    aircraft: String,
    /// Where it was still on its way from.
    from: String,
    wait_min: i64,
    /// How many such alerts there were for it, this one included.
    alerts: u32,
    /// The longest wait so far; release 1 does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_wait_min: Option<i64>,
}

fn job(release: &str) -> Job {
    Job::new("flights").release(release).checkpoints(Checkpoints::every(Duration::from_millis(500)))
}

/// The input of all releases.
fn departures(job: &Job) -> SourceStream<Flight> {
    let input = env::var("FLIGHTS_INPUT").unwrap_or_else(|_| "flights-2013-01.csv.gz".to_owned());
    let rate = env::var("FLIGHTS_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(3_000.0);
    let day = Duration::from_secs(24 * 60 * 60);
    job.source(CsvFiles::<Flight>::new(input))
        .uid("departures")
        // Rows come in order of scheduled departure; some flights left almost a day later.
        .watermarks(Watermarks::bounded(day), Flight::left_ms)
        .rate(rate)
}

fn output(name: &str) -> FileSink {
    let out = env::var_os("FLIGHTS_OUT").map_or_else(|| PathBuf::from("out"), PathBuf::from);
    FileSink::json_lines(out.join(name))
}

/// Rows with an aircraft, and which one.
fn with_aircraft(departures: &Stream<Flight>) -> Stream<(String, Flight)> {
    departures.flat_map(|flight| flight.tailnum.clone().map(|aircraft| (aircraft, flight)))
}

/// Release 1: counts the delayed flights of each carrier, and says which aircraft will not be back in time.
pub(crate) fn flights_v1() -> Job {
    let job = job("1");
    let departures = departures(&job);
    departures
        .filter(|flight| flight.arr_delay.is_some_and(|delay| delay >= DELAYED_MIN))
        .map(|flight| -> DelaysV1 { (flight.carrier, 1) })
        .key_by(|(carrier, _)| carrier.clone())
        .reduce(|(carrier, a), (_, b)| (carrier, a + b))
        .uid("carriers")
        .sink(output("carriers"))
        .uid("carriers-out");
    with_aircraft(&departures)
        .key_by(|(aircraft, _)| aircraft.clone())
        .flat_map_with_state(|state: &mut Option<AircraftV1>, (aircraft, flight)| {
            let mut alert = None;
            if let Some(last) = state
                && flight.due_ms() < last.back_ms
            {
                last.alerts += 1;
                let wait_min = (last.back_ms - flight.due_ms()) / MINUTE_MS;
                let (from, alerts) = (last.dest.clone(), last.alerts);
                alert = Some(Alert { aircraft, from, wait_min, alerts, worst_wait_min: None });
            }
            if let Some(back_ms) = flight.back_ms() {
                let alerts = state.as_ref().map_or(0, |last| last.alerts);
                *state = Some(AircraftV1 { dest: flight.dest, back_ms, alerts });
            }
            alert
        })
        .uid("aircraft")
        .sink(output("alerts"))
        .uid("alerts-out");
    job
}

/// Release 2: also knows the worst delay of each carrier, and the longest wait for each aircraft.
pub(crate) fn flights_v2() -> Job {
    let job = job("2");
    let departures = departures(&job);
    departures
        .flat_map(|flight| flight.arr_delay.map(|delay| (flight.carrier, delay)))
        .filter(|(_, delay)| *delay >= DELAYED_MIN)
        .map(|(carrier, delay)| -> DelaysV2 { (carrier, delay, 1) })
        .key_by(|(carrier, _, _)| carrier.clone())
        .reduce(|(carrier, worst, a), (_, delay, b)| (carrier, worst.max(delay), a + b))
        .uid("carriers")
        .migrate(DelaysToV2)
        .sink(output("carriers"))
        .uid("carriers-out");
    with_aircraft(&departures)
        .key_by(|(aircraft, _)| aircraft.clone())
        .flat_map_with_state(|state: &mut Option<AircraftV2>, (aircraft, flight)| {
            let mut alert = None;
            if let Some(last) = state
                && flight.due_ms() < last.back_ms
            {
                last.alerts += 1;
                let wait_min = (last.back_ms - flight.due_ms()) / MINUTE_MS;
                last.worst_wait_min = last.worst_wait_min.max(Some(wait_min));
                let (from, alerts) = (last.bound_for.clone(), last.alerts);
                let worst_wait_min = last.worst_wait_min;
                alert = Some(Alert { aircraft, from, wait_min, alerts, worst_wait_min });
            }
            if let Some(back_ms) = flight.back_ms() {
                let last = state.take();
                let alerts = last.as_ref().map_or(0, |last| last.alerts);
                let worst_wait_min = last.and_then(|last| last.worst_wait_min);
                *state = Some(AircraftV2 { bound_for: flight.dest, back_ms, alerts, worst_wait_min });
            }
            alert
        })
        .uid("aircraft")
        .sink(output("alerts"))
        .uid("alerts-out");
    job
}

/// Not a release: the counter of alerts has become a yes or no, and nothing says which number is which.
pub(crate) fn flights_bad() -> Job {
    let job = job("2-bad");
    let departures = departures(&job);
    departures
        .flat_map(|flight| flight.arr_delay.map(|delay| (flight.carrier, delay)))
        .filter(|(_, delay)| *delay >= DELAYED_MIN)
        .map(|(carrier, delay)| -> DelaysV2 { (carrier, delay, 1) })
        .key_by(|(carrier, _, _)| carrier.clone())
        .reduce(|(carrier, worst, a), (_, delay, b)| (carrier, worst.max(delay), a + b))
        .uid("carriers")
        .migrate(DelaysToV2)
        .sink(output("carriers"))
        .uid("carriers-out");
    with_aircraft(&departures)
        .key_by(|(aircraft, _)| aircraft.clone())
        .flat_map_with_state(|state: &mut Option<AircraftBad>, (aircraft, flight)| {
            let late = state.as_ref().is_some_and(|last| flight.due_ms() < last.back_ms);
            if let Some(back_ms) = flight.back_ms() {
                let alerts = late || state.as_ref().is_some_and(|last| last.alerts);
                *state = Some(AircraftBad { bound_for: flight.dest, back_ms, alerts });
            }
            late.then_some(aircraft)
        })
        .uid("aircraft")
        .sink(output("alerts"))
        .uid("alerts-out");
    job
}
