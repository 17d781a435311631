//! `run --detach`: the job goes on in the background, once it is known that it runs.

use super::exit;
use super::line::{Line, News, Parent, once_more};
use crate::error::{Error, Result, shown};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The number of log files that are kept of a job.
const KEPT: usize = 10;

/// Starts the job in the background; returns the exit status once it runs, or once it is known not to.
pub(super) fn launch(job: &str, data: &Path) -> u8 {
    match try_launch(job, data) {
        Ok(status) => status,
        Err(error) => {
            super::log::report(job, &error);
            exit::REFUSED
        }
    }
}

fn try_launch(job: &str, data: &Path) -> Result<u8> {
    let (log, path) = create_log(&data.join(job).join("logs"))?;
    let again = || log.try_clone().map(Stdio::from);
    let started = once_more().and_then(|mut command| {
        command.stdout(again()?).stderr(again()?);
        Line::spawn(Parent::Launcher, &mut command)
    });
    let (mut child, line) = started.map_err(Error::io("start", "another process of this program"))?;
    let mut err = io::stderr();
    match line.hear::<News>().next() {
        Some(News::Running { id, .. }) => {
            println!("{id}");
            // Where there is nobody to tell, there is nothing to do about it.
            let _ = writeln!(err, "runs in the background; log: {}", shown(&path));
            return Ok(exit::DONE);
        }
        Some(News::Failed { failure, hint, .. }) => {
            let _ = writeln!(err, "error: {}", failure.error);
            let _ = hint.map(|hint| writeln!(err, "hint: {hint}"));
        }
        None => {
            let _ = writeln!(err, "error: the job ended before it ran\nhint: see {}", shown(&path));
        }
    }
    let status = child.wait().map_err(Error::io("wait for", "the job"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED))
}

/// Leaves the terminal and the session that this process was started from, so that their end is not its own.
#[expect(unsafe_code, reason = "the standard library does not start sessions")]
pub(super) fn leave_session() {
    // SAFETY: the call takes nothing and touches no memory. It fails for one who leads a session already, which is
    // as good.
    unsafe { libc::setsid() };
}

/// Creates a log file that is named by the time, and removes those that are too old.
fn create_log(dir: &Path) -> Result<(File, PathBuf)> {
    fs::create_dir_all(dir).map_err(Error::io("create", shown(dir)))?;
    let old = logs(dir);
    // A log that cannot be removed is only litter.
    for old in old.iter().rev().skip(KEPT - 1) {
        let _ = fs::remove_file(old);
    }
    // Later than all others, even if the clock was set back: the order of the names is that of the logs.
    let time_of = |log: &PathBuf| log.file_stem()?.to_str()?.parse().ok();
    let newest: u64 = old.last().and_then(time_of).unwrap_or_default();
    let first = crate::engine::now_ms().max(newest + 1);
    let path = (0..1000).map(|more| dir.join(format!("{:013}.log", first + more)));
    for path in path {
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            opened => {
                return opened.map(|log| (log, path.clone())).map_err(Error::io("create", shown(&path)));
            }
        }
    }
    Err(Error::io("create", shown(dir))(io::ErrorKind::AlreadyExists.into()))
}

/// The log files of a job, oldest first.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        path.extension().is_some_and(|e| e == "log")
            && stem.len() == 13
            && stem.bytes().all(|b| b.is_ascii_digit())
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = entries.filter(is_log).collect();
    logs.sort();
    logs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_logs_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.log"), "mine").unwrap();
        let paths: Vec<_> = (0..KEPT + 3).map(|_| create_log(dir.path()).unwrap().1).collect();
        let left: Vec<_> = paths.iter().filter(|path| path.exists()).collect();
        assert_eq!(left, paths.iter().skip(3).collect::<Vec<_>>());
        assert!(dir.path().join("notes.log").exists());
    }
}
