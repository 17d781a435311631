//! A job: what it is made of, and running it.

use super::background::Background;
use super::beginning::Beginning;
use super::board::{Board, JobFacts};
use super::chain::Chain;
use super::checkpoints::Checkpoints;
use super::clock::Clock;
use super::cluster::{self, Cluster, Ending, Peers, Watch};
use super::coordinator::{Coordinator, EndReason, Event, JobEnd};
use super::credits::Credits;
use super::explain::JobGraph;
use super::graph::Graph;
use super::meter::Meter;
use super::now_ms;
use super::restart::Restart;
use super::server::{Server, TellSweep};
use super::shared::Failure;
use super::source_stream::SourceStream;
use super::worker::{self, Attempt};
use crate::connectors::Source;
use crate::control::{AttemptFailure, JobStatus, RunDir, SavepointDone, SavepointRequest, StopRequest};
use crate::error::{Error, JobProblem, Result};
use crate::migrate::{JobDescription, Place, Rename, check_renames, lineage};
use crate::model::text::counted;
use crate::model::{JobName, MaxParallelism, OperatorUid, StateName, Sweep};
use crate::savepoint::Savepoint;
use crossbeam_channel::{RecvTimeoutError, Sender};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use timely::communication::WorkerGuards;

/// A streaming job.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::{FileSink, Generator};
/// use pitlane::engine::{Job, RunOptions};
///
/// let dir = tempfile::tempdir()?;
/// let job = Job::new("evens");
/// job.source(Generator::new(1, 10, |_, n| n))
///     .uid("numbers")
///     .filter(|n| n % 2 == 0)
///     .sink(FileSink::json_lines(dir.path().join("out")))
///     .uid("evens-out");
/// job.run(&RunOptions::in_dir(dir.path().join("data")))?;
/// # let file = std::fs::read_dir(dir.path().join("out"))?.flatten().find(|e| e.path().is_file()).unwrap();
/// # assert_eq!(std::fs::read_to_string(file.path())?, "0\n2\n4\n6\n8\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Job {
    pub(super) name: String,
    pub(super) release: String,
    pub(super) max_parallelism: MaxParallelism,
    checkpoints: Checkpoints,
    restart: Restart,
    renames: Vec<(Named, Named)>,
    pub(super) graph: Rc<RefCell<Graph>>,
}

/// An operator's uid, and the name of one of its states if it is about that alone.
type Named = (String, Option<String>);

/// How to run a job.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The number of workers, threads of this process.
    pub workers: usize,
    /// The processes that the job runs in, if it is more than this one; each has so many workers.
    pub cluster: Option<Cluster>,
    /// The directory with the data of all jobs: checkpoints, savepoints, history.
    pub data_dir: PathBuf,
    /// Where the socket of the running job goes; nobody can ask the job anything without.
    pub run_dir: Option<PathBuf>,
    /// The savepoint or checkpoint to start from, instead of the job's last one.
    pub from: Option<PathBuf>,
    /// Whether to start with no state although the job has some.
    pub fresh: bool,
    /// Operators of the savepoint that this release does not have, and whose state may be left behind.
    pub drop_unmatched: Vec<OperatorUid>,
    /// How often to take checkpoints, instead of what the job says.
    pub checkpoint_interval: Option<Duration>,
    /// Whether checkpoints have only what has changed, even if the job does not say so
    /// ([`Checkpoints::incremental`]).
    pub incremental: bool,
    /// What workers do in the background about rows of the savepoint that no record has touched. With several
    /// processes, what process 0 was told holds for all.
    pub sweep: Sweep,
    /// Whether keys whose migration fails are set aside, instead of ending the job: their rows go into quarantine in every
    /// later image, records that come for them are passed over and counted, their timers wait.
    pub quarantine_failing_keys: bool,
    /// What processing time goes by.
    pub clock: Clock,
    /// What is known of earlier attempts, if this one is a restart.
    pub supervision: Supervision,
}

/// What a supervisor knows of the attempts that it has run before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervision {
    /// The number of restarts so far.
    pub restarts: u64,
    /// The number of the first attempt; `from` and `fresh` hold until it or a later one has committed an image.
    pub first_attempt: Option<u64>,
    /// How the last attempt ended.
    pub last_failure: Option<AttemptFailure>,
    /// The process of the supervisor.
    pub pid: Option<u32>,
}

impl RunOptions {
    /// Runs on one worker with everything in `data_dir`, without a socket, from where the job was last.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            workers: 1,
            cluster: None,
            data_dir: data_dir.into(),
            run_dir: None,
            from: None,
            fresh: false,
            drop_unmatched: Vec::new(),
            checkpoint_interval: None,
            incremental: false,
            sweep: Sweep::NONE,
            quarantine_failing_keys: false,
            clock: Clock::system(),
            supervision: Supervision::default(),
        }
    }

    /// Runs on so many workers.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Runs in several processes, of which this is one.
    #[must_use]
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Returns the number of workers of all processes.
    pub(super) fn all_workers(&self) -> usize {
        self.workers * self.cluster.as_ref().map_or(1, Cluster::processes)
    }

    /// Starts from a savepoint or checkpoint.
    #[must_use]
    pub fn from(mut self, savepoint: impl Into<PathBuf>) -> Self {
        self.from = Some(savepoint.into());
        self
    }
}

impl Job {
    /// Makes a job without operators; its name stays the same in all releases.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            release: "1".to_owned(),
            max_parallelism: MaxParallelism::DEFAULT,
            checkpoints: Checkpoints::default(),
            restart: Restart::default(),
            renames: Vec::new(),
            graph: Rc::default(),
        }
    }

    /// Says which release of its code the job is.
    #[must_use]
    pub fn release(mut self, release: &str) -> Self {
        self.release = release.to_owned();
        self
    }

    /// Sets the number of key groups for a job that starts without state; it stays for the life of the state.
    #[must_use]
    pub fn max_parallelism(mut self, groups: MaxParallelism) -> Self {
        self.max_parallelism = groups;
        self
    }

    /// Sets how often checkpoints are taken.
    #[must_use]
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = checkpoints;
        self
    }

    /// Says when a failed attempt is followed by another one.
    ///
    /// It is [`main`](Self::main) that heeds it, and supervises attempts as processes of their own; `--restart` has
    /// the last word. A job that is run by its handle is run once.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    pub(super) fn restart_strategy(&self) -> Restart {
        self.restart
    }

    /// Says that the operator `to` had the uid `from` in earlier releases: it takes over the state that savepoints have
    /// under that one. It may stay for good; where a savepoint knows the new uid it does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::connectors::{FileSink, Generator};
    /// use pitlane::engine::{Job, RunOptions};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let job = |counts: &str| {
    ///     let job = Job::new("parity").renamed("mapper-1", "counts");
    ///     job.source(Generator::new(1, 10, |_, n| n)).uid("numbers")
    ///         .key_by(|n| n % 2).reduce(|a, b| a.max(b)).uid(counts)
    ///         .sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
    ///     job
    /// };
    /// let options = RunOptions::in_dir(dir.path().join("data"));
    /// # let first = Job::new("parity");
    /// # first.source(Generator::new(1, 10, |_, n| n)).uid("numbers")
    /// #     .key_by(|n| n % 2).reduce(|a, b| a.max(b)).uid("mapper-1")
    /// #     .sink(FileSink::json_lines(dir.path().join("out"))).uid("out");
    /// # first.run(&options)?;
    /// // The last release called it `mapper-1`; nothing is lost, and nobody has to decide anything.
    /// job("counts").run(&options)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        self.renames.push(((from.to_owned(), None), (to.to_owned(), None)));
        self
    }

    /// Says that a state, given as operator and name, was another one in earlier releases: of the same operator under
    /// another name, or of another operator.
    #[must_use]
    pub fn renamed_state(mut self, from: (&str, &str), to: (&str, &str)) -> Self {
        let named = |(uid, state): (&str, &str)| (uid.to_owned(), Some(state.to_owned()));
        self.renames.push((named(from), named(to)));
        self
    }

    /// Adds a source.
    pub fn source<S: Source + Sync>(&self, source: S) -> SourceStream<S::Item> {
        SourceStream::new(&self.graph, source)
    }

    /// Returns the name, as it was given.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn problem(&self, problem: JobProblem) -> Error {
        Error::Job { job: self.name.clone(), problem }
    }

    /// Describes the job, after checking that it can run; nothing is opened.
    ///
    /// # Errors
    ///
    /// [`Error::Job`] with what keeps it from running.
    pub fn describe(&self) -> Result<JobDescription> {
        let bad_name = || self.problem(JobProblem::BadName { name: self.name.clone() });
        let renames = self.renames.iter().map(|(from, to)| Ok(Rename { from: place(from)?, to: place(to)? }));
        let description = JobDescription {
            job: JobName::new(&self.name).ok_or_else(bad_name)?,
            release: self.release.clone(),
            max_parallelism: self.max_parallelism,
            workers: None,
            operators: self.graph.borrow().describe().map_err(|p| self.problem(p))?,
            renames: renames.collect::<Result<_, _>>().map_err(|p| self.problem(p))?,
        };
        check_renames(&description).map_err(|p| self.problem(p))?;
        Ok(description)
    }

    /// Returns the job as a graph to be shown to people, after checking that it can run; nothing is opened.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub fn graph(&self) -> Result<JobGraph> {
        Ok(JobGraph::new(self.describe()?, &self.graph.borrow()))
    }

    /// Runs the job until its input ends, or it is stopped or cancelled, or fails.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); or the first thing that went wrong.
    pub fn run(self, options: &RunOptions) -> Result<JobEnd> {
        self.start(options)?.wait()
    }

    /// Starts the job on threads of this process.
    ///
    /// It goes on from `options.from` if that is given, else from its last committed image, else from nothing. With
    /// other processes it waits for them; what process 0 was told of where to start from holds for all.
    ///
    /// # Errors
    ///
    /// What keeps it from starting, before anything is touched.
    pub fn start(self, options: &RunOptions) -> Result<JobHandle> {
        let mut description = self.describe()?;
        let workers = options.all_workers();
        description.workers = u32::try_from(workers).ok();
        let (beginning, peers) = self.begin(options, &description)?;
        let Beginning { job, root, restore, max_parallelism, start_epoch, history } = beginning;
        let (attempt, leads) = (job.attempt, history.is_some());
        let graph = std::mem::take(&mut *self.graph.borrow_mut());
        let meters: Arc<Vec<Meter>> = Arc::new(graph.nodes.iter().map(|_| Meter::new(workers)).collect());
        let migrations =
            restore.as_ref().map_or_else(Vec::new, |s| lineage(s.manifest(), s.id(), &description));
        let states = restore.iter().flat_map(|s| s.manifest().states());
        let aside = states.filter(|(_, state)| state.quarantined_rows() > 0);
        let aside = aside.map(|(operator, state)| {
            (operator.uid.clone(), state.name.clone(), counted(state.quarantined_rows(), "row"))
        });
        let aside: Vec<_> = aside.collect();
        let mut described = description.operators.into_iter();
        let operators = graph.operators()?;
        let parts = graph.parts().zip(&mut described).map(|((id, node), d)| (id, node.role, d)).collect();
        let mut checkpoints = self.checkpoints;
        checkpoints.interval = options.checkpoint_interval.or(checkpoints.interval);
        checkpoints.incremental |= options.incremental;
        let background = Arc::new(Background::new(options.sweep));
        let facts = Arc::new(JobFacts {
            job: job.clone(),
            parent: restore.as_ref().map(|s| s.id().clone()),
            migrations,
            max_parallelism,
            workers,
            parts,
            operators,
            root,
            checkpoints,
            started_ms: now_ms(),
            supervision: options.supervision.clone(),
            meters: Arc::clone(&meters),
            processes: peers.as_ref().map(Peers::processes).unwrap_or_default(),
            background: Arc::clone(&background),
        });
        let endpoint = match &options.run_dir {
            Some(dir) if leads => Some(RunDir::at(dir).bind(&job.name, attempt)?),
            _ => None,
        };
        let id = endpoint.as_ref().map_or_else(|| format!("{}-{attempt}", self.name), |e| e.id().to_owned());
        let from = restore.as_ref().map(Savepoint::location);
        let (commands, obeyed) = crossbeam_channel::unbounded();
        let (events, heard) = crossbeam_channel::unbounded();
        let failure = Arc::new(Failure::default());
        let board = Arc::new(Board::new(Arc::clone(&facts), id, start_epoch));
        let credits = match &peers {
            Some(peers) => peers.credits(options.workers),
            None => Credits::of_one_process(options.workers),
        };
        let credits = Arc::new(credits);
        let (peers, (builders, guards)) = match peers {
            Some(peers) => {
                let told = cluster::told(&self.name, &failure, &credits, &board, &events);
                let (watch, builders) = peers.watch(options.workers, told)?;
                (Some(watch), builders)
            }
            None => {
                let threads = timely::CommunicationConfig::Process(options.workers).try_build();
                (None, threads.map_err(|_| Error::Stopped { what: "the dataflow" })?)
            }
        };
        let others = peers.as_ref().filter(|_| leads).map(Watch::sweeper);
        if let Some(tell) = &others {
            tell(options.sweep);
        }
        let here = Arc::clone(&board);
        let sweep: Arc<TellSweep> = Arc::new(move |sweep| {
            here.sweep(sweep);
            others.iter().for_each(|tell| tell(sweep));
        });
        let server = match endpoint {
            Some(endpoint) => {
                Some(Server::start(endpoint, Arc::clone(&board), Arc::clone(&sweep), events.clone())?)
            }
            None => None,
        };
        let run: Box<dyn FnOnce() -> JobEnd + Send> = match (history, &peers) {
            (Some(history), _) => {
                let (board, failure) = (Arc::clone(&board), Arc::clone(&failure));
                let chain = restore.clone().filter(|_| checkpoints.is_incremental()).map(Chain::of_start);
                let coordinator =
                    Coordinator::new(facts, (history, chain), board, commands, failure, start_epoch);
                Box::new(move || coordinator.run(&heard))
            }
            (None, Some(watch)) => {
                let (job, ask) = (self.name.clone(), watch.asker());
                Box::new(move || cluster::follow(&heard, &job, ask))
            }
            (None, None) => return Err(Error::Stopped { what: "a process that follows nobody" }),
        };
        let coordinator = std::thread::Builder::new()
            .name("pitlane-coordinator".to_owned())
            .spawn(run)
            .map_err(Error::io("start", "a thread"))?;
        let attempt = Attempt {
            graph,
            job,
            max_parallelism,
            restore,
            start_epoch,
            is_incremental: checkpoints.is_incremental(),
            quarantines: options.quarantine_failing_keys,
            credits,
            meters,
            background,
            failure: Arc::clone(&failure),
            clock: options.clock.clone(),
            commands: obeyed,
            events: events.clone(),
        };
        let run = move |worker: &mut timely::worker::Worker| worker::run(worker, &attempt);
        let running = timely::execute::execute_from(builders, guards, timely::WorkerConfig::default(), run);
        let running = running.map_err(|_| Error::Stopped { what: "the dataflow" })?;
        for (uid, state, rows) in aside {
            tracing::warn!("{uid}/{state}: {rows} in quarantine, to be tried again when they are touched");
        }
        let id = board.id();
        let on = match options.cluster.as_ref().map_or(1, Cluster::processes) {
            1 => String::new(),
            processes => format!(" in {processes} processes"),
        };
        tracing::info!(
            job = self.name,
            id,
            release = self.release,
            workers,
            epoch = start_epoch,
            from,
            "job `{}`, release {}, runs as {id} on {workers} worker{}{on}, from {}",
            self.name,
            self.release,
            if workers == 1 { "" } else { "s" },
            from.as_deref().unwrap_or("no state"),
        );
        let threads = Threads { coordinator, workers: running, leads, peers, server };
        Ok(JobHandle { name: self.name, board, events, failure, sweep, threads: Some(threads) })
    }
}

fn place((uid, state): &Named) -> Result<Place, JobProblem> {
    let bad = |name: &str| JobProblem::BadName { name: name.to_owned() };
    let named = |name: &String| StateName::new(name).ok_or_else(|| bad(name));
    Ok(Place {
        uid: OperatorUid::new(uid).ok_or_else(|| bad(uid))?,
        state: state.as_ref().map(named).transpose()?,
    })
}

/// A job that runs on threads of this process.
///
/// Dropped before it was [waited for](Self::wait), as by a test that panics, it cancels the job and waits for its threads:
/// no job goes on unseen, in directories that may be gone by then. What it has committed stays, and the next run goes on
/// from there. A job that is to go on until it ends by itself is waited for.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::Generator;
/// use pitlane::engine::{Job, RunOptions};
///
/// let dir = tempfile::tempdir()?;
/// let job = Job::new("endless");
/// job.source(Generator::new(1, u64::MAX, |_, n| n % 10)).uid("numbers").key_by(|n| *n).reduce(|a, _| a).uid("last");
/// let running = job.start(&RunOptions::in_dir(dir.path()))?;
/// let savepoint = running.stop(Default::default())?;
/// running.wait()?;
/// let savepoint = pitlane::savepoint::Savepoint::open(&savepoint.path)?;
/// assert_eq!(savepoint.manifest().sources[0].uid.as_str(), "numbers");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JobHandle {
    name: String,
    board: Arc<Board>,
    events: Sender<Event>,
    failure: Arc<Failure>,
    sweep: Arc<TellSweep>,
    /// Until they are waited for.
    threads: Option<Threads>,
}

/// What runs beside the owner of a handle.
struct Threads {
    coordinator: JoinHandle<JobEnd>,
    workers: WorkerGuards<()>,
    /// Whether the job is led from here.
    leads: bool,
    peers: Option<Watch>,
    server: Option<Server>,
}

impl JobHandle {
    /// Returns how the job is.
    pub fn status(&self) -> JobStatus {
        self.board.status()
    }

    /// Takes a savepoint while the job goes on; returns once it is committed.
    ///
    /// # Errors
    ///
    /// Why there is none; the job goes on. Or that the job has ended.
    pub fn savepoint(&self, request: SavepointRequest) -> Result<SavepointDone> {
        self.ask(|reply| Event::Savepoint(request, reply))
    }

    /// Takes a savepoint and ends the job; returns once the savepoint is committed.
    ///
    /// # Errors
    ///
    /// Why there is none; the job goes on. Or that the job has ended.
    pub fn stop(&self, request: StopRequest) -> Result<SavepointDone> {
        self.ask(|reply| Event::Stop(request, reply))
    }

    /// Says what workers are to do from now on about rows that no record has touched: those of all processes, if the job
    /// is led from here.
    pub fn sweep(&self, sweep: Sweep) {
        (self.sweep)(sweep);
    }

    /// Ends the job after a last checkpoint, which the next run goes on from, or without one if there can be none.
    pub fn end(&self) {
        // A job that has ended needs no telling.
        let _ = self.events.send(Event::End);
    }

    /// Ends the job without a savepoint.
    pub fn cancel(&self) {
        // A job that has ended needs no telling.
        let _ = self.events.send(Event::Cancel);
    }

    /// Returns a means to end the job from another thread, while this one waits.
    pub(super) fn remote(&self) -> Remote {
        Remote(self.events.clone())
    }

    /// Returns whether the job has ended or failed; then [`wait`](Self::wait) does not take long.
    pub fn is_over(&self) -> bool {
        self.threads.as_ref().is_none_or(|threads| threads.coordinator.is_finished())
    }

    /// Waits for the end of the job.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong.
    pub fn wait(mut self) -> Result<JobEnd> {
        let threads = self.threads.take().ok_or(Error::Stopped { what: "the job" })?;
        self.join(threads)
    }

    fn join(&self, threads: Threads) -> Result<JobEnd> {
        if threads.workers.join().iter().any(std::result::Result::is_err) {
            self.failure.set(Error::Stopped { what: "a worker" });
        }
        let mut end = threads.coordinator.join().unwrap_or_else(|_| {
            self.failure.set(Error::Stopped { what: "the coordinator" });
            JobEnd { reason: EndReason::Cancelled, image: None }
        });
        if let Some(peers) = threads.peers
            && let Some(ending) = peers.end(threads.leads.then(|| Ending::from(&end)))
        {
            end = ending.into();
        }
        drop(threads.server);
        self.failure.take().map_or(Ok(end), |error| Err(self.board.cause(error)))
    }

    /// As [`wait`](Self::wait), for a process that ends with the job: does not wait for long, once the job has failed,
    /// for users' functions that do not return.
    pub(super) fn wait_or_leave(self, grace: Duration) -> Result<JobEnd> {
        const TICK: Duration = Duration::from_millis(500);
        let failure = Arc::clone(&self.failure);
        let (sender, waited) = crossbeam_channel::bounded(1);
        std::thread::Builder::new()
            .name("pitlane-wait".to_owned())
            .spawn(move || drop(sender.send(self.wait())))
            .map_err(Error::io("start", "a thread"))?;
        let mut failed_since = None;
        loop {
            match waited.recv_timeout(TICK) {
                Ok(end) => return end,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped { what: "the job" }),
                Err(RecvTimeoutError::Timeout) if !failure.is_set() => {}
                Err(RecvTimeoutError::Timeout) => {
                    if failed_since.get_or_insert_with(Instant::now).elapsed() > grace {
                        return Err(failure.take().unwrap_or(Error::Stopped { what: "a worker" }));
                    }
                }
            }
        }
    }

    fn ask(&self, event: impl FnOnce(Sender<Result<SavepointDone>>) -> Event) -> Result<SavepointDone> {
        let ended = || Error::Control { job: self.name.clone(), reason: "it has ended".to_owned() };
        let (sender, reply) = crossbeam_channel::bounded(1);
        self.events.send(event(sender)).map_err(|_| ended())?;
        reply.recv().map_err(|_| ended())?
    }
}

impl Drop for JobHandle {
    fn drop(&mut self) {
        let Some(threads) = self.threads.take() else { return };
        self.cancel();
        if let Err(error) = self.join(threads) {
            tracing::warn!(job = self.name, "job `{}` was let go of, and had failed: {error}", self.name);
        }
    }
}

/// Ends a job from afar.
pub(super) struct Remote(Sender<Event>);

impl Remote {
    pub(super) fn end(&self) {
        // A job that has ended needs no telling.
        let _ = self.0.send(Event::End);
    }

    pub(super) fn cancel(&self) {
        let _ = self.0.send(Event::Cancel);
    }
}
