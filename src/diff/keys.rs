//! Keys in the order of the format: by key group, then by canonical encoding.
//!
//! The integers and strings that most keys are compare as they lie in their column; all other keys are encoded
//! once, when their row group is read.

use crate::model::{ColumnMismatch, DataType, encode_value, value_at};
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use std::cmp::Ordering;
use std::ops::Range;

/// The keys of one row group, ready to be compared with other keys of the same type.
pub(super) enum KeyColumn {
    /// Integers of up to 64 bits, moved so that unsigned order is their order.
    Integers(Vec<u64>),
    /// Strings, whose encodings sort as they do.
    Strings(StringArray),
    /// Canonical encodings, end to end, and where each one ends.
    Encoded(Vec<u8>, Vec<usize>),
}

impl KeyColumn {
    /// Takes a column of keys of type `data_type`.
    ///
    /// # Errors
    ///
    /// [`ColumnMismatch`] if the column does not hold such keys.
    pub(super) fn new(array: &ArrayRef, data_type: &DataType) -> Result<Self, ColumnMismatch> {
        let fast = match data_type {
            DataType::I8 => integers::<Int8Type>(array),
            DataType::I16 => integers::<Int16Type>(array),
            DataType::I32 => integers::<Int32Type>(array),
            DataType::I64 => integers::<Int64Type>(array),
            DataType::U8 => integers::<UInt8Type>(array),
            DataType::U16 => integers::<UInt16Type>(array),
            DataType::U32 => integers::<UInt32Type>(array),
            DataType::U64 => integers::<UInt64Type>(array),
            DataType::String => array.as_string_opt::<i32>().cloned().map(Self::Strings),
            _ => None,
        };
        if let Some(fast) = fast.filter(|_| array.null_count() == 0) {
            return Ok(fast);
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(array.len()));
        for row in 0..array.len() {
            let key = value_at(array, data_type, row)?;
            encode_value(&key, data_type, &mut bytes).map_err(|e| ColumnMismatch::new(e.found, e.wanted))?;
            ends.push(bytes.len());
        }
        Ok(Self::Encoded(bytes, ends))
    }

    /// Compares the key at `row` with the one at `other_row` of another column of the same type.
    #[inline]
    pub(super) fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        match (self, other) {
            (Self::Integers(a), Self::Integers(b)) => a[row].cmp(&b[other_row]),
            (Self::Strings(a), Self::Strings(b)) => {
                a.value(row).as_bytes().cmp(b.value(other_row).as_bytes())
            }
            (Self::Encoded(a, a_ends), Self::Encoded(b, b_ends)) => {
                slice(a, a_ends, row).cmp(slice(b, b_ends, other_row))
            }
            // The variant follows from the type; a column of another layout was refused when it was opened.
            _ => unreachable!("keys of two types are compared"),
        }
    }
}

/// What a join of two runs of rows found; positions are those of the rows in their batches, in order.
#[derive(Default)]
pub(super) struct Joined {
    /// Rows that have the same key.
    pub(super) pairs: Vec<(u32, u32)>,
    /// Rows of the first run whose keys the second does not have.
    pub(super) removed: Vec<u32>,
    /// Rows of the second run whose keys the first does not have.
    pub(super) added: Vec<u32>,
}

impl Joined {
    /// Joins two runs of rows until one of them ends; returns how many rows of each were used.
    ///
    /// `groups` and `keys` are those of both batches.
    pub(super) fn join(
        &mut self,
        groups: (&[u16], &[u16]),
        keys: (&KeyColumn, &KeyColumn),
        rows: (Range<usize>, Range<usize>),
    ) -> (usize, usize) {
        match keys {
            (KeyColumn::Integers(a), KeyColumn::Integers(b)) => {
                self.join_by(rows, |i, j| (groups.0[i], a[i]).cmp(&(groups.1[j], b[j])))
            }
            (a, b) => {
                self.join_by(rows, |i, j| groups.0[i].cmp(&groups.1[j]).then_with(|| a.compare(i, b, j)))
            }
        }
    }

    fn join_by(
        &mut self,
        (before, after): (Range<usize>, Range<usize>),
        compare: impl Fn(usize, usize) -> Ordering,
    ) -> (usize, usize) {
        self.pairs.clear();
        self.removed.clear();
        self.added.clear();
        let (mut i, mut j) = (before.start, after.start);
        while i < before.end && j < after.end {
            match compare(i, j) {
                Ordering::Equal => {
                    self.pairs.push((i as u32, j as u32));
                    i += 1;
                    j += 1;
                }
                Ordering::Less => {
                    self.removed.push(i as u32);
                    i += 1;
                }
                Ordering::Greater => {
                    self.added.push(j as u32);
                    j += 1;
                }
            }
        }
        (i - before.start, j - after.start)
    }
}

fn integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<KeyColumn>
where
    T::Native: Into<i128>,
{
    let array: &PrimitiveArray<T> = array.as_primitive_opt::<T>()?;
    // One offset for all types: 2^63 below zero is the least of them. A `u64` above 2^63 needs its own.
    let unsigned = array.data_type().is_unsigned_integer();
    let moved = |value: &T::Native| -> u64 {
        let value: i128 = (*value).into();
        if unsigned { value as u64 } else { (value as i64 as u64) ^ (1 << 63) }
    };
    Some(KeyColumn::Integers(array.values().iter().map(moved).collect()))
}

fn slice<'a>(bytes: &'a [u8], ends: &[usize], row: usize) -> &'a [u8] {
    let start = if row == 0 { 0 } else { ends[row - 1] };
    &bytes[start..ends[row]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Value, array_of};
    use proptest::prelude::*;

    fn int(data_type: DataType, value: i64) -> (DataType, Value) {
        (data_type, Value::Int(value.into()))
    }

    /// Two keys of one type.
    fn pairs() -> impl Strategy<Value = (DataType, Value, Value)> {
        let both = |(t, a): (DataType, Value), (_, b): (DataType, Value)| (t, a, b);
        prop_oneof![
            any::<(i8, i8)>()
                .prop_map(move |(a, b)| both(int(DataType::I8, a.into()), int(DataType::I8, b.into()))),
            any::<(i32, i32)>()
                .prop_map(move |(a, b)| both(int(DataType::I32, a.into()), int(DataType::I32, b.into()))),
            any::<(i64, i64)>().prop_map(move |(a, b)| both(int(DataType::I64, a), int(DataType::I64, b))),
            any::<(u64, u64)>().prop_map(|(a, b)| (
                DataType::U64,
                Value::Uint(a.into()),
                Value::Uint(b.into())
            )),
            any::<(u128, u128)>().prop_map(|(a, b)| (DataType::U128, Value::Uint(a), Value::Uint(b))),
            ("[a-c\0ä]{0,3}", "[a-c\0ä]{0,3}").prop_map(|(a, b)| (
                DataType::String,
                Value::String(a),
                Value::String(b)
            )),
            (any::<bool>(), "[ab]{0,2}", any::<bool>(), "[ab]{0,2}").prop_map(|(a, b, c, d)| {
                let tuple = |x, y| Value::Tuple(vec![Value::Bool(x), Value::String(y)]);
                (DataType::Tuple(vec![DataType::Bool, DataType::String]), tuple(a, b), tuple(c, d))
            }),
        ]
    }

    proptest! {
        #[test]
        fn columns_compare_as_the_canonical_encodings_do((data_type, a, b) in pairs()) {
            let column = KeyColumn::new(&array_of(&[a.clone(), b.clone()], &data_type).unwrap(), &data_type).unwrap();
            let encoded = |value| {
                let mut bytes = Vec::new();
                encode_value(value, &data_type, &mut bytes).unwrap();
                bytes
            };
            prop_assert_eq!(column.compare(0, &column, 1), encoded(&a).cmp(&encoded(&b)), "{} {}", a, b);
        }
    }
}
