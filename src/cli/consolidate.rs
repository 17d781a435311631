//! `pitlane consolidate CHECKPOINT NEW`.

use super::named::{DataArgs, place};
use super::text::{counted, size};
use super::{Answer, Console, Outcome};
use crate::error::{Error, shown};
use crate::savepoint::consolidate_to;
use serde_json::json;
use std::path::PathBuf;

/// Make a savepoint that is complete by itself of a checkpoint in layers
///
/// Of each key the row of the newest layer stays, and keys that were removed are gone; files that lie in directories of
/// other checkpoints are taken along. Values stay as they are, under the schema that they were written in. What is
/// complete by itself already is taken over as it is, by a second name of the same bytes where the file system has that.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConsolidateArgs {
    /// A checkpoint or savepoint: its directory, the end of its path, or the first characters of its id
    checkpoint: PathBuf,
    /// The directory of the savepoint, which does not exist or is empty
    #[arg(value_parser = place())]
    new: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON: {from, path, id, rows, size_bytes, layers: the number of them in `from`}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane consolidate pitlane-data/flights/checkpoints/0000000012-a0001 kept";

pub(super) fn run(args: &ConsolidateArgs, console: &mut Console<'_>) -> Outcome {
    let image = args.data.open(&args.checkpoint)?;
    if std::fs::read_dir(&args.new).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::ImageExists { path: shown(&args.new) }.into());
    }
    let savepoint = consolidate_to(&image, &args.new)?;
    let layers = image.manifest().states().map(|(_, state)| state.layers().len()).max().unwrap_or(0);
    let rows = savepoint.manifest().rows();
    let size_bytes: u64 = savepoint.manifest().files().map(|file| file.size_bytes).sum();
    if args.json {
        console.json(&json!({
            "from": image.id().0,
            "path": savepoint.location(),
            "id": savepoint.id().0,
            "rows": rows,
            "size_bytes": size_bytes,
            "layers": layers,
        }))?;
    } else {
        let (layers, rows) = (counted(layers as u64, "layer"), counted(rows, "row"));
        writeln!(
            console.out,
            "{}: {rows}, {}, made of {layers}; savepoint {}",
            savepoint.location(),
            size(size_bytes),
            savepoint.id()
        )?;
    }
    Ok(Answer::Yes)
}
