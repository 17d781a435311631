//! `pitlane verify SAVEPOINT`.

use super::named::NamedArgs;
use super::text::{counted, size};
use super::{Answer, Console, Outcome};
use crate::error::Error;
use crate::savepoint::{Depth, Problem, Report, verify};
use serde_json::json;
use std::io;

/// Look for damage in a savepoint
///
/// Reads every byte and every row: hashes, page checksums, order of the keys, key groups, counts. Shows all
/// the damage, not only the first.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    savepoint: NamedArgs,
    /// Check the manifest, and of each file its size and its tail: what a job checks before it starts
    #[arg(long)]
    fast: bool,
    /// Print JSON: {path, depth, ok, files, rows, bytes, problems: [{file, found, wanted}]}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane verify pitlane-data/flights/savepoints/0000000012-a0001
  pitlane verify SAVEPOINT --fast && echo ready to resume

Exit status: 0 no damage; 1 damage; 2 not a savepoint, or one that cannot be read.";

pub(super) fn run(args: &VerifyArgs, console: &mut Console<'_>) -> Outcome {
    let depth = if args.fast { Depth::Fast } else { Depth::Full };
    let (path, report) = match args.savepoint.open() {
        Ok(savepoint) => (savepoint.location(), verify(&savepoint, depth)),
        // A damaged manifest is damage like any other.
        Err(error) => (args.savepoint.name().display().to_string(), damaged_manifest(error)?),
    };
    if args.json {
        console.json(&json!({
            "path": path,
            "depth": if args.fast { "fast" } else { "full" },
            "ok": report.problems.is_empty(),
            "files": report.files,
            "rows": report.rows,
            "bytes": report.bytes,
            "problems": report.problems.iter().map(|Problem { file, found, wanted }| {
                json!({ "file": file, "found": found, "wanted": wanted })
            }).collect::<Vec<_>>(),
        }))?;
    } else {
        write(&path, depth, &report, console)?;
    }
    Ok(if report.problems.is_empty() { Answer::Yes } else { Answer::No })
}

fn damaged_manifest(error: Error) -> Result<Report, Error> {
    let (found, wanted) = match error {
        Error::Manifest { found, wanted, .. } | Error::Damaged { found, wanted, .. } => (found, wanted),
        other => return Err(other),
    };
    let problem = Problem { file: "manifest.json".to_owned(), found, wanted };
    Ok(Report { problems: vec![problem], files: 1, ..Report::default() })
}

fn write(path: &str, depth: Depth, report: &Report, console: &mut Console<'_>) -> io::Result<()> {
    for Problem { file, found, wanted } in &report.problems {
        writeln!(console.out, "damaged  {file}: found {found}, wanted {wanted}")?;
    }
    let looked = match depth {
        Depth::Fast => "manifest, sizes and tails checked",
        Depth::Full => "every byte and every row checked",
    };
    let verdict = match report.problems.len() as u64 {
        0 => "ok       ".to_owned(),
        problems => format!("{} in ", counted(problems, "problem")),
    };
    writeln!(
        console.out,
        "{verdict}{path}: {looked}, {}, {}, {}",
        counted(report.files as u64, "file"),
        counted(report.rows, "row"),
        size(report.bytes)
    )
}
