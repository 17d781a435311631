//! `pitlane plan SAVEPOINT JOB [-- ARGS]`.

use super::describe::describe;
use super::named::NamedArgs;
use super::{Answer, Console, Failure, Outcome};
use crate::migrate::{Verdict, plan_savepoint};
use crate::model::OperatorUid;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Show what would become of a savepoint's state if a job started from it
///
/// Asks the job's binary to describe itself, which opens and changes nothing, and compares that with the
/// savepoint. The job decides by the same rules when it starts.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    savepoint: NamedArgs,
    /// The binary of the job
    job: PathBuf,
    /// What to call the binary with, before `describe`
    #[arg(last = true)]
    args: Vec<OsString>,
    /// Leave behind state of this operator that the job does not have; may be given several times
    #[arg(long, value_name = "UID")]
    drop_unmatched: Vec<String>,
    /// How long the job may take to describe itself, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// Print JSON, see --help
    #[arg(long, long_help = JSON_HELP)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane plan SAVEPOINT ./flights_v2
  pitlane plan SAVEPOINT ./jobs -- flights-v2
  pitlane plan SAVEPOINT ./flights_v2 --drop-unmatched print-old --json

Exit status: 0 the job can start; 1 it cannot; 3 somebody has to decide; 2 it could not be found out.";

const JSON_HELP: &str = "Print JSON: {verdict: ready | decision-needed | refused, savepoint: {job, release},
  job: {job, release}, max_parallelism, asked_max_parallelism, workers, needless_drops: [uid],
  operators: [{uid, kind, in_job, time: event | ingestion | processing or null,
    delivery: exactly-once | at-least-once or null, warnings: [text], lookalike, states: [{name,
    outcome: new | stored | refused | unmatched | dropped, rows, quarantined, lookalike, to, schemas: [{from, rows, lossy,
      way: as-is | automatic | migrate | refused, changes: [{place, kind, text}],
      steps: [{name, from, to, drops}]}]}]}],
  shared_sinks: [uid]: of a fork, which writes where the other job writes unless it is told otherwise,
  cost: {rows, size_bytes, first_touch_ns, offline_ns}: of rows that go through code,
  way_back: {possible, states: [{operator, state, to, by: rules | down or null, steps: [name], reason or null}],
    drop_unmatched: [uid]}: whether the release before could go on from what comes after,
  renamed: [{from, to}], changed_migrations: [{name, operator, state, used_on}]}";

pub(super) fn run(args: &PlanArgs, console: &mut Console<'_>) -> Outcome {
    let savepoint = args.savepoint.open()?;
    let drop_unmatched = args.drop_unmatched.iter().map(|uid| uid_of(uid)).collect::<Result<Vec<_>, _>>()?;
    let job = describe(&args.job, &args.args, Duration::from_secs(args.timeout))?;
    let plan = plan_savepoint(&savepoint, &job, &drop_unmatched);
    if args.json {
        console.json(&plan.to_json())?;
    } else {
        write!(console.out, "{plan}")?;
    }
    Ok(match plan.verdict() {
        Verdict::Ready => Answer::Yes,
        Verdict::DecisionNeeded => Answer::Open,
        Verdict::Refused => Answer::No,
    })
}

fn uid_of(text: &str) -> Result<OperatorUid, Failure> {
    OperatorUid::new(text).ok_or_else(|| Failure::Usage {
        error: format!("{text:?} is not an operator uid"),
        hint: "`pitlane inspect` shows the operators of a savepoint".to_owned(),
    })
}
