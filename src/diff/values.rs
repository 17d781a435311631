//! Two columns of values side by side: which rows differ, and in which fields.
//!
//! A value is taken apart into fields as far as structs and tuples go; a list, map, option or enum is one
//! field. Columns under different schemas are first brought to the newer one, if rules allow it.

use crate::migrate::project;
use crate::model::{ColumnMismatch, DataType, Evolution, Mismatch, Schema, Value, evolve, value_at};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DynComparator, make_comparator};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp::distinct;
use arrow::error::ArrowError;
use std::cmp::Ordering;

/// How values of two schemas become comparable.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Relation {
    /// They are, as they lie.
    Same,
    /// Those of the first become values of the second, which is newer.
    Forward(Evolution),
    /// Those of the second become values of the first, which is newer.
    Backward(Evolution),
    /// They do not.
    NeedsCode(Vec<Mismatch>),
}

pub(super) fn relate(before: &Schema, after: &Schema) -> Relation {
    if before.fingerprint() == after.fingerprint() {
        return Relation::Same;
    }
    if after.version >= before.version {
        evolve(&before.data_type, &after.data_type).map_or_else(Relation::NeedsCode, Relation::Forward)
    } else {
        evolve(&after.data_type, &before.data_type).map_or_else(Relation::NeedsCode, Relation::Backward)
    }
}

/// A field of two columns of values.
struct Field {
    place: String,
    data_type: DataType,
    before: ArrayRef,
    after: ArrayRef,
    compare: DynComparator,
}

/// Two columns of values of one type.
pub(super) struct Pair {
    fields: Vec<Field>,
}

impl Pair {
    /// Lays two columns side by side; `None` if their values are not comparable.
    ///
    /// # Errors
    ///
    /// [`ColumnMismatch`] if a column is not of its schema.
    pub(super) fn new(
        relation: &Relation,
        (before, before_type): (&ArrayRef, &DataType),
        (after, after_type): (&ArrayRef, &DataType),
    ) -> Result<Option<Self>, ColumnMismatch> {
        let (before, after, data_type) = match relation {
            Relation::Same => (before.clone(), after.clone(), after_type),
            Relation::Forward(evolution) => (project(evolution, before)?, after.clone(), after_type),
            Relation::Backward(evolution) => (before.clone(), project(evolution, after)?, before_type),
            Relation::NeedsCode(_) => return Ok(None),
        };
        let mut fields = Vec::new();
        collect(&mut fields, "", data_type, &before, &after)?;
        Ok(Some(Self { fields }))
    }

    /// Returns the places of the fields.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.place.as_str())
    }

    /// Collects the positions of the fields in which two rows differ.
    #[inline]
    pub(super) fn differing(&self, before: usize, after: usize, found: &mut Vec<usize>) {
        found.clear();
        for (i, field) in self.fields.iter().enumerate() {
            if (field.compare)(before, after) != Ordering::Equal {
                found.push(i);
            }
        }
    }

    /// Returns, for each field, in which rows columns of equal length differ.
    pub(super) fn differing_rows(&self) -> Result<Vec<BooleanArray>, ColumnMismatch> {
        self.fields.iter().map(Field::differing_rows).collect()
    }

    /// Returns both values of a field.
    pub(super) fn values(
        &self,
        field: usize,
        before: usize,
        after: usize,
    ) -> Result<(Value, Value), ColumnMismatch> {
        let Field { data_type, before: old, after: new, .. } = &self.fields[field];
        Ok((value_at(old, data_type, before)?, value_at(new, data_type, after)?))
    }
}

impl Field {
    fn differing_rows(&self) -> Result<BooleanArray, ColumnMismatch> {
        if self.before.data_type().is_nested() {
            let rows = 0..self.before.len();
            return Ok(rows.map(|row| Some((self.compare)(row, row) != Ordering::Equal)).collect());
        }
        distinct(&self.before, &self.after).map_err(|e| broken(&e, &self.data_type))
    }
}

fn collect(
    fields: &mut Vec<Field>,
    place: &str,
    data_type: &DataType,
    before: &ArrayRef,
    after: &ArrayRef,
) -> Result<(), ColumnMismatch> {
    let parts: Vec<(String, &DataType)> = match data_type {
        DataType::Struct(members) => members.iter().map(|m| (m.name.clone(), &m.data_type)).collect(),
        DataType::Tuple(parts) => parts.iter().enumerate().map(|(i, part)| (format!("f{i}"), part)).collect(),
        _ => Vec::new(),
    };
    let mut columns = before.as_struct_opt().zip(after.as_struct_opt());
    if parts.is_empty() {
        columns = None;
    }
    let Some((old, new)) = columns else {
        let compare =
            make_comparator(before, after, SortOptions::default()).map_err(|e| broken(&e, data_type))?;
        fields.push(Field {
            place: place.to_owned(),
            data_type: data_type.clone(),
            before: before.clone(),
            after: after.clone(),
            compare,
        });
        return Ok(());
    };
    if old.num_columns() != parts.len() || new.num_columns() != parts.len() {
        return Err(ColumnMismatch::new(before.data_type().to_string(), data_type.to_string()));
    }
    for ((name, part), (old, new)) in parts.into_iter().zip(old.columns().iter().zip(new.columns())) {
        let place = if place.is_empty() { name } else { format!("{place}.{name}") };
        collect(fields, &place, part, old, new)?;
    }
    Ok(())
}

fn broken(error: &ArrowError, wanted: &DataType) -> ColumnMismatch {
    ColumnMismatch::new(error.to_string(), wanted.to_string())
}
