//! Columns of lists and sets. Sets are stored in the order of their elements' encodings, so that equal sets are
//! equal bytes whatever order they were hashed in.

use super::generated::{check_nulls, other_layout};
use super::row::LEAF_BYTES;
use super::text::{offset, take_offsets};
use super::{Build, ColumnMismatch, Key, Read, State, Unstorable};
use crate::model::{DataType, element_field};
use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// A collection that is stored as a list.
pub trait Sequence: State {
    /// What it holds.
    type Item: State;
    /// How many it holds, if that is part of the type.
    const LENGTH: Option<usize> = None;

    #[doc(hidden)]
    fn items(&self) -> impl ExactSizeIterator<Item = &Self::Item>;
    #[doc(hidden)]
    fn collect(items: impl ExactSizeIterator<Item = Self::Item>) -> Self;
}

/// Builds a column of lists.
pub struct ListBuilder<C: Sequence> {
    ends: Vec<i32>,
    items: <C::Item as State>::Builder,
}

/// Reads a column of lists.
pub struct ListReader<C: Sequence> {
    pub(super) rows: Rows,
    pub(super) items: <C::Item as State>::Reader,
}

impl<C: Sequence> Default for ListBuilder<C> {
    fn default() -> Self {
        Self { ends: Vec::new(), items: Default::default() }
    }
}

impl<C: Sequence> Build<C> for ListBuilder<C> {
    #[inline]
    fn append(&mut self, value: &C) -> Result<(), Unstorable> {
        let mut items = value.items();
        let end = offset(self.items.len(), items.len(), "elements")?;
        items.try_for_each(|item| self.items.append(item)).map_err(|error| error.inside("element"))?;
        self.ends.push(end);
        Ok(())
    }

    #[inline]
    fn append_absent(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or_default());
    }

    #[inline]
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn size_hint_bytes(&self) -> usize {
        LEAF_BYTES * self.ends.len() + self.items.size_hint_bytes()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let items = self.items.finish(None);
        let field = element_field(&C::Item::data_type());
        Arc::new(ListArray::new(field, take_offsets(&mut self.ends), items, validity))
    }
}

impl<C: Sequence> Read<C> for ListReader<C> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let list = array.as_list_opt::<i32>().ok_or_else(|| other_layout::<C>(array))?;
        check_nulls::<C>(array, present)?;
        let rows = Rows(list.offsets().clone());
        if let Some(wanted) = C::LENGTH {
            let there = |row: &usize| present.is_none_or(|present| present.is_valid(*row));
            let wrong =
                (0..list.len()).filter(there).map(|row| rows.range(row).len()).find(|len| *len != wanted);
            if let Some(found) = wrong {
                return Err(ColumnMismatch::new(format!("{found} elements"), format!("{wanted} elements")));
            }
        }
        let (items, present) = rows.open(list.values(), present);
        let items = <C::Item as State>::Reader::open(&items, present.as_ref());
        Ok(Self { rows, items: items.map_err(|mismatch| mismatch.inside("element"))? })
    }

    #[inline]
    fn read(&self, row: usize) -> C {
        C::collect(self.rows.range(row).map(|item| self.items.read(item)))
    }
}

/// Where the items of each row lie, among those that [`Rows::open`] kept.
pub(super) struct Rows(pub(super) OffsetBuffer<i32>);

impl Rows {
    /// Returns the items of `row`.
    #[inline]
    pub(super) fn range(&self, row: usize) -> std::ops::Range<usize> {
        // Offsets are not negative and do not fall.
        let base = self.0[0] as usize;
        self.0[row] as usize - base..self.0[row + 1] as usize - base
    }

    /// Returns the items of all rows and which of them are present.
    pub(super) fn open(
        &self,
        items: &ArrayRef,
        present: Option<&NullBuffer>,
    ) -> (ArrayRef, Option<NullBuffer>) {
        let rows = self.0.len() - 1;
        let base = self.0[0] as usize;
        let end = self.0[rows] as usize - base;
        let items = items.slice(base, end);
        // A row that is absent may still have items; Parquet leaves none, but other writers may.
        let stray =
            |present: &NullBuffer| (0..rows).any(|row| present.is_null(row) && !self.range(row).is_empty());
        let mask = present.filter(|present| present.null_count() > 0 && stray(present)).map(|present| {
            let mut bits = vec![false; end];
            for row in present.valid_indices() {
                bits[self.range(row)].fill(true);
            }
            NullBuffer::new(BooleanBuffer::from(bits))
        });
        (items, mask)
    }
}

macro_rules! list {
    ([$($generics:tt)*] $type:ty, $logical:ident) => {
        impl<$($generics)*> State for $type {
            type Builder = ListBuilder<Self>;
            type Reader = ListReader<Self>;

            fn data_type() -> DataType {
                DataType::$logical(Box::new(T::data_type()))
            }
        }
    };
}

list!([T: State] Vec<T>, List);
list!([T: State] VecDeque<T>, List);
list!([T: State, const N: usize] [T; N], List);
list!([T: Key + Ord] BTreeSet<T>, Set);
list!([T: Key + Hash, S: BuildHasher + Default + 'static] HashSet<T, S>, Set);

impl<T: State> Sequence for Vec<T> {
    type Item = T;

    #[inline]
    fn items(&self) -> impl ExactSizeIterator<Item = &T> {
        self.iter()
    }

    #[inline]
    fn collect(items: impl ExactSizeIterator<Item = T>) -> Self {
        items.collect()
    }
}

impl<T: State> Sequence for VecDeque<T> {
    type Item = T;

    fn items(&self) -> impl ExactSizeIterator<Item = &T> {
        self.iter()
    }

    fn collect(items: impl ExactSizeIterator<Item = T>) -> Self {
        items.collect()
    }
}

impl<T: State, const N: usize> Sequence for [T; N] {
    type Item = T;
    const LENGTH: Option<usize> = Some(N);

    fn items(&self) -> impl ExactSizeIterator<Item = &T> {
        self.iter()
    }

    fn collect(mut items: impl ExactSizeIterator<Item = T>) -> Self {
        std::array::from_fn(|_| items.next().expect("the length was checked when the column was opened"))
    }
}

/// Brings the elements of a set into the order of their encodings.
fn in_order<'a, T: Key>(set: impl Iterator<Item = &'a T>) -> std::vec::IntoIter<&'a T> {
    let mut sorted: Vec<_> = set.collect();
    sorted.sort_by(|a, b| a.compare(b));
    sorted.into_iter()
}

impl<T: Key + Ord> Sequence for BTreeSet<T> {
    type Item = T;

    fn items(&self) -> impl ExactSizeIterator<Item = &T> {
        in_order(self.iter())
    }

    fn collect(items: impl ExactSizeIterator<Item = T>) -> Self {
        items.collect()
    }
}

impl<T: Key + Hash, S: BuildHasher + Default + 'static> Sequence for HashSet<T, S> {
    type Item = T;

    fn items(&self) -> impl ExactSizeIterator<Item = &T> {
        in_order(self.iter())
    }

    fn collect(items: impl ExactSizeIterator<Item = T>) -> Self {
        items.collect()
    }
}
