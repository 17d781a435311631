//! Answers for a running job on its local socket.

use super::coordinator::{Board, Event};
use crate::control::http::{Response, read_request, write_response};
use crate::control::{Command, Endpoint};
use crate::error::{Error, Result};
use crossbeam_channel::Sender;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// The thread that answers; ends when dropped.
pub(crate) struct Server {
    path: PathBuf,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(endpoint: Endpoint, board: Arc<Board>, events: Sender<Event>) -> Result<Self> {
        let path = endpoint.path().to_owned();
        let ending = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ending);
        let thread = std::thread::Builder::new()
            .name("pitlane-control".to_owned())
            .spawn(move || {
                for stream in endpoint.listener().incoming() {
                    if end.load(Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (board, events) = (Arc::clone(&board), events.clone());
                    // A savepoint takes its time; others are answered meanwhile.
                    let answer = move || answer(stream, &board, &events);
                    if std::thread::Builder::new().name("pitlane-answer".to_owned()).spawn(answer).is_err() {
                        eprintln!("warning: no thread to answer a request with");
                    }
                }
            })
            .map_err(Error::io("start", "a thread"))?;
        Ok(Self { path, ending, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Relaxed);
        // Wakes the thread, which then sees that it is to end.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: UnixStream, board: &Board, events: &Sender<Event>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let response = match read_request(&mut stream) {
        Ok(request) => {
            Command::parse(&request).map_or_else(|refused| refused, |command| obey(command, board, events))
        }
        Err(error) => match error.response() {
            Some(response) => response,
            None => return,
        },
    };
    // A client that has gone does not need its answer.
    let _ = write_response(&mut stream, &response);
}

fn obey(command: Command, board: &Board, events: &Sender<Event>) -> Response {
    let (event, reply) = match command {
        Command::Status => return Response::json(200, &board.status()),
        Command::Metrics => {
            let text = super::metrics::render(&board.status());
            return Response::text(200, "text/plain; version=0.0.4; charset=utf-8", text);
        }
        Command::Cancel => {
            return match events.send(Event::Cancel) {
                Ok(()) => Response::json(200, &board.status()),
                Err(_) => has_ended(),
            };
        }
        Command::Savepoint(request) => {
            let (sender, reply) = crossbeam_channel::bounded(1);
            (Event::Savepoint(request, sender), reply)
        }
        Command::Stop(request) => {
            let (sender, reply) = crossbeam_channel::bounded(1);
            (Event::Stop(request, sender), reply)
        }
    };
    if events.send(event).is_err() {
        return has_ended();
    }
    match reply.recv() {
        Ok(Ok(done)) => Response::json(200, &done),
        Ok(Err(error)) => Response::error(409, super::with_causes(&error), error.hint()),
        Err(_) => has_ended(),
    }
}

fn has_ended() -> Response {
    Response::error(409, "the job has ended", None)
}
