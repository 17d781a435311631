//! `pitlane savepoint JOB`.

use super::job::{JobArgs, RequestArgs, write_done};
use super::{Answer, Console, Outcome};

/// Take a savepoint of a running job, which goes on
///
/// Returns once the savepoint is committed. It is yours: pitlane never removes it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SavepointArgs {
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Print JSON: {path, id, epoch, rows, size_bytes, duration_ms, watermark_ms}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane savepoint flights
  pitlane savepoint flights-3 --label 'before release 2'
  pitlane savepoint flights --path /backup/flights-january --json";

pub(super) fn run(args: &SavepointArgs, console: &mut Console<'_>) -> Outcome {
    let request = args.request.request()?;
    let done = args.job.find()?.savepoint(&request)?;
    if args.json {
        console.json(&done)?;
    } else {
        write_done(console, &done)?;
    }
    Ok(Answer::Yes)
}
