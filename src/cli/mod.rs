//! The command line: `pitlane VERB ...`, one file per verb.
//!
//! Answers go to standard output, all else to standard error. Each verb decides between two answers, yes and
//! no, or fails; that is the exit status: 0, 1 or 2. A binary of another name can offer the same verbs by
//! calling [`run`].

mod cancel;
mod consolidate;
mod describe;
mod diff;
mod diff_json;
mod explain;
mod fixture;
mod get;
mod inspect;
mod inspect_state;
mod job;
mod list;
mod migrate;
mod named;
mod place;
mod plan;
mod quarantine;
mod report;
mod salvage;
mod savepoint;
mod sql;
mod status;
mod stop;
mod text;
mod verify;

use crate::error::Error;
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// Savepoints of streaming jobs: look inside, compare, and change the job without losing its state
///
/// Savepoints are directories; every verb that looks at them works without the job that wrote them.
#[derive(Parser)]
#[command(name = "pitlane", version, arg_required_else_help = true, after_help = STATUS_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const STATUS_HELP: &str = "Exit status: 0 done, or no difference; 1 the answer is no (differences, damage, a refused \
                           plan); 2 it could not be done; 3 somebody has to decide (a plan that leaves state behind).";

#[derive(Subcommand)]
enum Verb {
    List(list::ListArgs),
    Status(status::StatusArgs),
    Savepoint(savepoint::SavepointArgs),
    Stop(stop::StopArgs),
    Cancel(cancel::CancelArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Salvage(salvage::SalvageArgs),
    Consolidate(consolidate::ConsolidateArgs),
    Fixture(fixture::FixtureArgs),
    Get(get::GetArgs),
    Diff(diff::DiffArgs),
    Plan(plan::PlanArgs),
    Explain(explain::ExplainArgs),
    Migrate(migrate::MigrateArgs),
    Quarantine(quarantine::QuarantineArgs),
}

/// Carries out the command line `args`, of which the first is the name of the program.
///
/// # Examples
///
/// ```
/// let done = pitlane::cli::run(["pitlane", "--version"].map(Into::into));
/// assert_eq!(done, std::process::ExitCode::SUCCESS);
/// ```
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    ExitCode::from(run_with(args, &mut out, &mut io::stderr().lock()))
}

/// As [`run`], with other places for the answer and for all else; returns the exit status.
pub fn run_with(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => {
            let to: &mut dyn Write = if usage.use_stderr() { err } else { out };
            // Where there is nobody to tell, there is nothing to do about it.
            let told = write!(to, "{}", usage.render()).and_then(|()| to.flush());
            return if usage.use_stderr() || told.is_err() { FAILED } else { 0 };
        }
    };
    let mut console = Console { out, err };
    let outcome = match &cli.verb {
        Verb::List(args) => list::run(args, &mut console),
        Verb::Status(args) => status::run(args, &mut console),
        Verb::Savepoint(args) => savepoint::run(args, &mut console),
        Verb::Stop(args) => stop::run(args, &mut console),
        Verb::Cancel(args) => cancel::run(args, &mut console),
        Verb::Inspect(args) => inspect::run(args, &mut console),
        Verb::Verify(args) => verify::run(args, &mut console),
        Verb::Salvage(args) => salvage::run(args, &mut console),
        Verb::Consolidate(args) => consolidate::run(args, &mut console),
        Verb::Fixture(args) => fixture::run(args, &mut console),
        Verb::Get(args) => get::run(args, &mut console),
        Verb::Diff(args) => diff::run(args, &mut console),
        Verb::Plan(args) => plan::run(args, &mut console),
        Verb::Explain(args) => explain::run(args, &mut console),
        Verb::Migrate(args) => migrate::run(args, &mut console),
        Verb::Quarantine(args) => quarantine::run(args, &mut console),
    };
    let outcome = outcome.and_then(|answer| Ok(console.out.flush().map(|()| answer)?));
    match outcome {
        Ok(Answer::Yes) => 0,
        Ok(Answer::No) => 1,
        Ok(Answer::Open) => 3,
        Err(failure) => {
            // What was found before the failure comes before it.
            let _ = console.out.flush();
            let _ = report::write(&failure, console.err);
            FAILED
        }
    }
}

/// The exit status of what could not be done.
const FAILED: u8 = 2;

/// Where a verb writes.
struct Console<'a> {
    /// Takes the answer.
    out: &'a mut dyn Write,
    /// Takes everything else.
    err: &'a mut dyn Write,
}

impl Console<'_> {
    /// Writes the answer as one JSON document.
    fn json(&mut self, answer: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, answer)?;
        writeln!(self.out)
    }
}

/// What a verb found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Done, or no difference.
    Yes,
    /// Differences, damage, a refused plan, nothing found.
    No,
    /// Somebody has to decide.
    Open,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// It could not be done.
    Error(Error),
    /// The arguments make no sense together.
    Usage {
        /// What is wrong.
        error: String,
        /// What to do about it.
        hint: String,
    },
    /// The answer could not be written.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

type Outcome = Result<Answer, Failure>;
