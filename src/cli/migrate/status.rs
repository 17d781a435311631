//! `pitlane migrate status SAVEPOINT|JOB`, `pitlane migrate retire SAVEPOINT...`.

use crate::cli::job::RunDirArgs;
use crate::cli::named::DataArgs;
use crate::cli::{Answer, Console, Outcome};
use crate::control::{JobStatus, client};
use crate::error::{Error, Result};
use crate::migrate::{
    MigrationStatus, OldVersion, StateStatus, VersionRows, retire, status, version_history,
};
use crate::model::SchemaVersion;
use crate::savepoint::Savepoint;
use std::path::{Path, PathBuf};

/// Show which old schema versions savepoints still need, and which code may go
///
/// A migration may be removed from a job when no savepoint that somebody may want to start from has a row under the
/// version that it takes. Old versions that none of the savepoints ever had are not known here.
#[derive(clap::Args)]
#[command(after_help = RETIRE_EXAMPLES)]
pub(super) struct RetireArgs {
    /// Savepoints and checkpoints, as in `pitlane inspect`; all below --data unless some are named
    savepoints: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Look at this operator alone
    #[arg(long, value_name = "UID")]
    operator: Option<String>,
    /// Look at states of this name alone
    #[arg(long, value_name = "NAME")]
    state: Option<String>,
    /// Look at versions up to this one
    #[arg(long, value_name = "VERSION")]
    up_to: Option<u32>,
    /// Print JSON: {may_go, savepoints, versions: [{operator, state, version, may_go,
    /// left: [{savepoint, created_ms, rows}]}]}
    #[arg(long)]
    json: bool,
}

const RETIRE_EXAMPLES: &str = "Examples:
  pitlane migrate retire
  pitlane migrate retire SAVEPOINT --operator alarm --up-to 1

Exit status: 0 no row is left under an old version; 1 some are; 2 it could not be found out.";

/// Show how many rows each state has under each schema version
///
/// Of a savepoint, or of a running job, whose keys are migrated when they are first touched.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// A savepoint, as in `pitlane inspect`, or the id or name of a running job
    #[arg(value_name = "SAVEPOINT|JOB", required_unless_present = "history")]
    of: Option<String>,
    /// Show since when there are rows under which version, over all savepoints and checkpoints below --data
    #[arg(long, conflicts_with = "of")]
    history: bool,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run_dir: RunDirArgs,
    /// Print JSON, with --history {savepoints, states: [{operator, state, versions: [{version, since_ms, last_ms}],
    /// points: [{savepoint, created_ms, rows: [{version, rows}]}]}]}, else {done, states: [{operator, state, newest, rows, done, quarantined, schemas: [{version, rows}]}]}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane migrate status SAVEPOINT
  pitlane migrate status flights --json | jq .done
  pitlane migrate status --history";

pub(super) fn run(args: &StatusArgs, console: &mut Console<'_>) -> Outcome {
    let Some(of) = &args.of else {
        let savepoints = args.data.all()?;
        let history = version_history(savepoints.iter().map(|s: &Savepoint| (s.location(), s.manifest())));
        match args.json {
            true => console.json(&history.to_json())?,
            false => write!(console.out, "{history}")?,
        }
        return Ok(Answer::Yes);
    };
    let status = status_of(args, of)?;
    if args.json {
        console.json(&status.to_json())?;
    } else {
        write!(console.out, "{status}")?;
    }
    Ok(Answer::Yes)
}

pub(super) fn run_retire(args: &RetireArgs, console: &mut Console<'_>) -> Outcome {
    let savepoints = match &args.savepoints[..] {
        [] => args.data.all()?,
        named => named.iter().map(|name| args.data.open(name)).collect::<Result<Vec<_>>>()?,
    };
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    let wanted = |version: &OldVersion| {
        is(&args.operator, version.uid.as_str())
            && is(&args.state, version.state.as_str())
            && args.up_to.is_none_or(|up_to| version.version.0 <= up_to)
    };
    let found = retire(savepoints.iter().map(|s: &Savepoint| (s.location(), s.manifest()))).only(wanted);
    if args.json {
        console.json(&found.to_json())?;
    } else {
        write!(console.out, "{found}")?;
    }
    Ok(if found.may_go() { Answer::Yes } else { Answer::No })
}

fn status_of(args: &StatusArgs, of: &str) -> Result<MigrationStatus> {
    match args.data.open(Path::new(of)) {
        Ok(savepoint) => Ok(status(savepoint.manifest())),
        Err(not_a_savepoint @ (Error::NotASavepoint { .. } | Error::NoSuchSavepoint { .. })) => {
            match client::find(&args.run_dir.run_dir(), of) {
                Ok(job) => Ok(status_of_job(job.status())),
                // What looks like a path was meant as one.
                Err(Error::NoSuchJob { .. }) if Path::new(of).exists() || of.contains('/') => {
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
                quarantined: state.quarantined,
            });
        }
    }
    MigrationStatus { states }
}
