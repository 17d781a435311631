//! The command line that every job has: `run`, `describe`, `explain`, `migrate`.
//!
//! ```text
//! run              attempt.rs     in this process, until it ends or a signal or the supervisor wishes so
//! run --restart    supervisor.rs  attempts as processes of this binary, one after the other
//! run --detach     detach.rs      either of these in the background
//! migrate          migrate.rs     a savepoint made anew, all of its state as this release has it
//! ```

mod attempt;
mod detach;
mod exit;
mod line;
mod log;
mod migrate;
mod signals;
mod supervisor;

use self::attempt::Told;
use self::line::{Line, Parent, Wish};
use self::log::LogFormat;
use super::clock::Clock;
use super::cluster::Cluster;
use super::job::{Job, RunOptions, Supervision};
use super::restart::Restart;
use crate::control::RunDir;
use crate::error::{Error, Result};
use crate::model::{OperatorUid, Sweep};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    Explain(ExplainArgs),
    Migrate(migrate::MigrateArgs),
}

/// Show the job's operators, what each of them reads and what it keeps, without opening anything
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    ./job explain\n  \
    ./job explain --as dot | dot -Tsvg > job.svg")]
struct ExplainArgs {
    /// How to show it
    #[arg(long = "as", value_enum, default_value_t, value_name = "FORM")]
    form: GraphForm,
}

/// How a graph is shown.
#[derive(Clone, Copy, Default, ValueEnum)]
enum GraphForm {
    /// Text, with the type of each state and its migrations
    #[default]
    Text,
    /// A flowchart for Mermaid
    Mermaid,
    /// A graph for Graphviz
    Dot,
}

/// Run the job until its input ends or it is stopped
///
/// Without `--from` it goes on from its last checkpoint or savepoint, if it has one.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    ./job run\n  \
    ./job run --restart fixed,delay=10s,attempts=5\n  \
    ./job run --detach --workers 3 --from pitlane-data/flights/savepoints/0000000004-a0001\n  \
    ./job run --drop-unmatched old-operator\n  \
    ./job run --hosts hosts.txt --process 0\n\n\
    Signals: SIGTERM and SIGINT end the job after a last checkpoint, a second one ends it at once.\n\n\
    Exit status: 0 it has ended, or was stopped or cancelled; 2 it could not be started; 73 it failed;\n\
    71 a newer attempt has taken over; 70 another of its processes failed or is lost; 72 one did not come or hangs;\n\
    with a supervisor that of the last attempt.")]
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
    /// Run in several processes: a file with the address of each, host:port, one a line; all get the same file
    ///
    /// Process 0 leads, and its --from, --fresh and --drop-unmatched count. All processes run the same binary with the
    /// same number of workers and see the same files. They speak TCP without encryption or passwords: use addresses
    /// that nobody else reaches.
    #[arg(long, value_name = "FILE", requires = "process")]
    hosts: Option<PathBuf>,
    /// Which line of the hosts file this process is, counted from 0
    #[arg(long, value_name = "NUMBER", requires = "hosts")]
    process: Option<usize>,
    /// End the attempt if nothing is heard of another process for so long
    #[arg(long, value_name = "MS", default_value_t = 10_000, requires = "hosts")]
    peer_timeout_ms: u64,
    /// Wait so long until all processes are there
    #[arg(long, value_name = "MS", default_value_t = 60_000, requires = "hosts")]
    join_timeout_ms: u64,
    /// Take a checkpoint every so many milliseconds, instead of what the job says
    #[arg(long, value_name = "MS")]
    checkpoint_interval_ms: Option<u64>,
    /// Write into checkpoints only what has changed, on top of the files of older ones
    #[arg(long)]
    incremental: bool,
    /// Take rows of the savepoint over that no record has touched, in the background: none, old or all, and how much of
    /// each worker's time it may cost: all,25; 10 percent unless it is said
    ///
    /// `old` migrates what has another schema than this release, so that old code can go. `all` also takes over what has
    /// its schema, so that a first touch costs no more than a later one; it takes the memory of a state that was touched.
    /// `pitlane migrate sweep` changes it while the job runs.
    #[arg(long, value_name = "ROWS[,PERCENT]", default_value_t = Sweep::NONE)]
    sweep: Sweep,
    /// Go on without keys whose migration fails: their state goes into quarantine, records for them are passed over
    ///
    /// By default such a key ends the job. Set aside, its state is kept as it is in every later savepoint, with the reason;
    /// records that come for it are counted and lost, its timers wait. The next start tries again: `pitlane quarantine`
    /// shows what is there.
    #[arg(long)]
    quarantine_failing_keys: bool,
    /// Restart the job when it fails: never, fixed, exponential or rate, with settings; see --help
    ///
    /// A supervisor runs each attempt as a process of its own, which goes on from the last checkpoint. Default: what
    /// the job says in its code, else never. Strategies, with the values that they have unless they are given:
    ///   fixed,delay=10s                                 after a delay
    ///   exponential,first=1s,factor=2,max=1m,reset=1h   after a longer one each time
    ///   rate,failures=3,per=5m,delay=10s                unless there are too many failures
    /// Each takes attempts=N too, the most restarts altogether.
    #[arg(long, value_name = "STRATEGY", num_args = 0..=1, default_missing_value = Restart::ALONE, verbatim_doc_comment)]
    restart: Option<Restart>,
    /// Let the job run in the background; print its id once it runs
    ///
    /// What it writes goes to a file in the directory `logs` of the job's data.
    #[arg(long)]
    detach: bool,
    /// How to write the log; its levels are those of $PITLANE_LOG or $RUST_LOG, or `info`
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log: LogFormat,
}

fn uid(text: &str) -> std::result::Result<OperatorUid, String> {
    OperatorUid::new(text).ok_or_else(|| "not an operator uid".to_owned())
}

impl Job {
    /// Runs the job's own command line, with the arguments of the process.
    ///
    /// `run` runs it, `describe` prints what it is made of, for `pitlane plan`, `explain` shows it to people, `migrate`
    /// takes all state of a savepoint through its migrations. What the engine tells meanwhile is
    /// written to standard error, unless the process has a `tracing` subscriber of its own.
    pub fn main(self) -> ExitCode {
        self.main_from(std::env::args_os())
    }

    /// Runs the job's own command line; the first of `args` is the name of the program.
    ///
    /// A supervisor and a job in the background are processes of this program with the arguments of this process:
    /// what they do up to here must be the same.
    pub fn main_from(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        ExitCode::from(self.run_command_line(args))
    }

    /// As [`main_from`](Self::main_from), and returns the exit status.
    pub fn run_command_line(self, args: impl IntoIterator<Item = OsString>) -> u8 {
        let cli = match Cli::try_parse_from(args) {
            Ok(cli) => cli,
            Err(error) => {
                // Help and version are answers, anything else could not be done.
                let status = if error.use_stderr() { exit::REFUSED } else { exit::DONE };
                let _ = error.print();
                return status;
            }
        };
        match cli.command {
            Verb::Run(args) => args.run(self),
            Verb::Describe => answer(self.describe().map(|description| description.to_json() + "\n")),
            Verb::Explain(args) => answer(self.graph().map(|graph| match args.form {
                GraphForm::Text => graph.to_text(),
                GraphForm::Mermaid => graph.to_mermaid(),
                GraphForm::Dot => graph.to_dot(),
            })),
            Verb::Migrate(args) => {
                answer(self.describe().and_then(|description| args.run(&description)).map(|()| String::new()))
            }
        }
    }
}

/// Prints the answer, or why there is none; returns the exit status.
fn answer(text: Result<String>) -> u8 {
    let error = match text {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever asked does not want to know more.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return exit::DONE,
            Err(e) => Error::io("write", "the answer")(e),
            Ok(()) => return exit::DONE,
        },
        Err(error) => error,
    };
    let _ = error.report(&mut std::io::stderr());
    exit::REFUSED
}

impl RunArgs {
    /// Decides which process of several this is, and does its part; returns the exit status.
    fn run(self, job: Job) -> u8 {
        if let Err(wrong) = log::start(self.log) {
            eprintln!("error: {wrong}");
            return exit::REFUSED;
        }
        let restart = self.restart.unwrap_or_else(|| job.restart_strategy());
        let launcher = match Line::to_parent() {
            Some((Parent::Supervisor, line)) => {
                let Ok(heard) = line.try_clone() else { return exit::FAILED };
                let mut wishes = heard.hear::<Wish>();
                let Some(Wish::Begin(supervision)) = wishes.next() else { return exit::FAILED };
                let told = Told::Supervisor(line, Box::new(wishes));
                return self.attempt(job, supervision, told);
            }
            Some((Parent::Launcher, line)) => {
                detach::leave_session();
                Some(line)
            }
            None if self.detach => return detach::launch(job.name(), &self.data),
            None => None,
        };
        if !restart.is_never() {
            return supervisor::run(job.name(), restart, launcher.as_ref());
        }
        let told = launcher.map_or(Told::Nobody, Told::Launcher);
        self.attempt(job, Supervision::default(), told)
    }

    fn attempt(self, job: Job, supervision: Supervision, told: Told) -> u8 {
        let name = job.name().to_owned();
        match self.options(supervision) {
            Ok(options) => attempt::run(job, &options, told),
            Err(error) => attempt::refuse(&name, &error, &told),
        }
    }

    /// Returns the processes that the job is to run in, if it is more than this one.
    fn cluster(&self) -> Result<Option<Cluster>> {
        let Some((hosts, process)) = self.hosts.as_ref().zip(self.process) else { return Ok(None) };
        let cluster = Cluster::from_file(hosts, process)?
            .peer_timeout(Duration::from_millis(self.peer_timeout_ms))
            .join_timeout(Duration::from_millis(self.join_timeout_ms));
        Ok(Some(cluster))
    }

    fn options(self, supervision: Supervision) -> Result<RunOptions> {
        let cluster = self.cluster()?;
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(RunOptions {
            workers: self.workers.map_or(cores, NonZeroUsize::get),
            cluster,
            data_dir: self.data,
            run_dir: Some(self.run_dir.unwrap_or_else(|| RunDir::locate().path().to_owned())),
            from: self.from,
            fresh: self.fresh,
            drop_unmatched: self.drop_unmatched,
            checkpoint_interval: self.checkpoint_interval_ms.map(Duration::from_millis),
            incremental: self.incremental,
            sweep: self.sweep,
            quarantine_failing_keys: self.quarantine_failing_keys,
            supervision,
            clock: Clock::system(),
        })
    }
}
