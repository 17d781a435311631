//! Asking a job's binary what it is: `JOB ARGS describe` or `explain`, with a time-out and a bound on what it may say.

use crate::error::{Error, Result, shown};
use crate::migrate::JobDescription;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The most that a job may say, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How often it is looked whether the job has ended.
const TICK: Duration = Duration::from_millis(5);

/// Runs `program` with `args` and `describe`, and reads the description that it prints.
///
/// # Errors
///
/// [`Error::Io`] if it cannot be started; [`Error::Description`] if it does not end in time, fails, or prints
/// anything but a description.
pub(super) fn describe(program: &Path, args: &[OsString], timeout: Duration) -> Result<JobDescription> {
    let text = ask(program, args, &["describe"], "the description of a job", timeout)?;
    JobDescription::from_json(&text, &shown(program))
}

/// Runs `program` with `args` and `verb`, and returns the text that it prints.
///
/// # Errors
///
/// As [`describe`].
pub(super) fn ask(
    program: &Path,
    args: &[OsString],
    verb: &[&str],
    wanted: &str,
    timeout: Duration,
) -> Result<String> {
    let name = shown(program);
    let wrong =
        |found: String| Error::Description { program: name.clone(), found, wanted: wanted.to_owned() };
    let child = Command::new(found_here(program))
        .args(args)
        .args(verb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io("start", &name))?;
    let mut child = Guard(child);
    let (out, err) = (drain(child.0.stdout.take()), drain(child.0.stderr.take()));
    let deadline = Instant::now() + timeout;
    let late = || wrong(format!("nothing within {} s", timeout.as_secs()));
    let status = child.wait_until(deadline).map_err(Error::io("wait for", &name))?.ok_or_else(late)?;
    // What the job has started itself may hold the pipes open.
    let left = deadline.saturating_duration_since(Instant::now()).max(TICK);
    if !status.success() {
        let said = err.recv_timeout(left).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let last =
            said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned();
        return Err(wrong(format!("{status} ({last})")));
    }
    let text = out.recv_timeout(left).map_err(|_| late())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("more than {MAX_BYTES} bytes")));
    }
    String::from_utf8(text).map_err(|_| wrong("bytes that are not text".to_owned()))
}

/// A file of that name in this directory is meant, rather than one in `PATH`.
fn found_here(program: &Path) -> PathBuf {
    let bare = program.components().count() == 1 && program.is_file();
    if bare { Path::new(".").join(program) } else { program.to_owned() }
}

/// Reads a pipe on a thread of its own, so that neither pipe stalls the job.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing; nobody may wait for it any more.
        let _ = pipe.map(|pipe| pipe.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        let _ = sender.send(bytes);
    });
    receiver
}

/// A process that does not outlive the interest in it.
struct Guard(Child);

impl Guard {
    /// Waits for the end of the process; `None` if it is not there in time.
    fn wait_until(&mut self, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(TICK);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> String {
        // The shell takes the last argument, `describe`, as `$0`.
        let args = ["-c".into(), script.into()];
        describe(Path::new("sh"), &args, timeout).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_is_not_there_fails_or_says_nonsense_is_an_error_that_says_so() {
        let wait = Duration::from_secs(20);
        let error = describe(Path::new("/no/such/job"), &[], wait).unwrap_err();
        assert!(matches!(error, Error::Io { action: "start", .. }), "{error}");
        let error = sh("echo working >&2; echo 'no such room' >&2; exit 3", wait);
        assert!(error.contains("exit status: 3 (no such room)"), "{error}");
        assert!(sh("echo hello", wait).contains("no JSON"));
        assert!(sh("printf '\\377'", wait).contains("not text"));
        assert!(sh("echo '{\"protocol\": 9999}'", wait).contains("protocol 9999"));
    }

    #[test]
    fn a_program_that_never_ends_is_stopped() {
        let start = Instant::now();
        // The child of the shell keeps the pipe open after the shell is stopped.
        let error = sh("sleep 30; true", Duration::from_millis(200));
        assert!(error.contains("nothing within 0 s"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
