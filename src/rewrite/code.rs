//! What the code of a job makes of a savepoint: all rows under the schemas that it works with.

use super::decided::{Quarantine, Rewrite, Way};
use super::part::Part;
use super::steps::Recipe;
use crate::error::{Error, JobProblem, Result};
use crate::migrate::{
    CodeRoute, JobDescription, Outcome, StateDescription, StoredFacts, adopted, plan_savepoint, records_ahead,
};
use crate::model::{DataType, OperatorUid, Schema, SchemaVersion, StateEntry, StateName};
use crate::savepoint::{Savepoint, StateView};
use std::sync::Arc;

impl Rewrite {
    /// Decides what the code of a job makes of a savepoint: what it would make of each row when its key is first
    /// touched, of all of them.
    ///
    /// What the job would refuse at its start is refused here, in the same words; state of operators that the job does
    /// not have is left behind only if they are among `drop_unmatched`.
    ///
    /// # Errors
    ///
    /// As a job that starts from the savepoint. [`Error::Job`] if the description was read and not made by the job
    /// itself, so that the code is not at hand.
    pub fn by_job(
        savepoint: &Savepoint,
        job: &JobDescription,
        drop_unmatched: &[OperatorUid],
    ) -> Result<Self> {
        let savepoint = &adopted(savepoint, job);
        let manifest = savepoint.manifest();
        let plan = plan_savepoint(savepoint, job, drop_unmatched);
        plan.to_result()?;
        let mut rewrite = Self::of(savepoint);
        for (at, operator) in manifest.operators.iter().enumerate() {
            let planned = plan.operators.iter().find(|planned| planned.uid == operator.uid);
            for (inside, entry) in operator.states.iter().enumerate() {
                let planned = planned.and_then(|o| o.states.iter().find(|state| state.name == entry.name));
                if matches!(planned, Some(planned) if matches!(planned.outcome, Outcome::Dropped { .. })) {
                    rewrite = rewrite.drop_state(operator.uid.as_str(), entry.name.as_str())?;
                    continue;
                }
                rewrite.operators[at].states[inside].quarantine = Quarantine::Retried;
                let state = job.operator(&operator.uid);
                let state = state.and_then(|o| o.states.iter().find(|state| state.name == entry.name));
                if let Some(state) = state {
                    let view = savepoint.operator(operator.uid.as_str())?.state(entry.name.as_str())?;
                    rewrite.change_by_code((at, inside), (job, state), view)?;
                }
            }
            let states = &rewrite.operators[at].states;
            let is_gone = !states.is_empty() && states.iter().all(|state| state.is_dropped);
            rewrite.operators[at].is_dropped = is_gone && job.operator(&operator.uid).is_none();
        }
        rewrite.records.extend(records_ahead(manifest, savepoint.id(), job, "all keys, offline"));
        Ok(rewrite)
    }

    fn change_by_code(
        &mut self,
        at: (usize, usize),
        (job, state): (&JobDescription, &StateDescription),
        stored_state: StateView<'_>,
    ) -> Result<()> {
        let (uid, entry) = (&stored_state.operator().uid, stored_state.entry());
        let Some(code) = &state.code.0 else {
            // The engine's own state has no code and needs none: it is taken over by the same version of it.
            if entry.schemas.iter().all(|stored| stored.is_same(&state.schema)) {
                return Ok(());
            }
            let reason = format!("state `{}` has no code here, only its description", state.name);
            let problem = JobProblem::BadState { uid: uid.to_string(), reason };
            return Err(Error::Job { job: job.job.to_string(), problem });
        };
        let mut ways = Vec::with_capacity(entry.schemas.len());
        for (index, stored) in entry.schemas.iter().enumerate() {
            let has_rows = entry.files.iter().any(|file| file.schema == index && file.rows > 0);
            if !has_rows || stored.is_same(&state.schema) {
                ways.push(Way::AsIs);
                continue;
            }
            let facts = StoredFacts::new(stored_state, index);
            let route = code.route(stored, &facts, entry.key.as_ref());
            ways.push(match route.map_err(|error| error.into_error(uid.clone(), state.name.clone()))? {
                CodeRoute::Rules(evolution) => {
                    Way::Recipe(Arc::new(Recipe::new(Part::by_rules(&evolution), entry.key.as_ref())))
                }
                CodeRoute::Code(map) => Way::Code(map),
            });
        }
        let new = &mut self.operators[at.0].states[at.1];
        new.changes = changes(entry, state);
        new.schema = Some(state.schema.clone());
        new.ways = ways;
        Ok(())
    }
}

impl Rewrite {
    /// Decides how the code of a job takes states back to older schema versions, for a release that is rolled back:
    /// by the `down` of its migrations. All other state stays as it is, and so do rows that are that old already or older:
    /// the older release takes them on from there.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`]; [`Error::NoSuchState`]; [`Error::NoWayBack`] if a migration on the way has no `down`,
    /// or none starts from that version; [`Error::Job`] if the description was read and not made by the job itself.
    pub fn back_by_job(
        savepoint: &Savepoint,
        job: &JobDescription,
        states: &[(OperatorUid, StateName, SchemaVersion)],
    ) -> Result<Self> {
        let savepoint = &adopted(savepoint, job);
        let mut rewrite = Self::of(savepoint);
        for (uid, name, to) in states {
            let at = rewrite.state(uid.as_str(), name.as_str())?;
            let entry = &savepoint.manifest().operators[at.0].states[at.1];
            let no_way =
                |reason: String| Error::NoWayBack { uid: uid.clone(), state: name.clone(), to: *to, reason };
            let state = job.operator(uid).and_then(|o| o.states.iter().find(|state| state.name == *name));
            let state = state.ok_or_else(|| no_way("the job has no such state".to_owned()))?;
            let code = state.code.0.as_ref().ok_or_else(|| no_way("its code is not here".to_owned()))?;
            let mut ways = Vec::with_capacity(entry.schemas.len());
            let mut schema = None;
            for stored in &entry.schemas {
                let (older, way) = code
                    .back(stored, *to, entry.key.as_ref())
                    .map_err(|problem| no_way(problem.to_string()))?;
                schema = Some(older);
                ways.push(match way {
                    Some(map) => Way::Code(map),
                    None => Way::AsIs,
                });
            }
            let from = entry.schemas[0].version;
            let what = format!("v{from} -> v{to}, by the `down` of its migrations");
            let new = &mut rewrite.operators[at.0].states[at.1];
            new.ways = ways;
            new.schema = schema;
            new.changes = vec![what.clone()];
            rewrite.note("back", at.0, Some(at.1), Some((from, *to)), what);
        }
        Ok(rewrite)
    }
}

/// What happens to rows of a state, for people.
fn changes(entry: &StateEntry, state: &StateDescription) -> Vec<String> {
    let is_stored = |schema: &Schema| entry.schemas.iter().any(|stored| stored.version <= schema.version);
    let types: Vec<DataType> = entry.schemas.iter().map(|schema| schema.data_type.clone()).collect();
    let ahead = state.steps.iter().filter(|step| is_stored(&step.from));
    let mut changes: Vec<String> =
        ahead.map(|step| format!("{} v{} -> v{}", step.name, step.from.version, step.to)).collect();
    if changes.is_empty() && types.iter().any(|stored| *stored != state.schema.data_type) {
        changes.push("by rules alone".to_owned());
    }
    changes
}
