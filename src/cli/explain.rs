//! `pitlane explain JOB [-- ARGS]`.

use super::describe::ask;
use super::{Answer, Console, Outcome};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Show a job's operators, what each of them reads and what it keeps
///
/// Asks the job's binary, which opens and changes nothing; the same as `JOB explain`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// The binary of the job
    job: PathBuf,
    /// What to call the binary with, before `explain`
    #[arg(last = true)]
    args: Vec<OsString>,
    /// How to show it
    #[arg(long = "as", value_enum, default_value_t, value_name = "FORM", conflicts_with = "json")]
    form: Form,
    /// How long the job may take to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// Print JSON: the description that `pitlane plan` goes by
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane explain ./flights_v2
  pitlane explain ./flights_v2 --as dot | dot -Tsvg > flights.svg
  pitlane explain ./jobs -- flights-v2

Exit status: 0 done; 2 it could not be found out.";

/// How a graph is shown.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Form {
    /// Text, with the type of each state and its migrations
    #[default]
    Text,
    /// A flowchart for Mermaid
    Mermaid,
    /// A graph for Graphviz
    Dot,
}

impl Form {
    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Mermaid => "mermaid",
            Self::Dot => "dot",
        }
    }
}

pub(super) fn run(args: &ExplainArgs, console: &mut Console<'_>) -> Outcome {
    let form = ["explain", "--as", args.form.as_str()];
    let verb: &[&str] = if args.json { &["describe"] } else { &form };
    let timeout = Duration::from_secs(args.timeout);
    let text = ask(&args.job, &args.args, verb, "the graph of a job", timeout)?;
    write!(console.out, "{text}")?;
    Ok(Answer::Yes)
}
