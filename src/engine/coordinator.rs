//! Decides when epochs end, and commits them once every operator instance has written its part.
//!
//! A thread beside the workers. It speaks to them through worker 0, which broadcasts commands and hears all
//! reports, so that the same code serves several processes. One image is under way at a time.

use super::batch::Mark;
use super::board::{Board, JobFacts};
use super::chain::Chain;
use super::checkpoints::{Due, Schedule};
use super::graph::Role;
use super::history::{self, History};
use super::image::{ImageOrder, Part};
use super::now_ms;
use super::shared::{Command, Failure};
use super::sweep;
use crate::control::{RunState, SavepointDone, SavepointRequest, StopRequest};
use crate::error::{Error, Result, shown};
use crate::model::{
    Epoch, ImageKind, Manifest, OperatorEntry, OperatorUid, SourceEntry, SourcePosition, StateEntry,
    StateName,
};
use crate::savepoint::{Savepoint, seal};
use crate::storage::{create_directory, local_path};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// What a worker reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// An operator instance has written its part; images have held its worker up for so long at most.
    Part { worker: usize, node: usize, epoch: u64, part: Part, stall_us: u64 },
    /// An operator instance could not write its part, be it for want of space.
    PartFailed { epoch: u64, error: String, is_full: bool },
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
    /// End the job with a last checkpoint, or without one if there can be none.
    End,
    Cancel,
    /// The workers are gone.
    Over,
}

/// Why an image is taken.
enum Purpose {
    Checkpoint,
    /// A savepoint of the schedule.
    Scheduled,
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
    /// The job is to end.
    End,
}

impl Purpose {
    /// Whether the job ends with it.
    fn is_last(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::Final | Self::End)
    }

    fn request(&self) -> Option<&SavepointRequest> {
        match self {
            Self::Savepoint { request, .. } => Some(request),
            Self::Stop { request, .. } => Some(&request.savepoint),
            Self::Checkpoint | Self::Scheduled | Self::Final | Self::End => None,
        }
    }

    fn kind(&self) -> ImageKind {
        match self {
            Self::Scheduled | Self::Savepoint { .. } | Self::Stop { .. } => ImageKind::Savepoint,
            Self::Checkpoint | Self::Final | Self::End => ImageKind::Checkpoint,
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
            Self::Checkpoint | Self::Scheduled | Self::End => {
                if let Err(error) = result {
                    tracing::warn!("no checkpoint: {}", super::with_causes(&error));
                }
            }
        }
    }
}

/// How often an attempt looks whether a newer one has begun.
const LOOK: Duration = Duration::from_secs(2);

/// An image under way.
struct Flight {
    purpose: Purpose,
    order: ImageOrder,
    began: Instant,
    parts: BTreeMap<(usize, usize), Part>,
    /// Of states of which it has only what has changed, what they build on.
    linked: BTreeMap<(OperatorUid, StateName), StateEntry>,
    /// For how long it has held up the records of a worker at most.
    stall_us: u64,
    /// Once it is committed: what to tell, and which sinks have not made their output visible yet.
    committed: Option<(SavepointDone, HashSet<(usize, usize)>)>,
}

/// The coordinator of one attempt.
pub(crate) struct Coordinator {
    facts: Arc<JobFacts>,
    history: History,
    /// What the next checkpoint builds on, if it has only what has changed.
    chain: Option<Chain>,
    board: Arc<Board>,
    commands: Sender<Command>,
    failure: Arc<Failure>,
    /// The epoch that is open.
    epoch: u64,
    schedule: Schedule,
    /// Directories of images that were given up, in which a thread may still be writing.
    litter: Vec<PathBuf>,
    /// When it last looked whether a newer attempt has begun.
    looked: Instant,
    /// Whether the workers were told that nothing more is to come.
    ending: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The input was read to its end.
    Finished,
    /// It was stopped, with a savepoint or a last checkpoint.
    Stopped,
    /// It was cancelled: what came after the last image is to be done again.
    Cancelled,
}

impl Coordinator {
    pub(crate) fn new(
        facts: Arc<JobFacts>,
        (history, chain): (History, Option<Chain>),
        board: Arc<Board>,
        commands: Sender<Command>,
        failure: Arc<Failure>,
        epoch: u64,
    ) -> Self {
        let now = Instant::now();
        let schedule = Schedule::new(facts.checkpoints, now, sweep::age_of_last_scheduled(&facts.root));
        let (litter, ending) = (Vec::new(), false);
        Self { facts, history, chain, board, commands, failure, epoch, schedule, litter, looked: now, ending }
    }

    /// Runs until the job ends or fails.
    pub(crate) fn run(mut self, events: &Receiver<Event>) -> JobEnd {
        let _attempt =
            tracing::info_span!("attempt", job = %self.facts.job.name, id = self.board.id()).entered();
        let mut end = JobEnd { reason: EndReason::Cancelled, image: None };
        let mut worker: Option<Thread> = None;
        let mut queue: VecDeque<Purpose> = VecDeque::new();
        let mut flight: Option<Flight> = None;
        let mut over: HashSet<usize> = HashSet::new();
        sweep::unfinished(&self.facts.root, &self.history, self.facts.job.attempt);
        while !self.failure.is_set() {
            let now = Instant::now();
            if let Err(error) = self.look(now) {
                self.failure.set(error);
                break;
            }
            if flight.is_none() && !self.ending && worker.is_some() {
                if queue.is_empty() && over.len() == self.facts.workers {
                    queue.push_back(Purpose::Final);
                }
                if queue.is_empty() {
                    match self.schedule.due(now) {
                        Due::Checkpoint => queue.push_back(Purpose::Checkpoint),
                        Due::Savepoint => queue.push_back(Purpose::Scheduled),
                        Due::Nothing(_) => {}
                    }
                }
                if let Some(purpose) = queue.pop_front() {
                    flight = self.begin(purpose);
                    wake(&worker);
                    continue;
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
            let event = match events.recv_timeout(self.patience(flight.as_ref())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            match event {
                Event::Ready(thread) => worker = Some(thread),
                Event::Over => break,
                Event::Savepoint(request, reply) => queue.push_back(Purpose::Savepoint { request, reply }),
                Event::Stop(request, reply) => {
                    self.board.is(RunState::Stopping);
                    queue.push_back(Purpose::Stop { request, reply });
                }
                Event::End => {
                    self.board.is(RunState::Stopping);
                    if !queue.iter().chain(flight.as_ref().map(|f| &f.purpose)).any(Purpose::is_last) {
                        queue.push_back(Purpose::End);
                    }
                }
                Event::Cancel => {
                    self.board.is(RunState::Stopping);
                    self.finish();
                    wake(&worker);
                }
                Event::Report(Report::InputOver { worker }) => drop(over.insert(worker)),
                Event::Report(Report::PartFailed { epoch, error, is_full }) => {
                    if flight.as_ref().is_some_and(|f| f.order.epoch == epoch && f.committed.is_none())
                        && let Some(failed) = flight.take()
                    {
                        let error = match is_full {
                            true => Error::DiskFull { epoch, path: failed.order.directory.clone() },
                            false => Error::ImageFailed { epoch, reason: error },
                        };
                        self.give_up(failed, error);
                        wake(&worker);
                    }
                }
                Event::Report(Report::Part { worker: from, node, epoch, part, stall_us }) => {
                    if let Some(flying) = &mut flight
                        && flying.order.epoch == epoch
                    {
                        flying.parts.insert((from, node), part);
                        flying.stall_us = flying.stall_us.max(stall_us);
                        if flying.parts.len() == self.part_count()
                            && flying.committed.is_none()
                            && let Err(error) = self.link(flying)
                        {
                            // The next one has all, and needs no links.
                            self.chain = None;
                            let (reason, path) = (super::with_causes(&error), flying.order.directory.clone());
                            if let Some(failed) = flight.take() {
                                let error = match error.is_full() {
                                    true => Error::DiskFull { epoch, path },
                                    false => Error::ImageFailed { epoch, reason },
                                };
                                self.give_up(failed, error);
                                wake(&worker);
                            }
                        } else if flying.parts.len() == self.part_count() && flying.committed.is_none() {
                            match self.commit(flying) {
                                Ok(()) => {}
                                // Nothing was written: the image does not count, and never will. (One whose entry is
                                // written counts, though its manifest may have found no room.)
                                Err(error)
                                    if error.is_full()
                                        && self.history.is_free_of(&flying.order.directory) =>
                                {
                                    let path = flying.order.directory.clone();
                                    if let Some(failed) = flight.take() {
                                        self.give_up(failed, Error::DiskFull { epoch, path });
                                    }
                                }
                                Err(error) => {
                                    self.failure.set(error);
                                    break;
                                }
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
                self.settle(&order);
                end.image = Some(PathBuf::from(&order.directory));
                if purpose.is_last() {
                    let is_final = matches!(purpose, Purpose::Final);
                    end.reason = if is_final { EndReason::Finished } else { EndReason::Stopped };
                    self.board.is(RunState::Finished);
                    self.finish();
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
    fn patience(&self, flight: Option<&Flight>) -> Duration {
        let now = Instant::now();
        let longest = LOOK.saturating_sub(now - self.looked);
        match flight {
            _ if self.ending => LOOK,
            Some(Flight { committed: Some(_), .. }) => longest,
            Some(flight) => longest.min(self.facts.checkpoints.timeout.saturating_sub(now - flight.began)),
            None => match self.schedule.due(now) {
                Due::Nothing(Some(pause)) => longest.min(pause),
                // What is due waits for the workers to be up, which they report.
                _ => longest,
            },
        }
    }

    /// Looks now and then whether a newer attempt has begun: it need not wait for a commit that fails.
    fn look(&mut self, now: Instant) -> Result<()> {
        if now - self.looked < LOOK {
            return Ok(());
        }
        self.looked = now;
        match self.history.is_next_free() {
            true => Ok(()),
            false => Err(self.history.fenced()),
        }
    }

    /// Tells the workers that nothing more is to come.
    fn finish(&mut self) {
        self.ending = true;
        self.send(Command::Finish);
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
        let root = &self.facts.root;
        let directory = match (&purpose, purpose.request()) {
            (_, Some(SavepointRequest { path: Some(path), .. })) => PathBuf::from(path),
            (Purpose::Scheduled, _) => root.join(sweep::SCHEDULED).join(name),
            (_, Some(_)) => root.join(sweep::SAVEPOINTS).join(name),
            (_, None) => root.join(sweep::CHECKPOINTS).join(name),
        };
        let directory = match local_path(&directory) {
            Ok(path) => path.into_owned(),
            Err(e) => {
                self.failed(purpose, epoch, Error::io("create", shown(&directory))(e));
                return None;
            }
        };
        let now = Instant::now();
        self.schedule.began(now);
        if matches!(purpose, Purpose::Scheduled) {
            self.schedule.savepoint_began(now);
        }
        if directory.join("manifest.json").exists()
            || directory.read_dir().is_ok_and(|mut d| d.next().is_some())
        {
            self.failed(purpose, epoch, Error::ImageExists { path: shown(&directory) });
            return None;
        }
        let created = std::fs::create_dir_all(&directory).and_then(|()| std::fs::canonicalize(&directory));
        let directory = match created {
            Ok(directory) => directory,
            Err(e) => {
                self.failed(purpose, epoch, Error::io("create", shown(&directory))(e));
                return None;
            }
        };
        // Nobody builds on the last one.
        let is_whole = !matches!(purpose, Purpose::Checkpoint);
        let chains = self.chain.as_ref().map_or_else(Vec::new, |chain| chain.order(is_whole));
        let order = ImageOrder { epoch, directory: shown(&directory), chains };
        let drain = matches!(&purpose, Purpose::Stop { request, .. } if request.drain);
        self.send(Command::Close { order: order.clone(), rest: purpose.is_last(), drain });
        self.epoch += 1;
        self.board.begins(self.epoch);
        Some(Flight {
            purpose,
            order,
            began: Instant::now(),
            parts: BTreeMap::new(),
            linked: BTreeMap::new(),
            stall_us: 0,
            committed: None,
        })
    }

    /// Gives an image up; the job goes on, and its last good image stays.
    fn give_up(&mut self, flight: Flight, error: Error) {
        self.send(Command::Abort { epoch: flight.order.epoch });
        // What is left of it is no savepoint. Other threads may still write their parts: it is swept again later.
        let directory = PathBuf::from(&flight.order.directory);
        let _ = history::remove_image(&directory);
        self.litter.push(directory);
        self.failed(flight.purpose, flight.order.epoch, error);
    }

    /// Says that there is no image; one failure too many ends the attempt.
    fn failed(&mut self, purpose: Purpose, epoch: u64, error: Error) {
        self.board.given_up(epoch, &error);
        match purpose {
            // It was to be the last thing that the job does, and nobody waits for what it would tell.
            Purpose::End => self.finish(),
            Purpose::Stop { .. } => self.board.is(RunState::Running),
            _ => {}
        }
        let is_checkpoint = matches!(purpose, Purpose::Checkpoint);
        match self.schedule.failed(Instant::now(), is_checkpoint) {
            Some(in_a_row) => {
                self.failure.set(Error::CheckpointsFailed { in_a_row, source: Box::new(error) })
            }
            None => purpose.reply(Err(error), &self.failure),
        }
    }

    /// Puts the files that an image builds on into its directory.
    fn link(&self, flight: &mut Flight) -> Result<()> {
        let mut store = None;
        for (node, _, description) in &self.facts.parts {
            let parts = (0..self.facts.workers).filter_map(|worker| flight.parts.get(&(worker, *node)));
            let layers = parts.flat_map(|part| &part.states).filter(|state| state.is_layer);
            for name in layers.map(|state| state.name.clone()).collect::<BTreeSet<_>>() {
                let id = (
                    description.uid.clone(),
                    StateName::new(&name).ok_or(Error::Stopped { what: "a state" })?,
                );
                let since = flight
                    .order
                    .chain(&id.0, &id.1)
                    .and_then(|ordered| ordered.layer)
                    .map(|(since, _)| since);
                // What has changed is nothing without what it is laid over.
                let over = self.chain.as_ref().zip(since);
                let over = over.and_then(|(chain, since)| Some((chain, chain.kept(&id.0, &id.1, since)?)));
                let (chain, kept) = over.ok_or(Error::Stopped { what: "a checkpoint to build on" })?;
                let store = match &store {
                    Some(store) => store,
                    None => {
                        let path = &flight.order.directory;
                        let opened = create_directory(Path::new(path));
                        store.insert(opened.map_err(Error::io("create", path.as_str()))?)
                    }
                };
                flight.linked.insert(id, chain.image().link_state(&kept, (store.as_ref(), ""))?);
            }
        }
        Ok(())
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
            rows: manifest.rows(),
            size_bytes,
            duration_ms,
            watermark_ms: manifest.sources.iter().filter_map(SourceEntry::watermark_ms).min(),
        };
        tell(&manifest, &done, flight.stall_us);
        let states = flight.parts.values().flat_map(|part| &part.states);
        let carried_rows = states.map(|state| state.carried_rows).sum();
        self.board.committed(manifest, &done, flight.stall_us, carried_rows);
        self.schedule.committed(Instant::now());
        // Every thread that writes has come to this image, and so has left those before it.
        self.litter.drain(..).for_each(|directory| drop(history::remove_image(&directory)));
        if is_checkpoint && self.facts.checkpoints.is_incremental() {
            let opened = Savepoint::open(&flight.order.directory);
            let after = |image| Chain::after(self.chain.as_ref(), image, &flight.order);
            self.chain =
                opened.map(after).inspect_err(|error| tracing::warn!("{}", super::with_causes(error))).ok();
        }
        flight.committed = Some((done, waiting));
        Ok(())
    }

    /// Ends what a commit began, once the output is visible. What fails here is done by a later commit or attempt.
    fn settle(&mut self, order: &ImageOrder) {
        let marked = history::mark_committed(&PathBuf::from(&order.directory));
        let discarded = self.history.discard_superseded(
            self.facts.checkpoints.keep,
            self.chain.as_ref().map(|chain| PathBuf::from(chain.image().location())).as_deref(),
        );
        let (_, kept) = self.facts.checkpoints.savepoints.unwrap_or((Duration::MAX, usize::MAX));
        let pruned = sweep::prune_scheduled(&self.facts.root, kept);
        for error in [marked, discarded, pruned].into_iter().filter_map(Result::err) {
            tracing::warn!("{}", super::with_causes(&error));
        }
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
                // Nobody waited for those that are idle: what is late for the source is late for them too.
                let mark = Mark::of_all(parts.iter().filter_map(|part| part.mark));
                let idle =
                    positions.iter_mut().filter(|p| parts.iter().any(|part| part.idle.contains(&p.split)));
                idle.for_each(|position| position.watermark_ms = mark.lift(position.watermark_ms));
                sources.push(SourceEntry { uid: description.uid.clone(), positions });
            }
            let states = description.states.iter().map(|state| {
                let mut entry = StateEntry {
                    name: state.name.clone(),
                    kind: state.kind,
                    key: state.key.clone(),
                    schemas: vec![state.schema.clone()],
                    files: Vec::new(),
                    tombstones: Vec::new(),
                };
                let written = parts.iter().flat_map(|p| &p.states).filter(|s| s.name == state.name.as_str());
                let linked = flight.linked.get(&(description.uid.clone(), state.name.clone()));
                if let Some(linked) = linked {
                    (entry.schemas, entry.files) = (linked.schemas.clone(), linked.files.clone());
                    entry.tombstones = linked.tombstones.clone();
                    entry.lead_with(&state.schema);
                }
                for part in written {
                    for (schema, file) in &part.files {
                        let schema = entry.schema_index(schema);
                        entry.files.push(crate::model::FileEntry { schema, ..file.clone() });
                    }
                    entry.tombstones.extend(part.tombstones.iter().cloned());
                }
                if linked.is_some() {
                    entry.forget_schemas();
                }
                entry
            });
            operators.push(OperatorEntry {
                uid: description.uid.clone(),
                kind: description.kind.clone(),
                traits: description.traits,
                states: states.collect(),
            });
        }
        let labels = match &flight.purpose {
            Purpose::Scheduled => [("note".to_owned(), "scheduled".to_owned())].into(),
            purpose => purpose.request().map(|r| r.labels.clone()).unwrap_or_default(),
        };
        Manifest {
            kind: flight.purpose.kind(),
            created_ms: now_ms(),
            writer: concat!("pitlane ", env!("CARGO_PKG_VERSION")).to_owned(),
            job: facts.job.clone(),
            epoch: Epoch(flight.order.epoch),
            parent: facts.parent.clone(),
            labels,
            max_parallelism: facts.max_parallelism,
            parallelism: facts.workers as u32,
            sources,
            operators,
            migrations: facts.migrations.clone(),
            unknown: serde_json::Map::new(),
        }
    }
}

/// Tells the log of an image that is committed: of each one, or only of those that are the user's.
fn tell(manifest: &Manifest, done: &SavepointDone, stall_us: u64) {
    let SavepointDone { path, id, epoch, rows, size_bytes, duration_ms, .. } = done;
    match manifest.kind {
        ImageKind::Savepoint => {
            tracing::info!(
                epoch,
                path,
                id,
                rows,
                size_bytes,
                duration_ms,
                stall_us,
                "savepoint of epoch {epoch}: {path}"
            );
        }
        ImageKind::Checkpoint => tracing::debug!(
            epoch,
            path,
            rows,
            size_bytes,
            duration_ms,
            stall_us,
            "checkpoint of epoch {epoch}: {rows} rows, {size_bytes} bytes, in {duration_ms} ms"
        ),
    }
}

fn wake(worker: &Option<Thread>) {
    if let Some(thread) = worker {
        thread.unpark();
    }
}
