//! Decides when epochs end, and commits them once every operator instance has written its part.
//!
//! A thread beside the workers. It speaks to them through worker 0, which broadcasts commands and hears all
//! reports, so that the same code serves several processes. One image is under way at a time.

use super::graph::Role;
use super::history::{self, History};
use super::image::{ImageOrder, Part};
use super::meter::Meter;
use super::now_ms;
use super::shared::{Command, Failure};
use crate::control::{
    CheckpointStatus, JobStatus, OperatorStatus, PositionStatus, RunState, SavepointDone, SavepointRequest,
    SourceStatus, StateStatus, StopRequest, VersionCount,
};
use crate::error::{Error, Result, shown};
use crate::migrate::OperatorDescription;
use crate::model::{
    Epoch, ImageKind, JobInfo, Manifest, MaxParallelism, OperatorEntry, SavepointId, SourceEntry,
    SourcePosition, StateEntry,
};
use crate::savepoint::seal;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// What a worker reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// An operator instance has written its part; images have held its worker up for so long at most.
    Part { worker: usize, node: usize, epoch: u64, part: Part, stall_us: u64 },
    /// An operator instance could not write its part.
    PartFailed { epoch: u64, error: String },
    /// An operator instance has made its output of the epoch visible.
    Settled { worker: usize, node: usize, epoch: u64 },
    /// The sources of a worker have read everything.
    InputOver { worker: usize },
}

/// What reaches the coordinator.
pub(crate) enum Event {
    Report(Report),
    /// Worker 0 is up, and this is its thread.
    Ready(Thread),
    Savepoint(SavepointRequest, Sender<Result<SavepointDone>>),
    Stop(StopRequest, Sender<Result<SavepointDone>>),
    Cancel,
    /// The workers are gone.
    Over,
}

/// How often a job is checkpointed, and how many checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// From one to the next; none if only savepoints are taken.
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) keep: usize,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self::every(Duration::from_secs(10))
    }
}

impl Checkpoints {
    /// Takes a checkpoint after each `interval`; every ten seconds unless said otherwise.
    pub fn every(interval: Duration) -> Self {
        Self { interval: Some(interval), timeout: Duration::from_secs(600), keep: 1 }
    }

    /// Takes none but the last, when the input ends: what happened since the last savepoint is done again
    /// after a failure.
    pub fn off() -> Self {
        Self { interval: None, ..Self::default() }
    }

    /// Keeps the newest `count` images, at least one.
    #[must_use]
    pub fn keep(mut self, count: usize) -> Self {
        self.keep = count.max(1);
        self
    }

    /// Gives an image up when it takes longer; ten minutes unless said otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What the coordinator knows of the job, fixed for the attempt.
pub(crate) struct JobFacts {
    pub(crate) job: JobInfo,
    pub(crate) parent: Option<SavepointId>,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) workers: usize,
    /// Operators with a part in every image: position in the graph, role, description.
    pub(crate) parts: Vec<(usize, Role, OperatorDescription)>,
    /// The job's data directory.
    pub(crate) root: PathBuf,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) started_ms: u64,
    pub(crate) meters: Arc<Vec<Meter>>,
}

/// What a running job tells of itself, shared with whoever answers for it.
pub(crate) struct Board {
    facts: Arc<JobFacts>,
    /// By which users name the running job.
    id: String,
    news: Mutex<News>,
}

struct News {
    state: RunState,
    epoch: u64,
    last: Option<CheckpointStatus>,
    sources: Vec<SourceEntry>,
    /// By operator and state: rows of the last image under each older schema version.
    older: BTreeMap<(String, String), Vec<VersionCount>>,
}

impl Board {
    pub(crate) fn new(facts: Arc<JobFacts>, id: String, epoch: u64) -> Self {
        let news =
            News { state: RunState::Running, epoch, last: None, sources: Vec::new(), older: BTreeMap::new() };
        Self { facts, id, news: Mutex::new(news) }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how the job is.
    pub(crate) fn status(&self) -> JobStatus {
        let (facts, news) = (&*self.facts, self.news());
        let operators = facts.parts.iter().map(|(node, role, operator)| {
            let reading = facts.meters[*node].read();
            let count = |n: i64| u64::try_from(n).unwrap_or(0);
            let states = operator.states.iter().filter(|_| *role == Role::Keyed).map(|state| {
                let entries = count(reading.unmigrated);
                let versions = news.older.get(&(operator.uid.to_string(), state.name.to_string()));
                let unmigrated = match versions.map(Vec::as_slice) {
                    _ if entries == 0 => Vec::new(),
                    Some([only]) => vec![VersionCount { schema_version: only.schema_version, entries }],
                    Some(several) if !several.is_empty() => several.to_vec(),
                    _ => vec![VersionCount { schema_version: state.schema.version.0, entries }],
                };
                StateStatus {
                    name: state.name.clone(),
                    schema_version: state.schema.version.0,
                    entries: count(reading.entries),
                    unmigrated,
                }
            });
            OperatorStatus {
                uid: operator.uid.clone(),
                kind: operator.kind.clone(),
                records_in: reading.records_in,
                records_out: reading.records_out,
                late_records: reading.late,
                busy_ms: reading.busy_ns / 1_000_000,
                back_pressured_ms: reading.held_ns / 1_000_000,
                watermark_ms: reading.watermark_ms,
                states: states.collect(),
            }
        });
        let sources = facts.parts.iter().filter(|(_, role, _)| *role == Role::Source);
        let sources = sources.map(|(node, _, operator)| {
            let last = news.sources.iter().find(|entry| entry.uid == operator.uid);
            let positions = last.map_or(&[][..], |entry| &entry.positions).iter().map(|p| PositionStatus {
                split: p.split.clone(),
                offset: p.offset,
                records: p.records,
                finished: p.finished,
                watermark_ms: p.watermark_ms,
            });
            SourceStatus {
                uid: operator.uid.clone(),
                watermark_ms: last.and_then(SourceEntry::watermark_ms),
                positions: positions.collect(),
                splits: facts.meters[*node].read().splits,
            }
        });
        JobStatus {
            id: self.id.clone(),
            job: facts.job.name.clone(),
            release: facts.job.release.clone(),
            branch: facts.job.branch.clone(),
            attempt: facts.job.attempt,
            pid: std::process::id(),
            workers: facts.workers as u32,
            state: news.state,
            started_ms: facts.started_ms,
            epoch: news.epoch,
            last_checkpoint: news.last.clone(),
            data_dir: shown(&facts.root),
            watermark_ms: news.sources.iter().filter_map(SourceEntry::watermark_ms).min(),
            sources: sources.collect(),
            operators: operators.collect(),
        }
    }
}

/// Why an image is taken.
enum Purpose {
    Checkpoint,
    Savepoint {
        request: SavepointRequest,
        reply: Sender<Result<SavepointDone>>,
    },
    Stop {
        request: StopRequest,
        reply: Sender<Result<SavepointDone>>,
    },
    /// The input has ended.
    Final,
}

impl Purpose {
    /// Whether the job ends with it.
    fn is_last(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::Final)
    }

    fn request(&self) -> Option<&SavepointRequest> {
        match self {
            Self::Savepoint { request, .. } => Some(request),
            Self::Stop { request, .. } => Some(&request.savepoint),
            Self::Checkpoint | Self::Final => None,
        }
    }

    /// Tells whoever asked; without its last image a job must not end as if all were well.
    fn reply(self, result: Result<SavepointDone>, failure: &Failure) {
        match self {
            Self::Final => {
                if let Err(error) = result {
                    failure.set(error);
                }
            }
            // Whoever asked may have gone; the savepoint is there all the same.
            Self::Savepoint { reply, .. } | Self::Stop { reply, .. } => drop(reply.send(result)),
            Self::Checkpoint => {
                if let Err(error) = result {
                    eprintln!("warning: no checkpoint: {error}");
                }
            }
        }
    }
}

/// An image under way.
struct Flight {
    purpose: Purpose,
    order: ImageOrder,
    began: Instant,
    parts: BTreeMap<(usize, usize), Part>,
    /// For how long it has held up the records of a worker at most.
    stall_us: u64,
    /// Once it is committed: what to tell, and which sinks have not made their output visible yet.
    committed: Option<(SavepointDone, HashSet<(usize, usize)>)>,
}

/// The coordinator of one attempt.
pub(crate) struct Coordinator {
    pub(crate) facts: Arc<JobFacts>,
    pub(crate) history: History,
    pub(crate) board: Arc<Board>,
    pub(crate) commands: Sender<Command>,
    pub(crate) failure: Arc<Failure>,
    /// The epoch that is open.
    pub(crate) epoch: u64,
}

/// How an attempt ended, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// Why it ended.
    pub reason: EndReason,
    /// The image that it left last.
    pub image: Option<PathBuf>,
}

/// Why an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The input was read to its end.
    Finished,
    /// It was stopped, with a savepoint.
    Stopped,
    /// It was cancelled: what came after the last image is to be done again.
    Cancelled,
}

impl Coordinator {
    /// Runs until the job ends or fails.
    pub(crate) fn run(mut self, events: &Receiver<Event>) -> JobEnd {
        let mut end = JobEnd { reason: EndReason::Cancelled, image: None };
        let mut worker: Option<Thread> = None;
        let mut queue: VecDeque<Purpose> = VecDeque::new();
        let mut flight: Option<Flight> = None;
        let mut over: HashSet<usize> = HashSet::new();
        let mut last_began = Instant::now();
        let mut ending = false;
        while !self.failure.is_set() {
            let now = Instant::now();
            if flight.is_none() && !ending && worker.is_some() {
                if queue.is_empty() && over.len() == self.facts.workers {
                    queue.push_back(Purpose::Final);
                }
                let due =
                    self.facts.checkpoints.interval.is_some_and(|interval| now - last_began >= interval);
                if queue.is_empty() && due {
                    queue.push_back(Purpose::Checkpoint);
                }
                if let Some(purpose) = queue.pop_front() {
                    last_began = now;
                    flight = self.begin(purpose);
                    wake(&worker);
                }
            }
            if flight
                .as_ref()
                .is_some_and(|f| f.committed.is_none() && f.began.elapsed() > self.facts.checkpoints.timeout)
                && let Some(late) = flight.take()
            {
                let error = Error::ImageTimeout {
                    epoch: late.order.epoch,
                    found: late.parts.len(),
                    wanted: self.part_count(),
                    after_ms: late.began.elapsed().as_millis() as u64,
                };
                self.give_up(late, error);
                wake(&worker);
            }
            let event = match events.recv_timeout(self.patience(flight.as_ref(), last_began, ending)) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            match event {
                Event::Ready(thread) => worker = Some(thread),
                Event::Over => break,
                Event::Savepoint(request, reply) => queue.push_back(Purpose::Savepoint { request, reply }),
                Event::Stop(request, reply) => {
                    self.board.news().state = RunState::Stopping;
                    queue.push_back(Purpose::Stop { request, reply });
                }
                Event::Cancel => {
                    ending = true;
                    self.board.news().state = RunState::Stopping;
                    self.send(Command::Finish);
                    wake(&worker);
                }
                Event::Report(Report::InputOver { worker }) => drop(over.insert(worker)),
                Event::Report(Report::PartFailed { epoch, error }) => {
                    if flight.as_ref().is_some_and(|f| f.order.epoch == epoch && f.committed.is_none())
                        && let Some(failed) = flight.take()
                    {
                        self.give_up(failed, Error::ImageFailed { epoch, reason: error });
                        wake(&worker);
                    }
                }
                Event::Report(Report::Part { worker: from, node, epoch, part, stall_us }) => {
                    if let Some(flight) = &mut flight
                        && flight.order.epoch == epoch
                    {
                        flight.parts.insert((from, node), part);
                        flight.stall_us = flight.stall_us.max(stall_us);
                        if flight.parts.len() == self.part_count() && flight.committed.is_none() {
                            if let Err(error) = self.commit(flight) {
                                self.failure.set(error);
                                break;
                            }
                            wake(&worker);
                        }
                    }
                }
                Event::Report(Report::Settled { worker: from, node, epoch }) => {
                    if let Some(Flight { order, committed: Some((_, waiting)), .. }) = &mut flight
                        && order.epoch == epoch
                    {
                        waiting.remove(&(from, node));
                    }
                }
            }
            let settled = |f: &Flight| f.committed.as_ref().is_some_and(|(_, waiting)| waiting.is_empty());
            if flight.as_ref().is_some_and(settled)
                && let Some(Flight { purpose, order, committed: Some((done, _)), .. }) = flight.take()
            {
                if let Err(error) = self.settle(&order) {
                    self.failure.set(error);
                    break;
                }
                end.image = Some(PathBuf::from(&order.directory));
                if purpose.is_last() {
                    ending = true;
                    let is_final = matches!(purpose, Purpose::Final);
                    end.reason = if is_final { EndReason::Finished } else { EndReason::Stopped };
                    self.board.news().state = RunState::Finished;
                    self.send(Command::Finish);
                    wake(&worker);
                }
                purpose.reply(Ok(done), &self.failure);
            }
        }
        let ended =
            || Error::Control { job: self.facts.job.name.to_string(), reason: "it has ended".to_owned() };
        flight
            .map(|f| f.purpose)
            .into_iter()
            .chain(queue)
            .filter(|p| p.request().is_some())
            .for_each(|p| p.reply(Err(ended()), &self.failure));
        end
    }

    /// How long to wait for an event.
    fn patience(&self, flight: Option<&Flight>, last_began: Instant, ending: bool) -> Duration {
        let longest = Duration::from_secs(3600);
        match (flight, self.facts.checkpoints.interval) {
            _ if ending => longest,
            (Some(flight), _) => self.facts.checkpoints.timeout.saturating_sub(flight.began.elapsed()),
            (None, Some(interval)) => interval.saturating_sub(last_began.elapsed()),
            (None, None) => longest,
        }
    }

    fn part_count(&self) -> usize {
        self.facts.parts.len() * self.facts.workers
    }

    fn send(&self, command: Command) {
        // If worker 0 is gone, the attempt is over, and its end says why.
        let _ = self.commands.send(command);
    }

    /// Ends the open epoch.
    fn begin(&mut self, purpose: Purpose) -> Option<Flight> {
        let (epoch, attempt) = (self.epoch, self.facts.job.attempt);
        let name = format!("{epoch:010}-a{attempt:04}");
        let directory = match purpose.request() {
            Some(SavepointRequest { path: Some(path), .. }) => PathBuf::from(path),
            Some(_) => self.facts.root.join("savepoints").join(name),
            None => self.facts.root.join("checkpoints").join(name),
        };
        if directory.join("manifest.json").exists()
            || directory.read_dir().is_ok_and(|mut d| d.next().is_some())
        {
            purpose.reply(Err(Error::ImageExists { path: shown(&directory) }), &self.failure);
            return None;
        }
        let created = std::fs::create_dir_all(&directory).and_then(|()| std::fs::canonicalize(&directory));
        let directory = match created {
            Ok(directory) => directory,
            Err(e) => {
                purpose.reply(Err(Error::io("create", shown(&directory))(e)), &self.failure);
                return None;
            }
        };
        let order = ImageOrder { epoch, directory: shown(&directory) };
        let drain = matches!(&purpose, Purpose::Stop { request, .. } if request.drain);
        self.send(Command::Close { order: order.clone(), rest: purpose.is_last(), drain });
        self.epoch += 1;
        self.board.news().epoch = self.epoch;
        Some(Flight {
            purpose,
            order,
            began: Instant::now(),
            parts: BTreeMap::new(),
            stall_us: 0,
            committed: None,
        })
    }

    /// Gives an image up; the job goes on, and its last good image stays.
    fn give_up(&self, flight: Flight, error: Error) {
        self.send(Command::Abort { epoch: flight.order.epoch });
        if flight.purpose.is_last() {
            self.board.news().state = RunState::Running;
        }
        // What is left of it is no savepoint; if it cannot be removed now, it is only litter.
        let _ = history::remove_image(&PathBuf::from(&flight.order.directory));
        flight.purpose.reply(Err(error), &self.failure);
    }

    /// Commits an image of which every part is there.
    fn commit(&mut self, flight: &mut Flight) -> Result<()> {
        let manifest = self.assemble(flight);
        let sealed = seal(&manifest);
        let directory = PathBuf::from(&flight.order.directory);
        let is_checkpoint = manifest.kind == ImageKind::Checkpoint;
        self.history.commit(flight.order.epoch, is_checkpoint, &directory, &sealed)?;
        self.send(Command::Commit { epoch: flight.order.epoch });
        let sinks = self.facts.parts.iter().filter(|(_, role, _)| *role == Role::Sink);
        let waiting =
            sinks.flat_map(|(node, ..)| (0..self.facts.workers).map(|worker| (worker, *node))).collect();
        let duration_ms = flight.began.elapsed().as_millis() as u64;
        let size_bytes = manifest.files().map(|f| f.size_bytes).sum();
        let done = SavepointDone {
            path: flight.order.directory.clone(),
            id: sealed.id.to_string(),
            epoch: flight.order.epoch,
            rows: manifest.files().map(|f| f.rows).sum(),
            size_bytes,
            duration_ms,
            watermark_ms: manifest.sources.iter().filter_map(SourceEntry::watermark_ms).min(),
        };
        let mut news = self.board.news();
        news.last = Some(CheckpointStatus {
            epoch: flight.order.epoch,
            at_ms: manifest.created_ms,
            path: flight.order.directory.clone(),
            duration_ms,
            size_bytes,
            stall_us: flight.stall_us,
        });
        news.older = manifest
            .states()
            .map(|(operator, state)| {
                let current = state.schemas.first().map(|s| s.version);
                let older =
                    state.rows_by_version().into_iter().filter(|(version, _)| Some(*version) != current);
                let counts = older.map(|(v, entries)| VersionCount { schema_version: v.0, entries });
                ((operator.uid.to_string(), state.name.to_string()), counts.collect())
            })
            .collect();
        news.sources = manifest.sources;
        drop(news);
        flight.committed = Some((done, waiting));
        Ok(())
    }

    /// Ends what a commit began, once the output is visible.
    fn settle(&mut self, order: &ImageOrder) -> Result<()> {
        history::mark_committed(&PathBuf::from(&order.directory))?;
        self.history.discard_superseded(self.facts.checkpoints.keep)
    }

    /// Puts the parts together.
    fn assemble(&self, flight: &Flight) -> Manifest {
        let facts = &self.facts;
        let mut sources = Vec::new();
        let mut operators = Vec::new();
        for (node, role, description) in &facts.parts {
            let parts = (0..facts.workers).filter_map(|worker| flight.parts.get(&(worker, *node)));
            let parts: Vec<&Part> = parts.collect();
            if *role == Role::Source {
                let mut positions: Vec<SourcePosition> =
                    parts.iter().flat_map(|p| p.positions.clone()).collect();
                positions.sort_by(|a, b| a.split.cmp(&b.split));
                sources.push(SourceEntry { uid: description.uid.clone(), positions });
            }
            let states = description.states.iter().map(|state| {
                let mut entry = StateEntry {
                    name: state.name.clone(),
                    kind: state.kind,
                    key: state.key.clone(),
                    schemas: vec![state.schema.clone()],
                    files: Vec::new(),
                };
                let written = parts.iter().flat_map(|p| &p.states).filter(|s| s.name == state.name.as_str());
                for (schema, file) in written.flat_map(|s| &s.files) {
                    let known = entry.schemas.iter().position(|s| s.is_same(schema));
                    let index = known.unwrap_or_else(|| {
                        entry.schemas.push(schema.clone());
                        entry.schemas.len() - 1
                    });
                    entry.files.push(crate::model::FileEntry { schema: index, ..file.clone() });
                }
                entry
            });
            operators.push(OperatorEntry {
                uid: description.uid.clone(),
                kind: description.kind.clone(),
                states: states.collect(),
            });
        }
        let request = flight.purpose.request();
        Manifest {
            kind: if request.is_some() { ImageKind::Savepoint } else { ImageKind::Checkpoint },
            created_ms: now_ms(),
            writer: concat!("pitlane ", env!("CARGO_PKG_VERSION")).to_owned(),
            job: facts.job.clone(),
            epoch: Epoch(flight.order.epoch),
            parent: facts.parent.clone(),
            labels: request.map(|r| r.labels.clone()).unwrap_or_default(),
            max_parallelism: facts.max_parallelism,
            parallelism: facts.workers as u32,
            sources,
            operators,
            unknown: serde_json::Map::new(),
        }
    }
}

fn wake(worker: &Option<Thread>) {
    if let Some(thread) = worker {
        thread.unpark();
    }
}
