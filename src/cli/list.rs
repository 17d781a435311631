//! `pitlane list`.

use super::job::RunDirArgs;
use super::text::{Table, duration, grouped, size};
use super::{Answer, Console, Outcome};
use crate::control::JobStatus;
use crate::control::client::{self, Listed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Show the jobs that run on this machine
///
/// A job is named by its id or, if only one has it, by its name.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArgs {
    #[command(flatten)]
    run_dir: RunDirArgs,
    /// Print JSON, see --help
    #[arg(long, long_help = JSON_HELP)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane list
  pitlane list --json | jq '.[].id'";

const JSON_HELP: &str =
    "Print JSON, an array of: {id, job, release, branch, attempt, pid, workers, state, started_ms, epoch,
  restarts, supervisor_pid or null, last_failure: {at_ms, error} or null,
  last_checkpoint: {epoch, is_savepoint, at_ms, path, duration_ms, size_bytes, stall_us, carried_rows} or
    null,
  recent_checkpoints: the last ten, newest first, failed_checkpoints,
  last_checkpoint_failure: {epoch, at_ms, error} or null, data_dir, sweep: {rows, percent},
  watermark_ms or null,
  sources: [{uid, watermark_ms, positions: [{split, offset, records, finished, watermark_ms}],
    splits: [{split, records, bad_records, finished, idle, watermark_ms or null, progress: {done, total} or null}]}],
  operators: [{uid, kind, records_in, records_out, late_records, busy_ms, back_pressured_ms, watermark_ms or null,
    states: [{name, schema_version, entries, untouched, unmigrated: [{schema_version, entries}]}]}]}
positions and watermark_ms are those of the last checkpoint, splits those of now; done and total count bytes of files.
state is running, stopping or finished, rows old or all. A job that does not answer is not in the array.";

pub(super) fn run(args: &ListArgs, console: &mut Console<'_>) -> Outcome {
    let (mut jobs, mut silent) = (Vec::new(), Vec::new());
    for listed in client::list(&args.run_dir.run_dir())? {
        match listed {
            Listed::Answered(job) => jobs.push(job.status().clone()),
            Listed::Silent { error, .. } => silent.push(error),
        }
    }
    // Asides that nobody reads are no reason to fail.
    for error in &silent {
        let _ = writeln!(console.err, "warning: {error}");
    }
    if args.json {
        console.json(&jobs)?;
    } else if jobs.is_empty() {
        let _ = writeln!(console.err, "no job is running");
    } else {
        table(&jobs, now_ms()).write(console.out, "")?;
    }
    Ok(Answer::Yes)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn table(jobs: &[JobStatus], now_ms: u64) -> Table {
    let titles = ["ID", "JOB", "RELEASE", ">WORKERS", "STATE", "UP", ">EPOCH", "LAST CHECKPOINT"];
    let mut table = Table::with_head(&titles);
    for job in jobs {
        let last = job.last_checkpoint.as_ref().map_or("none yet".to_owned(), |last| {
            let ago = duration(now_ms.saturating_sub(last.at_ms));
            format!("{ago} ago (epoch {}, {})", grouped(last.epoch), size(last.size_bytes))
        });
        table.row([
            job.id.clone(),
            job.job.to_string(),
            job.release.clone(),
            job.workers.to_string(),
            job.state.as_str().to_owned(),
            duration(now_ms.saturating_sub(job.started_ms)),
            grouped(job.epoch),
            last,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::CheckpointStatus;
    use crate::model::JobName;

    #[test]
    fn jobs_are_listed_with_how_long_they_run_and_their_last_checkpoint() {
        let started = JobStatus::started("flights-3", JobName::new("flights").unwrap());
        let mut job = JobStatus { workers: 2, started_ms: 1_000, epoch: 7, ..started };
        let first = job.clone();
        job.last_checkpoint = Some(CheckpointStatus {
            epoch: 6,
            is_savepoint: false,
            at_ms: 60_000,
            path: "/data/6".to_owned(),
            duration_ms: 3,
            size_bytes: 2048,
            stall_us: 300,
            carried_rows: 0,
        });
        let mut out = Vec::new();
        table(&[first, job], 68_200).write(&mut out, "").unwrap();
        let wanted = "\
ID         JOB      RELEASE  WORKERS  STATE    UP         EPOCH  LAST CHECKPOINT
flights-3  flights  1              2  running  1 min 7 s      7  none yet
flights-3  flights  1              2  running  1 min 7 s      7  8.2 s ago (epoch 6, 2.0 KiB)
";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
