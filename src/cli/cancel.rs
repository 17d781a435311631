//! `pitlane cancel JOB`.

use super::job::JobArgs;
use super::text::{grouped, time_of};
use super::{Answer, Console, Outcome};

/// End a running job at once, without a savepoint
///
/// What it did since its last checkpoint is undone: a job that starts from that checkpoint does it again.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Print JSON: how the job was, as an element of `pitlane list --json`
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane cancel flights
  pitlane cancel flights-3 --json";

pub(super) fn run(args: &CancelArgs, console: &mut Console<'_>) -> Outcome {
    let status = args.job.find()?.cancel()?;
    if args.json {
        console.json(&status)?;
        return Ok(Answer::Yes);
    }
    writeln!(console.out, "cancelled  {}", status.id)?;
    match &status.last_checkpoint {
        Some(last) => writeln!(
            console.out,
            "           last checkpoint: {}, epoch {}, {}",
            last.path,
            grouped(last.epoch),
            time_of(last.at_ms)
        )?,
        None => writeln!(console.out, "           there was no checkpoint yet")?,
    }
    Ok(Answer::Yes)
}
