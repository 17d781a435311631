//! Whether code for old schema versions may go: not as long as a savepoint that somebody wants to start from has
//! rows under them.

use crate::model::text::counted;
use crate::model::time::{Unit, shown_timestamp};
use crate::model::{Manifest, OperatorUid, SchemaVersion, StateName};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt;

/// What savepoints still need of old schema versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The number of savepoints that were looked at.
    pub savepoints: usize,
    /// Each old version of each state, whether it has rows or not; by operator, state and version.
    pub versions: Vec<OldVersion>,
}

/// A schema version that is older than the newest of its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldVersion {
    /// The operator that has the state.
    pub uid: OperatorUid,
    /// The name of the state inside its operator.
    pub state: StateName,
    /// The version.
    pub version: SchemaVersion,
    /// The savepoints with rows under it, oldest first.
    pub left: Vec<Left>,
}

/// The rows of an old version in one savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where the savepoint is.
    pub savepoint: String,
    /// When it was written, in milliseconds since 1970.
    pub created_ms: u64,
    /// The number of rows.
    pub rows: u64,
}

/// Counts the rows of old schema versions over savepoints, each given with where it is.
pub fn retire<'a>(savepoints: impl IntoIterator<Item = (String, &'a Manifest)>) -> Retirement {
    let mut savepoints: Vec<_> = savepoints.into_iter().collect();
    savepoints.sort_by_key(|(_, manifest)| manifest.created_ms);
    let mut newest: BTreeMap<(OperatorUid, StateName), SchemaVersion> = BTreeMap::new();
    let mut versions: BTreeMap<(OperatorUid, StateName, SchemaVersion), Vec<Left>> = BTreeMap::new();
    for (place, manifest) in &savepoints {
        for (operator, state) in manifest.states() {
            let (uid, name) = (&operator.uid, &state.name);
            for schema in &state.schemas {
                let known = newest.entry((uid.clone(), name.clone())).or_insert(schema.version);
                *known = schema.version.max(*known);
                versions.entry((uid.clone(), name.clone(), schema.version)).or_default();
            }
            for (version, rows) in state.rows_by_version().into_iter().filter(|(_, rows)| *rows > 0) {
                let left = Left { savepoint: place.clone(), created_ms: manifest.created_ms, rows };
                versions.entry((uid.clone(), name.clone(), version)).or_default().push(left);
            }
        }
        // What rows went through on the way here is a version that there was, even if no savepoint has it any more.
        for record in &manifest.migrations {
            if let (Some(state), Some((from, _))) = (&record.state, record.versions) {
                versions.entry((record.uid.clone(), state.clone(), from)).or_default();
            }
        }
    }
    let old = versions.into_iter().filter_map(|((uid, state, version), left)| {
        let newest = newest.get(&(uid.clone(), state.clone()))?;
        (version < *newest).then_some(OldVersion { uid, state, version, left })
    });
    Retirement { savepoints: savepoints.len(), versions: old.collect() }
}

impl Retirement {
    /// Returns whether no row is left under any old version.
    pub fn may_go(&self) -> bool {
        self.versions.iter().all(|version| version.left.is_empty())
    }

    /// Keeps only what is about some versions.
    #[must_use]
    pub fn only(mut self, wanted: impl FnMut(&OldVersion) -> bool) -> Self {
        self.versions.retain(wanted);
        self
    }

    /// Returns it as JSON: `{may_go, savepoints, versions: [{operator, state, version, may_go, left: [{savepoint,
    /// created_ms, rows}]}]}`.
    pub fn to_json(&self) -> Json {
        let left = |left: &Left| json!({"savepoint": left.savepoint, "created_ms": left.created_ms, "rows": left.rows});
        let version = |version: &OldVersion| {
            json!({
                "operator": version.uid.as_str(),
                "state": version.state.as_str(),
                "version": version.version.0,
                "may_go": version.left.is_empty(),
                "left": version.left.iter().map(left).collect::<Vec<_>>(),
            })
        };
        json!({
            "may_go": self.may_go(),
            "savepoints": self.savepoints,
            "versions": self.versions.iter().map(version).collect::<Vec<_>>(),
        })
    }
}

fn shown_ms(ms: u64) -> String {
    shown_timestamp(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000), Unit::Micros)
}

/// A line for each old version, and below it one for each savepoint that still has rows of it.
impl fmt::Display for Retirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = counted(self.savepoints as u64, "savepoint");
        if self.versions.is_empty() {
            return writeln!(f, "no state has an older version in {all}");
        }
        for OldVersion { uid, state, version, left } in &self.versions {
            write!(f, "{uid}/{state}  v{version}  ")?;
            let Some(last) = left.last() else {
                writeln!(f, "no row in {all}: its code may go")?;
                continue;
            };
            let since = shown_ms(left[0].created_ms);
            writeln!(
                f,
                "{} left, in {} of {all} since {since}: its code is needed",
                counted(last.rows, "row"),
                left.len()
            )?;
            for Left { savepoint, created_ms, rows } in left {
                writeln!(f, "    {}  {}  {savepoint}", shown_ms(*created_ms), counted(*rows, "row"))?;
            }
        }
        Ok(())
    }
}
