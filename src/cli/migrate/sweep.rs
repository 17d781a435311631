//! `pitlane migrate sweep JOB`.

use crate::cli::job::JobArgs;
use crate::cli::text::counted;
use crate::cli::{Answer, Console, Outcome};
use crate::control::{BackgroundRequest, StateStatus};

/// Let a running job migrate the keys that no record touches, in the background
///
/// Workers give so much of their time to it, between records, until no old row is left; `pitlane migrate status` shows
/// how far they are. A later savepoint then needs no old code, and `pitlane migrate retire` says so.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    job: JobArgs,
    /// The part of each worker's time, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    percent: u32,
    /// Leave the rest as it is, until somebody says otherwise
    #[arg(long, conflicts_with = "percent")]
    pause: bool,
    /// Print JSON: how the job is, as an element of `pitlane list --json`
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane migrate sweep flights
  pitlane migrate sweep flights --percent 50
  pitlane migrate sweep flights --pause";

pub(super) fn run(args: &SweepArgs, console: &mut Console<'_>) -> Outcome {
    let percent = if args.pause { 0 } else { args.percent };
    let status = args.job.find()?.background(BackgroundRequest { percent })?;
    if args.json {
        console.json(&status)?;
    } else {
        let states = status.operators.iter().flat_map(|operator| &operator.states);
        let left: u64 = states.map(StateStatus::unmigrated_entries).sum();
        let what = match percent {
            0 => "paused".to_owned(),
            percent => format!("at most {percent} % of each worker's time"),
        };
        writeln!(console.out, "{}: {} left under old versions; {what}", status.id, counted(left, "row"))?;
    }
    Ok(Answer::Yes)
}
