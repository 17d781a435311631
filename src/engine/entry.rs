//! The command line that every job has: `run`, `describe`, `migrate`.

use super::clock::Clock;
use super::coordinator::EndReason;
use super::job::{Job, RunOptions};
use crate::control::RunDir;
use crate::error::{Error, Result};
use crate::migrate::JobDescription;
use crate::model::OperatorUid;
use crate::rewrite::{self, Rewrite};
use crate::savepoint::Savepoint;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The exit status of an attempt that a newer one has fenced off.
const FENCED: u8 = 71;

#[derive(Parser)]
#[command(version = crate::VERSION, about = "A streaming job; `pitlane` speaks to it while it runs")]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(RunArgs),
    /// Print what the job is made of, as JSON, without opening anything
    Describe,
    Migrate(MigrateArgs),
}

/// Run the job until its input ends or it is stopped
///
/// Without `--from` it goes on from its last checkpoint or savepoint, if it has one.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    ./job run\n  \
    ./job run --workers 3 --from pitlane-data/flights/savepoints/0000000004-a0001\n  \
    ./job run --drop-unmatched old-operator")]
struct RunArgs {
    /// The savepoint or checkpoint to start from
    #[arg(long, value_name = "SAVEPOINT")]
    from: Option<PathBuf>,
    /// The number of workers; as many as there are cores unless said otherwise
    #[arg(long, short)]
    workers: Option<NonZeroUsize>,
    /// The directory with the checkpoints, savepoints and histories of all jobs
    #[arg(long, value_name = "DIR", default_value = "pitlane-data", env = "PITLANE_DATA")]
    data: PathBuf,
    /// The directory with the sockets of running jobs [default: $PITLANE_RUN_DIR, or one in the user's runtime directory]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Start with no state although the job has some
    #[arg(long, conflicts_with = "from")]
    fresh: bool,
    /// Leave behind the state of an operator that this release does not have; may be given several times
    #[arg(long, value_name = "UID", value_parser = uid)]
    drop_unmatched: Vec<OperatorUid>,
    /// Take a checkpoint every so many milliseconds, instead of what the job says
    #[arg(long, value_name = "MS")]
    checkpoint_interval_ms: Option<u64>,
}

/// Make a new savepoint out of an old one, in which all state is as this release has it
///
/// Takes every row through the job's migrations, on all cores. The old savepoint stays as it is; the new one appears
/// when all of it is there. A job needs none of this to start: it migrates each key when it is first touched.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    ./job migrate SAVEPOINT --dry-run\n  \
    ./job migrate SAVEPOINT NEW\n  \
    ./job migrate SAVEPOINT NEW --drop-unmatched old-operator")]
struct MigrateArgs {
    /// The directory of a savepoint or checkpoint
    savepoint: PathBuf,
    /// The directory of the new savepoint, which does not exist or is empty
    #[arg(required_unless_present = "dry_run")]
    new: Option<PathBuf>,
    /// Show what would become of each state, and how much of it would be done anew
    #[arg(long)]
    dry_run: bool,
    /// Write files anew even where the manifest alone could say what changes, for readers of plain Parquet
    #[arg(long)]
    physical: bool,
    /// Leave behind the state of an operator that this release does not have; may be given several times
    #[arg(long, value_name = "UID", value_parser = uid)]
    drop_unmatched: Vec<OperatorUid>,
    /// The number of threads; as many as there are cores unless said otherwise
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print JSON, as `pitlane migrate --help` shows it
    #[arg(long)]
    json: bool,
}

fn uid(text: &str) -> std::result::Result<OperatorUid, String> {
    OperatorUid::new(text).ok_or_else(|| "not an operator uid".to_owned())
}

impl Job {
    /// Runs the job's own command line, with the arguments of the process.
    ///
    /// `run` runs it, `describe` prints what it is made of, for `pitlane plan`, `migrate` takes all state of a savepoint
    /// through the job's migrations.
    pub fn main(self) -> ExitCode {
        self.main_from(std::env::args_os())
    }

    /// Runs the job's own command line; the first of `args` is the name of the program.
    pub fn main_from(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        let cli = match Cli::try_parse_from(args) {
            Ok(cli) => cli,
            Err(error) => {
                // Help and version are answers, anything else could not be done.
                let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
                let _ = error.print();
                return code;
            }
        };
        let name = self.name().to_owned();
        let done = match cli.command {
            Verb::Describe => self.describe().map(|description| println!("{}", description.to_json())),
            Verb::Run(args) => self.run(&args.options()).map(|end| {
                let what = match end.reason {
                    EndReason::Finished => "has read all its input",
                    EndReason::Stopped => "is stopped",
                    EndReason::Cancelled => "is cancelled",
                };
                let image = end.image.map(|i| format!("; last image: {}", i.display())).unwrap_or_default();
                eprintln!("job `{name}` {what}{image}");
            }),
            Verb::Migrate(args) => self.describe().and_then(|description| migrate(&args, &description)),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = error.report(&mut std::io::stderr());
                ExitCode::from(if matches!(error, Error::Fenced { .. }) { FENCED } else { 2 })
            }
        }
    }
}

fn migrate(args: &MigrateArgs, job: &JobDescription) -> Result<()> {
    let savepoint = Savepoint::open(&args.savepoint)?;
    let mut rewrite = Rewrite::by_job(&savepoint, job, &args.drop_unmatched)?;
    if args.physical {
        rewrite = rewrite.physical();
    }
    let (text, json) = match &args.new {
        Some(new) if !args.dry_run => {
            let shown = rewrite::Shown::default();
            let mut options = rewrite::Options { progress: &shown, ..Default::default() };
            options.threads = args.threads.unwrap_or(options.threads);
            let done = rewrite::run_to(&rewrite, new, options);
            shown.end();
            let done = done?;
            (done.to_string(), done.to_json())
        }
        _ => {
            let outlook = rewrite.outlook();
            (outlook.to_string(), outlook.to_json())
        }
    };
    if args.json {
        println!("{json:#}")
    } else {
        print!("{text}")
    }
    Ok(())
}

impl RunArgs {
    fn options(self) -> RunOptions {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        RunOptions {
            workers: self.workers.map_or(cores, NonZeroUsize::get),
            data_dir: self.data,
            run_dir: Some(self.run_dir.unwrap_or_else(|| RunDir::locate().path().to_owned())),
            from: self.from,
            fresh: self.fresh,
            drop_unmatched: self.drop_unmatched,
            checkpoint_interval: self.checkpoint_interval_ms.map(Duration::from_millis),
            clock: Clock::system(),
        }
    }
}
