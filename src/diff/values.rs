//! Two columns of values side by side: which rows differ, and in which fields.
//!
//! Columns under different schemas are first brought to the newer one, if rules allow it.

use super::fields::{join, parts};
use crate::migrate::project;
use crate::model::{ColumnMismatch, DataType, Evolution, Mismatch, Schema, Value, evolve, value_at};
use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, DynComparator, PrimitiveArray, make_comparator,
};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp::distinct;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
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

/// Two columns of values of one type.
pub(super) struct Pair {
    fields: Vec<Field>,
}

/// A field of two columns of values.
struct Field {
    place: String,
    data_type: DataType,
    before: ArrayRef,
    after: ArrayRef,
    compare: DynComparator,
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

    /// Returns the positions of the fields in which two rows differ.
    pub(super) fn differing(&self, before: usize, after: usize) -> Vec<usize> {
        let differs = |field: &usize| (self.fields[*field].compare)(before, after) != Ordering::Equal;
        (0..self.fields.len()).filter(differs).collect()
    }

    /// Marks the pairs of rows that differ; returns for how many each field differs.
    pub(super) fn mark(&self, rows: Rows<'_>, marks: &mut Vec<bool>) -> Result<Vec<u64>, ColumnMismatch> {
        marks.clear();
        marks.resize(rows.len(), false);
        let mark = |field: &Field| match rows {
            Rows::Aligned(_) => field.mark_aligned(marks),
            Rows::Pairs(pairs) => Ok(field.mark_pairs(pairs, marks)),
        };
        self.fields.iter().map(mark).collect()
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

/// Which rows of two columns are compared.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// Each with the one at the same place; so many.
    Aligned(usize),
    /// These.
    Pairs(&'a [(u32, u32)]),
}

impl Rows<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::Aligned(rows) => rows,
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    /// Returns the two rows of a pair.
    pub(super) fn at(self, pair: usize) -> (usize, usize) {
        match self {
            Self::Aligned(_) => (pair, pair),
            Self::Pairs(pairs) => (pairs[pair].0 as usize, pairs[pair].1 as usize),
        }
    }
}

impl Field {
    fn mark_aligned(&self, marks: &mut [bool]) -> Result<u64, ColumnMismatch> {
        if self.before.data_type().is_nested() {
            let differ = |i: usize, j: usize| (self.compare)(i, j) != Ordering::Equal;
            return Ok(mark((0..marks.len()).map(|row| (row, row)), marks, differ));
        }
        let mask: BooleanArray =
            distinct(&self.before, &self.after).map_err(|e| broken(&e, &self.data_type))?;
        let mut count = 0;
        for row in mask.values().set_indices() {
            marks[row] = true;
            count += 1;
        }
        Ok(count)
    }

    fn mark_pairs(&self, pairs: &[(u32, u32)], marks: &mut [bool]) -> u64 {
        let primitive = match self.before.data_type() {
            ArrowType::Int8 => self.mark_primitive::<Int8Type>(pairs, marks),
            ArrowType::Int16 => self.mark_primitive::<Int16Type>(pairs, marks),
            ArrowType::Int32 => self.mark_primitive::<Int32Type>(pairs, marks),
            ArrowType::Int64 => self.mark_primitive::<Int64Type>(pairs, marks),
            ArrowType::UInt8 => self.mark_primitive::<UInt8Type>(pairs, marks),
            ArrowType::UInt16 => self.mark_primitive::<UInt16Type>(pairs, marks),
            ArrowType::UInt32 => self.mark_primitive::<UInt32Type>(pairs, marks),
            ArrowType::UInt64 => self.mark_primitive::<UInt64Type>(pairs, marks),
            ArrowType::Float32 => self.mark_primitive::<Float32Type>(pairs, marks),
            ArrowType::Float64 => self.mark_primitive::<Float64Type>(pairs, marks),
            _ => None,
        };
        let rows = || pairs.iter().map(|(i, j)| (*i as usize, *j as usize));
        primitive.unwrap_or_else(|| mark(rows(), marks, |i, j| (self.compare)(i, j) != Ordering::Equal))
    }

    /// As the comparator does, but without a call for each row.
    fn mark_primitive<T: ArrowPrimitiveType>(&self, pairs: &[(u32, u32)], marks: &mut [bool]) -> Option<u64> {
        let values = |array: &ArrayRef| -> Option<PrimitiveArray<T>> {
            array.as_primitive_opt::<T>().filter(|array| array.null_count() == 0).cloned()
        };
        let (before, after) = (values(&self.before)?, values(&self.after)?);
        let (before, after) = (before.values(), after.values());
        let rows = pairs.iter().map(|(i, j)| (*i as usize, *j as usize));
        // Floats by their bits, as this trait compares them.
        Some(mark(rows, marks, |i, j| before[i].is_ne(after[j])))
    }
}

#[inline]
fn mark(
    rows: impl Iterator<Item = (usize, usize)>,
    marks: &mut [bool],
    differ: impl Fn(usize, usize) -> bool,
) -> u64 {
    let mut count = 0;
    for ((i, j), mark) in rows.zip(marks) {
        let differs = differ(i, j);
        *mark |= differs;
        count += u64::from(differs);
    }
    count
}

fn collect(
    fields: &mut Vec<Field>,
    place: &str,
    data_type: &DataType,
    before: &ArrayRef,
    after: &ArrayRef,
) -> Result<(), ColumnMismatch> {
    let parts = parts(data_type);
    let columns = before.as_struct_opt().zip(after.as_struct_opt()).filter(|_| !parts.is_empty());
    let Some((old, new)) = columns else {
        let compare = make_comparator(before, after, SortOptions::default());
        fields.push(Field {
            place: place.to_owned(),
            data_type: data_type.clone(),
            before: before.clone(),
            after: after.clone(),
            compare: compare.map_err(|e| broken(&e, data_type))?,
        });
        return Ok(());
    };
    if old.num_columns() != parts.len() || new.num_columns() != parts.len() {
        return Err(ColumnMismatch::new(before.data_type().to_string(), data_type.to_string()));
    }
    for ((name, part), (old, new)) in parts.into_iter().zip(old.columns().iter().zip(new.columns())) {
        collect(fields, &join(place, &name), part, old, new)?;
    }
    Ok(())
}

fn broken(error: &ArrowError, wanted: &DataType) -> ColumnMismatch {
    ColumnMismatch::new(error.to_string(), wanted.to_string())
}
