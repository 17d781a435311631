//! Operators and states that a job has under another name than a savepoint does.
//!
//! A rename is a fact that the job states once and keeps stating: it is carried out on the manifest alone, before
//! anything is compared, so that plan, start and every image after it know only the new name (clause PL-6).

use super::description::JobDescription;
#[cfg(any(feature = "engine", test))]
use crate::error::JobProblem;
use crate::model::{Digest, Manifest, MigrationRecord, OperatorEntry, OperatorUid, SavepointId, StateName};
use crate::savepoint::Savepoint;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// An operator, or one state of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operator's uid.
    pub uid: OperatorUid,
    /// The state; none for the whole operator.
    pub state: Option<StateName>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uid)?;
        self.state.as_ref().map_or(Ok(()), |state| write!(f, "/{state}"))
    }
}

/// An operator or a state that has had another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// What it was called.
    pub from: Place,
    /// What the job calls it.
    pub to: Place,
}

impl Rename {
    /// Makes the record of it in the lineage of a savepoint.
    fn record(&self, savepoint: &SavepointId) -> MigrationRecord {
        let Self { from, to } = self;
        MigrationRecord {
            name: "rename".to_owned(),
            checksum: Digest(Sha256::digest(format!("rename {from} {to}").as_bytes()).into()),
            uid: to.uid.clone(),
            state: to.state.clone(),
            versions: None,
            savepoint: Some(savepoint.clone()),
            what: format!("renamed from `{from}`"),
        }
    }
}

/// Checks that each rename leads to something that the job has, from something that it does not have, and that no
/// two claim the same old name.
///
/// # Errors
///
/// [`JobProblem::BadRename`].
#[cfg(any(feature = "engine", test))]
pub(crate) fn check(job: &JobDescription) -> Result<(), JobProblem> {
    let has = |place: &Place| {
        job.operator(&place.uid).is_some_and(|operator| {
            place.state.as_ref().is_none_or(|name| operator.states.iter().any(|state| state.name == *name))
        })
    };
    for (index, Rename { from, to }) in job.renames.iter().enumerate() {
        let earlier = job.renames[..index].iter().find(|other| other.from == *from);
        let reason = if !has(to) {
            format!("the job has no `{to}`")
        } else if has(from) {
            format!("the job itself has `{from}`")
        } else if let Some(other) = earlier {
            format!("`{}` claims to be the same", other.to)
        } else {
            continue;
        };
        return Err(JobProblem::BadRename { from: from.to_string(), to: to.to_string(), reason });
    }
    Ok(())
}

/// Gives the operators and states of a savepoint the names that a job has for them; returns what was renamed.
///
/// A new name that the savepoint has already is left alone, and so is then what has the old one: both were written
/// by somebody, and nobody has said how they become one.
pub fn adopt(savepoint: &Manifest, job: &JobDescription) -> (Manifest, Vec<Rename>) {
    let mut manifest = savepoint.clone();
    let renamed = job.renames.iter().filter(|rename| carry_out(&mut manifest, rename)).cloned().collect();
    (manifest, renamed)
}

/// Returns a savepoint as a job sees it that goes on from it: under the job's names, the renames in its lineage.
pub(crate) fn adopted(savepoint: &Savepoint, job: &JobDescription) -> Savepoint {
    let (mut manifest, renamed) = adopt(savepoint.manifest(), job);
    manifest.migrations.extend(renamed.iter().map(|rename| rename.record(savepoint.id())));
    savepoint.with_manifest(manifest)
}

fn carry_out(manifest: &mut Manifest, Rename { from, to }: &Rename) -> bool {
    match (&from.state, &to.state) {
        (Some(from_state), Some(to_state)) => {
            move_state(manifest, (&from.uid, from_state), (&to.uid, to_state))
        }
        _ => rename_operator(manifest, &from.uid, &to.uid),
    }
}

fn rename_operator(manifest: &mut Manifest, from: &OperatorUid, to: &OperatorUid) -> bool {
    let has_rows = |operator: &OperatorEntry| operator.states.iter().any(|state| state.rows() > 0);
    let taken = manifest.operator(to).is_some_and(has_rows) || manifest.sources.iter().any(|s| s.uid == *to);
    if taken || manifest.operator(from).is_none() {
        return false;
    }
    manifest.operators.retain(|operator| operator.uid != *to);
    let named = manifest.operators.iter_mut().map(|operator| &mut operator.uid);
    let named = named.chain(manifest.sources.iter_mut().map(|source| &mut source.uid));
    let lineage = manifest.migrations.iter_mut().map(|record| &mut record.uid);
    named.chain(lineage).filter(|uid| **uid == *from).for_each(|uid| *uid = to.clone());
    true
}

fn move_state(
    manifest: &mut Manifest,
    (from, from_state): (&OperatorUid, &StateName),
    (to, to_state): (&OperatorUid, &StateName),
) -> bool {
    let state_of = |uid, name| manifest.operator(uid).and_then(|operator| operator.state(name));
    if state_of(to, to_state).is_some_and(|state| state.rows() > 0) {
        return false;
    }
    let Some(mut state) = state_of(from, from_state).cloned() else { return false };
    let Some(giver) = manifest.operator(from).cloned() else { return false };
    for operator in &mut manifest.operators {
        if operator.uid == *from {
            operator.states.retain(|state| state.name != *from_state);
        }
        if operator.uid == *to {
            operator.states.retain(|state| state.name != *to_state);
        }
    }
    state.name = to_state.clone();
    match manifest.operators.iter_mut().find(|operator| operator.uid == *to) {
        Some(operator) => operator.states.push(state),
        None => manifest.operators.push(OperatorEntry { uid: to.clone(), states: vec![state], ..giver }),
    }
    for record in &mut manifest.migrations {
        if record.uid == *from && record.state.as_ref() == Some(from_state) {
            (record.uid, record.state) = (to.clone(), Some(to_state.clone()));
        }
    }
    true
}
