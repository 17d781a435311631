//! Finding running jobs and asking them: what `pitlane list`, `status`, `savepoint`, `stop` and `cancel` do.

use super::http::{self, HttpError, Response};
use super::run_dir::is_gone;
use super::{Command, ErrorBody, JobStatus, RunDir, SavepointDone, SavepointRequest, StopRequest};
use crate::error::{Error, Result};
use crate::model::Sweep;
use serde::de::DeserializeOwned;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a job may take to say how it is; its workers have no part in the answer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// A job that answered.
#[derive(Clone, Debug)]
pub struct RunningJob {
    socket: PathBuf,
    status: JobStatus,
}

/// A socket in the run directory.
#[derive(Debug)]
pub enum Listed {
    /// Its job answered.
    Answered(Box<RunningJob>),
    /// Its job is there, but did not answer as expected.
    Silent {
        /// The id of the job.
        id: String,
        /// Why there is no status.
        error: Error,
    },
}

impl Listed {
    fn id(&self) -> &str {
        match self {
            Self::Answered(job) => &job.status.id,
            Self::Silent { id, .. } => id,
        }
    }
}

/// Asks all jobs how they are, sorted by id; removes the sockets of those whose process is gone.
///
/// # Errors
///
/// If the run directory cannot be read.
pub fn list(run_dir: &RunDir) -> Result<Vec<Listed>> {
    let mut jobs = Vec::new();
    for (id, socket) in run_dir.sockets()? {
        match ask::<JobStatus>(&id, &socket, &Command::Status, Some(STATUS_TIMEOUT)) {
            Ok(status) => jobs.push(Listed::Answered(Box::new(RunningJob { socket, status }))),
            Err(Failure::Gone) => run_dir.sweep(&socket)?,
            Err(Failure::Told(error)) => jobs.push(Listed::Silent { id, error }),
        }
    }
    Ok(jobs)
}

/// Finds the job that has `name` as its id, or else as its name.
///
/// # Errors
///
/// [`Error::NoSuchJob`], [`Error::AmbiguousJob`], or what the job answered.
pub fn find(run_dir: &RunDir, name: &str) -> Result<RunningJob> {
    let jobs = list(run_dir)?;
    let known: Vec<String> = jobs.iter().map(|job| job.id().to_owned()).collect();
    let (by_id, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.id() == name);
    if let Some(job) = by_id.into_iter().next() {
        return match job {
            Listed::Answered(job) => Ok(*job),
            Listed::Silent { error, .. } => Err(error),
        };
    }
    let named = |job: Listed| match job {
        Listed::Answered(job) if job.status.job.as_str() == name => Some(*job),
        _ => None,
    };
    let mut named: Vec<_> = others.into_iter().filter_map(named).collect();
    match (named.pop(), named.is_empty()) {
        (None, _) => Err(Error::NoSuchJob { name: name.to_owned(), known: known.join(", ") }),
        (Some(job), true) => Ok(job),
        (Some(last), false) => {
            named.push(last);
            let ids: Vec<_> = named.iter().map(|job| job.status.id.as_str()).collect();
            Err(Error::AmbiguousJob { name: name.to_owned(), candidates: ids.join(", ") })
        }
    }
}

impl RunningJob {
    /// Returns what the job said when it was last asked.
    pub fn status(&self) -> &JobStatus {
        &self.status
    }

    /// Asks the job once more how it is; returns whether it still runs.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it is there and does not answer.
    pub fn refresh(&mut self) -> Result<bool> {
        match ask(&self.status.id, &self.socket, &Command::Status, Some(STATUS_TIMEOUT)) {
            // Another job may have taken over the name of the socket.
            Ok(status) if status_is_of(&status, &self.status) => {
                self.status = status;
                Ok(true)
            }
            Ok(_) | Err(Failure::Gone) => Ok(false),
            Err(Failure::Told(error)) => Err(error),
        }
    }

    /// Takes a savepoint and lets the job go on; returns once it is committed.
    ///
    /// # Errors
    ///
    /// [`Error::JobRefused`] with the job's own words, [`Error::Control`] if there is no answer.
    pub fn savepoint(&self, request: &SavepointRequest) -> Result<SavepointDone> {
        self.call(&Command::Savepoint(request.clone()))
    }

    /// Takes a savepoint and ends the job; returns once the savepoint is committed and the job is ending.
    ///
    /// # Errors
    ///
    /// As [`savepoint`](Self::savepoint).
    pub fn stop(&self, request: &StopRequest) -> Result<SavepointDone> {
        self.call(&Command::Stop(request.clone()))
    }

    /// Ends the job without a savepoint.
    ///
    /// # Errors
    ///
    /// As [`savepoint`](Self::savepoint).
    pub fn cancel(&self) -> Result<JobStatus> {
        self.call(&Command::Cancel)
    }

    /// Says what workers are to do about rows that no record has touched.
    ///
    /// # Errors
    ///
    /// As [`savepoint`](Self::savepoint).
    pub fn sweep(&self, sweep: Sweep) -> Result<JobStatus> {
        self.call(&Command::Sweep(sweep))
    }

    fn call<T: DeserializeOwned>(&self, command: &Command) -> Result<T> {
        let id = &self.status.id;
        ask(id, &self.socket, command, None).map_err(|failure| match failure {
            Failure::Gone => Error::Control { job: id.clone(), reason: "it has just ended".to_owned() },
            Failure::Told(error) => error,
        })
    }
}

fn status_is_of(status: &JobStatus, known: &JobStatus) -> bool {
    (status.pid, &status.id) == (known.pid, &known.id)
}

enum Failure {
    /// No process listens at the socket.
    Gone,
    Told(Error),
}

fn ask<T: DeserializeOwned>(
    id: &str,
    socket: &Path,
    command: &Command,
    timeout: Option<Duration>,
) -> Result<T, Failure> {
    let control = |reason: String| Failure::Told(Error::Control { job: id.to_owned(), reason });
    let response = match exchange(socket, command, timeout) {
        Ok(response) => response,
        Err(HttpError::Io(e)) if is_gone(&e) => return Err(Failure::Gone),
        Err(HttpError::Io(e)) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            return Err(control(format!("no answer within {} s", timeout.unwrap_or_default().as_secs())));
        }
        Err(e) => return Err(control(format!("no answer: {e}"))),
    };
    if response.is_success() {
        return response.read_json().map_err(|e| control(format!("the answer is not as expected: {e}")));
    }
    Err(Failure::Told(match response.read_json::<ErrorBody>() {
        Ok(ErrorBody { error, hint }) => Error::JobRefused { job: id.to_owned(), reason: error, hint },
        Err(_) => Error::Control {
            job: id.to_owned(),
            reason: format!("it answered with status {}", response.status),
        },
    }))
}

fn exchange(socket: &Path, command: &Command, timeout: Option<Duration>) -> Result<Response, HttpError> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    http::write_request(&mut stream, &command.request())?;
    http::read_response(&mut stream)
}

#[cfg(test)]
mod tests {
    use super::super::Endpoint;
    use super::*;
    use crate::model::JobName;
    use std::os::unix::net::UnixListener;
    use std::thread::{self, JoinHandle};

    fn status(id: &str, job: &str) -> JobStatus {
        JobStatus::started(id, JobName::new(job).unwrap())
    }

    /// Answers `requests` requests on a thread, then goes away; returns the commands.
    fn serve(
        endpoint: Endpoint,
        requests: usize,
        answer: impl Fn(&Command) -> Response + Send + 'static,
    ) -> JoinHandle<Vec<Command>> {
        thread::spawn(move || {
            let mut commands = Vec::new();
            while commands.len() < requests {
                let (mut stream, _) = endpoint.listener().accept().unwrap();
                match http::read_request(&mut stream) {
                    Ok(request) => commands.push(Command::parse(&request).unwrap()),
                    // Somebody looked whether we live.
                    Err(HttpError::Closed) => continue,
                    Err(e) => panic!("{e}"),
                }
                http::write_response(&mut stream, &answer(&commands[commands.len() - 1])).unwrap();
            }
            commands
        })
    }

    fn bind(run_dir: &RunDir, job: &str) -> (Endpoint, JobStatus) {
        let endpoint = run_dir.bind(&JobName::new(job).unwrap(), 1).unwrap();
        let status = status(endpoint.id(), job);
        (endpoint, status)
    }

    fn status_only(status: JobStatus) -> impl Fn(&Command) -> Response + Send + 'static {
        move |_| Response::json(200, &status)
    }

    #[test]
    fn a_job_that_does_not_run_is_an_error_that_lists_those_that_do() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path());
        let error = find(&run_dir, "flights").unwrap_err();
        assert_eq!(error.to_string(), "no job `flights` is running; none is");
        let (endpoint, status) = bind(&run_dir, "alarm");
        let server = serve(endpoint, 1, status_only(status));
        let error = find(&run_dir, "flights").unwrap_err();
        assert_eq!(error.to_string(), "no job `flights` is running; there is alarm-1");
        server.join().unwrap();
    }

    #[test]
    fn a_name_that_two_jobs_have_is_an_error_that_lists_both() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path());
        let jobs = [bind(&run_dir, "flights"), bind(&run_dir, "flights")];
        let servers = jobs.map(|(endpoint, status)| serve(endpoint, 2, status_only(status)));
        let error = find(&run_dir, "flights").unwrap_err();
        assert_eq!(error.to_string(), "`flights` is the name of several running jobs: flights-1, flights-1b");
        assert_eq!(find(&run_dir, "flights-1b").unwrap().status().id, "flights-1b");
        for server in servers {
            server.join().unwrap();
        }
    }

    #[test]
    fn a_socket_without_a_process_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("flights-1.sock");
        drop(UnixListener::bind(&socket).unwrap());
        assert!(list(&RunDir::at(dir.path())).unwrap().is_empty());
        assert!(!socket.exists());
    }

    #[test]
    fn a_job_that_says_nonsense_is_listed_as_silent_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path());
        let (endpoint, _) = bind(&run_dir, "flights");
        let server = serve(endpoint, 1, |_| Response::json(200, &"hello"));
        let listed = list(&run_dir).unwrap();
        assert!(
            matches!(&listed[..], [Listed::Silent { id, error: Error::Control { .. } }] if id == "flights-1")
        );
        server.join().unwrap();
    }

    #[test]
    fn a_refusal_comes_with_the_jobs_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path());
        let (endpoint, status) = bind(&run_dir, "flights");
        let server = serve(endpoint, 2, move |command| match command {
            Command::Status => Response::json(200, &status),
            _ => Response::error(409, "a savepoint is under way", Some("wait for it".to_owned())),
        });
        let error = find(&run_dir, "flights").unwrap().savepoint(&SavepointRequest::default()).unwrap_err();
        assert_eq!(error.to_string(), "job `flights-1`: a savepoint is under way");
        assert_eq!(error.hint().as_deref(), Some("wait for it"));
        server.join().unwrap();
    }

    #[test]
    fn a_job_that_dies_while_asked_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path());
        let (endpoint, status) = bind(&run_dir, "flights");
        let server = thread::spawn(move || {
            let (mut stream, _) = endpoint.listener().accept().unwrap();
            http::read_request(&mut stream).unwrap();
            http::write_response(&mut stream, &Response::json(200, &status)).unwrap();
            let (mut stream, _) = endpoint.listener().accept().unwrap();
            http::read_request(&mut stream).unwrap();
        });
        let job = find(&run_dir, "flights").unwrap();
        let error = job.cancel().unwrap_err();
        assert_eq!(error.to_string(), "job `flights-1`: no answer: the connection was closed half-way");
        server.join().unwrap();
        let error = job.cancel().unwrap_err();
        assert_eq!(error.to_string(), "job `flights-1`: it has just ended");
    }

    #[test]
    fn a_job_is_found_by_its_name_and_stopped_with_what_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path());
        let (endpoint, status) = bind(&run_dir, "flights");
        let done = SavepointDone {
            path: "/data/savepoints/7".to_owned(),
            id: "0123456789abcdef".to_owned(),
            epoch: 7,
            rows: 10,
            size_bytes: 1000,
            duration_ms: 5,
            watermark_ms: Some(-1),
        };
        let answer = done.clone();
        let server = serve(endpoint, 2, move |command| match command {
            Command::Status => Response::json(200, &status),
            _ => Response::json(200, &answer),
        });
        let stop = StopRequest { drain: true, ..StopRequest::default() };
        assert_eq!(find(&run_dir, "flights").unwrap().stop(&stop).unwrap(), done);
        assert_eq!(server.join().unwrap()[1], Command::Stop(stop));
    }
}
