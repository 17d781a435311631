//! Where stored values enter a chain: the one decision that plans, jobs and rewrites share.

use crate::error::Error;
use crate::model::text::counted;
use crate::model::{
    Evolution, Facts, Mismatch, NoFacts, OperatorUid, Schema, SchemaVersion, StateName, evolve_with,
};
use std::fmt;

/// How stored values of one schema become values of the current one.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteDecision {
    /// The stage that stored values become by rules alone; the steps from there on run code.
    pub entry: usize,
    /// How they become it.
    pub evolution: Evolution,
    /// Whether they have the entry stage's very schema.
    pub same_schema: bool,
}

/// Why stored values of one schema do not become values of the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// The schema is newer than the job.
    Newer {
        /// The stored version.
        found: SchemaVersion,
        /// The job's version.
        wanted: SchemaVersion,
    },
    /// There are migrations, but none starts from this schema, and no rule leads to the next that does.
    NoMigration {
        /// The stored version.
        found: SchemaVersion,
        /// The version that no way leads to: of the next migration, or the job's.
        wanted: SchemaVersion,
        /// Why the rules do not lead there; never empty.
        mismatches: Vec<Mismatch>,
    },
    /// The type changed in a way that no rule allows.
    Incompatible {
        /// The stored version.
        found: SchemaVersion,
        /// The version of the type that they should become.
        wanted: SchemaVersion,
        /// What no rule allows; never empty.
        mismatches: Vec<Mismatch>,
    },
}

/// Decides how values with the schema `stored` become values of the last of `stages`.
///
/// `stages` are the types that code starts from, oldest first, and the current type at the end. Rules lead from
/// stored values to the first stage at or above their version, never between two stages: there, the user's code
/// says what happens (clause MG-2).
///
/// # Errors
///
/// Why there is no way.
///
/// # Panics
///
/// If `stages` is empty: a state always has a current type.
pub fn route_over(stages: &[Schema], stored: &Schema) -> Result<RouteDecision, RouteError> {
    route_with(stages, stored, &NoFacts)
}

/// Decides as [`route_over`], and asks for facts about the stored values where the types alone do not allow a change.
///
/// # Errors
///
/// As [`route_over`].
///
/// # Panics
///
/// As [`route_over`].
pub fn route_with(
    stages: &[Schema],
    stored: &Schema,
    facts: &dyn Facts,
) -> Result<RouteDecision, RouteError> {
    let current = stages.last().expect("a chain ends with the current type");
    if let Some(entry) = stages.iter().position(|stage| stage.is_same(stored)) {
        let decided = decide(entry, &stages[entry], stored, facts, true);
        return decided.map_err(|mismatches| refused(stages.len(), &stages[entry], stored, mismatches));
    }
    let Some(entry) = stages.iter().position(|stage| stage.version >= stored.version) else {
        return Err(RouteError::Newer { found: stored.version, wanted: current.version });
    };
    decide(entry, &stages[entry], stored, facts, false)
        .map_err(|mismatches| refused(stages.len(), &stages[entry], stored, mismatches))
}

fn decide(
    entry: usize,
    stage: &Schema,
    stored: &Schema,
    facts: &dyn Facts,
    same_schema: bool,
) -> Result<RouteDecision, Vec<Mismatch>> {
    let evolution = evolve_with(&stored.data_type, &stage.data_type, facts)?;
    Ok(RouteDecision { entry, evolution, same_schema })
}

fn refused(stages: usize, stage: &Schema, stored: &Schema, mut mismatches: Vec<Mismatch>) -> RouteError {
    let (found, wanted) = (stored.version, stage.version);
    if found == wanted {
        for mismatch in &mut mismatches {
            mismatch.hint = format!(
                "{}; a type that changes gets a new version, and this one still says {found}",
                mismatch.hint
            );
        }
        RouteError::Incompatible { found, wanted, mismatches }
    } else if stages > 1 {
        RouteError::NoMigration { found, wanted, mismatches }
    } else {
        RouteError::Incompatible { found, wanted, mismatches }
    }
}

impl RouteError {
    /// Returns the places that no rule allows.
    pub fn mismatches(&self) -> &[Mismatch] {
        match self {
            Self::Newer { .. } => &[],
            Self::NoMigration { mismatches, .. } | Self::Incompatible { mismatches, .. } => mismatches,
        }
    }

    /// Says which state it is about: the error with which a job refuses to start.
    pub fn into_error(self, uid: OperatorUid, state: StateName) -> Error {
        self.in_rows(uid, state, 0)
    }

    /// As [`into_error`](Self::into_error), with the number of rows that have the schema.
    pub fn in_rows(self, uid: OperatorUid, state: StateName, rows: u64) -> Error {
        match self {
            Self::Newer { found, wanted } => Error::NewerSchema { uid, state, found, wanted, rows },
            Self::NoMigration { found, wanted, .. } => Error::NoMigration { uid, state, found, wanted, rows },
            Self::Incompatible { found, mut mismatches, .. } => {
                let mut detail = mismatches.swap_remove(0);
                if rows > 0 {
                    let rows = counted(rows, "row");
                    detail.reason = format!("{}, in {rows} of version {found}", detail.reason);
                }
                Error::Incompatible { uid, state, detail: Box::new(detail) }
            }
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { found, wanted } => {
                write!(f, "found schema version {found}, wanted at most {wanted}")
            }
            Self::NoMigration { found, wanted, .. } => {
                write!(f, "found schema version {found}, wanted {wanted}, no migration in between")
            }
            Self::Incompatible { mismatches, .. } => {
                mismatches.iter().take(1).try_for_each(|mismatch| mismatch.fmt(f))
            }
        }
    }
}
