//! What would become of each state of a savepoint if a job started from it: a pure decision.
//!
//! The job asks the same function at its start, so that it refuses with the words of the plan. Clauses PL-1
//! to PL-6.

use super::description::{JobDescription, OperatorDescription, StateDescription, StepDescription};
use super::facts::StoredFacts;
use super::lineage::{ChangedMigration, changed_migrations};
use super::plan_text::decision;
use super::rename::{Rename, adopt};
use super::route::{RouteDecision, RouteError, route_with};
use super::way_back::{WayBack, way_back};
use crate::error::{Error, JobProblem, Result};
use crate::model::{
    Change, ChangeKind, Facts, JobName, Manifest, MaxParallelism, Mismatch, NoFacts, OperatorEntry,
    OperatorTraits, OperatorUid, SchemaVersion, StateEntry, StateName, same_key,
};
use crate::savepoint::Savepoint;

/// What would become of a savepoint if a job started from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The job and the release that wrote the savepoint.
    pub savepoint: (JobName, String),
    /// The job and the release that would start.
    pub job: (JobName, String),
    /// The number of key groups: the savepoint's, whatever the job says (clause PL-5).
    pub max_parallelism: MaxParallelism,
    /// The number of key groups that the job says.
    pub asked_max_parallelism: MaxParallelism,
    /// The number of workers that would start, where that is known.
    pub workers: Option<u32>,
    /// The operators of both: the job's first, in its order, then those that only the savepoint has.
    pub operators: Vec<OperatorPlan>,
    /// Operators that may be left behind although they have nothing unmatched: likely a slip.
    pub needless_drops: Vec<OperatorUid>,
    /// What the savepoint has under another name than the job.
    pub renamed: Vec<Rename>,
    /// Migrations that were changed after state of the savepoint had gone through them.
    pub changed_migrations: Vec<ChangedMigration>,
    /// How the release that wrote the savepoint could go on from what the job will have written.
    pub way_back: WayBack,
    /// Sinks that the job has in common with the one that wrote the savepoint, if that is another job: both write to one
    /// place unless they are told otherwise.
    pub shared_sinks: Vec<OperatorUid>,
}

/// What would become of the state of one operator.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorPlan {
    /// The operator's identity.
    pub uid: OperatorUid,
    /// What it is.
    pub kind: String,
    /// Whether the job has it.
    pub in_job: bool,
    /// What is to be known of its results: in the job, or in the savepoint if the job does not have it.
    pub traits: OperatorTraits,
    /// Its states.
    pub states: Vec<StatePlan>,
    /// An operator that is new in the job and has states like those that nobody claims: maybe this one under
    /// another uid.
    pub lookalike: Option<OperatorUid>,
}

/// What would become of one state.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePlan {
    /// The name of the state inside its operator.
    pub name: StateName,
    /// What would become of it.
    pub outcome: Outcome,
    /// For a state that nobody claims, the only new one of its operator that could take its rows: maybe the same
    /// under another name.
    pub lookalike: Option<StateName>,
}

/// What would become of one state.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The savepoint has no rows of it: it starts empty.
    New,
    /// Rows are taken over, each stored schema by its own way.
    Stored {
        /// The schema version of the job.
        to: SchemaVersion,
        /// Each schema that rows are stored with, oldest first.
        schemas: Vec<SchemaPlan>,
        /// How many of the rows are in quarantine: a migration failed for them, and is tried again.
        quarantined: u64,
    },
    /// Its keys or its kind changed, which no rule and no migration leads over.
    Refused {
        /// The number of rows.
        rows: u64,
        /// What changed.
        mismatch: Mismatch,
    },
    /// No operator of the job claims it, and nobody has said that it may go.
    Unmatched {
        /// The number of rows that would be left behind.
        rows: u64,
    },
    /// No operator of the job claims it, and it was named as one to leave behind.
    Dropped {
        /// The number of rows that are left behind.
        rows: u64,
    },
}

/// What would become of the rows that are stored with one schema.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaPlan {
    /// The stored version.
    pub from: SchemaVersion,
    /// The number of rows.
    pub rows: u64,
    /// The size of their files.
    pub size_bytes: u64,
    /// How they become values of the job's type.
    pub way: Way,
}

/// How rows with one stored schema become values of the job's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// Untouched.
    AsIs,
    /// By rules alone.
    Automatic {
        /// What changes.
        changes: Vec<Change>,
    },
    /// By code, after rules where the first migration takes another type than the stored one.
    Migrate {
        /// What changes by rules.
        changes: Vec<Change>,
        /// The migrations, in order.
        steps: Vec<StepPlan>,
    },
    /// Not at all.
    Refused(RouteError),
}

/// A migration that rows would go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// Its name.
    pub name: String,
    /// The version that it takes.
    pub from: SchemaVersion,
    /// The version that it makes.
    pub to: SchemaVersion,
    /// What it lets go, by its own word.
    pub drops: Vec<String>,
}

/// Whether a job would start from a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would.
    Ready,
    /// It would if somebody said that unmatched state may be left behind.
    DecisionNeeded,
    /// It would not.
    Refused,
}

impl Verdict {
    /// Returns the exit status of `pitlane plan`: 0 for yes, 1 for no, 3 if somebody has to decide.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Refused => 1,
            Self::DecisionNeeded => 3,
        }
    }

    /// Returns the word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::DecisionNeeded => "decision-needed",
            Self::Refused => "refused",
        }
    }
}

/// Decides what would become of a savepoint if `job` started from it.
///
/// Unmatched state of the operators in `drop_unmatched`, and of no others, may be left behind.
///
/// It looks at the manifest alone: what depends on the stored values is refused. [`plan_savepoint`] looks at them.
pub fn plan(savepoint: &Manifest, job: &JobDescription, drop_unmatched: &[OperatorUid]) -> Plan {
    let (manifest, renamed) = adopt(savepoint, job);
    plan_renamed(&manifest, renamed, job, drop_unmatched, &|_, _, _| None)
}

/// Decides as [`plan`](plan()), and looks at the stored values where the types alone do not allow a change: a narrower
/// type is no obstacle if all values fit (clause EV-11).
pub fn plan_savepoint(savepoint: &Savepoint, job: &JobDescription, drop_unmatched: &[OperatorUid]) -> Plan {
    let (manifest, renamed) = adopt(savepoint.manifest(), job);
    let adopted = savepoint.with_manifest(manifest);
    let known = |uid: &OperatorUid, state: &StateName, schema| {
        let view = adopted.operators().find(|operator| operator.entry().uid == *uid)?;
        let view = view.states().find(|view| view.entry().name == *state)?;
        Some(StoredFacts::new(view, schema))
    };
    plan_renamed(adopted.manifest(), renamed, job, drop_unmatched, &known)
}

/// Finds what is known of the values of a state that have one of its schemas.
type Known<'a> = &'a dyn Fn(&OperatorUid, &StateName, usize) -> Option<StoredFacts<'a>>;

fn plan_renamed(
    manifest: &Manifest,
    renamed: Vec<Rename>,
    job: &JobDescription,
    drop_unmatched: &[OperatorUid],
    known: Known<'_>,
) -> Plan {
    let of_job = job.operators.iter().map(|o| of_job(o, manifest.operator(&o.uid), drop_unmatched, known));
    let unclaimed = manifest.operators.iter().filter(|o| job.operator(&o.uid).is_none());
    let operators: Vec<_> =
        of_job.chain(unclaimed.map(|o| unclaimed_operator(o, manifest, job, drop_unmatched))).collect();
    let dropped = |uid: &OperatorUid| operators.iter().any(|o| o.uid == *uid && o.has(Outcome::is_dropped));
    Plan {
        savepoint: (manifest.job.name.clone(), manifest.job.release.clone()),
        job: (job.job.clone(), job.release.clone()),
        max_parallelism: manifest.max_parallelism,
        asked_max_parallelism: job.max_parallelism,
        workers: job.workers,
        needless_drops: drop_unmatched.iter().filter(|uid| !dropped(uid)).cloned().collect(),
        operators,
        renamed,
        changed_migrations: changed_migrations(manifest, job),
        way_back: way_back(manifest, job),
        shared_sinks: shared_sinks(manifest, job),
    }
}

/// Finds the sinks that a fork has in common with the job that it comes of.
fn shared_sinks(manifest: &Manifest, job: &JobDescription) -> Vec<OperatorUid> {
    if manifest.job.name == job.job {
        return Vec::new();
    }
    let is_sink = |uid: &OperatorUid| manifest.operator(uid).is_some_and(|stored| stored.kind == SINK);
    let sinks = job.operators.iter().filter(|operator| operator.kind == SINK);
    sinks.map(|operator| operator.uid.clone()).filter(is_sink).collect()
}

/// What operators are called that write.
const SINK: &str = "sink";

fn of_job(
    operator: &OperatorDescription,
    stored: Option<&OperatorEntry>,
    drop_unmatched: &[OperatorUid],
    known: Known<'_>,
) -> OperatorPlan {
    let mut states: Vec<_> = operator
        .states
        .iter()
        .map(|state| {
            let stored = stored.and_then(|o| o.state(&state.name)).filter(|stored| stored.rows() > 0);
            let outcome = stored.map_or(Outcome::New, |stored| claimed(&operator.uid, stored, state, known));
            StatePlan { name: state.name.clone(), outcome, lookalike: None }
        })
        .collect();
    let unclaimed = stored.map_or(&[][..], |o| &o.states).iter();
    let unclaimed = unclaimed.filter(|stored| operator.states.iter().all(|state| state.name != stored.name));
    let may_go = drop_unmatched.contains(&operator.uid);
    let new = |state: &&StateDescription| stored.is_none_or(|o| o.state(&state.name).is_none());
    let new: Vec<_> = operator.states.iter().filter(new).collect();
    states.extend(unclaimed.filter_map(|stored| {
        let could = only(
            new.iter().filter(|state| claimed(&operator.uid, stored, state, &|_, _, _| None).is_taken_over()),
        );
        Some(StatePlan { lookalike: could.map(|state| state.name.clone()), ..left_behind(stored, may_go)? })
    }));
    OperatorPlan {
        uid: operator.uid.clone(),
        kind: operator.kind.clone(),
        in_job: true,
        traits: operator.traits,
        states,
        lookalike: None,
    }
}

/// A state that both have.
fn claimed(uid: &OperatorUid, stored: &StateEntry, state: &StateDescription, known: Known<'_>) -> Outcome {
    let rows = stored.rows();
    if stored.kind != state.kind {
        let (found, wanted) = (stored.kind.as_str(), state.kind.as_str());
        let mismatch = Mismatch {
            place: "kind".to_owned(),
            found: found.to_owned(),
            wanted: wanted.to_owned(),
            reason: format!("the rows of a {found} state are not those of a {wanted} state"),
            hint: "give the new state another name".to_owned(),
        };
        return Outcome::Refused { rows, mismatch };
    }
    if let Err(mismatch) = same_key(stored.key.as_ref(), state.key.as_ref()) {
        return Outcome::Refused { rows, mismatch };
    }
    let stages = state.stages();
    let mut schemas: Vec<_> = stored
        .schemas
        .iter()
        .enumerate()
        .filter_map(|(index, schema)| {
            let files = || stored.files.iter().filter(|file| file.schema == index);
            let rows = files().map(|file| file.rows).sum();
            let size_bytes = files().map(|file| file.size_bytes).sum();
            // A schema without rows asks for nothing: a release that knows no more of it may start.
            (rows > 0).then(|| {
                let facts = known(uid, &state.name, index);
                let facts = facts.as_ref().map_or(&NoFacts as &dyn Facts, |facts| facts);
                let decided = route_with(&stages, schema, facts);
                let way = decided.map_or_else(Way::Refused, |decision| way(decision, state, schema.version));
                SchemaPlan { from: schema.version, rows, size_bytes, way }
            })
        })
        .collect();
    schemas.sort_by_key(|schema| schema.from);
    Outcome::Stored { to: state.schema.version, schemas, quarantined: stored.quarantined_rows() }
}

fn way(decision: RouteDecision, state: &StateDescription, from: SchemaVersion) -> Way {
    let steps = state.steps.get(decision.entry..).unwrap_or_default();
    let changes = decision.evolution.changes;
    if !steps.is_empty() {
        let step = |s: &StepDescription| StepPlan {
            name: s.name.clone(),
            from: s.from.version,
            to: s.to,
            drops: s.drops.clone(),
        };
        Way::Migrate { changes, steps: steps.iter().map(step).collect() }
    } else if changes.is_empty() && from == state.schema.version {
        Way::AsIs
    } else {
        Way::Automatic { changes }
    }
}

/// A state that only the savepoint has; one without rows leaves nothing behind.
fn left_behind(stored: &StateEntry, may_go: bool) -> Option<StatePlan> {
    let rows = stored.rows();
    let outcome = if may_go { Outcome::Dropped { rows } } else { Outcome::Unmatched { rows } };
    (rows > 0).then(|| StatePlan { name: stored.name.clone(), outcome, lookalike: None })
}

/// Returns what there is just one of.
fn only<T>(mut candidates: impl Iterator<Item = T>) -> Option<T> {
    let first = candidates.next();
    if candidates.next().is_some() { None } else { first }
}

fn unclaimed_operator(
    stored: &OperatorEntry,
    manifest: &Manifest,
    job: &JobDescription,
    drop_unmatched: &[OperatorUid],
) -> OperatorPlan {
    let may_go = drop_unmatched.contains(&stored.uid);
    let states: Vec<_> = stored.states.iter().filter_map(|state| left_behind(state, may_go)).collect();
    let is_new = |o: &&OperatorDescription| manifest.operator(&o.uid).is_none();
    let looks_alike = |o: &&OperatorDescription| {
        o.kind == stored.kind
            && !states.is_empty()
            && states.iter().all(|state| {
                let pair = stored.state(&state.name).zip(o.states.iter().find(|s| s.name == state.name));
                pair.is_some_and(|(stored, wanted)| {
                    claimed(&o.uid, stored, wanted, &|_, _, _| None).is_taken_over()
                })
            })
    };
    let lookalike = only(job.operators.iter().filter(is_new).filter(looks_alike)).map(|o| o.uid.clone());
    OperatorPlan {
        uid: stored.uid.clone(),
        kind: stored.kind.clone(),
        in_job: false,
        traits: stored.traits,
        states,
        lookalike,
    }
}

impl SchemaPlan {
    /// Returns whether something of the stored values is let go, by declaration.
    pub fn is_lossy(&self) -> bool {
        let dropped = |changes: &[Change]| changes.iter().any(|change| change.kind == ChangeKind::Dropped);
        match &self.way {
            Way::AsIs | Way::Refused(_) => false,
            Way::Automatic { changes } => dropped(changes),
            Way::Migrate { changes, steps } => {
                dropped(changes) || steps.iter().any(|step| !step.drops.is_empty())
            }
        }
    }
}

impl Outcome {
    fn is_taken_over(&self) -> bool {
        match self {
            Self::Stored { schemas, .. } => schemas.iter().all(|s| !matches!(s.way, Way::Refused(_))),
            _ => false,
        }
    }

    fn is_refused(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Stored { .. } => !self.is_taken_over(),
            _ => false,
        }
    }

    fn is_unmatched(&self) -> bool {
        matches!(self, Self::Unmatched { .. })
    }

    fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped { .. })
    }
}

impl OperatorPlan {
    fn has(&self, is: impl Fn(&Outcome) -> bool) -> bool {
        self.states.iter().any(|state| is(&state.outcome))
    }

    /// Returns whether state of it would be left behind without anybody having said so.
    pub fn needs_decision(&self) -> bool {
        self.has(Outcome::is_unmatched)
    }

    /// Returns whether state of it cannot be taken over.
    pub fn is_refused(&self) -> bool {
        self.has(Outcome::is_refused)
    }

    /// What nobody claims: the names of the states and the number of rows.
    pub(crate) fn unmatched(&self) -> (String, u64) {
        let unmatched = self.states.iter().filter_map(|state| match state.outcome {
            Outcome::Unmatched { rows } => Some((state.name.as_str(), rows)),
            _ => None,
        });
        let (names, rows): (Vec<_>, Vec<_>) = unmatched.unzip();
        (names.join(", "), rows.iter().sum())
    }
}

/// What one row costs that goes through a migration, in nanoseconds of CPU time: with its key's first touch, and
/// offline. Measured, and said with the machine, in docs/benchmarks.md; rows that are large cost more.
pub(super) const FIRST_TOUCH_NS: u64 = 1_000;
/// As [`FIRST_TOUCH_NS`], by `./job migrate`.
pub(super) const OFFLINE_NS: u64 = 489;

/// What it takes to migrate all that a job has code for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The rows that go through code.
    pub rows: u64,
    /// The size of their files, which are read.
    pub size_bytes: u64,
    /// About the CPU time if each is migrated when its key is first touched, in nanoseconds.
    pub first_touch_ns: u64,
    /// About the CPU time if all are migrated offline, in nanoseconds.
    pub offline_ns: u64,
}

impl Plan {
    /// Returns about what it takes to migrate the rows that go through code.
    pub fn cost(&self) -> Cost {
        let outcomes = self.operators.iter().flat_map(|o| o.states.iter().map(|state| &state.outcome));
        let schemas = outcomes.flat_map(|outcome| match outcome {
            Outcome::Stored { schemas, .. } => schemas.as_slice(),
            _ => &[],
        });
        let mut cost = Cost::default();
        for schema in schemas.filter(|schema| matches!(schema.way, Way::Migrate { .. })) {
            cost.rows += schema.rows;
            cost.size_bytes += schema.size_bytes;
        }
        cost.first_touch_ns = cost.rows.saturating_mul(FIRST_TOUCH_NS);
        cost.offline_ns = cost.rows.saturating_mul(OFFLINE_NS);
        cost
    }

    /// Returns whether the job would start.
    pub fn verdict(&self) -> Verdict {
        if self.too_many_workers().is_some() || self.operators.iter().any(OperatorPlan::is_refused) {
            Verdict::Refused
        } else if self.operators.iter().any(OperatorPlan::needs_decision) {
            Verdict::DecisionNeeded
        } else {
            Verdict::Ready
        }
    }

    /// The problem of more workers than key groups.
    pub(super) fn too_many_workers(&self) -> Option<JobProblem> {
        let workers = self.workers.map(|workers| workers as usize)?;
        let groups = self.max_parallelism.get();
        (workers > usize::from(groups)).then_some(JobProblem::TooManyWorkers { workers, groups })
    }

    /// Turns the first reason why the job would not start into the error that it stops with.
    ///
    /// # Errors
    ///
    /// [`Error::Job`], [`Error::Incompatible`], [`Error::NoMigration`] or [`Error::NewerSchema`] for what is
    /// refused, then [`Error::Unmatched`] for what needs a decision.
    pub fn to_result(&self) -> Result<()> {
        if let Some(problem) = self.too_many_workers() {
            return Err(Error::Job { job: self.job.0.to_string(), problem });
        }
        for operator in &self.operators {
            for state in &operator.states {
                let (uid, name) = (operator.uid.clone(), state.name.clone());
                match &state.outcome {
                    Outcome::Refused { mismatch, .. } => {
                        let detail = Box::new(mismatch.clone());
                        return Err(Error::Incompatible { uid, state: name, detail });
                    }
                    Outcome::Stored { schemas, .. } => {
                        for schema in schemas {
                            if let Way::Refused(error) = &schema.way {
                                return Err(error.clone().in_rows(uid, name, schema.rows));
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        self.operators.iter().find(|operator| operator.needs_decision()).map_or(Ok(()), |operator| {
            let (states, rows) = operator.unmatched();
            Err(Error::Unmatched { uid: operator.uid.clone(), states, rows, ways_out: decision(operator) })
        })
    }
}
