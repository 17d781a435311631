//! A year of flights in windows: days of each carrier, the last hours of each airport, and the duties of each aircraft.
//!
//!     cargo build --release --example flights_year
//!     python examples/flights_year.py target/release/examples/flights_year flights-2013.csv.gz --kills 20
//!
//! The script kills the job again and again, and compares what it has written in the end with what DuckDB makes of the
//! same file. Departures are out of order by up to a day, since flights are listed by when they were due.
//!
//! `FLIGHTS_INPUT` is the CSV file, or a directory of such; `FLIGHTS_OUT` is where the output goes, and `FLIGHTS_RATE` the
//! most rows that are read from each file a second.

use pitlane::State;
use pitlane::connectors::{CsvFiles, FileSink};
use pitlane::engine::{
    Aggregate, Checkpoints, Job, Session, SideOutput, Sliding, Tumbling, Watermarks, Window,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How late a flight arrives that counts as delayed, in minutes.
const DELAYED_MIN: i64 = 15;
const MINUTE_MS: i64 = 60_000;
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A row of the input, as far as it matters.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flight {
    year: i64,
    month: i64,
    day: i64,
    /// Hours and minutes, as `HHMM`.
    sched_dep_time: i64,
    /// Not known of flights that were cancelled.
    dep_delay: Option<i64>,
    arr_delay: Option<i64>,
    carrier: String,
    tailnum: Option<String>,
    origin: String,
    distance: i64,
}

impl Flight {
    /// When it left, by the clock of New York; when it was due to if it never did.
    fn left_ms(&self) -> i64 {
        let days = days_since_1970(self.year, self.month, self.day);
        let due_min = days * 1440 + self.sched_dep_time / 100 * 60 + self.sched_dep_time % 100;
        (due_min + self.dep_delay.unwrap_or(0)) * MINUTE_MS
    }
}

/// Counts the days in a calendar whose years begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    365 * year + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + day - 1 - 719_468
}

/// What there is to know of some flights.
#[derive(Clone, Debug, Default, Serialize, Deserialize, State)]
struct Tally {
    flights: u64,
    cancelled: u64,
    delayed: u64,
    departure_delay_min: i64,
    arrival_delay_min: i64,
    worst_arrival_min: Option<i64>,
    miles: i64,
}

/// Takes flights into a tally.
#[derive(Clone)]
struct Count;

impl Aggregate for Count {
    type In = Flight;
    type Accumulator = Tally;
    type Out = Tally;

    fn create(&self) -> Tally {
        Tally::default()
    }

    fn add(&self, tally: &mut Tally, flight: Flight) {
        self.merge(
            tally,
            Tally {
                flights: 1,
                cancelled: u64::from(flight.dep_delay.is_none()),
                delayed: u64::from(flight.arr_delay.is_some_and(|delay| delay >= DELAYED_MIN)),
                departure_delay_min: flight.dep_delay.unwrap_or(0),
                arrival_delay_min: flight.arr_delay.unwrap_or(0),
                worst_arrival_min: flight.arr_delay,
                miles: flight.distance,
            },
        );
    }

    fn result(&self, tally: &Tally) -> Tally {
        tally.clone()
    }

    fn merge(&self, into: &mut Tally, other: Tally) {
        into.flights += other.flights;
        into.cancelled += other.cancelled;
        into.delayed += other.delayed;
        into.departure_delay_min += other.departure_delay_min;
        into.arrival_delay_min += other.arrival_delay_min;
        into.worst_arrival_min = into.worst_arrival_min.max(other.worst_arrival_min);
        into.miles += other.miles;
    }
}

/// A carrier's day.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
struct CarrierDay {
    carrier: String,
    day_ms: i64,
    flights: u64,
    cancelled: u64,
    delayed: u64,
    arrival_delay_min: i64,
    worst_arrival_min: Option<i64>,
}

/// Six hours of an airport.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AirportHours {
    airport: String,
    from_ms: i64,
    departures: u64,
    departure_delay_min: i64,
}

/// What an aircraft flew without a rest of eight hours.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Duty {
    aircraft: String,
    from_ms: i64,
    last_ms: i64,
    departures: u64,
    miles: i64,
}

fn job() -> Job {
    let job = Job::new("flights").checkpoints(Checkpoints::every(Duration::from_millis(500)));
    let input = std::env::var("FLIGHTS_INPUT").unwrap_or_else(|_| "flights-2013-01.csv.gz".to_owned());
    let out = std::env::var_os("FLIGHTS_OUT").map_or_else(|| PathBuf::from("out"), PathBuf::from);
    let late = SideOutput::<Flight>::new("late");

    let mut flights = job
        .source(CsvFiles::<Flight>::new(input))
        .uid("flights")
        .watermarks(Watermarks::bounded(DAY), Flight::left_ms);
    if let Some(rate) = std::env::var("FLIGHTS_RATE").ok().and_then(|rate| rate.parse().ok()) {
        flights = flights.rate(rate);
    }
    let departures = flights.filter(|flight| flight.dep_delay.is_some());

    let days = flights
        .key_by(|flight| flight.carrier.clone())
        .window(Tumbling::of(DAY))
        .late_to(&late)
        .aggregate_with(Count, |carrier: &String, window: Window, tally: Tally, out: &mut Vec<_>| {
            out.push(CarrierDay {
                carrier: carrier.clone(),
                day_ms: window.start_ms,
                flights: tally.flights,
                cancelled: tally.cancelled,
                delayed: tally.delayed,
                arrival_delay_min: tally.arrival_delay_min,
                worst_arrival_min: tally.worst_arrival_min,
            });
        })
        .uid("carrier-days");
    days.sink(FileSink::parquet(out.join("carrier-days")).roll_at_records(1_000)).uid("carrier-days-out");
    // None is more than a day late.
    days.side_output(&late).sink(FileSink::json_lines(out.join("late"))).uid("late-out");

    departures
        .key_by(|flight| flight.origin.clone())
        .window(Sliding::of(6 * HOUR, HOUR))
        .aggregate_with(Count, |airport: &String, window: Window, tally: Tally, out: &mut Vec<_>| {
            out.push(AirportHours {
                airport: airport.clone(),
                from_ms: window.start_ms,
                departures: tally.flights,
                departure_delay_min: tally.departure_delay_min,
            });
        })
        .uid("airport-hours")
        .sink(FileSink::csv(out.join("airport-hours")).gzip())
        .uid("airport-hours-out");

    let rest = 8 * HOUR;
    departures
        .filter(|flight| flight.tailnum.is_some())
        .key_by(|flight| flight.tailnum.clone().unwrap_or_default())
        .window(Session::with_gap(rest))
        .aggregate_with(Count, move |aircraft: &String, window: Window, tally: Tally, out: &mut Vec<_>| {
            out.push(Duty {
                aircraft: aircraft.clone(),
                from_ms: window.start_ms,
                last_ms: window.end_ms - rest.as_millis() as i64,
                departures: tally.flights,
                miles: tally.miles,
            });
        })
        .uid("duties")
        .sink(FileSink::json_lines(out.join("duties")).zstd())
        .uid("duties-out");
    job
}

fn main() -> ExitCode {
    job().main()
}
