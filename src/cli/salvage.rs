//! `pitlane salvage DAMAGED NEW`.

use super::named::{DataArgs, place};
use super::text::counted;
use super::{Answer, Console, Failure, Outcome};
use crate::error::{Error, shown};
use crate::model::KeyGroupRange;
use crate::savepoint::{Loss, Salvaged, Savepoint, StateLoss, salvage_to};
use serde_json::{Value as Json, json};
use std::io;
use std::path::PathBuf;

/// Save what is sound of a damaged savepoint into a new one
///
/// Keeps every row whose bytes have their hashes and which keeps to the format, and shows what was lost, by
/// state and key group. The damaged savepoint is not changed. The new one has the label `salvaged-from`.
/// A job that starts from it has no state for the keys that were lost: as if it had never seen them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SalvageArgs {
    /// A savepoint or checkpoint: its directory, the end of its path, or the first characters of its id
    damaged: PathBuf,
    /// The directory of the new savepoint, which does not exist or is empty
    #[arg(value_parser = place())]
    new: PathBuf,
    /// Go by the manifest even if it was changed after it was written: nothing vouches for what it says
    #[arg(long)]
    trust_manifest: bool,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON: {from, path, id, ok, rows_kept, rows_lost, states: [{operator, state, rows_lost, losses: [{file,
    /// key_groups, rows, found, wanted}]}]}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane salvage pitlane-data/flights/savepoints/0000000012-a0001 salvaged
  pitlane salvage DAMAGED NEW --json | jq '.states[] | {operator, state, rows_lost}'

Exit status: 0 nothing was lost; 1 something was lost; 2 it could not be done.";

pub(super) fn run(args: &SalvageArgs, console: &mut Console<'_>) -> Outcome {
    let damaged = open(args)?;
    if std::fs::read_dir(&args.new).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::ImageExists { path: shown(&args.new) }.into());
    }
    let salvaged = salvage_to(&damaged, &args.new)?;
    if args.json {
        console.json(&to_json(&salvaged))?;
    } else {
        write(&salvaged, console)?;
    }
    Ok(if salvaged.losses.is_empty() { Answer::Yes } else { Answer::No })
}

fn open(args: &SalvageArgs) -> Result<Savepoint, Failure> {
    match args.data.open(&args.damaged) {
        Err(error @ (Error::Damaged { .. } | Error::Manifest { .. })) => {
            let trusting = Savepoint::open_trusting(&args.damaged);
            match trusting {
                Ok(savepoint) if args.trust_manifest => Ok(savepoint),
                Ok(_) => Err(Failure::Usage {
                    error: error.to_string(),
                    hint: "the manifest was changed after it was written, yet it can be understood; to go by what it \
                           says, add `--trust-manifest`"
                        .to_owned(),
                }),
                Err(_) => Err(error.into()),
            }
        }
        opened => Ok(opened?),
    }
}

fn groups_json(range: KeyGroupRange) -> Json {
    json!([range.first().index(), range.last().index()])
}

fn to_json(salvaged: &Salvaged) -> Json {
    let loss = |Loss { file, key_groups, rows, found, wanted }: &Loss| {
        let key_groups = key_groups.map(groups_json);
        json!({ "file": file, "key_groups": key_groups, "rows": rows, "found": found, "wanted": wanted })
    };
    let state = |state: &StateLoss| {
        json!({
            "operator": state.uid.as_str(),
            "state": state.state.as_str(),
            "rows_lost": state.rows(),
            "losses": state.losses.iter().map(loss).collect::<Vec<_>>(),
        })
    };
    json!({
        "from": salvaged.from.0,
        "path": salvaged.savepoint.location(),
        "id": salvaged.savepoint.id().0,
        "ok": salvaged.losses.is_empty(),
        "rows_kept": salvaged.rows_kept(),
        "rows_lost": salvaged.rows_lost(),
        "states": salvaged.losses.iter().map(state).collect::<Vec<_>>(),
    })
}

fn write(salvaged: &Salvaged, console: &mut Console<'_>) -> io::Result<()> {
    for state in &salvaged.losses {
        writeln!(console.out, "{}/{}: {} lost", state.uid, state.state, counted(state.rows(), "row"))?;
        for Loss { file, key_groups, rows, found, wanted } in &state.losses {
            let place = key_groups.map_or_else(String::new, |range| format!(" of key groups {range}"));
            writeln!(
                console.out,
                "  {}{place} in {file}: found {found}, wanted {wanted}",
                counted(*rows, "row")
            )?;
        }
    }
    let kept = counted(salvaged.rows_kept(), "row");
    let verdict = match salvaged.rows_lost() {
        0 if salvaged.losses.is_empty() => "nothing lost".to_owned(),
        rows => format!("{} lost", counted(rows, "row")),
    };
    writeln!(console.out, "{}: {kept} kept, {verdict}", salvaged.savepoint.location())
}
