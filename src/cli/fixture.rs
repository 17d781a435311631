//! `pitlane fixture SAVEPOINT NEW --sample N`.

use super::named::DataArgs;
use super::text::{counted, size};
use super::{Answer, Console, Outcome};
use crate::error::{Error, shown};
use crate::savepoint::sample_to;
use serde_json::json;
use std::path::PathBuf;

/// Make a small savepoint of some keys of a large one, for the tests of migrations
///
/// Of each operator it has about so many keys, with all that its states have for them: one of each stored schema, some
/// that are in quarantine, the extremes of each field (least and greatest, longest and empty, None, each variant), and then keys from everywhere.
/// State without keys is taken as it is. The same savepoint has always the same sample. It holds real values: look before
/// you put it where others can see it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FixtureArgs {
    /// A savepoint or checkpoint: its directory, the end of its path, or the first characters of its id
    savepoint: PathBuf,
    /// The directory of the sample, which does not exist or is empty
    new: PathBuf,
    /// The number of keys of each operator
    #[arg(long, value_name = "KEYS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON: {from, path, id, rows, of_rows, size_bytes}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane fixture pitlane-data/flights/savepoints/0000000012-a0001 tests/state-of-flights --sample 50";

pub(super) fn run(args: &FixtureArgs, console: &mut Console<'_>) -> Outcome {
    let savepoint = args.data.open(&args.savepoint)?;
    if std::fs::read_dir(&args.new).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::ImageExists { path: shown(&args.new) }.into());
    }
    let sample = sample_to(&savepoint, args.sample as usize, &args.new)?;
    let (rows, of_rows) = (sample.manifest().rows(), savepoint.manifest().rows());
    let size_bytes: u64 = sample.manifest().files().map(|file| file.size_bytes).sum();
    if args.json {
        console.json(&json!({
            "from": savepoint.id().0,
            "path": sample.location(),
            "id": sample.id().0,
            "rows": rows,
            "of_rows": of_rows,
            "size_bytes": size_bytes,
        }))?;
    } else {
        let (place, rows, of_rows) = (sample.location(), counted(rows, "row"), counted(of_rows, "row"));
        writeln!(
            console.out,
            "{place}: {rows} of {of_rows}, {}; savepoint {}",
            size(size_bytes),
            sample.id()
        )?;
    }
    Ok(Answer::Yes)
}
