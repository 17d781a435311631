//! Runs attempts as processes of this binary, one after the other, until one ends well or the strategy gives up.
//!
//! A process of its own for each attempt: what ends it, be it an abort or the system's lack of memory, does not end
//! the supervisor, and nothing of it is left in the way of the next.

use super::line::{Line, News, Parent, Wish, once_more};
use super::{exit, log, signals};
use crate::control::AttemptFailure;
use crate::engine::job::Supervision;
use crate::engine::now_ms;
use crate::engine::restart::{Decision, Restart, Restarts, Span};
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How often it is looked whether the attempt has ended, should the line to it not tell.
const TICK: Duration = Duration::from_millis(500);

/// What reaches the supervisor.
enum Event {
    Signal,
    /// From the attempt of this number; nothing when the line to it has ended.
    News(u64, Option<News>),
}

/// Supervises the job; returns the exit status, which is that of the last attempt. `launcher` is told once it runs.
pub(super) fn run(job: &str, restart: Restart, launcher: Option<&Line>) -> u8 {
    match Supervisor::new(job, restart, launcher).and_then(|mut supervisor| supervisor.run()) {
        Ok(status) => status,
        Err(error) => {
            log::report(job, &error);
            exit::REFUSED
        }
    }
}

struct Supervisor<'a> {
    job: &'a str,
    launcher: Option<&'a Line>,
    restarts: Restarts,
    known: Supervision,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// How often a signal has asked for the end.
    asked: u32,
}

/// How an attempt went.
struct Outcome {
    status: ExitStatus,
    failure: Option<News>,
}

impl<'a> Supervisor<'a> {
    fn new(job: &'a str, restart: Restart, launcher: Option<&'a Line>) -> Result<Self> {
        let (sender, events) = crossbeam_channel::unbounded();
        let signals = sender.clone();
        signals::listen(move || drop(signals.send(Event::Signal)))?;
        let known = Supervision { pid: Some(std::process::id()), ..Supervision::default() };
        Ok(Self { job, launcher, restarts: Restarts::new(restart), known, sender, events, asked: 0 })
    }

    fn run(&mut self) -> Result<u8> {
        loop {
            let began = Instant::now();
            let outcome = self.attempt()?;
            let status = status_code(outcome.status);
            let cause = outcome.cause();
            // What does not even start the first time is told at once, and to whoever has started it.
            if self.known.first_attempt.is_none() {
                self.relay(outcome, &cause);
                return Ok(status);
            }
            if self.asked > 0 || exit::is_final(status) {
                return Ok(status);
            }
            let job = self.job;
            let failure = AttemptFailure { at_ms: now_ms(), error: cause.clone() };
            match self.restarts.decide(Instant::now(), began.elapsed()) {
                Decision::GiveUp(why) => {
                    log::report(job, &Error::GivenUp { job: job.to_owned(), why, cause });
                    return Ok(status);
                }
                Decision::After(delay) => {
                    let count = self.restarts.count();
                    tracing::warn!(
                        job,
                        restarts = count,
                        delay_ms = delay.as_millis() as u64,
                        cause,
                        "job `{job}` failed, and is restarted in {} (restart {count}): {cause}",
                        Span(delay)
                    );
                    self.known.restarts = u64::from(count);
                    self.known.last_failure = Some(failure);
                    if self.is_asked_within(delay) {
                        tracing::info!(job, "job `{job}` is not restarted");
                        return Ok(status);
                    }
                }
            }
        }
    }

    /// Runs one attempt to its end.
    fn attempt(&mut self) -> Result<Outcome> {
        let started = once_more().and_then(|mut command| Line::spawn(Parent::Supervisor, &mut command));
        let (mut child, line) = started.map_err(Error::io("start", "another process of this program"))?;
        line.say(&Wish::Begin(self.known.clone()));
        let number = self.known.restarts;
        let (heard, told) =
            (line.try_clone().map_err(Error::io("hear", "the attempt"))?, self.sender.clone());
        std::thread::Builder::new()
            .name("pitlane-line".to_owned())
            .spawn(move || {
                heard.hear().for_each(|news| drop(told.send(Event::News(number, Some(news)))));
                let _ = told.send(Event::News(number, None));
            })
            .map_err(Error::io("start", "a thread"))?;
        let mut outcome = Outcome { status: ExitStatus::default(), failure: None };
        let mut is_over = false;
        loop {
            match self.events.recv_timeout(if is_over { Duration::ZERO } else { TICK }) {
                Ok(Event::Signal) => self.ask(&line, &mut child),
                Ok(Event::News(from, Some(news))) if from == number => match news {
                    News::Running { attempt, .. } => {
                        self.known.first_attempt.get_or_insert(attempt);
                        if let Some(launcher) = self.launcher {
                            launcher.say(&news);
                        }
                    }
                    News::Failed { .. } => outcome.failure = Some(news),
                },
                Ok(Event::News(from, None)) if from == number => {
                    outcome.status = child.wait().map_err(Error::io("wait for", "the attempt"))?;
                    is_over = true;
                }
                Ok(Event::News(..)) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) if is_over => {
                    return Ok(outcome);
                }
                Err(_) => {
                    // What the attempt has started itself may hold the line open.
                    if let Some(status) = child.try_wait().map_err(Error::io("wait for", "the attempt"))? {
                        outcome.status = status;
                        is_over = true;
                    }
                }
            }
        }
    }

    /// Asks the attempt to end, more urgently each time.
    fn ask(&mut self, line: &Line, child: &mut Child) {
        self.asked += 1;
        match self.asked {
            1 => line.say(&Wish::End),
            2 => line.say(&Wish::Cancel),
            // It may just have ended by itself.
            _ => drop(child.kill()),
        }
    }

    /// Waits; returns whether somebody asked for the end meanwhile.
    fn is_asked_within(&mut self, delay: Duration) -> bool {
        let began = Instant::now();
        while let Some(left) = delay.checked_sub(began.elapsed()) {
            if let Ok(Event::Signal) = self.events.recv_timeout(left) {
                return true;
            }
        }
        false
    }

    /// Tells the launcher why the job does not run.
    fn relay(&self, outcome: Outcome, cause: &str) {
        let failure = AttemptFailure { at_ms: now_ms(), error: cause.to_owned() };
        let news = outcome.failure.unwrap_or(News::Failed { failure, hint: None });
        if let Some(launcher) = self.launcher {
            launcher.say(&news);
        }
    }
}

impl Outcome {
    /// What has ended the attempt: its own words, or what the operating system says of it.
    fn cause(&self) -> String {
        match (&self.failure, self.status.signal(), self.status.code()) {
            (Some(News::Failed { failure, .. }), ..) => failure.error.clone(),
            (_, Some(signal), _) => {
                format!("the process was killed by signal {signal}{}", signal_name(signal))
            }
            (_, _, code) => format!("the process ended with status {}", code.unwrap_or_default()),
        }
    }
}

fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal).map_or_else(String::new, |name| format!(" ({name})"))
}

/// The status as a shell would give it.
fn status_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED)
}
