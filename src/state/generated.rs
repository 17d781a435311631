//! What builders and readers share: the assembly of struct columns and the checks of opened ones.
//!
//! Hidden from the docs, yet public: the code that `#[derive(State)]` generates calls it from other crates. It may
//! change with every release, as the derive macro does.

use super::{Build, ColumnMismatch, Read, State, TextBuilder};
use crate::model::{Value, arrow_field, column_id, payload_field, value_at};
use arrow::array::{Array, ArrayRef, AsArray, NullBufferBuilder, StructArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Field as ArrowField, Fields};
use std::sync::Arc;

pub use crate::model::{DataType, Field, Unstorable, Variant};
pub use arrow::array::ArrayRef as Column;
pub use arrow::buffer::NullBuffer as Nulls;
pub use std::cmp::Ordering;

/// The names of the columns of a tuple.
pub const POSITIONS: [&str; 12] = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11"];

/// A column of a struct, and its content.
pub type Part = (ArrowField, ArrayRef);

/// Makes the column of a field of type `T`.
pub fn part<T: State>(name: &str, id: i32, column: ArrayRef) -> Part {
    (arrow_field(name, &T::data_type(), id), column)
}

/// Makes the column of a variant's data, which is of type `data_type`.
pub fn payload_part(name: &str, id: i32, data_type: &DataType, column: ArrayRef) -> Part {
    (payload_field(name, id, data_type), column)
}

/// Wraps a column with nulls of its own for a variant, whose absence takes the nulls of the struct.
pub fn wrap_payload<T: State>(column: ArrayRef, validity: Option<NullBuffer>) -> ArrayRef {
    struct_array(validity, [part::<T>(POSITIONS[0], column_id(POSITIONS[0]), column)])
}

/// Puts columns of equal length together.
pub fn struct_array(validity: Option<NullBuffer>, parts: impl IntoIterator<Item = Part>) -> ArrayRef {
    let (fields, columns): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let array = StructArray::try_new(Fields::from(fields), columns, validity);
    Arc::new(array.expect("the columns of one struct have one length and no nulls but absent places"))
}

/// Says that an array has another layout than `T`.
pub fn other_layout<T: State>(array: &ArrayRef) -> ColumnMismatch {
    ColumnMismatch::new(crate::model::shown_type(array.data_type()), T::data_type().to_string())
}

/// Checks that an array has nulls only where an outer level is absent.
pub fn check_nulls<T: State>(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<(), ColumnMismatch> {
    match array.nulls() {
        Some(nulls) if nulls.null_count() > 0 && !present.is_some_and(|present| present.contains(nulls)) => {
            Err(ColumnMismatch::new("null", T::data_type().to_string()))
        }
        _ => Ok(()),
    }
}

/// Returns the columns of the struct that `T` is stored as.
pub fn open_struct<'a, T: State>(
    array: &'a ArrayRef,
    names: &[&str],
    present: Option<&NullBuffer>,
) -> Result<&'a [ArrayRef], ColumnMismatch> {
    let columns = crate::model::struct_columns(array, names)?;
    check_nulls::<T>(array, present)?;
    Ok(columns)
}

/// Opens a field of a struct.
pub fn open_part<T: State>(
    columns: &[ArrayRef],
    index: usize,
    name: &str,
    present: Option<&NullBuffer>,
) -> Result<T::Reader, ColumnMismatch> {
    T::Reader::open(&columns[index], present).map_err(|mismatch| mismatch.inside(name))
}

/// Opens the names of variants: for each place the index in `names`, which is 0 where there is none.
pub fn open_tags<T: State>(
    column: &ArrayRef,
    names: &[&str],
    present: Option<&NullBuffer>,
) -> Result<Vec<u16>, ColumnMismatch> {
    let tags = column.as_string_opt::<i32>().ok_or_else(|| other_layout::<T>(column))?;
    check_nulls::<T>(column, present)?;
    let offsets = tags.value_offsets();
    let mut last = 0;
    let mut indices = Vec::with_capacity(tags.len());
    for row in 0..tags.len() {
        if present.is_none_or(|present| present.is_valid(row)) {
            let tag = &tags.value_data()[offsets[row] as usize..offsets[row + 1] as usize];
            // Most rows have the variant of the one before.
            if names.get(last).is_none_or(|name| name.as_bytes() != tag) {
                last = names.iter().position(|name| name.as_bytes() == tag).ok_or_else(|| {
                    ColumnMismatch::new(
                        format!("`{}`", tags.value(row)),
                        format!("one of {}", names.join(", ")),
                    )
                })?;
            }
            indices.push(last as u16);
        } else {
            indices.push(0);
        }
    }
    Ok(indices)
}

/// Checks that a variant's column has data where the tag is the one at `index`, and only there; returns where.
pub fn open_payload(
    column: &ArrayRef,
    tags: &[u16],
    index: u16,
    name: &str,
    present: Option<&NullBuffer>,
) -> Result<NullBuffer, ColumnMismatch> {
    let mut chosen = BooleanBuffer::collect_bool(tags.len(), |row| tags[row] == index);
    let mut wrong = match column.nulls() {
        Some(nulls) => nulls.inner() ^ &chosen,
        None => !&chosen,
    };
    if let Some(present) = present {
        chosen &= present.inner();
        wrong &= present.inner();
    }
    match wrong.set_indices().next() {
        Some(row) => {
            let (found, wanted) = if chosen.value(row) {
                ("null", "data under the tag")
            } else {
                ("data", "null under another tag than")
            };
            Err(ColumnMismatch::new(found, format!("{wanted} `{name}`")).inside(name))
        }
        None => Ok(NullBuffer::new(chosen)),
    }
}

/// Opens the data of a variant with one unnamed field.
pub fn open_single<T: State>(
    column: &ArrayRef,
    name: &str,
    chosen: &NullBuffer,
) -> Result<T::Reader, ColumnMismatch> {
    let reader = if T::NULLABLE {
        crate::model::struct_columns(column, &POSITIONS[..1])
            .and_then(|columns| open_part::<T>(columns, 0, POSITIONS[0], Some(chosen)))
    } else {
        T::Reader::open(column, Some(chosen))
    };
    reader.map_err(|mismatch| mismatch.inside(name))
}

/// Returns the JSON that stands for a default in a schema.
pub fn default_json<T: State>(value: &T) -> serde_json::Value {
    let mut builder = T::Builder::default();
    if let Err(problem) = builder.append(value) {
        // No value of any type: a job with such a default is refused when it is built.
        return serde_json::json!({ "unstorable": problem.to_string() });
    }
    let value = value_at(&builder.finish(None), &T::data_type(), 0);
    // What a builder made is a value of its type.
    value.as_ref().map(Value::to_json).unwrap_or_default()
}

/// Makes a field of a struct's schema.
pub fn field<T: State>(
    name: &str,
    was: Option<&str>,
    default: Option<serde_json::Value>,
    dropped: &[&str],
) -> Field {
    Field {
        name: name.to_owned(),
        was: was.map(str::to_owned),
        data_type: T::data_type(),
        default,
        dropped: dropped.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// Makes a variant of an enum's schema.
pub fn variant(name: &str, was: Option<&str>, payload: Option<DataType>) -> Variant {
    Variant { name: name.to_owned(), was: was.map(str::to_owned), payload }
}

/// Appends the name of a variant to the encoding of a key.
pub fn encode_tag(name: &str, out: &mut Vec<u8>) {
    crate::model::encode_bytes(name.as_bytes(), out);
}

/// Builds the column of the names of variants.
#[derive(Debug, Default)]
pub struct TagBuilder(TextBuilder<String>);

impl TagBuilder {
    /// Adds a name.
    #[inline]
    pub fn append(&mut self, name: &str) -> Result<(), Unstorable> {
        self.0.append_text(name)
    }

    /// Adds a place without a value.
    #[inline]
    pub fn append_absent(&mut self) {
        self.0.append_absent();
    }

    /// Returns the number of places.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no place yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the length of all names.
    pub fn size_hint_bytes(&self) -> usize {
        self.0.size_hint_bytes()
    }

    /// Takes the column out.
    pub fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        self.0.finish(validity)
    }
}

/// Collects where a variant's column has data.
#[derive(Debug)]
pub struct Presence(NullBufferBuilder);

impl Default for Presence {
    fn default() -> Self {
        Self(NullBufferBuilder::new(0))
    }
}

impl Presence {
    /// Adds a place with data.
    #[inline]
    pub fn append_non_null(&mut self) {
        self.0.append_non_null();
    }

    /// Adds a place without.
    #[inline]
    pub fn append_null(&mut self) {
        self.0.append_null();
    }

    /// Takes the places out.
    pub fn finish(&mut self) -> Option<NullBuffer> {
        self.0.finish()
    }
}
