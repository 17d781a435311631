//! Columns of plain types: booleans, numbers and `()`.

use super::generated::{check_nulls, other_layout};
use super::row::{LEAF_BYTES, leaf_bytes};
use super::{Build, ColumnMismatch, Read, State, Unstorable};
use crate::model::DataType;
use arrow::array::{ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use std::marker::PhantomData;
use std::sync::Arc;

/// A number that Arrow has a type for.
pub trait Plain: State + Copy + Default + Send {
    #[doc(hidden)]
    type Arrow: ArrowPrimitiveType;
    #[doc(hidden)]
    fn to_native(self) -> <Self::Arrow as ArrowPrimitiveType>::Native;
    #[doc(hidden)]
    fn from_native(native: <Self::Arrow as ArrowPrimitiveType>::Native) -> Self;
}

/// Builds a column of numbers.
#[derive(Debug)]
pub struct PlainBuilder<T: Plain> {
    values: Vec<<T::Arrow as ArrowPrimitiveType>::Native>,
}

/// Reads a column of numbers.
#[derive(Debug)]
pub struct PlainReader<T: Plain> {
    pub(super) values: ScalarBuffer<<T::Arrow as ArrowPrimitiveType>::Native>,
}

impl<T: Plain> Default for PlainBuilder<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T: Plain> Build<T> for PlainBuilder<T> {
    #[inline]
    fn append(&mut self, value: &T) -> Result<(), Unstorable> {
        self.values.push(value.to_native());
        Ok(())
    }

    #[inline]
    fn append_absent(&mut self) {
        self.values.push(T::default().to_native());
    }

    #[inline]
    fn len(&self) -> usize {
        self.values.len()
    }

    fn size_hint_bytes(&self) -> usize {
        leaf_bytes(&self.values)
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let values = take_vec(&mut self.values);
        Arc::new(PrimitiveArray::<T::Arrow>::new(values.into(), validity))
    }
}

impl<T: Plain> Read<T> for PlainReader<T> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let column = array.as_primitive_opt::<T::Arrow>().ok_or_else(|| other_layout::<T>(array))?;
        check_nulls::<T>(array, present)?;
        Ok(Self { values: column.values().clone() })
    }

    #[inline]
    fn read(&self, row: usize) -> T {
        T::from_native(self.values[row])
    }
}

macro_rules! plain {
    ($($(#[$cfg:meta])* $type:ty => $logical:ident, $arrow:ty;)*) => { $(
        $(#[$cfg])*
        impl Plain for $type {
            type Arrow = $arrow;

            // The cast is one only for usize and isize, which have 64 bits here.
            #[inline]
            #[allow(clippy::unnecessary_cast)]
            fn to_native(self) -> <$arrow as ArrowPrimitiveType>::Native {
                self as <$arrow as ArrowPrimitiveType>::Native
            }

            #[inline]
            #[allow(clippy::unnecessary_cast)]
            fn from_native(native: <$arrow as ArrowPrimitiveType>::Native) -> Self {
                native as Self
            }
        }

        $(#[$cfg])*
        impl State for $type {
            type Builder = PlainBuilder<$type>;
            type Reader = PlainReader<$type>;

            fn data_type() -> DataType {
                DataType::$logical
            }
        }
    )* };
}

plain! {
    i8 => I8, Int8Type;
    i16 => I16, Int16Type;
    i32 => I32, Int32Type;
    i64 => I64, Int64Type;
    u8 => U8, UInt8Type;
    u16 => U16, UInt16Type;
    u32 => U32, UInt32Type;
    u64 => U64, UInt64Type;
    f32 => F32, Float32Type;
    f64 => F64, Float64Type;
    #[cfg(target_pointer_width = "64")]
    isize => I64, Int64Type;
    #[cfg(target_pointer_width = "64")]
    usize => U64, UInt64Type;
}

/// Takes the content, leaving room for as much again: batches of one column are alike.
pub(super) fn take_vec<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

/// An integer of 128 bits, stored as 16 bytes that sort as the integers do.
pub trait Wide: State + Copy + Default + Send {
    #[doc(hidden)]
    fn to_bytes(self) -> [u8; 16];
    #[doc(hidden)]
    fn from_bytes(bytes: [u8; 16]) -> Self;
}

impl Wide for u128 {
    #[inline]
    fn to_bytes(self) -> [u8; 16] {
        self.to_be_bytes()
    }

    #[inline]
    fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_be_bytes(bytes)
    }
}

impl Wide for i128 {
    #[inline]
    fn to_bytes(self) -> [u8; 16] {
        (self ^ Self::MIN).to_be_bytes()
    }

    #[inline]
    fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_be_bytes(bytes) ^ Self::MIN
    }
}

/// Builds a column of 128-bit integers.
#[derive(Debug)]
pub struct WideBuilder<T> {
    bytes: Vec<u8>,
    of: PhantomData<fn() -> T>,
}

/// Reads a column of 128-bit integers.
#[derive(Debug)]
pub struct WideReader<T> {
    values: FixedSizeBinaryArray,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for WideBuilder<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), of: PhantomData }
    }
}

impl<T: Wide> Build<T> for WideBuilder<T> {
    #[inline]
    fn append(&mut self, value: &T) -> Result<(), Unstorable> {
        self.bytes.extend_from_slice(&value.to_bytes());
        Ok(())
    }

    #[inline]
    fn append_absent(&mut self) {
        self.bytes.extend_from_slice(&T::default().to_bytes());
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len() / 16
    }

    fn size_hint_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::new(16, take_vec(&mut self.bytes).into(), validity))
    }
}

impl<T: Wide> Read<T> for WideReader<T> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let values = array.as_fixed_size_binary_opt().filter(|values| values.value_size() == 16);
        let values = values.ok_or_else(|| other_layout::<T>(array))?.clone();
        check_nulls::<T>(array, present)?;
        Ok(Self { values, of: PhantomData })
    }

    #[inline]
    fn read(&self, row: usize) -> T {
        T::from_bytes(self.values.value(row).try_into().expect("opened as 16 bytes a value"))
    }
}

impl State for u128 {
    type Builder = WideBuilder<Self>;
    type Reader = WideReader<Self>;

    fn data_type() -> DataType {
        DataType::U128
    }
}

impl State for i128 {
    type Builder = WideBuilder<Self>;
    type Reader = WideReader<Self>;

    fn data_type() -> DataType {
        DataType::I128
    }
}

/// Builds a column of booleans.
#[derive(Debug, Default)]
pub struct BoolBuilder {
    values: Vec<bool>,
}

/// Reads a column of booleans.
#[derive(Debug)]
pub struct BoolReader {
    values: BooleanBuffer,
}

impl Build<bool> for BoolBuilder {
    #[inline]
    fn append(&mut self, value: &bool) -> Result<(), Unstorable> {
        self.values.push(*value);
        Ok(())
    }

    #[inline]
    fn append_absent(&mut self) {
        self.values.push(false);
    }

    #[inline]
    fn len(&self) -> usize {
        self.values.len()
    }

    fn size_hint_bytes(&self) -> usize {
        LEAF_BYTES * self.values.len()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let bits = BooleanBuffer::from(self.values.as_slice());
        self.values.clear();
        Arc::new(BooleanArray::new(bits, validity))
    }
}

impl Read<bool> for BoolReader {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let column = array.as_boolean_opt().ok_or_else(|| other_layout::<bool>(array))?;
        check_nulls::<bool>(array, present)?;
        Ok(Self { values: column.values().clone() })
    }

    #[inline]
    fn read(&self, row: usize) -> bool {
        self.values.value(row)
    }
}

impl State for bool {
    type Builder = BoolBuilder;
    type Reader = BoolReader;

    fn data_type() -> DataType {
        DataType::Bool
    }
}

/// Builds a column for a type with one value.
#[derive(Debug, Default)]
pub struct UnitBuilder {
    len: usize,
}

/// Reads a column of a type with one value.
#[derive(Debug)]
pub struct UnitReader;

impl UnitReader {
    /// Opens the column of a type `T` that is stored as unit.
    #[doc(hidden)]
    pub fn open_as<T: State>(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let column = array.as_boolean_opt().ok_or_else(|| other_layout::<T>(array))?;
        check_nulls::<T>(array, present)?;
        let values = column.values();
        let all_true = values.count_set_bits() == values.len()
            || (0..values.len()).all(|row| values.value(row) || present.is_some_and(|p| p.is_null(row)));
        if all_true { Ok(Self) } else { Err(ColumnMismatch::new("false", T::data_type().to_string())) }
    }
}

impl Build<()> for UnitBuilder {
    #[inline]
    fn append(&mut self, (): &()) -> Result<(), Unstorable> {
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn append_absent(&mut self) {
        self.len += 1;
    }

    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    fn size_hint_bytes(&self) -> usize {
        LEAF_BYTES * self.len
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let len = std::mem::take(&mut self.len);
        Arc::new(BooleanArray::new(BooleanBuffer::new_set(len), validity))
    }
}

impl Read<()> for UnitReader {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        Self::open_as::<()>(array, present)
    }

    #[inline]
    fn read(&self, _row: usize) {}
}

impl State for () {
    type Builder = UnitBuilder;
    type Reader = UnitReader;

    fn data_type() -> DataType {
        DataType::Unit
    }
}
