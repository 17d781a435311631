//! One attempt of the job in this process: it runs, and ends when somebody wishes so.

use super::line::{Line, News, Wish};
use super::{exit, log, signals};
use crate::control::AttemptFailure;
use crate::engine::coordinator::EndReason;
use crate::engine::job::{Job, JobHandle, Remote, RunOptions};
use crate::engine::{now_ms, with_causes};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the workers may go on with what they are at once the job has failed.
const GRACE: Duration = Duration::from_secs(10);

/// Who is told how the attempt goes, if anybody is.
pub(super) enum Told {
    Nobody,
    Launcher(Line),
    /// With what it wishes.
    Supervisor(Line, Box<dyn Iterator<Item = Wish> + Send>),
}

/// Runs the job; returns the exit status.
///
/// With a supervisor, signals do no more than ask for the end: it is the supervisor that counts them.
pub(super) fn run(job: Job, options: &RunOptions, told: Told) -> u8 {
    let name = job.name().to_owned();
    let (line, obeyed) = match told {
        Told::Nobody => (None, None),
        Told::Launcher(line) => (Some(line), None),
        Told::Supervisor(line, wishes) => (Some(line), Some(wishes)),
    };
    let mut has_started = false;
    match try_run(job, options, line.as_ref(), obeyed, &mut has_started) {
        Ok(()) => exit::DONE,
        Err(error) => fail(&name, &error, exit::status_of(&error, has_started), line.as_ref()),
    }
}

/// Tells that the job cannot be started; returns the exit status.
pub(super) fn refuse(name: &str, error: &Error, told: &Told) -> u8 {
    let line = match told {
        Told::Nobody => None,
        Told::Launcher(line) | Told::Supervisor(line, _) => Some(line),
    };
    fail(name, error, exit::status_of(error, false), line)
}

fn fail(name: &str, error: &Error, status: u8, line: Option<&Line>) -> u8 {
    if let Some(line) = line {
        line.say(&News::Failed {
            failure: AttemptFailure { at_ms: now_ms(), error: with_causes(error) },
            hint: error.hint(),
        });
    }
    log::report(name, error);
    status
}

fn try_run(
    job: Job,
    options: &RunOptions,
    line: Option<&Line>,
    obeyed: Option<Box<dyn Iterator<Item = Wish> + Send>>,
    has_started: &mut bool,
) -> Result<()> {
    let wishes = Arc::<Wishes>::default();
    let heard = Arc::clone(&wishes);
    let is_supervised = obeyed.is_some();
    signals::listen(move || if is_supervised { heard.end() } else { heard.more() })?;
    if let Some(obeyed) = obeyed {
        obey(obeyed, Arc::clone(&wishes))?;
    }
    let running = job.start(options)?;
    *has_started = true;
    let status = running.status();
    if let Some(line) = line {
        line.say(&News::Running { id: status.id.clone(), attempt: status.attempt });
    }
    wishes.are_for(&running);
    let end = running.wait_or_leave(GRACE)?;
    let what = match end.reason {
        EndReason::Finished => "has read all its input",
        EndReason::Stopped => "is stopped",
        EndReason::Cancelled => "is cancelled",
    };
    let image = end.image.map(|image| crate::error::shown(&image));
    let shown = image.as_ref().map(|image| format!("; last image: {image}")).unwrap_or_default();
    tracing::info!(job = %status.job, id = status.id, image, "job `{}` {what}{shown}", status.job);
    Ok(())
}

/// Does what the supervisor wishes; without one the job ends, lest it runs on unseen.
fn obey(obeyed: Box<dyn Iterator<Item = Wish> + Send>, wishes: Arc<Wishes>) -> Result<()> {
    let obey = move || {
        for wish in obeyed {
            match wish {
                // It comes first, and was taken then.
                Wish::Begin(_) => {}
                Wish::End => wishes.end(),
                Wish::Cancel => wishes.cancel(),
            }
        }
        wishes.end();
    };
    let thread = std::thread::Builder::new().name("pitlane-line".to_owned()).spawn(obey);
    thread.map(drop).map_err(Error::io("start", "a thread"))
}

/// What was wished of a job that may not run yet.
#[derive(Default)]
struct Wishes(Mutex<(Wished, Option<Remote>)>);

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wished {
    #[default]
    Nothing,
    /// With a last checkpoint.
    End,
    /// Without one.
    Cancel,
}

impl Wishes {
    /// Asks for the end, more urgently each time.
    fn more(&self) {
        let (wished, runs) = {
            let (wished, remote) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (*wished, remote.is_some())
        };
        match wished {
            Wished::Nothing => self.end(),
            Wished::End if runs => self.cancel(),
            // Somebody insists, and the job does not listen, or is not there to listen yet.
            _ => std::process::exit(exit::KILLED.into()),
        }
    }

    fn end(&self) {
        self.wish(Wished::End);
    }

    fn cancel(&self) {
        self.wish(Wished::Cancel);
    }

    fn wish(&self, wish: Wished) {
        let (wished, remote) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wish > *wished {
            *wished = wish;
            tell(remote.as_ref(), wish);
        }
    }

    /// Hands on what was wished so far, and all that will be.
    fn are_for(&self, job: &JobHandle) {
        let (wished, remote) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *remote = Some(job.remote());
        tell(remote.as_ref(), *wished);
    }
}

fn tell(remote: Option<&Remote>, wished: Wished) {
    let Some(remote) = remote else { return };
    match wished {
        Wished::Nothing => {}
        Wished::End => {
            tracing::info!("the job is to end: after a last checkpoint; once more ends it at once");
            remote.end();
        }
        Wished::Cancel => {
            tracing::warn!("the job is cancelled");
            remote.cancel();
        }
    }
}
