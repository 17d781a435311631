//! What state went through on its way here, and migrations that were changed after they were used (clause MF-17).

use super::description::{JobDescription, StateDescription, StepDescription};
use super::route::route_over;
use crate::model::{Manifest, MigrationRecord, OperatorUid, SavepointId, Schema, StateEntry, StateName};
use std::fmt;

/// A migration of the job that is not the one that the state of a savepoint went through, although it has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedMigration {
    /// The migration as the job has it.
    pub name: String,
    /// The operator that has the state.
    pub uid: OperatorUid,
    /// The name of the state inside its operator.
    pub state: StateName,
    /// The savepoint that the other one was applied to, where that is known.
    pub used_on: Option<SavepointId>,
}

impl fmt::Display for ChangedMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, uid, state, .. } = self;
        write!(f, "{uid}/{state}: `{name}` was changed after it was used")?;
        self.used_on.as_ref().map_or(Ok(()), |id| write!(f, " on savepoint {id}"))
    }
}

/// Returns what the images of a job have to say of migrations that goes on from a savepoint: what the savepoint says,
/// and the steps of the job that its rows will go through.
pub fn lineage(savepoint: &Manifest, id: &SavepointId, job: &JobDescription) -> Vec<MigrationRecord> {
    let mut records = savepoint.migrations.clone();
    for record in records_ahead(savepoint, id, job, "each key when it is first touched") {
        add(&mut records, record);
    }
    records
}

/// Returns the records of the steps of a job that the rows of a savepoint have before them.
pub(crate) fn records_ahead(
    savepoint: &Manifest,
    id: &SavepointId,
    job: &JobDescription,
    what: &str,
) -> Vec<MigrationRecord> {
    let mut records = Vec::new();
    for (uid, state, entry) in claimed(savepoint, job) {
        let steps = steps_for(state, entry).iter();
        records
            .extend(steps.map(|step| record_of(uid, &state.name, step, Some(id.clone()), what.to_owned())));
    }
    records
}

/// Finds migrations of a job that were changed after they had been used on what became this savepoint.
pub fn changed_migrations(savepoint: &Manifest, job: &JobDescription) -> Vec<ChangedMigration> {
    let mut changed = Vec::new();
    for operator in &job.operators {
        for state in &operator.states {
            for step in &state.steps {
                let ours = record_of(&operator.uid, &state.name, step, None, String::new());
                let used: Vec<_> = savepoint.migrations.iter().filter(|r| r.is_of(&ours)).collect();
                // The last one counts: whoever changed it back has said so with a savepoint of its own.
                if let Some(last) = used.last().filter(|last| last.checksum != ours.checksum) {
                    changed.push(ChangedMigration {
                        name: step.name.clone(),
                        uid: operator.uid.clone(),
                        state: state.name.clone(),
                        used_on: last.savepoint.clone(),
                    });
                }
            }
        }
    }
    changed
}

/// Adds a record, unless its migration is there.
fn add(records: &mut Vec<MigrationRecord>, record: MigrationRecord) {
    let is_known = |known: &MigrationRecord| known.is_of(&record) && known.checksum == record.checksum;
    if !records.iter().any(is_known) {
        records.push(record);
    }
}

/// Makes the record of a step of code.
fn record_of(
    uid: &OperatorUid,
    state: &StateName,
    step: &StepDescription,
    savepoint: Option<SavepointId>,
    what: String,
) -> MigrationRecord {
    MigrationRecord {
        name: step.name.clone(),
        checksum: step.checksum(),
        uid: uid.clone(),
        state: Some(state.clone()),
        versions: Some((step.from.version, step.to)),
        savepoint,
        what,
    }
}

/// The states that both have.
fn claimed<'a>(
    savepoint: &'a Manifest,
    job: &'a JobDescription,
) -> impl Iterator<Item = (&'a OperatorUid, &'a StateDescription, &'a StateEntry)> {
    savepoint.states().filter_map(|(operator, entry)| {
        let state = job.operator(&operator.uid)?.states.iter().find(|state| state.name == entry.name)?;
        Some((&operator.uid, state, entry))
    })
}

/// The steps that rows of a state go through.
fn steps_for<'a>(state: &'a StateDescription, entry: &StateEntry) -> &'a [StepDescription] {
    let stages = state.stages();
    let has_rows = |index: usize| entry.files.iter().any(|file| file.schema == index && file.rows > 0);
    let stored = entry.schemas.iter().enumerate().filter(|(index, _)| has_rows(*index));
    // Where rules need to know the values, the stage that they lead to is the same.
    let by_version = |schema: &Schema| stages.iter().position(|stage| stage.version >= schema.version);
    let entry_of = |(_, schema): (usize, &Schema)| {
        route_over(&stages, schema).map_or_else(|_| by_version(schema), |route| Some(route.entry))
    };
    let first = stored.filter_map(entry_of).min().unwrap_or(state.steps.len());
    state.steps.get(first..).unwrap_or_default()
}
