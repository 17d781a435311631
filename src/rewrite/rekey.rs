//! New keys for old ones, and one value out of several that come to have one key.

use super::expr::{Expression, Names, Syntax, check_fits, fit};
use super::part::{Failure, Part, Scope};
use super::steps::{Problem, of_expression};
use crate::error::{Error, Result};
use crate::model::{
    DataType, OperatorUid, SchemaVersion, StateKind, StateName, array_of, key_problem, timer_key, value_at,
};
use crate::savepoint::{Merge, Place};
use arrow::array::{Array, ArrayRef};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// How rows get new keys.
#[derive(Clone, Debug)]
pub(super) struct Rekey {
    /// The type of the new keys; of timers too, whose column has a time beside it.
    pub(super) data_type: DataType,
    kind: StateKind,
    /// How the new key is made, for each stored schema.
    parts: Vec<Part>,
    /// How two values become one.
    pub(super) merge: Option<Arc<MergeRule>>,
}

/// How two values become one.
#[derive(Debug)]
pub(super) struct MergeRule {
    expression: Expression,
    /// The type of the values.
    data_type: DataType,
}

/// The names of a merge: `a`, which came first, and `b`.
struct Both<'a>(&'a DataType);

impl Names for Both<'_> {
    fn find(&mut self, path: &[String]) -> Result<(usize, DataType, usize), String> {
        match path[0].as_str() {
            "a" => Ok((0, self.0.clone(), 1)),
            "b" => Ok((1, self.0.clone(), 1)),
            other => Err(format!("found `{other}`, wanted `a` or `b`, the values that come to have one key")),
        }
    }
}

impl Rekey {
    /// Decides how keys are made; `roots` are the old values as each stored schema has them, all of one type.
    pub(super) fn new(
        syntax: &Syntax,
        roots: &[Part],
        kind: StateKind,
        key: &DataType,
        wanted: Option<&DataType>,
    ) -> Result<Self, Problem> {
        // What a path leads to and what a tuple is made of have types; what is computed is of the type that keys have.
        let is_typed = syntax.path().is_some() || syntax.parts().is_some() || syntax.fields().is_some();
        let wanted = wanted.or(if is_typed { None } else { Some(key) });
        let part = |root: &Part| of_expression(syntax, root, Some(key), wanted);
        let parts = roots.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let data_type = parts.first().map_or_else(|| key.clone(), Part::data_type);
        if let Some(problem) = key_problem(&data_type) {
            return Err(Problem::new(format!("found keys of {data_type}, which cannot be keys: {problem}")));
        }
        Ok(Self { data_type, kind, parts, merge: None })
    }

    pub(super) fn merging(mut self, syntax: &Syntax, values: &DataType) -> Result<Self, Problem> {
        let expression = Expression::new(syntax, &mut Both(values))?;
        check_fits(&expression.kind, values).map_err(Problem::new)?;
        self.merge = Some(Arc::new(MergeRule { expression, data_type: values.clone() }));
        Ok(self)
    }

    /// Whether rows whose keys come to be the same are refused; timers are alike then.
    pub(super) fn refuses(&self) -> bool {
        self.merge.is_none() && self.kind != StateKind::Timers
    }

    /// The same keys, with no rule for values.
    pub(super) fn only_keys(&self) -> Arc<Self> {
        Arc::new(Self { merge: None, ..self.clone() })
    }

    /// The type of the column of keys.
    pub(super) fn column_type(&self) -> DataType {
        match self.kind {
            StateKind::Timers => timer_key(self.data_type.clone()),
            _ => self.data_type.clone(),
        }
    }

    /// Makes the new keys of rows with the schema at this position.
    pub(super) fn keys(
        &self,
        schema: usize,
        keys: &ArrayRef,
        values: &ArrayRef,
    ) -> Result<ArrayRef, Failure> {
        let Some(part) = self.parts.get(schema) else { return Ok(keys.clone()) };
        if self.kind != StateKind::Timers {
            return part.make(Scope { values, keys: Some(keys) });
        }
        // The key of a timer lies beside its time.
        let timers = crate::migrate::parts_of(keys, 2)?;
        let made = part.make(Scope { values, keys: Some(timers.column(1)) })?;
        let layout = crate::model::arrow_type(&self.column_type());
        Ok(crate::migrate::assemble(&layout, vec![timers.column(0).clone(), made], keys.len(), None)?)
    }
}

/// What came of rows whose new keys are those of others.
#[derive(Debug, Default)]
pub(super) struct Collisions {
    /// How many rows are too many.
    pub(super) rows: u64,
    /// Some of the keys, as text.
    pub(super) examples: BTreeSet<String>,
}

impl Collisions {
    pub(super) fn shown(&self) -> String {
        self.examples.iter().cloned().collect::<Vec<_>>().join(", ")
    }
}

/// How many keys are shown.
const EXAMPLES: usize = 5;

/// Carries a rule out, or counts what has none.
pub(super) struct Merging {
    pub(super) rekey: Arc<Rekey>,
    pub(super) uid: OperatorUid,
    pub(super) state: StateName,
    pub(super) versions: (SchemaVersion, SchemaVersion),
    pub(super) collisions: Arc<Mutex<Collisions>>,
}

impl Merge for Merging {
    fn merge(
        &self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        places: &[Place],
        ends: &[usize],
    ) -> Result<ArrayRef> {
        let key_type = self.rekey.column_type();
        let key = |(array, row): Place| {
            value_at(&keys[array], &key_type, row)
                .map_or("that cannot be shown".to_owned(), |key| key.to_string())
        };
        let mut collisions = self.collisions.lock().unwrap_or_else(PoisonError::into_inner);
        collisions.rows += (places.len() - ends.len()) as u64;
        let mut firsts = Vec::with_capacity(ends.len());
        let mut start = 0;
        for &end in ends {
            if collisions.examples.len() < EXAMPLES {
                collisions.examples.insert(key(places[start]));
            }
            firsts.push(start..end);
            start = end;
        }
        drop(collisions);
        let Some(rule) = &self.rekey.merge else {
            // One value of each will do: there will be no savepoint.
            let firsts: Vec<Place> = firsts.iter().map(|range| places[range.start]).collect();
            let arrays: Vec<&dyn Array> = values.iter().map(|array| array.as_ref()).collect();
            let failed = |error: arrow::error::ArrowError| Error::Parquet {
                action: "sort for",
                path: format!("operator `{}`, state `{}`", self.uid, self.state),
                source: error.into(),
            };
            return arrow::compute::interleave(&arrays, &firsts).map_err(failed);
        };
        let read = |(array, row): Place| {
            value_at(&values[array], &rule.data_type, row).map_err(|error| error.to_string())
        };
        let mut merged = Vec::with_capacity(firsts.len());
        for range in firsts {
            let of = places[range.start];
            let all = || {
                let mut value = read(of)?;
                for place in &places[range.start + 1..range.end] {
                    let other = read(*place)?;
                    let made = rule
                        .expression
                        .run(&|input| Ok(if input == 0 { value.clone() } else { other.clone() }))?;
                    value = fit(made, &rule.data_type)?;
                }
                Ok(value)
            };
            let value = all().map_err(|reason: String| Error::MigrationFailed {
                uid: self.uid.clone(),
                state: self.state.clone(),
                key: key(of),
                value: read(of).map_or_else(|error| error, |value| value.to_string()),
                from: self.versions.0,
                to: self.versions.1,
                source: reason.into(),
            })?;
            merged.push(value);
        }
        array_of(&merged, &rule.data_type).map_err(|odd| Error::Rows {
            path: format!("operator `{}`, state `{}`", self.uid, self.state),
            found: odd.found,
            wanted: odd.wanted,
        })
    }
}
