//! How the rows of states went from version to version over savepoints: since when there is a version, and until when.

use crate::model::text::counted;
use crate::model::time::{Unit, shown_timestamp};
use crate::model::{Manifest, OperatorUid, SchemaVersion, StateName};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The versions of states over savepoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionHistory {
    /// The number of savepoints that were looked at.
    pub savepoints: usize,
    /// Each state that had rows under more than one version; by operator and name.
    pub states: Vec<StateHistory>,
}

/// The versions of one state over savepoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHistory {
    /// The operator that has it.
    pub uid: OperatorUid,
    /// Its name inside the operator.
    pub state: StateName,
    /// What it was in each savepoint that has rows of it, oldest first.
    pub points: Vec<VersionPoint>,
}

/// The versions of a state in one savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionPoint {
    /// Where the savepoint is.
    pub savepoint: String,
    /// When it was written, in milliseconds since 1970.
    pub created_ms: u64,
    /// The rows under each version.
    pub rows: BTreeMap<SchemaVersion, u64>,
}

/// Counts the rows of states by version over savepoints, each given with where it is.
pub fn version_history<'a>(savepoints: impl IntoIterator<Item = (String, &'a Manifest)>) -> VersionHistory {
    let mut savepoints: Vec<_> = savepoints.into_iter().collect();
    savepoints.sort_by_key(|(_, manifest)| (manifest.created_ms, manifest.epoch));
    let mut states: BTreeMap<(OperatorUid, StateName), Vec<VersionPoint>> = BTreeMap::new();
    for (place, manifest) in &savepoints {
        for (operator, state) in manifest.states().filter(|(_, state)| state.rows() > 0) {
            let mut rows = state.rows_by_version();
            rows.retain(|_, rows| *rows > 0);
            let created_ms = manifest.created_ms;
            let point = VersionPoint { savepoint: place.clone(), created_ms, rows };
            states.entry((operator.uid.clone(), state.name.clone())).or_default().push(point);
        }
    }
    let states = states.into_iter().map(|((uid, state), points)| StateHistory { uid, state, points });
    let has_changed = |state: &StateHistory| state.versions().len() > 1;
    VersionHistory { savepoints: savepoints.len(), states: states.filter(has_changed).collect() }
}

impl StateHistory {
    /// Returns the versions that it had rows under.
    pub fn versions(&self) -> BTreeSet<SchemaVersion> {
        self.points.iter().flat_map(|point| point.rows.keys().copied()).collect()
    }

    /// Returns the first and the last savepoint that have rows under a version.
    fn span(&self, version: SchemaVersion) -> Option<(&VersionPoint, &VersionPoint)> {
        let has = |point: &&VersionPoint| point.rows.contains_key(&version);
        self.points.iter().find(has).zip(self.points.iter().rfind(has))
    }
}

impl VersionHistory {
    /// Returns it as JSON: `{savepoints, states: [{operator, state, versions: [{version, since_ms, last_ms}], points:
    /// [{savepoint, created_ms, rows: [{version, rows}]}]}]}`.
    pub fn to_json(&self) -> Json {
        let state = |state: &StateHistory| {
            let versions = state.versions().into_iter().filter_map(|version| {
                let (first, last) = state.span(version)?;
                Some(json!({"version": version.0, "since_ms": first.created_ms, "last_ms": last.created_ms}))
            });
            let point = |point: &VersionPoint| {
                let rows =
                    point.rows.iter().map(|(version, rows)| json!({"version": version.0, "rows": rows}));
                json!({
                    "savepoint": point.savepoint,
                    "created_ms": point.created_ms,
                    "rows": rows.collect::<Vec<_>>(),
                })
            };
            json!({
                "operator": state.uid.as_str(),
                "state": state.state.as_str(),
                "versions": versions.collect::<Vec<_>>(),
                "points": state.points.iter().map(point).collect::<Vec<_>>(),
            })
        };
        json!({"savepoints": self.savepoints, "states": self.states.iter().map(state).collect::<Vec<_>>()})
    }
}

fn shown_ms(ms: u64) -> String {
    shown_timestamp(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000), Unit::Micros)
}

/// Since when each state has which version, and a line for each savepoint.
impl fmt::Display for VersionHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.states.is_empty() {
            let all = counted(self.savepoints as u64, "savepoint");
            return writeln!(f, "no state had rows under more than one version in {all}");
        }
        for state in &self.states {
            writeln!(f, "{}/{}", state.uid, state.state)?;
            let newest = state.points.last();
            for version in state.versions().into_iter().rev() {
                let Some((first, last)) = state.span(version) else { continue };
                write!(f, "  v{version}  since {}", shown_ms(first.created_ms))?;
                match newest.is_some_and(|newest| newest.rows.contains_key(&version)) {
                    true => writeln!(f)?,
                    false => writeln!(f, ", last in {}", shown_ms(last.created_ms))?,
                }
            }
            for VersionPoint { savepoint, created_ms, rows } in &state.points {
                let rows =
                    rows.iter().rev().map(|(version, rows)| format!("v{version} {}", counted(*rows, "row")));
                let rows = rows.collect::<Vec<_>>().join("   ");
                writeln!(f, "    {}  {rows}  {savepoint}", shown_ms(*created_ms))?;
            }
        }
        Ok(())
    }
}
