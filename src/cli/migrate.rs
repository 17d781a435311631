//! `pitlane migrate status SAVEPOINT|JOB`.

use super::job::RunDirArgs;
use super::named::DataArgs;
use super::{Answer, Console, Outcome};
use crate::control::{JobStatus, client};
use crate::error::{Error, Result};
use crate::migrate::{MigrationStatus, StateStatus, VersionRows, status};
use crate::model::SchemaVersion;
use std::path::Path;

/// How far state has come from old schemas to new ones
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct MigrateArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Status(StatusArgs),
}

/// Show how many rows each state has under each schema version
///
/// Of a savepoint, or of a running job, whose keys are migrated when they are first touched.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct StatusArgs {
    /// A savepoint, as in `pitlane inspect`, or the id or name of a running job
    #[arg(value_name = "SAVEPOINT|JOB")]
    of: String,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run_dir: RunDirArgs,
    /// Print JSON: {done, states: [{operator, state, newest, rows, done, schemas: [{version, rows}]}]}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane migrate status SAVEPOINT
  pitlane migrate status flights --json | jq .done";

pub(super) fn run(args: &MigrateArgs, console: &mut Console<'_>) -> Outcome {
    let Verb::Status(args) = &args.verb;
    let status = status_of(args)?;
    if args.json {
        console.json(&status.to_json())?;
    } else {
        write!(console.out, "{status}")?;
    }
    Ok(Answer::Yes)
}

fn status_of(args: &StatusArgs) -> Result<MigrationStatus> {
    match args.data.open(Path::new(&args.of)) {
        Ok(savepoint) => Ok(status(savepoint.manifest())),
        Err(not_a_savepoint @ (Error::NotASavepoint { .. } | Error::NoSuchSavepoint { .. })) => {
            match client::find(&args.run_dir.run_dir(), &args.of) {
                Ok(job) => Ok(status_of_job(job.status())),
                // What looks like a path was meant as one.
                Err(Error::NoSuchJob { .. }) if Path::new(&args.of).exists() || args.of.contains('/') => {
                    Err(not_a_savepoint)
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

fn status_of_job(job: &JobStatus) -> MigrationStatus {
    let mut states = Vec::new();
    for operator in &job.operators {
        for state in operator.states.iter().filter(|state| state.entries > 0) {
            let older = state.unmigrated.iter().filter(|version| version.entries > 0);
            let older =
                older.map(|v| VersionRows { version: SchemaVersion(v.schema_version), rows: v.entries });
            let mut older: Vec<_> = older.collect();
            older.sort_by_key(|version| std::cmp::Reverse(version.version));
            states.push(StateStatus {
                uid: operator.uid.clone(),
                state: state.name.clone(),
                newest: SchemaVersion(state.schema_version),
                rows_at_newest: state.entries.saturating_sub(state.unmigrated_entries()),
                older,
            });
        }
    }
    MigrationStatus { states }
}
