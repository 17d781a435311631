//! Answers for a running job on its local socket.

use super::board::Board;
use super::coordinator::Event;
use crate::control::http::{Response, read_request, write_response};
use crate::control::{Command, Endpoint};
use crate::error::{Error, Result};
use crate::model::Sweep;
use crossbeam_channel::Sender;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the end of the job waits for answers that are still on their way.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells the workers of all processes what to do about rows that no record has touched.
pub(crate) type TellSweep = dyn Fn(Sweep) + Send + Sync;

/// The thread that answers; ends when dropped, after the answers that it owes.
pub(crate) struct Server {
    path: PathBuf,
    ending: Arc<AtomicBool>,
    owed: Arc<Owed>,
    thread: Option<JoinHandle<()>>,
}

/// The number of clients that are being answered.
#[derive(Default)]
struct Owed {
    count: Mutex<usize>,
    less: Condvar,
}

/// A client that is being answered.
struct Debt(Arc<Owed>);

impl Owed {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>) -> Debt {
        *self.count() += 1;
        Debt(Arc::clone(self))
    }

    /// Waits until nobody waits for an answer, or has waited for too long.
    fn settle(&self, patience: Duration) {
        drop(self.less.wait_timeout_while(self.count(), patience, |count| *count > 0));
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.less.notify_all();
    }
}

impl Server {
    pub(crate) fn start(
        endpoint: Endpoint,
        board: Arc<Board>,
        tell: Arc<TellSweep>,
        events: Sender<Event>,
    ) -> Result<Self> {
        let path = endpoint.path().to_owned();
        let ending = Arc::new(AtomicBool::new(false));
        let owed = Arc::<Owed>::default();
        let (end, owing) = (Arc::clone(&ending), Arc::clone(&owed));
        let thread = std::thread::Builder::new()
            .name("pitlane-control".to_owned())
            .spawn(move || {
                for stream in endpoint.listener().incoming() {
                    if end.load(Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (board, tell, events) = (Arc::clone(&board), Arc::clone(&tell), events.clone());
                    // A savepoint takes its time; others are answered meanwhile.
                    let debt = owing.add();
                    let answer = move || {
                        answer(stream, &board, tell.as_ref(), &events);
                        drop(debt);
                    };
                    if std::thread::Builder::new().name("pitlane-answer".to_owned()).spawn(answer).is_err() {
                        tracing::warn!("no thread to answer a request with");
                    }
                }
            })
            .map_err(Error::io("start", "a thread"))?;
        Ok(Self { path, ending, owed, thread: Some(thread) })
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
        // The process may end right after this: whoever asked for the job's end is to hear of it first.
        self.owed.settle(LAST_WORDS);
    }
}

fn answer(mut stream: UnixStream, board: &Board, tell: &TellSweep, events: &Sender<Event>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let response = match read_request(&mut stream) {
        Ok(request) => Command::parse(&request)
            .map_or_else(|refused| refused, |command| obey(command, board, tell, events)),
        Err(error) => match error.response() {
            Some(response) => response,
            None => return,
        },
    };
    // A client that has gone does not need its answer.
    let _ = write_response(&mut stream, &response);
}

fn obey(command: Command, board: &Board, tell: &TellSweep, events: &Sender<Event>) -> Response {
    let (event, reply) = match command {
        Command::Status => return Response::json(200, &board.status()),
        Command::Metrics => {
            let text = super::metrics::render(&board.status(), super::now_ms() as i64);
            return Response::text(200, "text/plain; version=0.0.4; charset=utf-8", text);
        }
        Command::Cancel => {
            return match events.send(Event::Cancel) {
                Ok(()) => Response::json(200, &board.status()),
                Err(_) => has_ended(),
            };
        }
        Command::Sweep(sweep) => {
            tell(sweep);
            return Response::json(200, &board.status());
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
