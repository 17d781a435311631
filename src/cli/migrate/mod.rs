//! `pitlane migrate SAVEPOINT NEW --with FILE`; [`status`] and `retire` show how far state has come.

mod status;
mod sweep;

use super::named::DataArgs;
use super::text::counted;
use super::{Answer, Console, Failure, Outcome};
use crate::rewrite::{KeyCollisions, MigrationFile, Options, Rewrite, Shown, count_collisions, run_to};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Make a new savepoint out of an old one by a migration file, or show how far state has come
///
/// The file says what changes, in TOML: docs/migration-file.md describes it. The old savepoint stays as it is; the new
/// one appears when all of it is there. What needs code is done by the job's own binary: `./job migrate SAVEPOINT NEW`.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
#[command(after_help = EXAMPLES)]
pub(super) struct MigrateArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// A savepoint or checkpoint: its directory, the end of its path, or the first characters of its id
    #[arg(required = true)]
    savepoint: Option<PathBuf>,
    /// The directory of the new savepoint, which does not exist or is empty
    #[arg(required_unless_present = "dry_run")]
    new: Option<PathBuf>,
    /// The migration file
    #[arg(long = "with", value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Undo what the file did to the savepoint, or to the one that it came of: names go back, values by `down`
    #[arg(long)]
    back: bool,
    /// Show what would become of each state, and how much of it would be done anew
    #[arg(long)]
    dry_run: bool,
    /// The number of threads; as many as there are cores unless said otherwise
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON, see --help
    #[arg(long, long_help = JSON_HELP)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Verb {
    Status(status::StatusArgs),
    Retire(status::RetireArgs),
    Sweep(sweep::SweepArgs),
}

const EXAMPLES: &str = "Examples:
  pitlane migrate SAVEPOINT --with rooms-get-a-tolerance.toml --dry-run
  pitlane migrate SAVEPOINT NEW --with rooms-get-a-tolerance.toml
  pitlane migrate NEW OLD --with rooms-get-a-tolerance.toml --back
  pitlane migrate status SAVEPOINT

Exit status: 0 done; with --dry-run 1 if new keys would be the same and nothing says what then; 2 it could not be done.";

const JSON_HELP: &str = "Print JSON: {path, id, states: [{operator, state, rows_before, rows_after, quarantined}], linked_files, copied_files,
  written_files}; with --dry-run {max_parallelism: {from, to}, states: [{operator, state, rows, size_bytes,
  from: [version], dropped, to: {operator, state, version, rungs: [{rung: as is | metadata | chunks | rows | sorted,
  rows}], changes: [text]}}], collisions: [{operator, state, rows, examples, refused}]}";

pub(super) fn run(args: &MigrateArgs, console: &mut Console<'_>) -> Outcome {
    let (savepoint, file) = match (&args.verb, &args.savepoint, &args.file) {
        (Some(Verb::Status(args)), ..) => return status::run(args, console),
        (Some(Verb::Retire(args)), ..) => return status::run_retire(args, console),
        (Some(Verb::Sweep(args)), ..) => return sweep::run(args, console),
        (None, Some(savepoint), Some(file)) => (savepoint, file),
        _ => {
            return Err(Failure::Usage {
                error: "nothing to migrate".to_owned(),
                hint:
                    "say `pitlane migrate SAVEPOINT NEW --with FILE`, or `pitlane migrate status SAVEPOINT`"
                        .to_owned(),
            });
        }
    };
    let file = MigrationFile::open(file)?;
    let savepoint = args.data.open(savepoint)?;
    let rewrite = if args.back { file.apply_back(&savepoint)? } else { file.apply(&savepoint)? };
    let new = match &args.new {
        Some(new) if !args.dry_run => new,
        _ => {
            return show(args, &rewrite, console);
        }
    };
    let shown = Shown::default();
    let mut options = Options { progress: &shown, ..Options::default() };
    options.threads = args.threads.unwrap_or(options.threads);
    let done = run_to(&rewrite, new, options);
    shown.end();
    let done = done?;
    match args.json {
        true => console.json(&done.to_json())?,
        false => write!(console.out, "{done}")?,
    }
    Ok(Answer::Yes)
}

/// Shows what would be done, and how many keys would come to be the same.
fn show(args: &MigrateArgs, rewrite: &Rewrite, console: &mut Console<'_>) -> Outcome {
    let all = Options::default();
    let options = Options { threads: args.threads.unwrap_or(all.threads), ..all };
    let collisions = count_collisions(rewrite, options)?;
    let outlook = rewrite.outlook();
    if args.json {
        let mut json = outlook.to_json();
        let counted = collisions.iter().map(|found| {
            serde_json::json!({
                "operator": found.uid.as_str(),
                "state": found.state.as_str(),
                "rows": found.rows,
                "examples": found.examples,
                "refused": found.is_refused,
            })
        });
        json["collisions"] = counted.collect();
        console.json(&json)?;
    } else {
        write!(console.out, "{outlook}")?;
        for KeyCollisions { uid, state, rows, examples, is_refused } in
            collisions.iter().filter(|found| found.rows > 0)
        {
            let rows = counted(*rows, "row");
            let then = if *is_refused { "refused: there is no `merge`" } else { "merged" };
            writeln!(
                console.out,
                "{uid}/{state}: {rows} with the key of another one, such as {examples}: {then}"
            )?;
        }
    }
    Ok(if collisions.iter().any(|found| found.is_refused) { Answer::No } else { Answer::Yes })
}
