//! What the verbs for running jobs share: which job, and how its savepoint is asked for and shown.

use super::named::place;
use super::text::{counted, duration, grouped, size, watermark};
use super::{Console, Failure};
use crate::control::client::{self, RunningJob};
use crate::control::{RunDir, SavepointDone, SavepointRequest};
use crate::error::Result;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where running jobs are looked for.
#[derive(clap::Args)]
pub(super) struct RunDirArgs {
    /// The directory with the sockets of the running jobs
    ///
    /// Default: $PITLANE_RUN_DIR, else $XDG_RUNTIME_DIR/pitlane, else /tmp/pitlane-UID
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

impl RunDirArgs {
    pub(super) fn run_dir(&self) -> RunDir {
        self.run_dir.as_ref().map_or_else(RunDir::locate, RunDir::at)
    }
}

/// One running job.
#[derive(clap::Args)]
pub(super) struct JobArgs {
    /// The id or the name of the job, as `pitlane list` shows them
    job: String,
    #[command(flatten)]
    run_dir: RunDirArgs,
}

impl JobArgs {
    pub(super) fn run_dir(&self) -> RunDir {
        self.run_dir.run_dir()
    }

    pub(super) fn find(&self) -> Result<RunningJob> {
        client::find(&self.run_dir(), &self.job)
    }
}

/// What a savepoint is to be.
#[derive(clap::Args)]
pub(super) struct RequestArgs {
    /// Write this on the savepoint; NAME is `note` if only text is given
    #[arg(long, value_name = "[NAME=]TEXT")]
    label: Vec<String>,
    /// Write the savepoint to this directory, which must not hold one; default: the job's own choice
    #[arg(long, value_name = "DIR", value_parser = place())]
    path: Option<PathBuf>,
}

impl RequestArgs {
    pub(super) fn request(&self) -> Result<SavepointRequest, Failure> {
        let mut labels = BTreeMap::new();
        for label in &self.label {
            let (name, text) = label.split_once('=').unwrap_or(("note", label));
            if labels.insert(name.to_owned(), text.to_owned()).is_some() {
                return Err(Failure::Usage {
                    error: format!("two labels have the name `{name}`"),
                    hint: "give each a name of its own: `--label NAME=TEXT`".to_owned(),
                });
            }
        }
        // The job may have another working directory.
        let absolute = |path: &PathBuf| std::path::absolute(path).map_err(path_error(path));
        let path = self.path.as_ref().map(absolute).transpose()?;
        Ok(SavepointRequest { labels, path: path.map(|path| path.display().to_string()) })
    }
}

fn path_error(path: &Path) -> impl FnOnce(io::Error) -> crate::Error {
    crate::Error::io("find", path.display().to_string())
}

/// Shows a savepoint that a job has taken.
pub(super) fn write_done(console: &mut Console<'_>, done: &SavepointDone) -> io::Result<()> {
    writeln!(console.out, "savepoint  {}", done.path)?;
    writeln!(
        console.out,
        "           id {}, epoch {}, {}, {}, watermark {}, in {}",
        done.id,
        grouped(done.epoch),
        counted(done.rows, "row"),
        size(done.size_bytes),
        watermark(done.watermark_ms),
        duration(done.duration_ms)
    )
}
