//! Canonical encodings of keys straight from a column, without a detour over values (clauses KE-*).
//!
//! Agrees with [`encode_value`] for every type; the common ones are encoded from the array's own memory, since
//! the writer checks the order of every row.

use super::StateColumns;
use crate::model::{
    ColumnMismatch, DataType, StateKind, UTC, encode_bytes, encode_signed, encode_value, value_at,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    StringArray, UInt16Array, UInt32Array,
};
use arrow::datatypes::{
    Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

/// A column of keys.
pub(crate) enum KeyColumn {
    Bool(BooleanArray),
    I8(PrimitiveArray<Int8Type>),
    I16(PrimitiveArray<Int16Type>),
    I32(PrimitiveArray<Int32Type>),
    I64(PrimitiveArray<Int64Type>),
    U8(PrimitiveArray<UInt8Type>),
    U16(PrimitiveArray<UInt16Type>),
    U32(PrimitiveArray<UInt32Type>),
    U64(PrimitiveArray<UInt64Type>),
    /// Bytes that are stored as they are encoded.
    Fixed(FixedSizeBinaryArray),
    String(StringArray),
    Bytes(BinaryArray),
    /// Tuples and structs: part after part.
    Parts(Vec<KeyColumn>),
    /// All others, by way of values.
    Other(ArrayRef, DataType),
}

impl KeyColumn {
    /// Takes a column of keys of type `data_type`, which has no nulls of its own unless the type is `Option`.
    pub(crate) fn new(array: &ArrayRef, data_type: &DataType) -> Self {
        // An array of another layout is left to `value_at`, which says what is wrong with it.
        Self::fast(array, data_type).unwrap_or_else(|| Self::Other(array.clone(), data_type.clone()))
    }

    fn fast(array: &ArrayRef, data_type: &DataType) -> Option<Self> {
        if array.null_count() > 0 {
            return None;
        }
        macro_rules! times {
            ($type:ty, $zone:expr) => {{
                let times = array.as_primitive_opt::<$type>().filter(|times| times.timezone() == $zone);
                Self::I64(times?.reinterpret_cast())
            }};
        }
        Some(match data_type {
            DataType::Bool => Self::Bool(array.as_boolean_opt()?.clone()),
            DataType::I8 => Self::I8(array.as_primitive_opt()?.clone()),
            DataType::I16 => Self::I16(array.as_primitive_opt()?.clone()),
            DataType::I32 => Self::I32(array.as_primitive_opt()?.clone()),
            DataType::I64 => Self::I64(array.as_primitive_opt()?.clone()),
            DataType::U8 => Self::U8(array.as_primitive_opt()?.clone()),
            DataType::U16 => Self::U16(array.as_primitive_opt()?.clone()),
            DataType::U32 => Self::U32(array.as_primitive_opt()?.clone()),
            DataType::U64 => Self::U64(array.as_primitive_opt()?.clone()),
            DataType::Date => Self::I32(array.as_primitive_opt::<Date32Type>()?.reinterpret_cast()),
            DataType::Timestamp => times!(TimestampMicrosecondType, Some(UTC)),
            DataType::TimestampNs => times!(TimestampNanosecondType, Some(UTC)),
            DataType::LocalDateTime => times!(TimestampMicrosecondType, None),
            DataType::LocalDateTimeNs => times!(TimestampNanosecondType, None),
            DataType::U128 | DataType::I128 | DataType::Uuid | DataType::FixedBytes(_) => {
                Self::Fixed(array.as_fixed_size_binary_opt()?.clone())
            }
            DataType::String => Self::String(array.as_string_opt()?.clone()),
            DataType::Bytes => Self::Bytes(array.as_binary_opt()?.clone()),
            DataType::Tuple(parts) if !parts.is_empty() => Self::parts(array, parts.iter())?,
            DataType::Struct(fields) if !fields.is_empty() => {
                Self::parts(array, fields.iter().map(|f| &f.data_type))?
            }
            _ => return None,
        })
    }

    fn parts<'a>(array: &ArrayRef, types: impl ExactSizeIterator<Item = &'a DataType>) -> Option<Self> {
        let columns = array.as_struct_opt()?.columns();
        if columns.len() != types.len() {
            return None;
        }
        Some(Self::Parts(columns.iter().zip(types).map(|(column, part)| Self::new(column, part)).collect()))
    }

    /// Appends the canonical encoding of the key at `row`.
    ///
    /// # Errors
    ///
    /// [`ColumnMismatch`] if there is no key of the type.
    pub(crate) fn encode(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ColumnMismatch> {
        match self {
            Self::Bool(keys) => out.push(u8::from(keys.value(row))),
            Self::I8(keys) => encode_signed(keys.value(row).to_be_bytes(), out),
            Self::I16(keys) => encode_signed(keys.value(row).to_be_bytes(), out),
            Self::I32(keys) => encode_signed(keys.value(row).to_be_bytes(), out),
            Self::I64(keys) => encode_signed(keys.value(row).to_be_bytes(), out),
            Self::U8(keys) => out.extend(keys.value(row).to_be_bytes()),
            Self::U16(keys) => out.extend(keys.value(row).to_be_bytes()),
            Self::U32(keys) => out.extend(keys.value(row).to_be_bytes()),
            Self::U64(keys) => out.extend(keys.value(row).to_be_bytes()),
            Self::Fixed(keys) => out.extend_from_slice(keys.value(row)),
            Self::String(keys) => encode_bytes(keys.value(row).as_bytes(), out),
            Self::Bytes(keys) => encode_bytes(keys.value(row), out),
            Self::Parts(parts) => return parts.iter().try_for_each(|part| part.encode(row, out)),
            Self::Other(array, data_type) => {
                let value = value_at(array, data_type, row)?;
                return encode_value(&value, data_type, out)
                    .map_err(|error| ColumnMismatch::new(error.found, error.wanted));
            }
        }
        Ok(())
    }
}

/// What is wrong with rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Disorder {
    pub(crate) found: String,
    pub(crate) wanted: String,
}

/// Checks that rows follow each other as the format wants it (clauses PQ-4 to PQ-6): keyed rows strictly by
/// (key group, canonical key), each in the group of its key; list rows strictly by index.
pub(crate) struct RowOrder {
    columns: StateColumns,
    /// The place of the last row.
    last: Option<Place>,
    encoded: Vec<u8>,
}

enum Place {
    Keyed(u16, Vec<u8>),
    Listed(u32),
}

impl RowOrder {
    pub(crate) fn new(columns: StateColumns) -> Self {
        Self { columns, last: None, encoded: Vec::new() }
    }

    /// Checks the rows of a batch of the columns' schema, which follow those of all batches before.
    ///
    /// `each` sees the key group and the encoded key of every keyed row.
    pub(crate) fn check(
        &mut self,
        batch: &RecordBatch,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Disorder> {
        match (self.columns.kind, &self.columns.key) {
            (StateKind::Value | StateKind::Timers, Some(key)) => {
                let keys = KeyColumn::new(batch.column(1), key);
                let groups: &UInt16Array = batch.column(0).as_primitive();
                let (mut group, mut previous) = match self.last.take() {
                    Some(Place::Keyed(group, previous)) => (Some(group), previous),
                    _ => (None, Vec::new()),
                };
                // What is wrong with the first row that is not right is said below, for keys of every type.
                let right = self.right_rows(&keys, groups.values(), (group, &previous), &mut each);
                if let Some(row) = right.checked_sub(1) {
                    group = Some(groups.value(row));
                    previous.clear();
                    keys.encode(row, &mut previous)
                        .map_err(|error| Disorder { found: error.found, wanted: error.wanted })?;
                }
                for row in right..batch.num_rows() {
                    self.encoded.clear();
                    keys.encode(row, &mut self.encoded)
                        .map_err(|error| Disorder { found: error.found, wanted: error.wanted })?;
                    let found = groups.value(row);
                    let wanted = self.columns.key_group(&self.encoded).index();
                    if found != wanted {
                        return Err(Disorder {
                            found: format!("{} in key group {found}", shown_key(batch, key, row)),
                            wanted: format!("key group {wanted}"),
                        });
                    }
                    if group.is_some_and(|group| (group, &previous) >= (found, &self.encoded)) {
                        return Err(Disorder {
                            found: format!(
                                "{} of key group {found} {}",
                                shown_key(batch, key, row),
                                if previous == self.encoded {
                                    "twice"
                                } else {
                                    "after a key that is not before it"
                                }
                            ),
                            wanted: "rows in order of (key group, canonical key), each key once".to_owned(),
                        });
                    }
                    each(found, &self.encoded);
                    group = Some(found);
                    std::mem::swap(&mut previous, &mut self.encoded);
                }
                self.last = group.map(|group| Place::Keyed(group, previous));
            }
            _ => {
                let indices: &UInt32Array = batch.column(0).as_primitive();
                for &index in indices.values() {
                    if let Some(Place::Listed(last)) = self.last
                        && last >= index
                    {
                        return Err(Disorder {
                            found: format!("index {index} after {last}"),
                            wanted: "indices in order, each once".to_owned(),
                        });
                    }
                    self.last = Some(Place::Listed(index));
                }
            }
        }
        Ok(())
    }
}

impl RowOrder {
    /// Counts the rows at the start that are right, for integers, which are encoded and compared in registers; 0 for
    /// other keys.
    fn right_rows(
        &self,
        keys: &KeyColumn,
        groups: &[u16],
        last: (Option<u16>, &[u8]),
        each: &mut impl FnMut(u16, &[u8]),
    ) -> usize {
        match keys {
            KeyColumn::U32(keys) => self.right_run(groups, |row| keys.value(row).to_be_bytes(), last, each),
            KeyColumn::U64(keys) => self.right_run(groups, |row| keys.value(row).to_be_bytes(), last, each),
            KeyColumn::I32(keys) => {
                self.right_run(groups, |row| (keys.value(row) ^ i32::MIN).to_be_bytes(), last, each)
            }
            KeyColumn::I64(keys) => {
                self.right_run(groups, |row| (keys.value(row) ^ i64::MIN).to_be_bytes(), last, each)
            }
            _ => 0,
        }
    }

    #[inline(always)]
    fn right_run<const N: usize>(
        &self,
        groups: &[u16],
        encoding: impl Fn(usize) -> [u8; N],
        (group, key): (Option<u16>, &[u8]),
        each: &mut impl FnMut(u16, &[u8]),
    ) -> usize {
        let mut last = group.zip(key.try_into().ok());
        for (row, &group) in groups.iter().enumerate() {
            let key: [u8; N] = encoding(row);
            let is_right =
                self.columns.key_group(&key).index() == group && last.is_none_or(|last| last < (group, key));
            if !is_right {
                return row;
            }
            each(group, &key);
            last = Some((group, key));
        }
        groups.len()
    }
}

/// Shows the key at `row` for a message.
fn shown_key(batch: &RecordBatch, key: &DataType, row: usize) -> String {
    value_at(batch.column(1), key, row).map_or_else(|_| format!("row {row}"), |key| format!("key {key}"))
}
