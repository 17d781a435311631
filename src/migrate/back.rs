//! The way back: values of a newer type as values of an older one, step by step, for a release that is rolled back.

use super::chain::{Chain, Failed, Step};
use super::code::{MapFailure, MapValues, Mapped, kept_but};
use super::project::project;
use super::route::{RouteDecision, route_over};
use crate::model::{ColumnMismatch, DataType, Schema, SchemaVersion, Value, value_at};
use crate::state::{Build as _, Read as _, State};
use arrow::array::{Array as _, ArrayRef};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Reads values of a type that only it knows, each as an `Option` of it.
pub(super) trait AnyReader {
    fn read(&self, row: usize) -> Box<dyn Any>;
}

/// Takes values of a type that only it knows, each an `Option` of it.
pub(super) trait AnyColumn {
    fn append(&mut self, value: &mut dyn Any) -> Result<(), String>;

    fn finish(&mut self) -> ArrayRef;
}

struct Reader<T: State>(T::Reader);

impl<T: State> AnyReader for Reader<T> {
    fn read(&self, row: usize) -> Box<dyn Any> {
        Box::new(Some(self.0.read(row)))
    }
}

struct Column<T: State>(T::Builder);

impl<T: State> AnyColumn for Column<T> {
    fn append(&mut self, value: &mut dyn Any) -> Result<(), String> {
        let value = value.downcast_mut::<Option<T>>().and_then(Option::take);
        let value = value.expect("the step that made the value has made this column, too");
        self.0.append(&value).map_err(|unstorable| unstorable.to_string())
    }

    fn finish(&mut self) -> ArrayRef {
        self.0.finish(None)
    }
}

pub(super) fn reader<T: State>(values: &ArrayRef) -> Result<Box<dyn AnyReader>, ColumnMismatch> {
    Ok(Box::new(Reader::<T>(T::Reader::new(values)?)))
}

pub(super) fn column<T: State>() -> Box<dyn AnyColumn> {
    Box::new(Column::<T>(T::Builder::default()))
}

/// Why there is no way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoWayBack {
    /// No migration takes this version: there never was such a type, as far as the code knows.
    NoSuchVersion,
    /// This migration is on the way, and does not lead back.
    NoDown(String),
    /// Stored rows are no values of any type that the code knows.
    Unknown(String),
}

impl fmt::Display for NoWayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchVersion => f.write_str("no migration starts from that version"),
            Self::NoDown(name) => write!(f, "`{name}` has no `down`"),
            Self::Unknown(reason) => f.write_str(reason),
        }
    }
}

/// How rows get back, and which schema they then have; none if they are that old already.
pub(crate) type Back = (Schema, Option<Arc<dyn MapValues>>);

/// Decides how values that are stored with one schema become values of the older type with version `to`.
pub(super) fn back<S: State>(
    chain: &Chain<S>,
    stored: &Schema,
    to: SchemaVersion,
    key: Option<&DataType>,
) -> Result<Back, NoWayBack> {
    let steps = chain.links();
    let first = steps.iter().position(|step| step.describe().from.version == to);
    let first = first.ok_or(NoWayBack::NoSuchVersion)?;
    let schema = steps[first].describe().from;
    let decision =
        route_over(&chain.stages(), stored).map_err(|error| NoWayBack::Unknown(error.to_string()))?;
    if decision.entry <= first {
        return Ok((schema, None));
    }
    let way = &steps[first..decision.entry];
    if let Some(without) = way.iter().map(|step| step.describe()).find(|step| !step.has_down) {
        return Err(NoWayBack::NoDown(without.name));
    }
    let key = key.cloned();
    Ok((schema, Some(Arc::new(ByDown { chain: chain.clone(), decision, first, key }))))
}

/// Takes rows back through the migrations of a chain.
struct ByDown<S> {
    chain: Chain<S>,
    decision: RouteDecision,
    /// The migration that takes the type that they become.
    first: usize,
    key: Option<DataType>,
}

impl<S> fmt::Debug for ByDown<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByDown")
            .field("decision", &self.decision)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

impl<S: State> ByDown<S> {
    fn open(&self, values: &ArrayRef) -> Result<Box<dyn AnyReader>, ColumnMismatch> {
        let projected = project(&self.decision.evolution, values)?;
        match self.chain.links().get(self.decision.entry) {
            Some(step) => step.open_taken(&projected),
            None => reader::<S>(&projected),
        }
    }
}

impl<S: State> MapValues for ByDown<S> {
    fn map(&self, keys: Option<&ArrayRef>, values: &ArrayRef) -> Result<Mapped, MapFailure> {
        let new = self.open(values).map_err(MapFailure::Columns)?;
        let way: &[Arc<dyn Step<S>>] = &self.chain.links()[self.first..self.decision.entry];
        let mut old = way[0].column();
        let mut dropped = Vec::new();
        for row in 0..values.len() {
            let key = match (keys, &self.key) {
                (Some(keys), Some(key)) => value_at(keys, key, row).unwrap_or(Value::Unit),
                _ => Value::Unit,
            };
            let mut value = Some(new.read(row));
            for step in way.iter().rev() {
                let Some(mut taken) = value.take() else { break };
                value = step.back(taken.as_mut(), &key).map_err(|Failed { from, to, source }| {
                    MapFailure::Row { row, versions: Some((from, to)), source }
                })?;
            }
            match value {
                None => dropped.push(row),
                Some(mut value) => old.append(value.as_mut()).map_err(|problem| MapFailure::Row {
                    row,
                    versions: None,
                    source: problem.into(),
                })?,
            }
        }
        Ok(Mapped { values: old.finish(), kept: kept_but(&dropped, values.len()) })
    }
}
