//! The story, step by step; it fails where anything is not as it should be.

use crate::oracle;
use crate::outcome::{self, difference};
use crate::stage::{Place, Stage, files_below};
use pitlane::BoxError;
use pitlane::savepoint::Savepoint;
use std::path::Path;
use std::time::Instant;

const PROGRAMS: [&str; 4] = ["pitlane", "flights_v1", "flights_v2", "flights_bad"];

/// A step's heading, and what it is about.
fn step(number: u32, title: &str, text: &str) {
    println!("\n\n== {number}. {title}\n");
    println!("{text}");
}

fn say(text: &str) {
    println!("\n{text}");
}

/// How many rows were read at a savepoint.
fn rows_read(savepoint: &Savepoint) -> u64 {
    savepoint.manifest().sources.iter().flat_map(|source| &source.positions).map(|p| p.records).sum()
}

pub(crate) fn tell() -> Result<(), BoxError> {
    let began = Instant::now();
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/flights-2013-01.csv.gz");
    let place = std::env::args_os().nth(1);
    let place = place.map_or_else(Place::temporary, |dir| Place::kept(dir.into()))?;
    let stage = Stage::new(place, &std::env::current_exe()?, &PROGRAMS, &input)?.aloud();
    println!("Working in {}, with the flights that left New York in January 2013.", stage.path().display());

    step(
        1,
        "Release 1 runs",
        "It counts the delayed flights of each carrier, with a running reduce whose state is (String, i32), and\n\
         alerts when an aircraft is due to leave before it can be back. It reads 3,000 rows a second.",
    );
    let mut first = stage.start("flights_v1", &["run", "--workers", "2"])?;
    stage.wait_for_rows(&mut first, 3_000)?;

    step(2, "A savepoint, and a stop", "The command line speaks to the running job over a local socket.");
    stage.expect(0, "pitlane", &["list"])?;
    stage.expect(0, "pitlane", &["savepoint", "flights", "--label", "just in case"])?;
    say("That one was taken while the job went on. Now for the pit stop:");
    stage.wait_for_rows(&mut first, 6_000)?;
    stage.expect(0, "pitlane", &["stop", "flights", "--label", "before release 2"])?;
    first.wait_well()?;
    let stopped = stage.last_image()?;
    let change = rows_read(&Savepoint::open(&stopped)?);
    let before = relative(&stage, &stopped)?;

    step(3, "What is in it", "No job is needed to look inside: the schema lies beside the data.");
    stage.expect(0, "pitlane", &["inspect", &before])?;
    stage.expect(0, "pitlane", &["verify", &before])?;
    stage.expect(0, "pitlane", &["get", &before, "carriers", "UA"])?;
    stage.expect(0, "pitlane", &["get", &before, "aircraft", "N14228"])?;
    say("The state of the carriers is plain Parquet; the last line is one for DuckDB:");
    stage.expect(0, "pitlane", &["inspect", &before, "carriers"])?;

    step(
        4,
        "Release 2 is planned",
        "The carriers' state becomes (String, i64 worst delay, i32), by a migration in code; the aircraft's gains\n\
         an optional field and renames one, by rule. Nothing has been started yet:",
    );
    stage.expect(0, "pitlane", &["plan", &before, "./flights_v2"])?;
    say("Another candidate turns a number into a yes or no, and does not say how:");
    let (data, out) = (stage.path().join("data"), stage.path().join("out"));
    let untouched = (files_below(&data)?, files_below(&out)?);
    stage.expect(1, "pitlane", &["plan", &before, "./flights_bad"])?;
    say("Who runs it all the same is refused:");
    stage.expect(2, "flights_bad", &["run", "--from", &before])?;
    if untouched != (files_below(&data)?, files_below(&out)?) {
        return Err("a refused job has touched something".into());
    }
    say("Nothing was touched: every file of the data and the output is what it was.");

    step(
        5,
        "Release 2 goes on, with 3 workers instead of 2",
        "Each key is migrated when it is first touched. Half-way, some have been and some have not.",
    );
    let mut second = stage.start("flights_v2", &["run", "--workers", "3", "--from", &before])?;
    stage.wait_for_rows(&mut second, change + (27_004 - change) / 3)?;
    stage.expect(0, "pitlane", &["savepoint", "flights", "--label", "half-way"])?;
    let half_way = stage.last_savepoint()?;
    let after = relative(&stage, &half_way)?;
    let schemas = |operator: &str| -> Result<usize, BoxError> {
        let savepoint = Savepoint::open(&half_way)?;
        Ok(savepoint.operator(operator)?.states().map(|s| s.entry().schemas.len()).sum())
    };
    if schemas("aircraft")? < 2 {
        return Err("half-way there is only one schema version of the aircraft".into());
    }
    stage.expect(0, "pitlane", &["migrate", "status", &after])?;
    say("What has changed from one savepoint to the other:");
    stage.expect(1, "pitlane", &["diff", &before, &after, "--limit", "4"])?;

    step(6, "To the end, and is it right?", "The job reads the rest.");
    second.wait_well()?;
    print!("{}", second.log());
    let found = outcome::read(&out, &stage.last_image()?, true)?;
    let wanted = oracle::outcome(&input, Some(change));
    say(&format!(
        "Plain code without an engine folds the same CSV: release 1 over the first {change} rows, up to the\n\
         savepoint; its state, migrated; and release 2 over the other {}.",
        27_004 - change
    ));
    if let Some(difference) = difference(&found, &wanted) {
        return Err(difference.into());
    }
    let records: usize = found.output.values().map(Vec::len).sum();
    println!("\n  output       {records} records, in the order of each key    equal");
    println!("  final state  {} keys                                equal", found.state.len());
    println!("\nNothing lost, nothing repeated. This took {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

/// Returns a path as one would write it in the stage's directory.
fn relative(stage: &Stage, path: &Path) -> Result<String, BoxError> {
    Ok(path.strip_prefix(stage.path())?.to_string_lossy().into_owned())
}
