//! How far the rows of a savepoint have come: which schema each state's rows are stored with.

use crate::model::text::{counted, share};
use crate::model::{Manifest, OperatorUid, SchemaVersion, StateName};
use serde_json::{Value as Json, json};
use std::fmt;

/// How far all states of a savepoint have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Each state that has rows.
    pub states: Vec<StateStatus>,
}

/// How far one state has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateStatus {
    /// The operator that has it.
    pub uid: OperatorUid,
    /// The name of the state inside its operator.
    pub state: StateName,
    /// The version of the job that wrote the savepoint.
    pub newest: SchemaVersion,
    /// The number of rows that are stored with the schema of that job.
    pub rows_at_newest: u64,
    /// The rows of each older schema, the newest first.
    pub older: Vec<VersionRows>,
    /// How many of all these rows are in quarantine.
    pub quarantined: u64,
}

/// The rows of one schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRows {
    /// The schema version.
    pub version: SchemaVersion,
    /// The number of rows.
    pub rows: u64,
}

/// Counts the rows of a savepoint by schema.
pub fn status(manifest: &Manifest) -> MigrationStatus {
    let states = manifest.states().filter(|(_, state)| state.rows() > 0).filter_map(|(operator, state)| {
        let rows = |index: usize| -> u64 {
            state.files.iter().filter(|file| file.schema == index).map(|file| file.rows).sum()
        };
        let newest = state.schemas.first()?.version;
        let older = state.schemas.iter().enumerate().skip(1);
        let older = older.map(|(i, schema)| VersionRows { version: schema.version, rows: rows(i) });
        let mut older: Vec<_> = older.filter(|version| version.rows > 0).collect();
        older.sort_by_key(|version| std::cmp::Reverse(version.version));
        let quarantined = state.quarantined_rows();
        let (uid, state) = (operator.uid.clone(), state.name.clone());
        Some(StateStatus { uid, state, newest, rows_at_newest: rows(0), older, quarantined })
    });
    MigrationStatus { states: states.collect() }
}

impl StateStatus {
    /// Returns the number of rows under all schemas.
    pub fn rows(&self) -> u64 {
        self.rows_at_newest + self.older.iter().map(|older| older.rows).sum::<u64>()
    }

    /// Returns whether no row is left under an older schema.
    pub fn is_done(&self) -> bool {
        self.older.is_empty()
    }

    fn bar(&self) -> String {
        const WIDTH: u64 = 20;
        let (part, whole) = (u128::from(self.rows_at_newest), u128::from(self.rows().max(1)));
        // Neither empty nor full unless it is.
        let filled = (part * u128::from(WIDTH) / whole) as usize;
        let filled = if part > 0 { filled.max(1) } else { 0 };
        format!("{}{}", "#".repeat(filled), "-".repeat(WIDTH as usize - filled))
    }

    fn to_json(&self) -> Json {
        let rows = |version: SchemaVersion, rows: u64| json!({"version": version.0, "rows": rows});
        let newest = rows(self.newest, self.rows_at_newest);
        let older = self.older.iter().map(|older| rows(older.version, older.rows));
        let schemas: Vec<_> = [newest].into_iter().chain(older).collect();
        json!({
            "operator": self.uid.as_str(),
            "state": self.state.as_str(),
            "newest": self.newest.0,
            "rows": self.rows(),
            "done": self.is_done(),
            "quarantined": self.quarantined,
            "schemas": schemas,
        })
    }
}

impl MigrationStatus {
    /// Returns whether no row is left under an older schema.
    pub fn is_done(&self) -> bool {
        self.states.iter().all(StateStatus::is_done)
    }

    /// Returns the status as JSON: `{done, states: [{operator, state, newest, rows, done, quarantined, schemas: [{version,
    /// rows}]}]}`.
    pub fn to_json(&self) -> Json {
        let states: Vec<_> = self.states.iter().map(StateStatus::to_json).collect();
        json!({"done": self.is_done(), "states": states})
    }
}

/// One line for each state: how much of it has the newest schema, and what is left under older ones.
impl fmt::Display for MigrationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |state: &StateStatus| format!("{}/{}", state.uid, state.state);
        let width = self.states.iter().map(|state| name(state).chars().count()).max().unwrap_or(0);
        for state in &self.states {
            let percent = share(state.rows_at_newest, state.rows());
            let name = name(state);
            write!(f, "{name:width$}  v{} |{}| {percent:>8}", state.newest, state.bar())?;
            let mut versions = vec![(state.newest, state.rows_at_newest)];
            versions.extend(state.older.iter().map(|older| (older.version, older.rows)));
            for (version, rows) in versions {
                write!(f, "   v{version} {}", counted(rows, "row"))?;
            }
            if state.quarantined > 0 {
                write!(f, "   {} in quarantine", counted(state.quarantined, "row"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
