//! The line between a job's process and the one of the same binary that started it: a socket in the place of the
//! standard input, with a line of JSON for each thing that is said.
//!
//! It lasts as long as both processes do, so each of them notices when the other is gone, however it went.

use crate::control::AttemptFailure;
use crate::engine::job::Supervision;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// What this process was started by, and its process id, so that a grandchild does not take it for its own.
const VARIABLE: &str = "PITLANE_LINE";

/// Why a process of the same binary started this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// To run one attempt, and to be told how it went.
    Supervisor,
    /// To go on in the background, once it is told that the job runs.
    Launcher,
}

/// What a child tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub(super) enum News {
    /// The job runs.
    Running { id: String, attempt: u64 },
    /// The attempt has failed, or could not start.
    Failed {
        failure: AttemptFailure,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// What a supervisor tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub(super) enum Wish {
    /// What is known of earlier attempts; comes first.
    Begin(Supervision),
    /// End with a last checkpoint.
    End,
    /// End at once.
    Cancel,
}

/// One end of the line.
#[derive(Debug)]
pub(super) struct Line(UnixStream);

impl Line {
    /// Starts `command`, a process of this binary, with a line to it.
    pub(super) fn spawn(as_what: Parent, command: &mut Command) -> io::Result<(Child, Self)> {
        let (ours, theirs) = UnixStream::pair()?;
        let word = match as_what {
            Parent::Supervisor => "supervisor",
            Parent::Launcher => "launcher",
        };
        command.env(VARIABLE, format!("{word}:{}", std::process::id())).stdin(OwnedFd::from(theirs));
        Ok((command.spawn()?, Self(ours)))
    }

    /// Returns the line to the process of this binary that started this one, if one did.
    pub(super) fn to_parent() -> Option<(Parent, Self)> {
        let text = std::env::var(VARIABLE).ok()?;
        let parent = match text.split_once(':')? {
            ("supervisor", id) if id.parse() == Ok(parent_id()) => Parent::Supervisor,
            ("launcher", id) if id.parse() == Ok(parent_id()) => Parent::Launcher,
            _ => return None,
        };
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        Some((parent, Self(stream)))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Says something; one who has gone does not hear it.
    pub(super) fn say(&self, what: &impl Serialize) {
        let text = serde_json::to_string(what).unwrap_or_default();
        let _ = (&self.0).write_all(format!("{text}\n").as_bytes());
    }

    /// Hears what the other end says, until it is gone.
    pub(super) fn hear<T: DeserializeOwned>(self) -> impl Iterator<Item = T> {
        let lines = BufReader::new(self.0).lines().map_while(Result::ok);
        // What cannot be understood is passed over: both ends are the same binary, so there is none.
        lines.filter_map(|line| serde_json::from_str(&line).ok())
    }
}

/// Makes the command that starts this program once more with the same arguments.
///
/// It is the same program even if a newer release has taken its place on disk meanwhile.
pub(super) fn once_more() -> io::Result<Command> {
    let (itself, path) = (Path::new("/proc/self/exe"), std::env::current_exe());
    let identity = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    let program: PathBuf = match path {
        Ok(path) if !itself.exists() || identity(&path).ok() == identity(itself).ok() => path,
        _ if itself.exists() => itself.to_owned(),
        path => path?,
    };
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let mut command = Command::new(program);
    if !args.is_empty() {
        command.arg0(args.remove(0));
    }
    command.args(args);
    Ok(command)
}
