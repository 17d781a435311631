//! A month of flights in windows, by a job that is killed with `kill -9`: what it writes, as Parquet, CSV and JSON lines,
//! is what plain code makes of the same rows. `examples/flights_year.py` does it with a year, and with DuckDB.

use crate::stage::{Place, Stage};
use pitlane::connectors::{CsvFiles, JsonLines, ParquetFiles, Polled, Source, Taken};
use pitlane::savepoint::{Depth, Savepoint, verify};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const REST_MS: i64 = 8 * HOUR_MS;

fn input() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/flights-2013-01.csv.gz")
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct CarrierDay {
    carrier: String,
    day_ms: i64,
    flights: u64,
    cancelled: u64,
    delayed: u64,
    arrival_delay_min: i64,
    worst_arrival_min: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct AirportHours {
    airport: String,
    from_ms: i64,
    departures: u64,
    departure_delay_min: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Duty {
    aircraft: String,
    from_ms: i64,
    last_ms: i64,
    departures: u64,
    miles: i64,
}

/// What the job writes, each sorted.
#[derive(Debug, PartialEq)]
struct Written {
    days: Vec<CarrierDay>,
    hours: Vec<AirportHours>,
    duties: Vec<Duty>,
}

/// Computes it from the text of the file alone.
fn expected() -> Written {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(input()).unwrap()).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut days: BTreeMap<(&str, i64), CarrierDay> = BTreeMap::new();
    let mut hours: BTreeMap<(&str, i64), AirportHours> = BTreeMap::new();
    let mut legs: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let text_of = |name: &str| fields[head.iter().position(|column| *column == name).unwrap()];
        let number = |name: &str| text_of(name).parse::<i64>().ok();
        let (delay, arrival) = (number("dep_delay"), number("arr_delay"));
        let clock = number("sched_dep_time").unwrap();
        // The first of January 2013 is day 15 706.
        let due_min = (15_705 + number("day").unwrap()) * 1440 + clock / 100 * 60 + clock % 100;
        let left_ms = (due_min + delay.unwrap_or(0)) * 60_000;
        let (carrier, day_ms) = (text_of("carrier"), left_ms / DAY_MS * DAY_MS);
        let day = days.entry((carrier, day_ms)).or_insert_with(|| CarrierDay {
            carrier: carrier.to_owned(),
            day_ms,
            flights: 0,
            cancelled: 0,
            delayed: 0,
            arrival_delay_min: 0,
            worst_arrival_min: None,
        });
        day.flights += 1;
        day.cancelled += u64::from(delay.is_none());
        day.delayed += u64::from(arrival >= Some(15));
        day.arrival_delay_min += arrival.unwrap_or(0);
        day.worst_arrival_min = day.worst_arrival_min.max(arrival);
        let Some(delay) = delay else { continue };
        for back in 0..6 {
            let (airport, from_ms) = (text_of("origin"), (left_ms / HOUR_MS - back) * HOUR_MS);
            let hours = hours.entry((airport, from_ms)).or_insert_with(|| AirportHours {
                airport: airport.to_owned(),
                from_ms,
                departures: 0,
                departure_delay_min: 0,
            });
            hours.departures += 1;
            hours.departure_delay_min += delay;
        }
        let aircraft = text_of("tailnum");
        if !aircraft.is_empty() {
            legs.entry(aircraft).or_default().push((left_ms, number("distance").unwrap()));
        }
    }
    let mut duties: Vec<Duty> = Vec::new();
    for (aircraft, mut legs) in legs {
        legs.sort_unstable();
        for (left_ms, miles) in legs {
            match duties
                .last_mut()
                .filter(|duty| duty.aircraft == aircraft && left_ms - duty.last_ms <= REST_MS)
            {
                Some(duty) => {
                    duty.last_ms = left_ms;
                    duty.departures += 1;
                    duty.miles += miles;
                }
                None => duties.push(Duty {
                    aircraft: aircraft.to_owned(),
                    from_ms: left_ms,
                    last_ms: left_ms,
                    departures: 1,
                    miles,
                }),
            }
        }
    }
    duties.sort();
    Written { days: days.into_values().collect(), hours: hours.into_values().collect(), duties }
}

/// Reads all visible files, which must be whole, and returns their records, sorted.
fn read<S: Source>(source: &S) -> Vec<S::Item>
where
    S::Item: Ord,
{
    let mut taken = Taken::default();
    for file in source.splits().unwrap() {
        let mut split = source.open(&file, None).unwrap();
        while split.poll(1_000, &mut taken).unwrap() == Polled::Ready {}
        assert_eq!(taken.bad, [], "{file}");
    }
    taken.records.sort();
    taken.records
}

#[test]
fn windows_of_a_month_are_right_whenever_the_job_is_killed() {
    let test = std::env::current_exe().unwrap();
    let example = test.parent().unwrap().parent().unwrap().join("examples/flights_year");
    assert!(example.exists(), "{} is missing: cargo build --example flights_year", example.display());
    let wanted = expected();
    assert!(wanted.days.len() > 400 && wanted.hours.len() > 2_000 && wanted.duties.len() > 5_000);
    for seed in 1..=2 {
        let mut stage = Stage::new(Place::temporary().unwrap(), &example, &["flights"], &input()).unwrap();
        stage.set("FLIGHTS_RATE", "9000");
        let mut kills = 0;
        for round in 0..6 {
            let workers = (1 + (seed + round) % 3).to_string();
            let args = ["run", "--checkpoint-interval-ms", "40", "--workers", &workers];
            let mut running = stage.start("flights", &args).unwrap();
            if round == 5 {
                running.wait_well().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(60 + (seed * 7919 + round * 6151) % 500));
            assert!(!running.kill().unwrap(), "it ended before it was killed: {}", running.log());
            kills += 1;
            // What is visible at any time is whole, and no part of it is repeated.
            let out = stage.path().join("out");
            if out.join("duties").exists() {
                let duties = read(&JsonLines::<Duty>::new(out.join("duties")));
                assert!(duties.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}, round {round}");
            }
        }
        assert_eq!(kills, 5);
        let out = stage.path().join("out");
        let found = Written {
            days: read(&ParquetFiles::<CarrierDay>::new(out.join("carrier-days"))),
            hours: read(&CsvFiles::<AirportHours>::new(out.join("airport-hours"))),
            duties: read(&JsonLines::<Duty>::new(out.join("duties"))),
        };
        assert_eq!(
            (found.days.len(), found.hours.len(), found.duties.len()),
            (wanted.days.len(), wanted.hours.len(), wanted.duties.len()),
            "seed {seed}"
        );
        assert!(found == wanted, "seed {seed}");
        let late = std::fs::read_dir(out.join("late")).unwrap().flatten();
        assert_eq!(late.filter(|entry| entry.path().is_file()).count(), 0, "none is late");
        let last = Savepoint::open(stage.last_image().unwrap()).unwrap();
        assert!(verify(&last, Depth::Full).problems.is_empty());
    }
}
