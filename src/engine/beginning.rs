//! How an attempt begins: what it goes on from, its number, and the output of earlier ones.
//!
//! The process that leads decides all of it. Of several, the others are told, and check that they see the same.

use super::cluster::{self, Begin, Cluster, JobTraits, Peers};
use super::graph::{Graph, Splits};
use super::history::{self, History};
use super::job::{Job, RunOptions};
use crate::connectors::SinkContext;
use crate::error::{Error, JobProblem, Result};
use crate::migrate::{JobDescription, adopted, plan_savepoint};
use crate::model::{JobInfo, MaxParallelism, OperatorUid};
use crate::savepoint::Savepoint;
use crate::storage::local_path;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The branch of a job that was not forked.
const MAIN: &str = "main";

/// How an attempt begins.
pub(super) struct Beginning {
    pub(super) job: JobInfo,
    /// The job's data directory.
    pub(super) root: PathBuf,
    pub(super) restore: Option<Savepoint>,
    pub(super) max_parallelism: MaxParallelism,
    pub(super) start_epoch: u64,
    /// In the process that leads.
    pub(super) history: Option<History>,
}

impl Beginning {
    fn to_wire(&self, splits: Vec<(String, Vec<String>)>) -> Begin {
        Begin {
            attempt: self.job.attempt,
            start_epoch: self.start_epoch,
            max_parallelism: self.max_parallelism.get(),
            restore: self.restore.as_ref().map(|s| (s.location(), s.id().to_string())),
            splits,
        }
    }
}

impl Job {
    /// Meets the other processes, if there are any, and finds out how the attempt begins.
    pub(super) fn begin(
        &self,
        options: &RunOptions,
        description: &JobDescription,
    ) -> Result<(Beginning, Option<Peers>)> {
        let data_dir = &options.data_dir;
        let data_dir = local_path(data_dir).map_err(Error::io("open", crate::error::shown(data_dir)))?;
        let data = data_dir.join(&self.name);
        let cluster = options.cluster.as_ref().filter(|cluster| cluster.processes() > 1);
        if let Some(cluster) = cluster.filter(|cluster| cluster.process() != 0) {
            let peers = cluster::gather(cluster, self.traits(options, description), &data)?;
            let beginning = peers
                .wait_for_begin(&self.name)
                .and_then(|begin| self.follow(begin, description, &data, cluster));
            return match beginning {
                Ok(beginning) => Ok((beginning, Some(peers))),
                Err(error) => Err(peers.give_up(error)),
            };
        }
        let history = History::open(&self.name, &data, MAIN)?;
        let root = std::fs::canonicalize(&data).map_err(Error::io("open", crate::error::shown(&data)))?;
        let Some(cluster) = cluster else {
            return Ok((self.lead(options, description, history, root)?, None));
        };
        let peers = cluster::gather(cluster, self.traits(options, description), &root)?;
        let graph = self.graph.borrow();
        let splits: Result<Vec<_>> =
            graph.fixed_splits().map(|(uid, splits)| Ok((uid, splits.names()?))).collect();
        let led = splits.and_then(|splits| Ok((self.lead(options, description, history, root)?, splits)));
        match led {
            Ok((beginning, splits)) => {
                peers.begin(&beginning.to_wire(splits));
                Ok((beginning, Some(peers)))
            }
            Err(error) => Err(peers.give_up(error)),
        }
    }

    fn traits(&self, options: &RunOptions, description: &JobDescription) -> JobTraits {
        JobTraits {
            job: self.name.clone(),
            release: self.release.clone(),
            workers: options.workers,
            operators: self.graph.borrow().outline(&description.operators),
        }
    }

    /// Claims the attempt, and makes the output of earlier ones what it is to be.
    fn lead(
        &self,
        options: &RunOptions,
        description: &JobDescription,
        mut history: History,
        root: PathBuf,
    ) -> Result<Beginning> {
        // Everything that can be refused is refused before the claim: a start that fails fences nobody off.
        let chosen = loop {
            let chosen = self.choose(&history, options, description);
            // A predecessor that runs takes away what it supersedes, also while it is looked at: its newer image counts.
            if chosen.is_ok() || !history.has_moved_on()? {
                break chosen?;
            }
        };
        let last_image = |history: &History| history.last_commit().map(|commit| history.image_of(commit));
        let before = last_image(&history);
        let attempt = history.claim(&self.release)?;
        // A predecessor may have committed in between; what was looked at before need not be looked at again.
        let restore = match last_image(&history) == before {
            true => chosen,
            false => self.choose(&history, options, description)?,
        };
        let job = self.info(description, attempt);
        let max_parallelism = restore.as_ref().map_or(self.max_parallelism, |s| s.manifest().max_parallelism);
        self.check_workers(options.all_workers(), max_parallelism)?;
        // The last committed epoch counts even if the job now starts from elsewhere: its output becomes visible.
        let last = history
            .open_last()
            .or_else(|e| if restore.is_some() || options.fresh { Ok(None) } else { Err(e) })?;
        let last = last.map(|last| adopted(&last, description));
        let last = last.filter(|last| restore.as_ref().is_none_or(|restore| restore.id() != last.id()));
        recover_sinks(&self.graph.borrow(), &job, restore.iter().chain(&last))?;
        let last = history.last_commit().map_or(0, |c| c.epoch);
        let start_epoch = 1 + restore.as_ref().map_or(0, |s| s.manifest().epoch.0).max(last);
        Ok(Beginning { job, root, restore, max_parallelism, start_epoch, history: Some(history) })
    }

    /// Begins as process 0 says.
    fn follow(
        &self,
        mut begin: Begin,
        description: &JobDescription,
        data: &Path,
        cluster: &Cluster,
    ) -> Result<Beginning> {
        for (uid, splits) in self.graph.borrow().fixed_splits() {
            let told = begin.splits.iter_mut().find(|(of, _)| *of == uid);
            let told = told.map(|(_, names)| std::mem::take(names)).unwrap_or_default();
            see_splits(&uid, splits, &told, cluster)?;
            splits.tell(told);
        }
        let root = std::fs::canonicalize(data).map_err(Error::io("open", crate::error::shown(data)))?;
        let restore = begin.restore.map(|(path, id)| {
            let savepoint = Savepoint::open(&path)?;
            let found = savepoint.id().to_string();
            if found != id {
                let (found, wanted) = (format!("id {found}"), format!("id {id}, which process 0 found"));
                return Err(Error::Damaged { path, found, wanted });
            }
            Ok(adopted(&savepoint, description))
        });
        let max_parallelism =
            MaxParallelism::new(begin.max_parallelism).ok_or(Error::Stopped { what: "process 0" })?;
        Ok(Beginning {
            job: self.info(description, begin.attempt),
            root,
            restore: restore.transpose()?,
            max_parallelism,
            start_epoch: begin.start_epoch,
            history: None,
        })
    }

    fn info(&self, description: &JobDescription, attempt: u64) -> JobInfo {
        let (name, release) = (description.job.clone(), self.release.clone());
        JobInfo { name, release, branch: MAIN.to_owned(), attempt }
    }

    fn check_workers(&self, workers: usize, groups: MaxParallelism) -> Result<()> {
        if workers == 0 || workers > usize::from(groups.get()) {
            return Err(self.problem(JobProblem::TooManyWorkers { workers, groups: groups.get() }));
        }
        Ok(())
    }

    /// Finds the image to go on from, and refuses one that this release cannot take over.
    fn choose(
        &self,
        history: &History,
        options: &RunOptions,
        description: &JobDescription,
    ) -> Result<Option<Savepoint>> {
        // An attempt that goes on for another one does not go back to where that one began.
        let goes_on = options.supervision.first_attempt.is_some_and(|first| history.has_commit_since(first));
        let mut found = match &options.from {
            Some(path) if !goes_on => Some(Savepoint::open(path)?),
            None if options.fresh && !goes_on => None,
            _ => history.open_last()?,
        };
        match &mut found {
            Some(savepoint) => {
                plan_savepoint(savepoint, description, &options.drop_unmatched).to_result()?;
                *savepoint = adopted(savepoint, description);
                let claimed =
                    savepoint.manifest().states().filter(|(o, _)| description.operator(&o.uid).is_some());
                for (_, state) in claimed {
                    savepoint.check_state(state)?;
                }
                self.check_workers(options.all_workers(), savepoint.manifest().max_parallelism)?;
            }
            None => self.check_workers(options.all_workers(), self.max_parallelism)?,
        }
        Ok(found)
    }
}

/// How often, and after which pauses, a process looks for splits: some file systems show them a little late.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Makes sure that this process sees the splits of a source that process 0 has found.
///
/// Those that only this process sees came later, or lie where the others do not look: nobody reads them in this attempt.
fn see_splits(uid: &str, splits: &dyn Splits, told: &[String], cluster: &Cluster) -> Result<()> {
    let mut missing = Vec::new();
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
        let seen: BTreeSet<String> = splits.look()?.into_iter().collect();
        missing = told.iter().filter(|name| !seen.contains(*name)).collect();
        if missing.is_empty() {
            let others = seen.iter().filter(|name| !told.contains(name));
            for name in others {
                tracing::warn!(
                    source = uid,
                    split = name,
                    "process 0 has not found `{name}`: it is not read yet"
                );
            }
            return Ok(());
        }
    }
    let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
    Err(Error::PeerDiffers {
        peer: cluster.named(0),
        what: format!("input for the source `{uid}` that this process does not see"),
        found: format!("{}{more}", missing.first().map_or("", |name| name.as_str())),
        wanted: "the same in all processes".to_owned(),
    })
}

/// Makes the output of earlier attempts what those of the images say that are this branch's own.
fn recover_sinks<'a>(
    graph: &Graph,
    job: &JobInfo,
    images: impl Iterator<Item = &'a Savepoint>,
) -> Result<()> {
    let is_due = |image: &&Savepoint| {
        history::is_own(image.manifest(), job.name.as_str(), &job.branch)
            && !history::is_marked_committed(Path::new(&image.location()))
    };
    let due: Vec<Savepoint> = images.filter(is_due).cloned().collect();
    for (_, node) in graph.parts() {
        if let (Some(recover), Some(uid)) = (&node.recover, node.uid.as_ref().and_then(OperatorUid::new)) {
            let (name, branch) = (job.name.clone(), job.branch.clone());
            let context = SinkContext { job: name, branch, uid, attempt: job.attempt, partition: 0 };
            recover(&context, &due)?;
        }
    }
    Ok(())
}
