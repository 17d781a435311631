//! `pitlane stop JOB`.

use super::job::{JobArgs, RequestArgs, write_done};
use super::{Answer, Console, Outcome};
use crate::control::StopRequest;

/// Take a savepoint of a running job and end it
///
/// Returns once the savepoint is committed. Nothing that the job reads after it takes effect, so that a job
/// that starts from the savepoint neither loses nor repeats anything.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StopArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Let event time end first: windows close and timers fire before the savepoint is taken
    ///
    /// For a job that is to end for good; one that goes on later would see its windows closed too early.
    #[arg(long)]
    drain: bool,
    #[command(flatten)]
    request: RequestArgs,
    /// Print JSON: {path, id, epoch, rows, size_bytes, duration_ms, watermark_ms}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane stop flights
  pitlane stop flights-3 --label 'before release 2' --json
  pitlane stop flights --drain";

pub(super) fn run(args: &StopArgs, console: &mut Console<'_>) -> Outcome {
    let request = StopRequest { drain: args.drain, savepoint: args.request.request()? };
    let job = args.job.find()?;
    let done = job.stop(&request)?;
    if args.json {
        console.json(&done)?;
    } else {
        write_done(console, &done)?;
        writeln!(console.out, "stopped    {}", job.status().id)?;
    }
    Ok(Answer::Yes)
}
