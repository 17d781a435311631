//! `pitlane migrate sweep JOB`.

use crate::cli::job::JobArgs;
use crate::cli::text::counted;
use crate::cli::{Answer, Console, Outcome};
use crate::model::{Sweep, SweptRows};

/// Let a running job migrate the rows that no record touches, in the background
///
/// Workers give so much of their time to it, between records, until no row of an older version is left; `pitlane migrate
/// status` shows how far they are. A later savepoint then needs no old code, and `pitlane migrate retire` says so. With
/// --all they also take over the rows that need no migration, so that a first touch costs no more than a later one:
/// `pitlane status --watch` shows how many are left and how long it takes.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Take over all rows, also those of the current version
    #[arg(long)]
    all: bool,
    /// The part of each worker's time, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = Sweep::PERCENT, value_parser = clap::value_parser!(u32).range(1..=100))]
    percent: u32,
    /// Leave the rest as it is, until somebody says otherwise
    #[arg(long, conflicts_with_all = ["percent", "all"])]
    pause: bool,
    /// Print JSON: how the job is, as an element of `pitlane list --json`
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane migrate sweep flights
  pitlane migrate sweep flights --all --percent 50
  pitlane migrate sweep flights --pause

All processes of a job hear of it. What is asked for holds until the attempt ends;
`run --sweep` asks for it whenever one begins.";

pub(super) fn run(args: &SweepArgs, console: &mut Console<'_>) -> Outcome {
    let job = args.job.find()?;
    let sweep = match args.pause {
        true => Sweep { percent: 0, ..job.status().sweep },
        false => {
            Sweep { rows: if args.all { SweptRows::All } else { SweptRows::Old }, percent: args.percent }
        }
    };
    let status = job.sweep(sweep)?;
    if args.json {
        console.json(&status)?;
    } else {
        let left = counted(status.left_to_sweep(), "row");
        let of = match sweep.rows {
            SweptRows::Old => "left under old versions",
            SweptRows::All => "left in the savepoint",
        };
        let what = match sweep.percent {
            0 => "paused".to_owned(),
            percent => format!("at most {percent} % of each worker's time"),
        };
        writeln!(console.out, "{}: {left} {of}; {what}", status.id)?;
    }
    Ok(Answer::Yes)
}
