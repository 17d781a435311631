//! `pitlane verify SAVEPOINT`.

use super::named::NamedArgs;
use super::text::{counted, grouped, share, size};
use super::{Answer, Console, Outcome};
use crate::error::Error;
use crate::model::SavepointId;
use crate::savepoint::{Depth, Problem, Report, Sample, verify};
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
    /// Check about so many percent of the pages and the rows in them, the first and the last page of each file among
    /// them
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "5", conflicts_with = "fast",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    sample: Option<u8>,
    /// Choose the pages by this number: the same number, the same pages [default: the id of the savepoint]
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    seed: Option<u64>,
    /// Print JSON: {path, depth, seed, ok, files, rows, quarantined, bytes, bytes_read,
    /// problems: [{file, found, wanted}]}; so many of the rows are in quarantine
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane verify pitlane-data/flights/savepoints/0000000012-a0001
  pitlane verify SAVEPOINT --fast && echo ready to resume
  pitlane verify SAVEPOINT --sample 2 --seed $(date +%j)

Exit status: 0 no damage; 1 damage; 2 not a savepoint, or one that cannot be read.";

pub(super) fn run(args: &VerifyArgs, console: &mut Console<'_>) -> Outcome {
    let looked = match args.savepoint.open() {
        Ok(savepoint) => {
            let depth = args.depth(savepoint.id());
            let rows = savepoint.manifest().files().map(|file| file.rows).sum();
            let aside = savepoint.manifest().states().map(|(_, state)| state.quarantined_rows()).sum();
            Looked { path: savepoint.location(), depth, rows, aside, report: verify(&savepoint, depth) }
        }
        // A damaged manifest is damage like any other.
        Err(error) => Looked {
            path: args.savepoint.name().display().to_string(),
            depth: args.depth(&SavepointId(String::new())),
            rows: 0,
            aside: 0,
            report: damaged_manifest(error)?,
        },
    };
    let Looked { path, depth, report, .. } = &looked;
    if args.json {
        let (depth, seed) = match depth {
            Depth::Fast => ("fast", None),
            Depth::Sampled(sample) => ("sampled", Some(sample.seed)),
            Depth::Full => ("full", None),
        };
        console.json(&json!({
            "path": path,
            "depth": depth,
            "seed": seed,
            "ok": report.problems.is_empty(),
            "files": report.files,
            "rows": report.rows,
            "quarantined": looked.aside,
            "bytes": report.bytes,
            "bytes_read": report.bytes_read,
            "problems": report.problems.iter().map(|Problem { file, found, wanted }| {
                json!({ "file": file, "found": found, "wanted": wanted })
            }).collect::<Vec<_>>(),
        }))?;
    } else {
        write(&looked, console)?;
    }
    Ok(if report.problems.is_empty() { Answer::Yes } else { Answer::No })
}

impl VerifyArgs {
    fn depth(&self, id: &SavepointId) -> Depth {
        match self.sample {
            _ if self.fast => Depth::Fast,
            None => Depth::Full,
            Some(percent) => {
                let seed = self.seed.or_else(|| u64::from_str_radix(&id.0, 16).ok()).unwrap_or_default();
                Depth::Sampled(Sample { percent, seed })
            }
        }
    }
}

/// What was looked at, and how.
struct Looked {
    path: String,
    depth: Depth,
    /// The number of rows that the manifest speaks of.
    rows: u64,
    /// The number of those that are in quarantine.
    aside: u64,
    report: Report,
}

fn damaged_manifest(error: Error) -> Result<Report, Error> {
    let (found, wanted) = match error {
        Error::Manifest { found, wanted, .. } | Error::Damaged { found, wanted, .. } => (found, wanted),
        other => return Err(other),
    };
    let problem = Problem { file: "manifest.json".to_owned(), found, wanted };
    Ok(Report { problems: vec![problem], files: 1, ..Report::default() })
}

fn write(looked: &Looked, console: &mut Console<'_>) -> io::Result<()> {
    let Looked { path, depth, rows, aside, report } = looked;
    for Problem { file, found, wanted } in &report.problems {
        writeln!(console.out, "damaged  {file}: found {found}, wanted {wanted}")?;
    }
    let looked = match depth {
        Depth::Fast => "manifest, sizes and tails checked".to_owned(),
        Depth::Sampled(sample) => format!(
            "{} of the bytes and {} of {} checked, chosen with seed {}",
            share(report.bytes_read, report.bytes),
            grouped(report.rows),
            counted(*rows, "row"),
            sample.seed
        ),
        Depth::Full => "every byte and every row checked".to_owned(),
    };
    let verdict = match report.problems.len() as u64 {
        0 => "ok       ".to_owned(),
        problems => format!("{} in ", counted(problems, "problem")),
    };
    let rows = match depth {
        Depth::Sampled(_) => String::new(),
        _ => format!(", {}", counted(report.rows, "row")),
    };
    let (files, bytes) = (counted(report.files as u64, "file"), size(report.bytes));
    let aside = match aside {
        0 => String::new(),
        rows => format!("; {} in quarantine, see `pitlane quarantine`", counted(*rows, "row")),
    };
    writeln!(console.out, "{verdict}{path}: {looked}, {files}{rows}, {bytes}{aside}")
}
