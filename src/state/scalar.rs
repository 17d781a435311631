//! Columns of types that are a number to Arrow, but not each value has one, or not each number is a value.

use super::generated::{check_nulls, other_layout};
use super::plain::take_vec;
use super::row::leaf_bytes;
use super::{Build, ColumnMismatch, Read, State, Unstorable};
use crate::model::arrow_type;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::ArrowPrimitiveType;
use std::fmt;
use std::sync::Arc;

/// A type that is stored as a number.
pub trait Scalar: State + Send {
    #[doc(hidden)]
    type Arrow: ArrowPrimitiveType;
    #[doc(hidden)]
    fn to_native(&self) -> Result<Native<Self>, Unstorable>;
    #[doc(hidden)]
    fn from_native(native: Native<Self>) -> Option<Self>;
}

/// The number that a value is stored as.
pub type Native<T> = <<T as Scalar>::Arrow as ArrowPrimitiveType>::Native;

/// Builds a column of values that are numbers.
pub struct ScalarBuilder<T: Scalar> {
    values: Vec<Native<T>>,
}

/// Reads a column of values that are numbers.
pub struct ScalarReader<T: Scalar> {
    values: ScalarBuffer<Native<T>>,
}

impl<T: Scalar> Default for ScalarBuilder<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T: Scalar> fmt::Debug for ScalarBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarBuilder").field("values", &self.values).finish()
    }
}

impl<T: Scalar> fmt::Debug for ScalarReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarReader").field("values", &self.values).finish()
    }
}

impl<T: Scalar> Build<T> for ScalarBuilder<T> {
    #[inline]
    fn append(&mut self, value: &T) -> Result<(), Unstorable> {
        self.values.push(value.to_native()?);
        Ok(())
    }

    #[inline]
    fn append_absent(&mut self) {
        self.values.push(Native::<T>::default());
    }

    #[inline]
    fn len(&self) -> usize {
        self.values.len()
    }

    fn size_hint_bytes(&self) -> usize {
        leaf_bytes(&self.values)
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let column = PrimitiveArray::<T::Arrow>::new(take_vec(&mut self.values).into(), validity);
        Arc::new(column.with_data_type(arrow_type(&T::data_type())))
    }
}

impl<T: Scalar> Read<T> for ScalarReader<T> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let column = array.as_primitive_opt::<T::Arrow>();
        // A time zone, or how many digits lie behind the point, is not in the type parameter.
        let column = column.filter(|column| *column.data_type() == arrow_type(&T::data_type()));
        let column = column.ok_or_else(|| other_layout::<T>(array))?;
        check_nulls::<T>(array, present)?;
        let there = |row: &usize| present.is_none_or(|present| present.is_valid(*row));
        let odd = (0..column.len()).filter(there).map(|row| column.value(row));
        if let Some(odd) = odd.into_iter().find(|native| T::from_native(*native).is_none()) {
            return Err(ColumnMismatch::new(format!("{odd:?}"), T::data_type().to_string()));
        }
        Ok(Self { values: column.values().clone() })
    }

    #[inline]
    fn read(&self, row: usize) -> T {
        T::from_native(self.values[row]).expect("checked when the column was opened")
    }
}

/// Makes types that are numbers states.
macro_rules! scalar {
    ([$($generics:tt)*] $type:ty => $data_type:expr) => {
        impl<$($generics)*> crate::state::State for $type {
            type Builder = crate::state::ScalarBuilder<Self>;
            type Reader = crate::state::ScalarReader<Self>;

            fn data_type() -> crate::model::DataType {
                $data_type
            }
        }
    };
    ($type:ty => $data_type:expr) => {
        scalar!([] $type => $data_type);
    };
}
pub(super) use scalar;
