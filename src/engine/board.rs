//! What a running job tells of itself: to `pitlane status`, to Prometheus, to whoever holds its handle.

use super::background::Background;
use super::checkpoints::Checkpoints;
use super::graph::Role;
use super::history::History;
use super::job::Supervision;
use super::meter::{Meter, Reading};
use crate::control::{
    CheckpointFailure, CheckpointStatus, JobStatus, OperatorStatus, PositionStatus, ProcessStatus, RunState,
    SavepointDone, SourceStatus, StateStatus, VersionCount,
};
use crate::error::{Error, shown};
use crate::migrate::OperatorDescription;
use crate::model::{
    ImageKind, JobInfo, Manifest, MaxParallelism, MigrationRecord, OperatorUid, SavepointId, SourceEntry,
    Sweep,
};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the coordinator knows of the job, fixed for the attempt.
pub(crate) struct JobFacts {
    pub(crate) job: JobInfo,
    pub(crate) parent: Option<SavepointId>,
    /// What the state of the job went through, or goes through when it is touched.
    pub(crate) migrations: Vec<MigrationRecord>,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) workers: usize,
    /// Operators with a part in every image: position in the graph, role, description.
    pub(crate) parts: Vec<(usize, Role, OperatorDescription)>,
    /// All operators, by their position in the graph: name and kind.
    pub(crate) operators: Vec<(OperatorUid, &'static str)>,
    /// The job's data directory.
    pub(crate) root: PathBuf,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) started_ms: u64,
    pub(crate) supervision: Supervision,
    pub(crate) meters: Arc<Vec<Meter>>,
    /// All processes, with their addresses and process ids, if there are several.
    pub(crate) processes: Vec<(String, u32)>,
    pub(crate) background: Arc<Background>,
}

/// What a running job tells of itself, shared with whoever answers for it.
pub(crate) struct Board {
    facts: Arc<JobFacts>,
    /// By which users name the running job.
    id: String,
    news: Mutex<News>,
    /// What operators have done in other processes, by process.
    elsewhere: Mutex<BTreeMap<usize, Vec<Reading>>>,
}

/// How many images a status tells of.
const RECENT: usize = 10;

struct News {
    state: RunState,
    epoch: u64,
    /// The last images, newest first.
    recent: VecDeque<CheckpointStatus>,
    failed: u64,
    last_failure: Option<CheckpointFailure>,
    sources: Vec<SourceEntry>,
}

impl Board {
    pub(crate) fn new(facts: Arc<JobFacts>, id: String, epoch: u64) -> Self {
        let news = News {
            state: RunState::Running,
            epoch,
            recent: VecDeque::new(),
            failed: 0,
            last_failure: None,
            sources: Vec::new(),
        };
        Self { facts, id, news: Mutex::new(news), elsewhere: Mutex::default() }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Says what an error came of: a newer attempt takes files away from under this one.
    pub(crate) fn cause(&self, error: Error) -> Error {
        if !matches!(error, Error::Io { .. } | Error::PeerFailed { .. } | Error::PeerLost { .. }) {
            return error;
        }
        let JobInfo { name, branch, attempt, .. } = &self.facts.job;
        match History::open(name.as_str(), &self.facts.root, branch).map(|history| history.last_attempt()) {
            Ok(by) if by > *attempt => Error::Fenced { job: name.to_string(), attempt: *attempt, by },
            _ => error,
        }
    }

    pub(crate) fn is(&self, state: RunState) {
        self.news().state = state;
    }

    pub(crate) fn begins(&self, epoch: u64) {
        self.news().epoch = epoch;
    }

    /// Notes that an image is committed.
    pub(crate) fn committed(
        &self,
        manifest: Manifest,
        done: &SavepointDone,
        stall_us: u64,
        carried_rows: u64,
    ) {
        let mut news = self.news();
        news.recent.truncate(RECENT - 1);
        news.recent.push_front(CheckpointStatus {
            epoch: done.epoch,
            is_savepoint: manifest.kind == ImageKind::Savepoint,
            at_ms: manifest.created_ms,
            path: done.path.clone(),
            duration_ms: done.duration_ms,
            size_bytes: done.size_bytes,
            stall_us,
            carried_rows,
        });
        news.sources = manifest.sources;
    }

    /// Notes that an image is given up.
    pub(crate) fn given_up(&self, epoch: u64, error: &Error) {
        let mut news = self.news();
        news.failed += 1;
        news.last_failure =
            Some(CheckpointFailure { epoch, at_ms: super::now_ms(), error: super::with_causes(error) });
    }

    /// Says what workers of this process are to do about rows that no record has touched.
    pub(crate) fn sweep(&self, sweep: Sweep) {
        self.facts.background.set(sweep);
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the meters of this process.
    pub(crate) fn read(&self) -> Vec<Reading> {
        self.facts.meters.iter().map(Meter::read).collect()
    }

    /// Notes what operators have done in another process.
    pub(crate) fn read_elsewhere(&self, process: usize, readings: Vec<Reading>) {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).insert(process, readings);
    }

    /// Reads the meters of all processes, as far as they have told.
    fn read_all(&self) -> Vec<Reading> {
        let mut all = self.read();
        let elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        for readings in elsewhere.values() {
            all.iter_mut().zip(readings).for_each(|(reading, other)| reading.add(other));
        }
        all
    }

    /// Returns how the job is.
    pub(crate) fn status(&self) -> JobStatus {
        let readings = self.read_all();
        let (facts, news) = (&*self.facts, self.news());
        let operators = facts.operators.iter().enumerate().map(|(node, (uid, kind))| {
            let reading = &readings[node];
            let count = |n: i64| u64::try_from(n).unwrap_or(0);
            let keeps = |role: &Role| matches!(role, Role::Keyed | Role::Instance);
            let keeper = facts.parts.iter().find(|(id, role, _)| *id == node && keeps(role));
            let states = keeper.into_iter().flat_map(|(.., operator)| &operator.states).map(|state| {
                let held = reading.states.get(state.name.as_str()).cloned().unwrap_or_default();
                let old = held.unmigrated.into_iter().filter(|(_, entries)| *entries > 0);
                StateStatus {
                    name: state.name.clone(),
                    schema_version: state.schema.version.0,
                    entries: count(held.entries),
                    untouched: count(held.untouched),
                    quarantined: count(held.quarantined),
                    unmigrated: old
                        .map(|(schema_version, entries)| VersionCount {
                            schema_version,
                            entries: count(entries),
                        })
                        .collect(),
                }
            });
            OperatorStatus {
                uid: uid.clone(),
                kind: (*kind).to_owned(),
                records_in: reading.records_in,
                records_out: reading.records_out,
                late_records: reading.late,
                passed_over_records: reading.passed_over,
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
                splits: readings[*node].splits.clone(),
            }
        });
        let processes = facts.processes.iter().map(|(host, pid)| ProcessStatus {
            host: host.clone(),
            pid: *pid,
            workers: (facts.workers / facts.processes.len()) as u32,
        });
        JobStatus {
            id: self.id.clone(),
            job: facts.job.name.clone(),
            release: facts.job.release.clone(),
            branch: facts.job.branch.clone(),
            attempt: facts.job.attempt,
            pid: std::process::id(),
            workers: facts.workers as u32,
            processes: processes.collect(),
            state: news.state,
            started_ms: facts.started_ms,
            epoch: news.epoch,
            last_checkpoint: news.recent.front().cloned(),
            restarts: facts.supervision.restarts,
            supervisor_pid: facts.supervision.pid,
            last_failure: facts.supervision.last_failure.clone(),
            recent_checkpoints: news.recent.iter().cloned().collect(),
            failed_checkpoints: news.failed,
            last_checkpoint_failure: news.last_failure.clone(),
            data_dir: shown(&facts.root),
            sweep: facts.background.sweep(),
            watermark_ms: news.sources.iter().filter_map(SourceEntry::watermark_ms).min(),
            sources: sources.collect(),
            operators: operators.collect(),
        }
    }
}
