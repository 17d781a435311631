//! Two savepoints side by side: what changed in sources, schemas, keys and fields.
//!
//! Values are decoded with the schemas stored beside them, so neither job is needed. Row groups that did not
//! change are recognised by their hashes and not read; of the others, one of each file is in memory. Values
//! under different schemas are compared where rules lead from one to the other; where only a migration does,
//! both are shown as they are.

mod comparison;
mod fields;
mod groups;
mod key;
mod keyed;
mod keys;
mod list;
mod side;
mod sources;
mod tally;
mod values;

pub use key::diff_key;
pub use sources::{PositionDiff, SourceDiff};

use crate::error::Result;
use crate::model::{
    Change, Manifest, Mismatch, OperatorUid, Schema, SchemaVersion, StateEntry, StateKind, StateName, Value,
    same_key,
};
use crate::savepoint::{Savepoint, StateView};
use std::collections::BTreeMap;
use values::{Relation, relate};

/// What of two savepoints is compared.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    /// One operator alone, and no sources.
    pub operator: Option<OperatorUid>,
    /// The most keys that are listed of each state; all are counted.
    pub limit: usize,
}

/// What changed from one savepoint to another.
#[derive(Clone, Debug, PartialEq)]
pub struct SavepointDiff {
    /// The sources whose positions differ.
    pub sources: Vec<SourceDiff>,
    /// All states of both, changed or not.
    pub states: Vec<StateDiff>,
}

/// What changed in one state.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDiff {
    /// The operator that the state belongs to.
    pub uid: OperatorUid,
    /// The name of the state.
    pub state: StateName,
    /// What the first savepoint has, if it has the state.
    pub before: Option<StateSummary>,
    /// What the second savepoint has, if it has the state.
    pub after: Option<StateSummary>,
    /// How the schemas of the jobs that wrote the savepoints differ.
    pub schema: SchemaChange,
    /// What became of the keys, or of the elements of a list.
    pub counts: Counts,
    /// The fields that changed, by their place in the value, and for how many keys.
    pub fields: Vec<(String, u64)>,
    /// The first of the keys that differ; for a list, of the elements.
    pub keys: Vec<KeyDiff>,
    /// Why the rows were not compared, if they were not.
    pub not_compared: Option<String>,
}

/// What one savepoint has of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSummary {
    /// How the state is scoped.
    pub kind: StateKind,
    /// The number of rows.
    pub rows: u64,
    /// The schema of the job that wrote the savepoint.
    pub schema: Option<Schema>,
    /// The number of rows under each schema version.
    pub rows_by_version: BTreeMap<SchemaVersion, u64>,
}

/// How the schemas of a state differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaChange {
    /// They are the same, or one savepoint does not have the state.
    None,
    /// Rules lead from one to the other.
    Automatic(Vec<Change>),
    /// Only a migration leads from one to the other.
    NeedsCode(Vec<Mismatch>),
}

/// What became of the keys of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that only the second savepoint has.
    pub added: u64,
    /// Keys that only the first savepoint has.
    pub removed: u64,
    /// Keys whose values differ.
    pub changed: u64,
    /// Keys whose values are equal by the rules but stored under different schemas.
    pub migrated: u64,
    /// Keys whose values lie under schemas between which only a migration leads.
    pub needs_code: u64,
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDiff {
    /// The key; an element of a list has none.
    pub key: Option<Value>,
    /// What became of it.
    pub change: KeyChange,
}

/// What became of the value of a key.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say all")]
pub enum KeyChange {
    Added { after: Value },
    Removed { before: Value },
    Changed { before: Value, after: Value, fields: Vec<FieldChange> },
    NeedsCode { before: Value, after: Value },
}

/// A field of a value that changed, both sides under the newer of the two schemas.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// The place of the field in the value: names joined by dots, empty for the value itself.
    pub place: String,
    /// What it was.
    pub before: Value,
    /// What it is.
    pub after: Value,
}

impl Counts {
    /// Returns whether every key is in both savepoints with the same value under the same schema.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl StateDiff {
    /// Returns whether the state is the same in both savepoints.
    pub fn is_empty(&self) -> bool {
        let both = self.before.is_some() && self.after.is_some();
        both && self.schema == SchemaChange::None && self.counts.is_empty() && self.not_compared.is_none()
    }
}

impl SavepointDiff {
    /// Returns whether both savepoints hold the same.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.states.iter().all(StateDiff::is_empty)
    }
}

/// Compares two savepoints.
///
/// # Errors
///
/// What reading them says: [`Error::Damaged`](crate::Error::Damaged), [`Error::Io`](crate::Error::Io);
/// [`Error::NoSuchOperator`](crate::Error::NoSuchOperator) if neither has the operator that was asked for.
pub fn diff(before: &Savepoint, after: &Savepoint, options: &DiffOptions) -> Result<SavepointDiff> {
    if let Some(uid) = &options.operator
        && before.operator(uid.as_str()).is_err()
    {
        after.operator(uid.as_str())?;
    }
    let sources = match options.operator {
        Some(_) => Vec::new(),
        None => sources::diff(&before.manifest().sources, &after.manifest().sources),
    };
    let wanted = |uid: &OperatorUid| options.operator.as_ref().is_none_or(|wanted| wanted == uid);
    let mut states = Vec::new();
    for (uid, name) in state_names(before.manifest(), after.manifest()) {
        if wanted(uid) {
            states.push(diff_state(before, after, uid, name, options.limit)?);
        }
    }
    Ok(SavepointDiff { sources, states })
}

/// All states of two savepoints, in the order of the second; those that only the first has come last.
fn state_names<'a>(before: &'a Manifest, after: &'a Manifest) -> Vec<(&'a OperatorUid, &'a StateName)> {
    let mut names: Vec<_> = after.states().map(|(operator, state)| (&operator.uid, &state.name)).collect();
    for (operator, state) in before.states() {
        if !names.contains(&(&operator.uid, &state.name)) {
            names.push((&operator.uid, &state.name));
        }
    }
    names
}

fn find<'a>(savepoint: &'a Savepoint, uid: &OperatorUid, name: &StateName) -> Option<StateView<'a>> {
    savepoint.operator(uid.as_str()).and_then(|operator| operator.state(name.as_str())).ok()
}

fn diff_state(
    before: &Savepoint,
    after: &Savepoint,
    uid: &OperatorUid,
    name: &StateName,
    limit: usize,
) -> Result<StateDiff> {
    let (old, new) = (find(before, uid, name), find(after, uid, name));
    let summary = |state: Option<StateView<'_>>| state.map(|state| summarise(&state)).transpose();
    let mut state = StateDiff {
        uid: uid.clone(),
        state: name.clone(),
        before: summary(old)?,
        after: summary(new)?,
        schema: SchemaChange::None,
        counts: Counts::default(),
        fields: Vec::new(),
        keys: Vec::new(),
        not_compared: None,
    };
    let (Some(old), Some(new)) = (old, new) else {
        state.counts.added = state.after.as_ref().map_or(0, |summary| summary.rows);
        state.counts.removed = state.before.as_ref().map_or(0, |summary| summary.rows);
        return Ok(state);
    };
    state.schema = schema_change(old.entry(), new.entry());
    state.not_compared = incomparable(old, new);
    if state.not_compared.is_none() {
        let tally = match new.entry().kind {
            StateKind::Value | StateKind::Timers => keyed::diff(old, new, limit)?,
            StateKind::List => list::diff(old, new, limit)?,
        };
        (state.counts, state.fields, state.keys) = tally.finish();
    }
    Ok(state)
}

fn summarise(state: &StateView<'_>) -> Result<StateSummary> {
    let (entry, rows) = (state.entry(), state.rows_by_schema()?);
    let versions = entry.files.iter().map(|file| (entry.schema_of(file).version, 0));
    let mut rows_by_version: BTreeMap<_, _> = versions.collect();
    for (schema, rows) in entry.schemas.iter().zip(&rows).filter(|(_, rows)| **rows > 0) {
        *rows_by_version.entry(schema.version).or_default() += rows;
    }
    Ok(StateSummary {
        kind: entry.kind,
        rows: rows.iter().sum(),
        schema: entry.schemas.first().cloned(),
        rows_by_version,
    })
}

fn schema_change(before: &StateEntry, after: &StateEntry) -> SchemaChange {
    match (before.schemas.first(), after.schemas.first()) {
        (Some(old), Some(new)) if !old.is_same(new) => match relate(old, new) {
            Relation::Same => SchemaChange::Automatic(Vec::new()),
            Relation::Forward(evolution) | Relation::Backward(evolution) => {
                SchemaChange::Automatic(evolution.changes)
            }
            Relation::NeedsCode(mismatches) => SchemaChange::NeedsCode(mismatches),
        },
        _ => SchemaChange::None,
    }
}

/// Why the rows of two states cannot be laid side by side, if they cannot.
fn incomparable(before: StateView<'_>, after: StateView<'_>) -> Option<String> {
    let (old, new) = (before.entry(), after.entry());
    if old.kind != new.kind {
        return Some(format!("a {} became a {}", old.kind.as_str(), new.kind.as_str()));
    }
    if same_key(old.key.as_ref(), new.key.as_ref()).is_err() {
        let shown = |entry: &StateEntry| entry.key.as_ref().map_or("none".to_owned(), ToString::to_string);
        return Some(format!("the key changed: {} -> {}", shown(old), shown(new)));
    }
    let groups = |state: StateView<'_>| state.savepoint().manifest().max_parallelism.get();
    (old.kind.is_keyed() && groups(before) != groups(after))
        .then(|| format!("the number of key groups changed: {} -> {}", groups(before), groups(after)))
}
