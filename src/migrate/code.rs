//! The code of a job for the values of a state, without its types: what a rewrite asks for.

use super::back::{Back, NoWayBack};
use super::chain::{Chain, Route, StepFailure};
use super::route::RouteError;
use crate::error::BoxError;
use crate::model::{ColumnMismatch, DataType, Evolution, Facts, Schema, SchemaVersion, Value, value_at};
use crate::state::{Build as _, State};
use arrow::array::{Array as _, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use std::fmt;
use std::sync::Arc;

/// Makes new values of old ones, for many rows at once.
pub trait MapValues: Send + Sync + fmt::Debug {
    /// Makes the new values of rows; `keys` are those of keyed state.
    ///
    /// # Errors
    ///
    /// The first row whose value has no new one.
    fn map(&self, keys: Option<&ArrayRef>, values: &ArrayRef) -> Result<Mapped, MapFailure>;

    /// Makes the new values of those rows that have one, and adds the others to `failed`, in order, with the reason.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), where a row that fails is not one that can do without a new value.
    fn map_some(
        &self,
        keys: Option<&ArrayRef>,
        values: &ArrayRef,
        _failed: &mut Vec<(usize, String)>,
    ) -> Result<Mapped, MapFailure> {
        self.map(keys, values)
    }
}

/// New values.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// The new values of the rows that stay.
    pub values: ArrayRef,
    /// Which rows stay; all of them if it does not say.
    pub kept: Option<BooleanArray>,
}

/// Why there are no new values.
#[derive(Debug)]
pub enum MapFailure {
    /// The value of a row has no new one.
    Row {
        /// The position of the row.
        row: usize,
        /// The versions between which it failed, where the code knows better than its caller.
        versions: Option<(SchemaVersion, SchemaVersion)>,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The columns are not those of the stored type.
    Columns(ColumnMismatch),
}

/// How values of one stored schema become current ones.
#[derive(Debug)]
pub(crate) enum CodeRoute {
    /// By rules alone.
    Rules(Evolution),
    /// By code.
    Code(Arc<dyn MapValues>),
}

/// The chain of a state, without its type.
pub(crate) trait StateCode: Send + Sync {
    /// Decides how values of a stored schema become current ones; `facts` are of these values, and `key` is the type of
    /// the keys.
    fn route(
        &self,
        stored: &Schema,
        facts: &dyn Facts,
        key: Option<&DataType>,
    ) -> Result<CodeRoute, RouteError>;

    /// Decides how values of a stored schema become those of an older version.
    fn back(&self, stored: &Schema, to: SchemaVersion, key: Option<&DataType>) -> Result<Back, NoWayBack>;
}

/// The code that a description carries in the process that has it; a description that was read has none.
#[derive(Clone, Default)]
pub struct Code(pub(crate) Option<Arc<dyn StateCode>>);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Code" } else { "no code" })
    }
}

/// Descriptions say the same whether the code is at hand or not.
impl PartialEq for Code {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<S: State> StateCode for Chain<S> {
    fn route(
        &self,
        stored: &Schema,
        facts: &dyn Facts,
        key: Option<&DataType>,
    ) -> Result<CodeRoute, RouteError> {
        let route = self.route_with(stored, facts)?;
        Ok(match route.by_rules_alone() {
            Some(evolution) => CodeRoute::Rules(evolution.clone()),
            None => CodeRoute::Code(Arc::new(ByRoute { route, key: key.cloned() })),
        })
    }

    fn back(&self, stored: &Schema, to: SchemaVersion, key: Option<&DataType>) -> Result<Back, NoWayBack> {
        super::back::back(self, stored, to, key)
    }
}

/// Takes rows through the migrations of a chain.
struct ByRoute<S> {
    route: Route<S>,
    key: Option<DataType>,
}

impl<S> fmt::Debug for ByRoute<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByRoute").field("route", &self.route).finish_non_exhaustive()
    }
}

impl<S: State> MapValues for ByRoute<S> {
    fn map(&self, keys: Option<&ArrayRef>, values: &ArrayRef) -> Result<Mapped, MapFailure> {
        self.rows(keys, values, None)
    }

    fn map_some(
        &self,
        keys: Option<&ArrayRef>,
        values: &ArrayRef,
        failed: &mut Vec<(usize, String)>,
    ) -> Result<Mapped, MapFailure> {
        self.rows(keys, values, Some(failed))
    }
}

impl<S: State> ByRoute<S> {
    /// Makes the new values; a row that has none goes to `failed` if that is there, and is a failure otherwise.
    fn rows(
        &self,
        keys: Option<&ArrayRef>,
        values: &ArrayRef,
        mut failed: Option<&mut Vec<(usize, String)>>,
    ) -> Result<Mapped, MapFailure> {
        let old = self.route.open(values).map_err(MapFailure::Columns)?;
        let mut new = S::Builder::default();
        let mut dropped = Vec::new();
        for row in 0..values.len() {
            let key = || match (keys, &self.key) {
                (Some(keys), Some(key)) => value_at(keys, key, row).unwrap_or(Value::Unit),
                _ => Value::Unit,
            };
            let value = match (old.read(row, &key), &mut failed) {
                (Ok(value), _) => value,
                (Err(failure), Some(failed)) => {
                    failed.push((row, failure.to_string()));
                    None
                }
                (Err(StepFailure { from, to, source, .. }), None) => {
                    return Err(MapFailure::Row { row, versions: Some((from, to)), source });
                }
            };
            match value {
                None => dropped.push(row),
                Some(value) => new.append(&value).map_err(|unstorable| MapFailure::Row {
                    row,
                    versions: None,
                    source: unstorable.to_string().into(),
                })?,
            }
        }
        Ok(Mapped { values: new.finish(None), kept: kept_but(&dropped, values.len()) })
    }
}

/// Marks the rows that stay, unless all do; `dropped` are the others, in order.
pub(super) fn kept_but(dropped: &[usize], rows: usize) -> Option<BooleanArray> {
    (!dropped.is_empty()).then(|| {
        let mut dropped = dropped.iter().peekable();
        let kept = BooleanBuffer::collect_bool(rows, |row| dropped.next_if_eq(&&row).is_none());
        BooleanArray::new(kept, None)
    })
}
